//! A cache in a few lines, on a BTreeMap: what the real one must answer.

use std::collections::BTreeMap;

use pannier_proto::cache::v1::DeleteOutcome;
use pannier_proto::errors::v1::ErrorReason;

/// What the model knows of an entry. Expiry is a time in seconds and a half, so that no clock of whole seconds meets it.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    pub value: Vec<u8>,
    pub etag: String,
    pub create_s: i64,
    pub update_s: i64,
    pub access_s: i64,
    pub expire_half_s: Option<i64>,
    pub access_count: i64,
}

#[derive(Clone, Debug)]
pub enum Condition {
    None,
    Absent,
    Present,
    Etag(String),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Expiry {
    Keep,
    /// After so many seconds and a half.
    After(i64),
    Never,
}

impl Expiry {
    fn at(self, now_s: i64, kept: Option<i64>) -> Option<i64> {
        match self {
            Self::Keep => kept,
            Self::After(ttl_s) => Some(2 * (now_s + ttl_s) + 1),
            Self::Never => None,
        }
    }
}

#[derive(Default)]
pub struct Model {
    pub now_s: i64,
    pub hits: i64,
    pub misses: i64,
    stored: BTreeMap<String, Known>,
}

impl Model {
    pub fn live(&self, key: &str) -> Option<&Known> {
        self.stored.get(key).filter(|known| self.is_live(known))
    }

    fn is_live(&self, known: &Known) -> bool {
        known.expire_half_s.is_none_or(|expire_half_s| expire_half_s > 2 * self.now_s)
    }

    /// The live entries by key.
    pub fn list(&self, prefix: &str) -> Vec<(String, Known)> {
        let all = self.stored.iter().filter(|(key, known)| key.starts_with(prefix) && self.is_live(known));
        all.map(|(key, known)| (key.clone(), known.clone())).collect()
    }

    /// How many are stored, the expired with them.
    pub fn stored_count(&self) -> usize {
        self.stored.len()
    }

    /// Whether a put with this condition must succeed, and if so whether it creates.
    pub fn judge_put(&self, key: &str, condition: &Condition) -> Result<bool, ErrorReason> {
        match (condition, self.live(key)) {
            (Condition::Absent, Some(_)) => Err(ErrorReason::EntryExists),
            (Condition::Present | Condition::Etag(_), None) => Err(ErrorReason::EntryNotFound),
            (Condition::Etag(etag), Some(known)) if *etag != known.etag => Err(ErrorReason::EtagMismatch),
            (_, live) => Ok(live.is_none()),
        }
    }

    pub fn put(&mut self, key: &str, value: Vec<u8>, etag: String, expiry: Expiry) {
        let former = self.live(key).map(|known| (known.create_s, known.access_count));
        let (create_s, access_count) = former.unwrap_or((self.now_s, 1));
        let known = Known {
            value,
            etag,
            create_s,
            update_s: self.now_s,
            access_s: self.now_s,
            expire_half_s: expiry.at(self.now_s, None),
            access_count,
        };
        self.stored.insert(key.into(), known);
    }

    pub fn get(&mut self, key: &str) -> Option<Known> {
        let now_s = self.now_s;
        if self.live(key).is_none() {
            self.misses += 1;
            return None;
        }
        self.hits += 1;
        let known = self.stored.get_mut(key)?;
        known.access_count += 1;
        known.access_s = now_s;
        Some(known.clone())
    }

    pub fn delete(&mut self, key: &str, if_etag: Option<&str>) -> DeleteOutcome {
        match self.live(key) {
            None => DeleteOutcome::NotFound,
            Some(known) if if_etag.is_some_and(|etag| etag != known.etag) => DeleteOutcome::EtagMismatch,
            Some(_) => {
                self.stored.remove(key);
                DeleteOutcome::Deleted
            }
        }
    }

    /// Whether there was a live entry, and its expiry then.
    pub fn touch(&mut self, key: &str, expiry: Expiry) -> (bool, Option<i64>) {
        let now_s = self.now_s;
        if self.live(key).is_none() {
            return (false, None);
        }
        let Some(known) = self.stored.get_mut(key) else { return (false, None) };
        known.expire_half_s = expiry.at(now_s, known.expire_half_s);
        known.access_s = now_s;
        (true, known.expire_half_s)
    }

    pub fn delete_by_prefix(&mut self, prefix: &str) {
        self.stored.retain(|key, _| !key.starts_with(prefix));
    }
}
