//! Pannier's protocol in Rust: messages, clients and servers, generated at build time from the .proto files beside this crate.

pub mod codec;

/// Messages and service of `pannier.admin.v1`.
pub mod admin {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("pannier.admin.v1");
    }
}

/// Messages and service of `pannier.cache.v1`.
pub mod cache {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("pannier.cache.v1");
    }
}

/// Messages of `pannier.durability.v1`.
pub mod durability {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("pannier.durability.v1");
    }
}

/// Messages of `pannier.errors.v1`.
pub mod errors {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("pannier.errors.v1");
    }
}

/// Messages and service of `pannier.jobs.v1`.
pub mod jobs {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("pannier.jobs.v1");
    }
}

/// Messages and service of `pannier.prompts.v1`.
pub mod prompts {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("pannier.prompts.v1");
    }
}

/// Messages and service of `pannier.settings.v1`.
pub mod settings {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("pannier.settings.v1");
    }
}

/// Messages and service of `pannier.queue.v1`.
pub mod queue {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("pannier.queue.v1");
    }
}

/// Messages and service of `pannier.records.v1`.
pub mod records {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("pannier.records.v1");
    }
}

/// Messages and service of `pannier.transaction.v1`.
pub mod transaction {
    /// Version 1.
    #[allow(
        clippy::large_enum_variant,
        reason = "generated; mutations are moved once, and few lie in memory at a time"
    )]
    pub mod v1 {
        tonic::include_proto!("pannier.transaction.v1");
    }
}

/// Messages and service of `pannier.uploads.v1`.
pub mod uploads {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("pannier.uploads.v1");
    }
}

/// The methods of all services, such as `("pannier.cache.v1.CacheService/Get", false, false)`: the path, and whether the request and the
/// answer are streams.
pub const METHODS: &[(&str, bool, bool)] = include!(concat!(env!("OUT_DIR"), "/methods.rs"));

/// The encoded `google.protobuf.FileDescriptorSet` of all of Pannier's files and what they import.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
