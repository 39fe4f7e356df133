//! Get, BatchGet, Exists, List.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use pannier_proto::cache::v1 as pb;

use super::super::Cache;
use super::super::convert::{self, Parser};
use super::super::domain::Entry;
use super::super::memory::Held;
use super::super::registry::Live;
use super::super::store;
use crate::answer::Budget;
use crate::error::Result;
use crate::page::Query;
use crate::status::ItemErrors;

/// Reads are repeated so often at most for the sake of their counts.
const READS_AGAIN_MAX: u32 = 5;

impl Cache {
    pub(super) async fn get(&self, request: pb::GetRequest) -> Result<pb::GetResponse> {
        let mut parser = Parser::new(&self.settings.cache);
        parser.name("namespace", &request.namespace);
        parser.key("key", &request.key);
        parser.violations.check()?;

        let Some(live) = self.live(&request.namespace).await? else { return Ok(pb::GetResponse::default()) };
        let held = self.lookup(live.namespace.id, &request.key).await?;
        fits(&request.key, held.as_deref())?;
        let entry = self.read(&live, held.as_deref(), request.allow_stale);
        Ok(pb::GetResponse { entry })
    }

    pub(super) async fn batch_get(&self, request: pb::BatchGetRequest) -> Result<pb::BatchGetResponse> {
        let mut parser = Parser::new(&self.settings.cache);
        parser.name("namespace", &request.namespace);
        let keys = parser.keys(request.keys);
        parser.violations.check()?;

        let asked = keys.items.iter();
        let mut results: Vec<pb::BatchGetResult> =
            asked.map(|key| pb::BatchGetResult { key: key.clone(), ..Default::default() }).collect();
        if let Some(live) = self.live(&request.namespace).await? {
            self.fill(&live, &mut results, request.allow_stale).await?;
        }
        let mut errors = ItemErrors::default();
        let result = |result: Result<_>| match result {
            Ok(result) => result,
            Err(error) => pb::BatchGetResult { error: Some(errors.of(&error)), ..Default::default() },
        };
        let results = keys.results(results.into_iter().map(Ok).collect())?;
        Ok(pb::BatchGetResponse { results: results.into_iter().map(result).collect() })
    }

    /// Reads the entries of the keys, as far as the answer has room for them.
    async fn fill(&self, live: &Live, results: &mut [pb::BatchGetResult], allow_stale: bool) -> Result<()> {
        let (found, unread) = self.lookup_many(live.namespace.id, results).await?;
        let mut budget = Budget::of_call();
        for result in results {
            let held = found.get(&result.key);
            let bytes = held.map_or(0, |held| held.entry.answer_bytes());
            if unread.contains(&result.key) || !budget.take(bytes, || result.key.clone())? {
                result.deferred = true;
                continue;
            }
            result.entry = self.read(live, held.map(Arc::as_ref), allow_stale);
        }
        Ok(())
    }

    pub(super) async fn exists(&self, request: pb::ExistsRequest) -> Result<pb::ExistsResponse> {
        let mut parser = Parser::new(&self.settings.cache);
        parser.name("namespace", &request.namespace);
        let keys = Arc::new(parser.keys(request.keys));
        parser.violations.check()?;

        let existing: HashSet<String> = match self.live(&request.namespace).await? {
            Some(live) => {
                let now_us = self.clock.now_us();
                let read =
                    self.storage.read((live.namespace.id, keys.clone()), move |db, (namespace_id, keys)| {
                        Box::pin(store::existing(db, *namespace_id, &keys.items, now_us))
                    });
                read.await?.into_iter().collect()
            }
            None => HashSet::new(),
        };
        let exists = keys.results(keys.items.iter().map(|key| Ok(existing.contains(key))).collect())?;
        let mut errors = ItemErrors::default();
        let result = |exists: Result<bool>| match exists {
            Ok(exists) => pb::ExistsResult { exists, error: None },
            Err(error) => pb::ExistsResult { exists: false, error: Some(errors.of(&error)) },
        };
        Ok(pb::ExistsResponse { results: exists.into_iter().map(result).collect() })
    }

    pub(super) async fn list(&self, request: pb::ListRequest) -> Result<pb::ListResponse> {
        let mut parser = Parser::new(&self.settings.cache);
        parser.name("namespace", &request.namespace);
        if !request.prefix.is_empty() {
            parser.key("prefix", &request.prefix);
        }
        if !request.tag.is_empty() {
            parser.tag("tag", &request.tag);
        }
        let rows_max = parser.page_rows(&self.settings.server, request.page_size);
        parser.violations.check()?;
        let query = Query::of("cache.List", &[&request.namespace, &request.prefix, &request.tag]);
        let after = query.key_of(&request.page_token)?;

        let Some(live) = self.live(&request.namespace).await? else { return Ok(pb::ListResponse::default()) };
        let now_us = self.clock.now_us();
        let filter =
            store::Filter { prefix: request.prefix, tag: request.tag, after, rows_max: rows_max + 1 };
        let (with_values, budget) = (request.include_values, Budget::of_call());
        let input = Arc::new((live.namespace.id, filter));
        let read = || {
            self.storage.read(input.clone(), move |db, input| {
                Box::pin(async move {
                    let (namespace_id, filter) = &**input;
                    let rows = store::list(db, *namespace_id, filter, now_us).await?;
                    if with_values {
                        store::add_values(db, *namespace_id, rows, budget).await
                    } else {
                        Ok((rows, false))
                    }
                })
            })
        };
        let pending = |(rows, _): &(Vec<Entry>, bool)| {
            let pending = rows.iter().map(|entry| self.accesses.pending_and_last(entry.id));
            pending.map(Option::unwrap_or_default).collect::<Vec<_>>()
        };
        let ((mut rows, cut_short), pending) = self.with_pending(read, pending).await?;
        let fitting = fitting(&rows, budget)?;
        let rows_max = usize::try_from(rows_max).unwrap_or(usize::MAX).min(fitting);
        let more = cut_short || rows.len() > rows_max;
        rows.truncate(rows_max);
        let next_page_token = match rows.last() {
            Some(last) if more => query.token(&last.key),
            _ => String::new(),
        };
        let entries = rows.iter().zip(pending).map(|(entry, (pending, last_us))| {
            convert::entry(
                entry,
                entry.access_count + pending,
                entry.access_us.max(last_us),
                now_us,
                &self.clock,
            )
        });
        Ok(pb::ListResponse { entries: entries.collect(), next_page_token })
    }

    /// What a read finds, and what is pending of it, with no access between the two: where accesses were written meanwhile it is read
    /// again, so often at most.
    async fn with_pending<T, P, R>(&self, read: impl Fn() -> R, pending: impl Fn(&T) -> P) -> Result<(T, P)>
    where
        R: Future<Output = Result<T>>,
    {
        let mut again = 0..READS_AGAIN_MAX;
        loop {
            let settled = self.accesses.settled();
            let found = read().await?;
            let pending = pending(&found);
            if self.accesses.settled() == settled || again.next().is_none() {
                return Ok((found, pending));
            }
        }
    }

    /// The namespace of that name, if there is one.
    pub(in super::super) async fn live(&self, name: &str) -> Result<Option<Arc<Live>>> {
        if let Some(live) = self.registry.get(name).filter(|live| self.is_fresh(live.loaded_us)) {
            return Ok(Some(live));
        }
        let (generation, now_us) = (self.registry.generation(), self.clock.now_us());
        let found = self.storage.read(name.to_owned(), |db, name| Box::pin(store::find(db, name))).await?;
        if found.is_none() && self.storage.is_shared() {
            self.registry.forget(name);
        }
        Ok(found.map(|namespace| self.registry.set_loaded(namespace, generation, now_us)))
    }

    /// The entry of a key from memory or the database, live or not.
    pub(super) async fn lookup(&self, namespace_id: i64, key: &str) -> Result<Option<Arc<Held>>> {
        if let Some(held) = self.held(namespace_id, key) {
            return Ok(Some(held));
        }
        let (epoch, now_us) = (self.memory.epoch(namespace_id, key), self.clock.now_us());
        let read = || {
            self.storage.read((namespace_id, key.to_owned()), |db, (namespace_id, key)| {
                Box::pin(store::get(db, *namespace_id, key))
            })
        };
        let pending =
            |found: &Option<Entry>| found.as_ref().map_or(0, |entry| self.accesses.pending(entry.id));
        let (found, pending) = self.with_pending(read, pending).await?;
        Ok(found.map(|entry| {
            self.memory.keep_loaded(namespace_id, Arc::new(Held::new(entry, pending, now_us)), epoch)
        }))
    }

    /// What memory has of a key, if it may still be served.
    fn held(&self, namespace_id: i64, key: &str) -> Option<Arc<Held>> {
        self.memory.get(namespace_id, key).filter(|held| self.is_fresh(held.loaded_us()))
    }

    async fn lookup_many(
        &self,
        namespace_id: i64,
        asked: &[pb::BatchGetResult],
    ) -> Result<(HashMap<String, Arc<Held>>, Vec<String>)> {
        let mut found = HashMap::with_capacity(asked.len());
        let mut missing = Vec::new();
        let mut epochs = HashMap::new();
        for result in asked {
            match self.held(namespace_id, &result.key) {
                Some(held) => {
                    found.insert(result.key.clone(), held);
                }
                None => {
                    let epoch = self.memory.epoch(namespace_id, &result.key);
                    if epochs.insert(result.key.clone(), epoch).is_none() {
                        missing.push(result.key.clone());
                    }
                }
            }
        }
        if missing.is_empty() {
            return Ok((found, missing));
        }
        let (budget, now_us) = (Budget::of_call(), self.clock.now_us());
        let missing = Arc::new(missing);
        let read = || {
            self.storage.read((namespace_id, missing.clone()), move |db, (namespace_id, keys)| {
                Box::pin(store::get_many(db, *namespace_id, keys, budget))
            })
        };
        let pending = |(entries, _): &(Vec<Entry>, Vec<String>)| {
            entries.iter().map(|entry| self.accesses.pending(entry.id)).collect::<Vec<_>>()
        };
        let ((entries, unread), pending) = self.with_pending(read, pending).await?;
        for (entry, pending) in entries.into_iter().zip(pending) {
            let key = entry.key.clone();
            let mut held = Arc::new(Held::new(entry, pending, now_us));
            if let Some(epoch) = epochs.get(&key) {
                held = self.memory.keep_loaded(namespace_id, held, *epoch);
            }
            found.insert(key, held);
        }
        Ok((found, unread))
    }

    /// Counts a read and answers with what it found, if that is live or, where the caller allows it, stale.
    fn read(&self, live: &Live, held: Option<&Held>, allow_stale: bool) -> Option<pb::Entry> {
        let now_us = self.clock.now_us();
        match held.filter(|held| allow_stale && held.entry.is_stale(now_us)) {
            Some(held) => {
                live.counted.stale();
                Some(self.accessed(live.namespace.id, held, now_us))
            }
            None => self.hit_or_miss(live, held),
        }
    }

    /// Counts a read and answers with what it found, if that is live.
    pub(super) fn hit_or_miss(&self, live: &Live, held: Option<&Held>) -> Option<pb::Entry> {
        let now_us = self.clock.now_us();
        let Some(held) = held.filter(|held| held.entry.is_live(now_us)) else {
            live.counted.miss();
            return None;
        };
        live.counted.hit();
        Some(self.accessed(live.namespace.id, held, now_us))
    }

    /// Counts an access and answers with the entry.
    pub(super) fn accessed(&self, namespace_id: i64, held: &Held, now_us: i64) -> pb::Entry {
        self.accesses.note(namespace_id, held.entry.id, now_us);
        convert::entry(&held.entry, held.access(now_us), now_us, now_us, &self.clock)
    }
}

/// Number of entries that fit into an answer. Error: AnswerTooLarge.
fn fitting(entries: &[Entry], mut budget: Budget) -> Result<usize> {
    for (index, entry) in entries.iter().enumerate() {
        if !budget.take(entry.answer_bytes(), || entry.key.clone())? {
            return Ok(index);
        }
    }
    Ok(entries.len())
}

/// Error: AnswerTooLarge, if the answer of a single call cannot hold the entry.
pub(super) fn fits(key: &str, held: Option<&Held>) -> Result<()> {
    let bytes = held.map_or(0, |held| held.entry.answer_bytes());
    Budget::of_call().take(bytes, || key.to_owned()).map(|_| ())
}
