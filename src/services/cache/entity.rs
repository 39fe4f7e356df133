//! The cache's tables that SeaORM reads and writes; what each column holds is said in the migration.

#![allow(missing_docs, reason = "tables; their columns are described in the migration")]

/// `cache_namespaces`.
pub mod namespaces {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "cache_namespaces")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub name: String,
        pub entries_max: i64,
        pub bytes_max: i64,
        pub ttl_us: i64,
        pub stale_window_us: i64,
        pub eviction: i64,
        pub durability: i64,
        pub origin: i64,
        pub tag_deletions: i64,
        pub entry_count: i64,
        pub stored_bytes: i64,
        pub hit_count: i64,
        pub miss_count: i64,
        pub stale_count: i64,
        pub evicted_count: i64,
        pub expired_count: i64,
        pub create_time: i64,
        pub update_time: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// `cache_entries`.
pub mod entries {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "cache_entries")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub namespace_id: i64,
        pub key: String,
        pub kind: i64,
        pub value: Option<Vec<u8>>,
        pub is_compressed: bool,
        pub content_type: String,
        pub metadata_json: String,
        pub tags: String,
        pub error_code: Option<String>,
        pub error_message: Option<String>,
        pub size_bytes: i64,
        pub stored_bytes: i64,
        pub revision: i64,
        pub create_time: i64,
        pub update_time: i64,
        pub expire_time: Option<i64>,
        pub stale_until_time: Option<i64>,
        pub stale_window_us: i64,
        pub remove_time: Option<i64>,
        pub access_time: i64,
        pub access_count: i64,
        pub lease_token: Option<Uuid>,
        pub lease_expire_time: Option<i64>,
        pub lease_tag_deletions: Option<i64>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// `cache_tags`.
pub mod tags {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "cache_tags")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub namespace_id: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        pub tag: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub key: String,
        pub entry_id: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
