//! Protobuf ⇄ Rust where the services have it in common: ids, names, times, durations, JSON, pages, durability.
//!
//! A service's own `convert` adds what it alone has, with an `impl` for the parser of its settings.

use pannier_proto::durability::v1::Durability as PbDurability;
use prost_types::{Duration, Timestamp};
use uuid::Uuid;

use crate::answer;
use crate::batch::{Batch, Failing};
use crate::error::{Error, Result, Violations};
use crate::settings::{Durability, ServerSettings};

/// Bytes of an application's error code.
pub const ERROR_CODE_BYTES_MAX: u64 = 256;

/// Bytes of an application's error message.
pub const ERROR_MESSAGE_BYTES_MAX: u64 = 4_096;

/// Bytes of a name, such as a namespace's.
const NAME_BYTES_MAX: usize = 128;

/// The first and the last second that a Timestamp may have: the years 1 to 9999.
const TIMESTAMP_SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Converts a request and gathers all that is wrong with it, checked against settings.
pub struct Parser<'s, S> {
    /// What is wrong so far.
    pub violations: Violations,
    /// The service's settings.
    pub settings: &'s S,
    is_part: bool,
    has_request_id: bool,
}

impl<'s, S> Parser<'s, S> {
    /// A parser that has found nothing wrong.
    pub fn new(settings: &'s S) -> Self {
        Self { violations: Violations::default(), settings, is_part: false, has_request_id: false }
    }

    /// A parser of a mutation of a commit, which has a request_id or none.
    pub fn of_part(settings: &'s S, has_request_id: bool) -> Self {
        Self { is_part: true, has_request_id, ..Self::new(settings) }
    }

    /// Whether a repeat of the request is found out by its request_id, or by that of its commit.
    pub fn has_request_id(&self) -> bool {
        self.has_request_id
    }

    /// Whether the request is a mutation of a commit.
    pub fn is_part(&self) -> bool {
        self.is_part
    }

    /// The `request_id`, if there is one.
    pub fn request_id(&mut self, text: &str) -> Option<Uuid> {
        if self.is_part && !text.is_empty() {
            self.violations.add("request_id", "must be empty in a mutation: the commit has its own");
            return None;
        }
        let id = self.optional_uuid("request_id", text);
        self.has_request_id |= id.is_some();
        id
    }

    /// What becomes of a batch in which an item fails, from its field `atomic`.
    pub fn failing(&mut self, atomic: bool) -> Failing {
        if self.is_part && atomic {
            self.violations.add("atomic", "must be false in a mutation: a commit is all or none");
        }
        if self.is_part || atomic { Failing::All } else { Failing::Item }
    }

    /// The items of a batch of 1 to `max` items. `parse` names fields relative to the item. An item that is wrong fails alone, or makes
    /// the request wrong where that is all or none.
    pub fn items<I, T>(
        &mut self,
        field: &'static str,
        items: Vec<I>,
        (max, setting): (u64, &str),
        failing: Failing,
        mut parse: impl FnMut(&mut Self, I) -> T,
    ) -> Batch<T> {
        if !self.batch(field, items.len(), max, setting) {
            return Batch::new(field, failing, 0);
        }
        let mut batch = Batch::new(field, failing, items.len());
        for (index, item) in items.into_iter().enumerate() {
            if failing == Failing::All {
                let first = self.violations.count();
                let item = parse(self, item);
                self.violations.place(first, || format!("{field}[{index}]"));
                batch.accept(item);
                continue;
            }
            let others = std::mem::take(&mut self.violations);
            let item = parse(self, item);
            match std::mem::replace(&mut self.violations, others).check() {
                Ok(()) => batch.accept(item),
                Err(error) => batch.refuse(error),
            }
        }
        batch
    }

    /// The one item of a single call. `parse` names fields relative to the item.
    pub fn item<I, T>(
        &mut self,
        field: &'static str,
        item: I,
        parse: impl FnOnce(&mut Self, I) -> T,
    ) -> Batch<T> {
        let first = self.violations.count();
        let item = parse(self, item);
        self.violations.place(first, || field.to_owned());
        let mut batch = Batch::new(field, Failing::Single, 1);
        batch.accept(item);
        batch
    }

    /// A UUID, or none for an empty text.
    pub fn optional_uuid(&mut self, field: &str, text: &str) -> Option<Uuid> {
        if text.is_empty() {
            return None;
        }
        let id = Uuid::try_parse(text).ok();
        if id.is_none() {
            self.violations.add(field, "must be a UUID, or empty");
        }
        id
    }

    /// A UUID; nil where it is wrong.
    pub fn uuid(&mut self, field: &str, text: &str) -> Uuid {
        Uuid::try_parse(text).unwrap_or_else(|_| {
            self.violations.add(field, "must be a UUID");
            Uuid::nil()
        })
    }

    /// Checks a name of lower-case letters, digits and a few signs.
    pub fn name(&mut self, field: &str, name: &str) {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(allowed) {
            self.violations
                .add(field, format!("must be 1 to {NAME_BYTES_MAX} of a-z, 0-9, '.', '_' and '-'"));
        }
    }

    /// Checks a text: its length, which `setting` bounds, if a setting does, and that it can be stored.
    pub fn text(&mut self, field: &str, text: &str, min: u64, max: u64, setting: &str) {
        let length = text.len() as u64;
        if !(min..=max).contains(&length) {
            let setting = if setting.is_empty() { String::new() } else { format!(" ({setting})") };
            self.violations.add(field, format!("must be {min} to {max} bytes{setting}, is {length}"));
        }
        if text.contains('\0') {
            // PostgreSQL cannot store it, and what holds on one database holds on the other.
            self.violations.add(field, "must not contain the character U+0000");
        }
    }

    /// Whether a batch has a size that is allowed.
    pub fn batch(&mut self, field: &str, count: usize, max: u64, setting: &str) -> bool {
        let right = count > 0 && count as u64 <= max;
        if !right {
            self.violations.add(field, format!("must have 1 to {max} items ({setting}), has {count}"));
        }
        right
    }

    /// Checks a JSON value of at most `max` bytes. The field is named only where something is wrong.
    pub fn json(&mut self, field: &dyn Fn() -> String, text: &str, max: u64, setting: &str) {
        if text.len() as u64 > max {
            self.text(&field(), text, 0, max, setting);
            return;
        }
        // Checked and not read: it is kept as it was given.
        if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
            let (line, column) = (error.line(), error.column());
            self.violations.add(field(), format!("is no JSON (line {line}, column {column})"));
        }
    }

    /// Checks a JSON object of at most `max` bytes. The field is named only where something is wrong.
    pub fn json_object(&mut self, field: &dyn Fn() -> String, text: &str, max: u64, setting: &str) {
        if text.len() as u64 > max {
            self.text(&field(), text, 0, max, setting);
            return;
        }
        // Checked and not read: a number that no double holds is kept as it was given.
        match serde_json::from_str::<serde::de::IgnoredAny>(text) {
            Ok(_) if text.trim_start().starts_with('{') => {}
            Ok(_) => self.violations.add(field(), "is JSON, but no object"),
            Err(error) => {
                let (line, column) = (error.line(), error.column());
                self.violations.add(field(), format!("is no JSON object (line {line}, column {column})"));
            }
        }
    }

    /// What an acknowledged write shall survive, if that is said.
    pub fn durability(&mut self, field: &str, value: i32) -> Option<Durability> {
        if self.is_part && value != 0 {
            self.violations.add(field, "must be left out in a mutation: the commit has its own");
            return None;
        }
        match PbDurability::try_from(value) {
            Ok(PbDurability::Unspecified) => None,
            Ok(PbDurability::Full) => Some(Durability::Full),
            Ok(PbDurability::Relaxed) => Some(Durability::Relaxed),
            Err(_) => {
                self.violations.add(field, format!("{value} is no Durability"));
                None
            }
        }
    }

    /// What a check asks for, which must be said with true where it is said.
    pub fn expects<T>(&mut self, field: &str, said: bool, meaning: T) -> T {
        if !said {
            self.violations.add(field, "must be true where it is given: give another expectation otherwise");
        }
        meaning
    }

    /// A duration in microseconds, which lies within the bounds.
    pub fn duration_us(&mut self, field: &str, value: &Duration, min_us: i64, max_us: i64) -> i64 {
        let is_normal = (0..1_000_000_000).contains(&value.nanos);
        let us = value
            .seconds
            .checked_mul(1_000_000)
            .and_then(|us| us.checked_add(i64::from(value.nanos) / 1_000));
        match us.filter(|us| is_normal && value.seconds >= 0 && (min_us..=max_us).contains(us)) {
            Some(us) => us,
            None => {
                let least = match min_us {
                    0 => "0 s".to_owned(),
                    1 => "more than 0 s".to_owned(),
                    least => format!("at least {} s", least as f64 / 1e6),
                };
                let most = max_us as f64 / 1e6;
                self.violations.add(field, format!("must be {least}, and at most {most} s"));
                min_us
            }
        }
    }

    /// A time in Unix microseconds.
    pub fn time_us(&mut self, field: &str, value: &Timestamp) -> i64 {
        if !TIMESTAMP_SECONDS.contains(&value.seconds) || !(0..1_000_000_000).contains(&value.nanos) {
            self.violations.add(field, "must be a time in the years 1 to 9999, with 0 to 999,999,999 nanos");
            return 0;
        }
        value.seconds * 1_000_000 + i64::from(value.nanos) / 1_000
    }

    /// Rows of a page that was asked for with `page_size`.
    pub fn page_rows(&mut self, server: &ServerSettings, page_size: i32) -> u64 {
        let max = server.page_size_max;
        match u64::try_from(page_size) {
            Ok(0) => server.page_size,
            Ok(rows) if rows <= max => rows,
            _ => {
                self.violations.add("page_size", format!("must be 0 to {max} (server.page_size_max)"));
                0
            }
        }
    }
}

/// Requests whose values come to more than this are prepared away from the threads that serve calls: large values are compressed.
const PREPARE_HERE_BYTES_MAX: usize = 256 * 1024;

/// What `prepare` makes of a request whose values come to `bytes`.
pub async fn prepared<T: Send + 'static>(
    bytes: usize,
    prepare: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    if bytes <= PREPARE_HERE_BYTES_MAX {
        return prepare();
    }
    let bytes_max = answer::bytes_max();
    tokio::task::spawn_blocking(move || answer::sync_scope(bytes_max, prepare))
        .await
        .map_err(|error| Error::internal(error.to_string()))?
}

/// A time as the wire has it.
pub fn timestamp(us: i64) -> Timestamp {
    Timestamp {
        seconds: us.div_euclid(1_000_000),
        nanos: i32::try_from(us.rem_euclid(1_000_000) * 1_000).unwrap_or(0),
    }
}

/// A duration as the wire has it.
pub fn duration(us: i64) -> Duration {
    Duration { seconds: us / 1_000_000, nanos: i32::try_from(us % 1_000_000 * 1_000).unwrap_or(0) }
}
