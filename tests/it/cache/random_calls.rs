//! Thousands of calls by chance, each answer compared with the model's.

use pannier_proto::cache::v1 as pb;
use prost_types::{Duration, Timestamp};

use super::calls::{error_of, put_of};
use super::items::{Random, assert_about, us, value_item, value_of};
use super::model::{Condition, Expiry, Known, Model};
use crate::harness::{Pannier, START_US, pannier_with};

const KEYS: [&str; 8] = ["a", "aa", "ab", "b", "é", "é1", "%", "a%"];

/// The real cache and the model, and chance that picks what to ask them.
struct Both {
    pannier: Pannier,
    model: Model,
    random: Random,
    old_etags: Vec<String>,
}

fn half_seconds(ttl_s: i64) -> Duration {
    Duration { seconds: ttl_s, nanos: 500_000_000 }
}

#[track_caller]
fn assert_expiry(time: Option<&Timestamp>, expected_half_s: Option<i64>) {
    match expected_half_s {
        Some(half_s) => assert_about(time, START_US + half_s * 500_000),
        None => assert_eq!(us(time), None),
    }
}

#[track_caller]
fn assert_entry(entry: &pb::Entry, known: &Known) {
    assert_eq!((value_of(entry), &entry.etag), (known.value.as_slice(), &known.etag));
    assert_eq!(entry.access_count, known.access_count, "access_count of {}", entry.key);
    assert_about(entry.create_time.as_ref(), START_US + known.create_s * 1_000_000);
    assert_about(entry.update_time.as_ref(), START_US + known.update_s * 1_000_000);
    assert_expiry(entry.expire_time.as_ref(), known.expire_half_s);
    assert!(!entry.stale);
}

impl Both {
    fn key(&mut self) -> &'static str {
        KEYS[usize::try_from(self.random.below(8)).unwrap()]
    }

    fn expiry(&mut self) -> Expiry {
        match self.random.below(4) {
            0 => Expiry::Never,
            1 => Expiry::Keep,
            _ => Expiry::After(i64::try_from(self.random.below(20)).unwrap()),
        }
    }

    /// The current etag, an old one, or nonsense.
    fn etag(&mut self, key: &str) -> String {
        let current = self.model.live(key).map(|known| known.etag.clone());
        match (self.random.below(3), current) {
            (0, _) => "nonsense".into(),
            (1, Some(current)) => current,
            _ => {
                let place = self.random.below(self.old_etags.len() as u64);
                self.old_etags[usize::try_from(place).unwrap()].clone()
            }
        }
    }

    async fn put(&mut self) {
        let mut items = Vec::new();
        for _ in 0..=self.random.below(3) {
            let key = self.key();
            let value = self.random.below(1_000_000).to_string().into_bytes();
            // No expiry at all is the namespace's default here: never.
            let expiry = match self.expiry() {
                Expiry::Keep => Expiry::Never,
                other => other,
            };
            let condition = match self.random.below(6) {
                0 => Condition::Absent,
                1 => Condition::Present,
                2 => Condition::Etag(self.etag(key)),
                _ => Condition::None,
            };
            items.push((key, value, expiry, condition));
        }
        let wire = items.iter().map(|(key, value, expiry, condition)| pb::PutItem {
            expiry: match expiry {
                Expiry::After(ttl_s) => Some(pb::put_item::Expiry::Ttl(half_seconds(*ttl_s))),
                Expiry::Keep => Some(pb::put_item::Expiry::NeverExpires(true)),
                Expiry::Never => None,
            },
            condition: match condition {
                Condition::None => None,
                Condition::Absent => Some(pb::put_item::Condition::IfAbsent(true)),
                Condition::Present => Some(pb::put_item::Condition::IfPresent(true)),
                Condition::Etag(etag) => Some(pb::put_item::Condition::IfEtag(etag.clone())),
            },
            ..value_item(*key, value.clone())
        });
        let results = self.pannier.try_batch_put("n", wire.collect()).await.unwrap();
        assert_eq!(results.len(), items.len());
        for ((key, value, expiry, condition), result) in items.into_iter().zip(results) {
            match self.model.judge_put(key, &condition) {
                Err(reason) => assert_eq!(error_of(&result).1, reason, "{key} {condition:?}"),
                Ok(created) => {
                    let put = put_of(result);
                    assert_eq!(put.created, created, "{key} {condition:?}");
                    self.model.put(key, value, put.etag.clone(), expiry);
                    assert_expiry(put.expire_time.as_ref(), self.model.live(key).unwrap().expire_half_s);
                    assert!(!self.old_etags.contains(&put.etag), "an etag came again");
                    self.old_etags.push(put.etag);
                }
            }
        }
    }

    async fn get(&mut self) {
        let keys: Vec<&str> = (0..=self.random.below(3)).map(|_| self.key()).collect();
        let entries: Vec<Option<pb::Entry>> = if keys.len() == 1 {
            vec![self.pannier.get("n", keys[0]).await]
        } else {
            let results = self.pannier.batch_get("n", keys.clone()).await;
            results.into_iter().map(|result| result.entry).collect()
        };
        for (key, entry) in keys.into_iter().zip(entries) {
            let known = self.model.get(key);
            assert_eq!(entry.is_some(), known.is_some(), "{key}");
            if let (Some(entry), Some(known)) = (entry, known) {
                assert_entry(&entry, &known);
                assert_about(entry.access_time.as_ref(), START_US + known.access_s * 1_000_000);
            }
        }
    }

    async fn delete(&mut self) {
        let key = self.key();
        let if_etag = if self.random.below(2) == 0 { Some(self.etag(key)) } else { None };
        let item = pb::DeleteItem { key: key.into(), if_etag: if_etag.clone() };
        let outcomes = self.pannier.delete_items("n", vec![item]).await;
        assert_eq!(outcomes, [self.model.delete(key, if_etag.as_deref())], "{key} {if_etag:?}");
    }

    async fn touch(&mut self) {
        let (key, expiry) = (self.key(), self.expiry());
        let wire = match expiry {
            Expiry::Keep => None,
            Expiry::After(ttl_s) => Some(pb::touch_item::Expiry::Ttl(half_seconds(ttl_s))),
            Expiry::Never => Some(pb::touch_item::Expiry::NeverExpires(true)),
        };
        let touched = self.pannier.touch("n", key, wire).await;
        let (found, expire_half_s) = self.model.touch(key, expiry);
        assert_eq!(touched.found, found, "{key}");
        assert_expiry(touched.expire_time.as_ref(), expire_half_s);
    }

    async fn list(&mut self) {
        let prefix = ["", "a", "é", "%", "none"][usize::try_from(self.random.below(5)).unwrap()];
        let request = pb::ListRequest {
            namespace: "n".into(),
            prefix: prefix.into(),
            include_values: true,
            page_size: i32::try_from(self.random.below(4)).unwrap(),
            ..Default::default()
        };
        let listed = self.pannier.pages(request).await.concat();
        let expected = self.model.list(prefix);
        assert_eq!(listed.len(), expected.len(), "prefix {prefix:?}");
        for (entry, (key, known)) in listed.iter().zip(&expected) {
            assert_eq!(entry.key, *key);
            assert_entry(entry, known);
        }
    }

    async fn exists(&mut self) {
        let expected = KEYS.map(|key| self.model.live(key).is_some());
        assert_eq!(self.pannier.exists("n", &KEYS).await, expected);
    }

    async fn stats(&mut self) {
        let stats = self.pannier.stats("n").await;
        assert_eq!((stats.hit_count, stats.miss_count), (self.model.hits, self.model.misses));
        let live = i64::try_from(self.model.list("").len()).unwrap();
        let stored = i64::try_from(self.model.stored_count()).unwrap();
        assert!((live..=stored).contains(&stats.entry_count), "{live} <= {} <= {stored}", stats.entry_count);
    }

    async fn delete_by_prefix(&mut self) {
        let prefix = ["a", "é", "%", "none"][usize::try_from(self.random.below(4)).unwrap()];
        let live = i64::try_from(self.model.list(prefix).len()).unwrap();
        let (deleted, more) = self.pannier.delete_by_prefix("n", prefix).await;
        self.model.delete_by_prefix(prefix);
        assert!(deleted >= live && !more, "{deleted} of {live} with {prefix:?}");
    }

    async fn step(&mut self) {
        match self.random.below(100) {
            0..35 => self.put().await,
            35..60 => self.get().await,
            60..68 => self.delete().await,
            68..76 => self.touch().await,
            76..81 => self.list().await,
            81..86 => self.exists().await,
            86..91 => self.stats().await,
            91..93 => self.delete_by_prefix().await,
            _ => {
                let by_s = 1 + self.random.below(8);
                self.pannier.advance_s(by_s);
                self.model.now_s += i64::try_from(by_s).unwrap();
            }
        }
    }
}

async fn compare(seed: u64, memory_bytes_max: u64) {
    let mut pannier = pannier_with(|settings| {
        settings.cache.ttl_ms = 0;
        settings.cache.durability = pannier::settings::Durability::Relaxed;
        settings.cache.memory_bytes_max = memory_bytes_max;
        // Accesses on their way to the table may for a moment be told twice, see Entry.access_count.
        settings.cache.access_flush_ms = 600_000;
        settings.cache.sweep_ms = 600_000;
    })
    .await;
    pannier.put("n", value_item("first", "v")).await;
    pannier.delete("n", &["first"]).await;
    let (model, random) = (Model::default(), Random::new(seed));
    let mut both = Both { pannier, model, random, old_etags: vec!["0".into()] };
    for turn in 1..=2_000 {
        both.step().await;
        if turn % 500 == 0 {
            pannier = both.pannier.restart().await;
            both = Both { pannier, ..both };
            both.model.now_s += 1;
            both.exists().await;
            both.stats().await;
        }
    }
}

#[tokio::test]
async fn two_thousand_calls_answer_as_the_model_does() {
    compare(1, 64 << 20).await;
}

#[tokio::test]
async fn two_thousand_calls_without_memory_answer_as_the_model_does() {
    compare(2, 0).await;
}

#[tokio::test]
async fn two_thousand_calls_with_little_memory_answer_as_the_model_does() {
    compare(3, 1_000).await;
}
