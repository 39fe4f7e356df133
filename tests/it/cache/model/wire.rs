//! Resolved operations as the messages that a sidecar is sent.

use pannier_proto::cache::v1 as pb;
use pannier_proto::durability::v1::Durability as PbDurability;
use prost_types::{Duration, FieldMask, Timestamp};

use super::answers::{Given, Opaque};
use super::operations::{Change, Condition, Content, Durability, Eviction, Expiry, Item, Mark};

/// A time on the wire.
pub fn timestamp(us: i64) -> Timestamp {
    let nanos = i32::try_from(us.rem_euclid(1_000_000) * 1_000).unwrap();
    Timestamp { seconds: us.div_euclid(1_000_000), nanos }
}

/// A duration on the wire.
pub fn duration(us: i64) -> Duration {
    Duration { seconds: us / 1_000_000, nanos: i32::try_from(us % 1_000_000 * 1_000).unwrap() }
}

/// A duration of milliseconds on the wire.
pub fn milliseconds(ms: u64) -> Duration {
    duration(i64::try_from(ms).unwrap() * 1_000)
}

/// A request id as a UUID.
pub fn request_id(id: Option<u32>) -> String {
    id.map(|id| format!("00000000-0000-4000-8000-{id:012x}")).unwrap_or_default()
}

/// A mark as the text that the sidecar gave.
pub fn text(mark: &Mark, given: &Given) -> String {
    match mark {
        Mark::Given(number) => given.text(*number),
        Mark::Text(text) => (*text).into(),
        Mark::OfKey(_) | Mark::OfAll(_) => unreachable!("is resolved"),
    }
}

pub fn durability(durability: Durability) -> i32 {
    match durability {
        Durability::Unsaid => PbDurability::Unspecified,
        Durability::Full => PbDurability::Full,
        Durability::Relaxed => PbDurability::Relaxed,
    }
    .into()
}

pub fn put_item(item: &Item, opaque: &Opaque) -> pb::PutItem {
    pb::PutItem {
        key: item.key.into(),
        content: Some(match &item.content {
            Content::Negative(code, message) => pb::put_item::Content::Negative(pb::NegativeEntry {
                error_code: (*code).into(),
                error_message: (*message).into(),
            }),
            content => pb::put_item::Content::Value(content.value().unwrap_or_default().into()),
        }),
        content_type: item.content_type.into(),
        metadata_json: item.metadata.into(),
        tags: item.tags.iter().map(ToString::to_string).collect(),
        expiry: match item.expiry {
            Expiry::Unsaid => None,
            Expiry::AfterMs(ms) => Some(pb::put_item::Expiry::Ttl(milliseconds(ms))),
            Expiry::Never => Some(pb::put_item::Expiry::NeverExpires(true)),
        },
        stale_window: item.stale_ms.map(milliseconds),
        condition: match &item.condition {
            Condition::Always => None,
            Condition::IfAbsent => Some(pb::put_item::Condition::IfAbsent(true)),
            Condition::IfPresent => Some(pb::put_item::Condition::IfPresent(true)),
            Condition::IfEtag(mark) => Some(pb::put_item::Condition::IfEtag(text(mark, &opaque.etags))),
        },
        lease_token: item.lease.as_ref().map(|mark| text(mark, &opaque.tokens)).unwrap_or_default(),
    }
}

pub fn delete_item(key: &str, mark: Option<&Mark>, opaque: &Opaque) -> pb::DeleteItem {
    pb::DeleteItem { key: key.into(), if_etag: mark.map(|mark| text(mark, &opaque.etags)) }
}

pub fn touch_item(key: &str, expiry: Expiry) -> pb::TouchItem {
    let expiry = match expiry {
        Expiry::Unsaid => None,
        Expiry::AfterMs(ms) => Some(pb::touch_item::Expiry::Ttl(milliseconds(ms))),
        Expiry::Never => Some(pb::touch_item::Expiry::NeverExpires(true)),
    };
    pb::TouchItem { key: key.into(), expiry }
}

/// A namespace with the limits to write, and the mask that says which they are.
pub fn namespace(name: &str, change: &Change) -> (pb::Namespace, FieldMask) {
    let namespace = pb::Namespace {
        name: name.into(),
        entries_max: change.entries_max.unwrap_or_default(),
        bytes_max: change.bytes_max.unwrap_or_default(),
        default_expiry: change.expiry.map(|expiry| match expiry {
            Expiry::AfterMs(ms) => pb::namespace::DefaultExpiry::DefaultTtl(milliseconds(ms)),
            _ => pb::namespace::DefaultExpiry::NeverExpires(true),
        }),
        default_stale_window: change.stale_ms.map(milliseconds),
        eviction: match change.eviction {
            None | Some(Eviction::Unsaid) => pb::EvictionPolicy::Unspecified,
            Some(Eviction::Lru) => pb::EvictionPolicy::Lru,
            Some(Eviction::Ttl) => pb::EvictionPolicy::Ttl,
        }
        .into(),
        durability: change.durability.map(durability).unwrap_or_default(),
        ..Default::default()
    };
    let said = [
        ("entries_max", change.entries_max.is_some()),
        ("bytes_max", change.bytes_max.is_some()),
        ("default_expiry", change.expiry.is_some()),
        ("default_stale_window", change.stale_ms.is_some()),
        ("eviction", change.eviction.is_some()),
        ("durability", change.durability.is_some()),
    ];
    let paths = said.iter().filter(|(_, is_said)| *is_said && !change.whole).map(|(path, _)| (*path).into());
    (namespace, FieldMask { paths: paths.collect() })
}
