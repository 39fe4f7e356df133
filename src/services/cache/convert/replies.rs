//! Domain types to replies.

use pannier_proto::cache::v1 as pb;
use pannier_proto::durability::v1::Durability as PbDurability;

use super::super::domain::{Content, Entry, Limits, Namespace, Put, Stats, etag};
use crate::convert::{duration, timestamp};
use crate::error::Error;
use crate::settings::{Durability, Eviction};
use crate::status;

/// An entry as the wire has it.
pub(in super::super) fn entry(entry: &Entry, access_count: i64, access_us: i64, now_us: i64) -> pb::Entry {
    pb::Entry {
        key: entry.key.clone(),
        content: Some(match &entry.content {
            Content::Value(value) => pb::entry::Content::Value(value.clone()),
            Content::Negative { code, message } => pb::entry::Content::Negative(pb::NegativeEntry {
                error_code: code.clone(),
                error_message: message.clone(),
            }),
        }),
        content_type: entry.content_type.clone(),
        metadata_json: entry.metadata_json.clone(),
        tags: entry.tags.clone(),
        etag: etag(entry.revision),
        create_time: Some(timestamp(entry.create_us)),
        update_time: Some(timestamp(entry.update_us)),
        expire_time: entry.expire_us.map(timestamp),
        stale_until_time: entry.stale_until_us.map(timestamp),
        access_time: Some(timestamp(access_us)),
        access_count,
        size_bytes: entry.size_bytes,
        stored_bytes: entry.stored_bytes,
        stale: !entry.is_live(now_us),
    }
}

/// What a put did, as the wire has it.
pub(in super::super) fn put_result(put: &Put) -> pb::PutResult {
    pb::PutResult {
        etag: etag(put.entry.revision),
        created: put.created,
        expire_time: put.entry.expire_us.map(timestamp),
    }
}

/// The result of one item of a batch.
pub(in super::super) fn batch_put_result(result: &Result<Put, Error>) -> pb::BatchPutResult {
    let outcome = match result {
        Ok(put) => pb::batch_put_result::Outcome::Put(put_result(put)),
        Err(error) => pb::batch_put_result::Outcome::Error(status::item(error)),
    };
    pb::BatchPutResult { outcome: Some(outcome) }
}

/// A namespace as the wire has it.
pub(in super::super) fn namespace(namespace: &Namespace) -> pb::Namespace {
    let Limits { entries_max, bytes_max, ttl_us, stale_window_us, eviction, durability } = namespace.limits;
    pb::Namespace {
        name: namespace.name.clone(),
        entries_max,
        bytes_max,
        default_expiry: Some(match ttl_us {
            0 => pb::namespace::DefaultExpiry::NeverExpires(true),
            us => pb::namespace::DefaultExpiry::DefaultTtl(duration(us)),
        }),
        default_stale_window: Some(duration(stale_window_us)),
        eviction: match eviction {
            Eviction::Lru => pb::EvictionPolicy::Lru,
            Eviction::Ttl => pb::EvictionPolicy::Ttl,
        }
        .into(),
        durability: match durability {
            Durability::Full => PbDurability::Full,
            Durability::Relaxed => PbDurability::Relaxed,
        }
        .into(),
        create_time: Some(timestamp(namespace.create_us)),
        update_time: Some(timestamp(namespace.update_us)),
    }
}

/// A namespace's numbers as the wire has them.
pub(in super::super) fn stats(stats: &Stats) -> pb::NamespaceStats {
    pb::NamespaceStats {
        entry_count: stats.usage.entry_count,
        stored_bytes: stats.usage.stored_bytes,
        oldest_entry_time: stats.oldest_us.map(timestamp),
        newest_entry_time: stats.newest_us.map(timestamp),
        hit_count: stats.reads.hits,
        miss_count: stats.reads.misses,
        stale_count: stats.reads.stales,
        hit_rate: stats.reads.hit_rate(),
        evicted_count: stats.evicted_count,
        expired_count: stats.expired_count,
    }
}
