//! What the reference answers to calls that read, and to those for a lease.

use pannier_proto::cache::v1 as pb;
use pannier_proto::errors::v1::ErrorReason;

use super::super::answers::{Answer, Reply, token};
use super::super::operations::{Ending, Read};
use super::super::state::{Lease, Namespace, Row};
use super::super::wire::timestamp;
use super::{Reference, pb_entry, pb_namespace, us};

impl Reference {
    pub(super) fn read(&mut self, name: &'static str, read: &Read) -> Answer {
        let now_us = self.now_us;
        Ok(match read {
            Read::Get(key) => Reply::Get(pb::GetResponse { entry: self.get(name, key) }),
            Read::BatchGet(keys) => {
                let results = keys.iter().map(|key| pb::BatchGetResult {
                    key: (*key).into(),
                    entry: self.get(name, key),
                    ..Default::default()
                });
                Reply::BatchGet(pb::BatchGetResponse { results: results.collect() })
            }
            Read::Exists(keys) => {
                let namespace = self.namespaces.get(name);
                let exists = |key: &&str| namespace.is_some_and(|found| found.live(key, now_us).is_some());
                Reply::Exists(pb::ExistsResponse {
                    results: keys
                        .iter()
                        .map(exists)
                        .map(|exists| pb::ExistsResult { exists, error: None })
                        .collect(),
                })
            }
            Read::List { prefix, tag, with_values, .. } => {
                Reply::List(self.list(name, prefix, tag, *with_values))
            }
            Read::Stats => {
                let found = self.seen(name).ok_or(ErrorReason::NamespaceNotFound)?;
                Reply::Stats(pb::StatsResponse { stats: Some(stats(found)) })
            }
            Read::GetNamespace => {
                let found = self.seen(name).ok_or(ErrorReason::NamespaceNotFound)?;
                Reply::GetNamespace(pb::GetNamespaceResponse { namespace: Some(pb_namespace(name, found)) })
            }
            Read::GetOrLease { key, lease_ms } => Reply::GetOrLease(self.get_or_lease(name, key, *lease_ms)),
        })
    }

    fn get(&mut self, name: &str, key: &str) -> Option<pb::Entry> {
        let now_us = self.now_us;
        let namespace = self.namespaces.get_mut(name).filter(|found| found.is_seen)?;
        if namespace.live(key, now_us).is_none() {
            namespace.counts.misses += 1;
            return None;
        }
        namespace.counts.hits += 1;
        Some(accessed(namespace, key, now_us))
    }

    fn list(&self, name: &str, prefix: &str, tag: &str, with_values: bool) -> Vec<pb::Entry> {
        let Some(namespace) = self.namespaces.get(name) else { return Vec::new() };
        let asked = namespace.stored().filter(|stored| {
            stored.is_live(self.now_us)
                && stored.item.key.starts_with(prefix)
                && (tag.is_empty() || stored.item.tags.contains(&tag))
        });
        let entries = asked.map(|stored| {
            let mut entry = pb_entry(stored, self.now_us);
            if let (Some(pb::entry::Content::Value(value)), false) = (&mut entry.content, with_values) {
                value.clear();
            }
            entry
        });
        entries.collect()
    }

    /// A read that does not wait. A lease makes no namespace that callers see.
    fn get_or_lease(
        &mut self,
        name: &'static str,
        key: &'static str,
        lease_ms: u64,
    ) -> pb::GetOrLeaseResponse {
        let now_us = self.now_us;
        let is_seen = self.seen(name).is_some();
        let mut namespace = Namespace { is_seen, ..self.namespace(name) };
        let mut answer = pb::GetOrLeaseResponse::default();
        if namespace.live(key, now_us).is_some() {
            answer.entry = self.get(name, key);
            return answer;
        }
        if namespace.entry(key).is_some_and(|stored| stored.is_stale(now_us)) {
            namespace.counts.stales += 1;
            answer.entry = Some(accessed(&mut namespace, key, now_us));
        } else {
            namespace.counts.misses += 1;
        }
        let number = self.next_row();
        let row = namespace.rows.entry(key).or_insert(Row { number, stored: None, lease: None });
        if let Some(lease) = row.held(now_us) {
            answer.held_until_time = Some(timestamp(lease.until_us));
        } else {
            let lease = Lease {
                token: self.tokens.len(),
                until_us: now_us + us(lease_ms),
                deletions: namespace.deleted_tags.len(),
            };
            self.tokens.push((name, key));
            row.lease = Some(lease);
            let expire_time = Some(timestamp(lease.until_us));
            answer.lease = Some(pb::Lease { token: token(lease.token), expire_time });
        }
        self.namespaces.insert(name, namespace);
        answer
    }

    /// Where the first caller gets a lease and nothing to serve, the second waits until the first has ended its lease, and
    /// then gets the next. It is told the same whether it has to wait or comes after the end.
    pub(super) fn contend(
        &mut self,
        name: &'static str,
        key: &'static str,
        lease_ms: u64,
        ending: Ending,
    ) -> Answer {
        let first = self.get_or_lease(name, key, lease_ms);
        let has_to_fill = first.lease.is_some() && first.entry.is_none();
        let mut answers = vec![Ok(Reply::GetOrLease(first))];
        if has_to_fill {
            let token = self.tokens.len() - 1;
            answers.push(self.write(name, &ending.write(key, token), None));
            answers.push(Ok(Reply::GetOrLease(self.get_or_lease(name, key, lease_ms))));
        }
        Ok(Reply::Several(answers))
    }
}

/// Counts an access to an entry; answers with the entry.
fn accessed(namespace: &mut Namespace, key: &str, now_us: i64) -> pb::Entry {
    let stored = namespace.rows.get_mut(key).and_then(|row| row.stored.as_mut()).unwrap();
    stored.access_count += 1;
    stored.access_us = now_us;
    pb_entry(stored, now_us)
}

fn stats(namespace: &Namespace) -> pb::NamespaceStats {
    let counts = namespace.counts;
    let reads = counts.hits + counts.misses;
    let created = || namespace.stored().map(|stored| stored.create_us);
    pb::NamespaceStats {
        entry_count: namespace.entry_count(),
        stored_bytes: namespace.stored_bytes(),
        oldest_entry_time: created().min().map(timestamp),
        newest_entry_time: created().max().map(timestamp),
        hit_count: counts.hits,
        miss_count: counts.misses,
        stale_count: counts.stales,
        hit_rate: if reads == 0 { 0.0 } else { counts.hits as f64 / reads as f64 },
        evicted_count: counts.evicted,
        expired_count: counts.expired,
    }
}
