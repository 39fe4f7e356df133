//! Domain types to replies.

use pannier_proto::cache::v1 as pb;
use pannier_proto::durability::v1::Durability as PbDurability;

use super::super::domain::{Content, Entry, Limits, Namespace, Put, Stats, etag};
use crate::clock::Clock;
use crate::convert::{self, duration};
use crate::error::Error;
use crate::settings::{Durability, Eviction};
use crate::status::ItemErrors;

/// A time of the cache's clock, which is shown as the wall clock has it.
pub(in super::super) fn timestamp(clock: &Clock, us: i64) -> prost_types::Timestamp {
    convert::timestamp(clock.wall_of(us))
}

/// An entry as the wire has it.
pub(in super::super) fn entry(
    entry: &Entry,
    access_count: i64,
    access_us: i64,
    now_us: i64,
    clock: &Clock,
) -> pb::Entry {
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
        create_time: Some(timestamp(clock, entry.create_us)),
        update_time: Some(timestamp(clock, entry.update_us)),
        expire_time: entry.expire_us.map(|us| timestamp(clock, us)),
        stale_until_time: entry.stale_until_us.map(|us| timestamp(clock, us)),
        access_time: Some(timestamp(clock, access_us)),
        access_count,
        size_bytes: entry.size_bytes,
        stored_bytes: entry.stored_bytes,
        stale: !entry.is_live(now_us),
    }
}

/// What a put did, as the wire has it.
pub(in super::super) fn put_result(put: &Put, clock: &Clock) -> pb::PutResult {
    pb::PutResult {
        etag: etag(put.entry.revision),
        created: put.created,
        expire_time: put.entry.expire_us.map(|us| timestamp(clock, us)),
        invalidated: put.invalidated,
    }
}

/// The result of one item of a batch.
pub(in super::super) fn batch_put_result(
    result: &Result<Put, Error>,
    clock: &Clock,
    errors: &mut ItemErrors,
) -> pb::BatchPutResult {
    let outcome = match result {
        Ok(put) => pb::batch_put_result::Outcome::Put(put_result(put, clock)),
        Err(error) => pb::batch_put_result::Outcome::Error(errors.of(error)),
    };
    pb::BatchPutResult { outcome: Some(outcome) }
}

/// A namespace as the wire has it.
pub(in super::super) fn namespace(namespace: &Namespace, clock: &Clock) -> pb::Namespace {
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
        create_time: Some(timestamp(clock, namespace.create_us)),
        update_time: Some(timestamp(clock, namespace.update_us)),
    }
}

/// A namespace's numbers as the wire has them.
pub(in super::super) fn stats(stats: &Stats, clock: &Clock) -> pb::NamespaceStats {
    pb::NamespaceStats {
        entry_count: stats.usage.entry_count,
        stored_bytes: stats.usage.stored_bytes,
        oldest_entry_time: stats.oldest_us.map(|us| timestamp(clock, us)),
        newest_entry_time: stats.newest_us.map(|us| timestamp(clock, us)),
        hit_count: stats.reads.hits,
        miss_count: stats.reads.misses,
        stale_count: stats.reads.stales,
        hit_rate: stats.reads.hit_rate(),
        evicted_count: stats.evicted_count,
        expired_count: stats.expired_count,
    }
}
