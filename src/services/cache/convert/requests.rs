//! Requests to domain types, with all that is wrong told at once.

use pannier_proto::cache::v1 as pb;
use prost_types::FieldMask;
use uuid::Uuid;

use super::super::domain::{Condition, Content, Expiry, Fill, LimitsPatch, PutItem, revision_of};
use super::super::store::NewExpiry;
use crate::batch::{Batch, Failing};
use crate::convert::{ERROR_CODE_BYTES_MAX, ERROR_MESSAGE_BYTES_MAX};
use crate::settings::{CacheSettings, Durability, Eviction};

/// Longest time to live or stale window: ten years.
const TTL_US_MAX: i64 = crate::settings::TTL_MS_MAX as i64 * 1_000;

const TAG_BYTES_MAX: usize = 256;
const CONTENT_TYPE_BYTES_MAX: usize = 256;

/// Requests of the cache, checked against its settings.
pub(in super::super) type Parser<'s> = crate::convert::Parser<'s, CacheSettings>;

impl Parser<'_> {
    pub(in super::super) fn key(&mut self, field: &str, key: &str) {
        self.text(field, key, 1, self.settings.key_bytes_max, "cache.key_bytes_max");
    }

    /// The keys of a read. A key that is wrong names no field: the item itself is wrong.
    pub(in super::super) fn keys(&mut self, keys: Vec<String>) -> Batch<String> {
        let limit = self.limit_of_batches();
        self.items("keys", keys, limit, Failing::Item, |parser, key| {
            // The texts of a violation are made only where something is wrong: a batch has thousands of keys.
            if !parser.is_key(&key) {
                parser.key("", &key);
            }
            key
        })
    }

    fn limit_of_batches(&self) -> (u64, &'static str) {
        (self.settings.batch_items_max, "cache.batch_items_max")
    }

    fn is_key(&self, key: &str) -> bool {
        !key.is_empty() && key.len() as u64 <= self.settings.key_bytes_max && !key.contains('\0')
    }

    pub(in super::super) fn tag(&mut self, field: &str, tag: &str) {
        if tag.is_empty() || tag.len() > TAG_BYTES_MAX || tag.chars().any(char::is_control) {
            self.violations
                .add(field, format!("must be 1 to {TAG_BYTES_MAX} bytes without control characters"));
        }
    }

    pub(in super::super) fn put_items(
        &mut self,
        items: Vec<pb::PutItem>,
        failing: Failing,
    ) -> Batch<PutItem> {
        self.items("items", items, self.limit_of_batches(), failing, Self::put_item)
    }

    /// An entry to store. Fields are named relative to it.
    pub(in super::super) fn put_item(&mut self, item: pb::PutItem) -> PutItem {
        let at = |name: &str| name.to_owned();
        if !self.is_key(&item.key) {
            self.key(&at("key"), &item.key);
        }
        let content = self.content(&at, item.content);
        if item.content_type.len() > CONTENT_TYPE_BYTES_MAX || item.content_type.contains('\0') {
            self.text(&at("content_type"), &item.content_type, 0, CONTENT_TYPE_BYTES_MAX as u64, "");
        }
        if !item.metadata_json.is_empty() {
            let max = self.settings.metadata_bytes_max;
            let field = || at("metadata_json");
            self.json_object(&field, &item.metadata_json, max, "cache.metadata_bytes_max");
        }
        let tags = if item.tags.is_empty() { item.tags } else { self.tags(&at, item.tags) };
        PutItem {
            expiry: match item.expiry {
                None => Expiry::Default,
                Some(pb::put_item::Expiry::Ttl(ttl)) => {
                    Expiry::After(self.duration_us(&at("ttl"), &ttl, 1, TTL_US_MAX))
                }
                Some(pb::put_item::Expiry::NeverExpires(said)) => {
                    self.said(&at, "never_expires", said);
                    Expiry::Never
                }
            },
            stale_window_us: item
                .stale_window
                .map(|window| self.duration_us(&at("stale_window"), &window, 0, TTL_US_MAX)),
            condition: match item.condition {
                None => Condition::Always,
                Some(pb::put_item::Condition::IfAbsent(said)) => {
                    self.said(&at, "if_absent", said);
                    Condition::IfAbsent
                }
                Some(pb::put_item::Condition::IfPresent(said)) => {
                    self.said(&at, "if_present", said);
                    Condition::IfPresent
                }
                Some(pb::put_item::Condition::IfEtag(etag)) => {
                    if etag.is_empty() {
                        self.violations.add(at("if_etag"), "must not be empty");
                    }
                    Condition::IfRevision(revision_of(&etag))
                }
            },
            fill: if item.lease_token.is_empty() {
                Fill::Unleased
            } else {
                Fill::Leased(Uuid::try_parse(&item.lease_token).ok())
            },
            key: item.key,
            content,
            compressed: None,
            content_type: item.content_type,
            metadata_json: item.metadata_json,
            tags,
        }
    }

    fn content(&mut self, at: &dyn Fn(&str) -> String, content: Option<pb::put_item::Content>) -> Content {
        match content {
            Some(pb::put_item::Content::Value(value)) => {
                let max = self.settings.value_bytes_max;
                if value.len() as u64 > max {
                    let message =
                        format!("must be at most {max} bytes (cache.value_bytes_max), is {}", value.len());
                    self.violations.add(at("value"), message);
                }
                Content::Value(value)
            }
            Some(pb::put_item::Content::Negative(negative)) => {
                let (code, message) = (negative.error_code, negative.error_message);
                self.text(&at("negative.error_code"), &code, 1, ERROR_CODE_BYTES_MAX, "");
                self.text(&at("negative.error_message"), &message, 0, ERROR_MESSAGE_BYTES_MAX, "");
                Content::Negative { code, message }
            }
            None => {
                self.violations.add(at("content"), "is missing: give a value or a negative entry");
                Content::Value(bytes::Bytes::new())
            }
        }
    }

    fn tags(&mut self, at: &dyn Fn(&str) -> String, mut tags: Vec<String>) -> Vec<String> {
        let max = self.settings.tags_max;
        if tags.len() as u64 > max {
            let message = format!("must be at most {max} tags (cache.tags_max), are {}", tags.len());
            self.violations.add(at("tags"), message);
            return Vec::new();
        }
        for (index, tag) in tags.iter().enumerate() {
            self.tag(&at(&format!("tags[{index}]")), tag);
        }
        tags.sort_unstable();
        tags.dedup();
        tags
    }

    fn said(&mut self, at: &dyn Fn(&str) -> String, name: &str, said: bool) {
        if !said {
            self.violations.add(at(name), "must be true where it is given: leave it out otherwise");
        }
    }

    pub(in super::super) fn touch_items(
        &mut self,
        items: Vec<pb::TouchItem>,
        failing: Failing,
    ) -> Batch<(String, NewExpiry)> {
        self.items("items", items, self.limit_of_batches(), failing, |parser, item| {
            parser.key("key", &item.key);
            let expiry = match item.expiry {
                None => NewExpiry::Keep,
                Some(pb::touch_item::Expiry::Ttl(ttl)) => {
                    NewExpiry::After(parser.duration_us("ttl", &ttl, 1, TTL_US_MAX))
                }
                Some(pb::touch_item::Expiry::NeverExpires(said)) => {
                    parser.said(&str::to_owned, "never_expires", said);
                    NewExpiry::Never
                }
            };
            (item.key, expiry)
        })
    }

    pub(in super::super) fn delete_items(
        &mut self,
        items: Vec<pb::DeleteItem>,
        failing: Failing,
    ) -> Batch<(String, Option<Option<i64>>)> {
        self.items("items", items, self.limit_of_batches(), failing, |parser, item| {
            parser.key("key", &item.key);
            (item.key, item.if_etag.map(|etag| revision_of(&etag)))
        })
    }

    /// What an update writes.
    pub(in super::super) fn limits_patch(
        &mut self,
        namespace: &pb::Namespace,
        mask: Option<&FieldMask>,
    ) -> LimitsPatch {
        const FIELDS: [&str; 6] =
            ["entries_max", "bytes_max", "default_expiry", "default_stale_window", "eviction", "durability"];
        let paths: Vec<&str> =
            mask.map(|mask| mask.paths.iter().map(String::as_str).collect()).unwrap_or_default();
        let mut asked = [paths.is_empty(); FIELDS.len()];
        for (index, path) in paths.iter().enumerate() {
            // The expiry may be named by the oneof or by either of its fields.
            let name = if matches!(*path, "default_ttl" | "never_expires") { "default_expiry" } else { path };
            match FIELDS.iter().position(|field| *field == name) {
                Some(position) => asked[position] = true,
                None => {
                    let message = format!("{path:?} cannot be written; {} can", FIELDS.join(", "));
                    self.violations.add(format!("update_mask.paths[{index}]"), message);
                }
            }
        }
        let [entries_max, bytes_max, expiry, stale_window, eviction, durability] = asked;
        let mut patch = LimitsPatch::default();
        if entries_max {
            patch.entries_max = Some(self.limit("namespace.entries_max", namespace.entries_max));
        }
        if bytes_max {
            patch.bytes_max = Some(self.limit("namespace.bytes_max", namespace.bytes_max));
        }
        if expiry {
            patch.ttl_us = Some(self.default_ttl_us(namespace.default_expiry));
        }
        if stale_window {
            let window = namespace.default_stale_window.unwrap_or_default();
            let field = "namespace.default_stale_window";
            patch.stale_window_us = Some(self.duration_us(field, &window, 0, TTL_US_MAX));
        }
        if eviction {
            patch.eviction = Some(self.eviction(namespace.eviction));
        }
        if durability {
            let said = self.durability("namespace.durability", namespace.durability);
            patch.durability = Some(said.unwrap_or(Durability::Full));
        }
        patch
    }

    fn limit(&mut self, field: &str, value: i64) -> i64 {
        if value < 0 {
            self.violations.add(field, "must not be negative; 0 means no limit");
        }
        value
    }

    fn default_ttl_us(&mut self, expiry: Option<pb::namespace::DefaultExpiry>) -> i64 {
        match expiry {
            Some(pb::namespace::DefaultExpiry::DefaultTtl(ttl)) => {
                self.duration_us("namespace.default_ttl", &ttl, 1, TTL_US_MAX)
            }
            Some(pb::namespace::DefaultExpiry::NeverExpires(said)) => {
                self.said(&|name| format!("namespace.{name}"), "never_expires", said);
                0
            }
            None => {
                self.violations
                    .add("namespace.default_expiry", "is missing: give default_ttl or never_expires");
                0
            }
        }
    }

    fn eviction(&mut self, value: i32) -> Eviction {
        match pb::EvictionPolicy::try_from(value) {
            Ok(pb::EvictionPolicy::Lru) => Eviction::Lru,
            Ok(pb::EvictionPolicy::Ttl) => Eviction::Ttl,
            Ok(pb::EvictionPolicy::Unspecified) => self.settings.eviction,
            Err(_) => {
                self.violations.add("namespace.eviction", format!("{value} is no EvictionPolicy"));
                Eviction::Lru
            }
        }
    }
}
