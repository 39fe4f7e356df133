//! A sidecar that is sent operations, and whose answers are made comparable.

use pannier::settings::Durability;
use pannier_proto::cache::v1 as pb;
use pannier_proto::errors::v1::ErrorReason;
use tonic::{Response, Status};
use tonic_types::StatusExt as _;

use super::answers::{Answer, Opaque, Reply};
use super::operations::{
    COMPRESS_BYTES_MIN, Ending, KEYS, NAMESPACES, Operation, RETENTION_MS, Read, Terms, UPKEEP_MS, Write,
};
use super::wire;
use crate::cache::items::lasting;
use crate::harness::{Pannier, pannier_with};

/// A namespace that the model knows nothing of; its being brought back within its limit tells that upkeep is done.
const WATCHED: &str = "watched";

/// How often the sidecar is asked whether upkeep is done. It is a matter of some ten times.
const ASKED_MAX: usize = 20_000;

/// How often it is then asked whether its statistics are as they should be.
const ASKED_AGAIN_MAX: usize = 500;

/// How long a caller may wait for another's fill before the test is said to hang, in real time.
const HANG: std::time::Duration = std::time::Duration::from_secs(60);

/// A sidecar with all that it gave.
pub struct Sidecar {
    /// Gone only while it restarts.
    pannier: Option<Pannier>,
    opaque: Opaque,
    /// Whether the watched namespace is there.
    is_watching: bool,
}

impl Sidecar {
    /// A fresh sidecar on a fresh database.
    pub async fn start(terms: &Terms) -> Self {
        let pannier = pannier_with(|settings| {
            settings.cache.memory_bytes_max = terms.memory_bytes_max;
            settings.cache.delete_rows_max = terms.delete_rows_max as u64;
            settings.cache.entries_max = u64::try_from(terms.entries_max).unwrap();
            settings.cache.bytes_max = 0;
            settings.cache.ttl_ms = terms.ttl_ms;
            settings.cache.stale_window_ms = terms.stale_ms;
            settings.cache.eviction = if terms.by_ttl {
                pannier::settings::Eviction::Ttl
            } else {
                pannier::settings::Eviction::Lru
            };
            settings.cache.durability = Durability::Relaxed;
            settings.cache.compress_bytes_min = COMPRESS_BYTES_MIN as u64;
            settings.cache.access_flush_ms = UPKEEP_MS;
            settings.cache.sweep_ms = UPKEEP_MS;
            settings.idempotency.retention_ms = RETENTION_MS;
        })
        .await;
        Self { pannier: Some(pannier), opaque: Opaque::default(), is_watching: false }
    }

    /// The answer to an operation that is resolved. `expected` is only waited for where the background does the work.
    pub async fn apply(&mut self, operation: &Operation, expected: &Answer) -> Answer {
        self.pannier().advance(std::time::Duration::from_millis(1));
        match operation {
            Operation::Read(namespace, read) => self.read(namespace, read).await,
            Operation::Write(namespace, write, id) => self.write(namespace, write, *id).await,
            Operation::Namespaces(page_size) => self.namespaces(*page_size).await,
            Operation::Contend { namespace, key, lease_ms, ending } => {
                self.contend(namespace, key, *lease_ms, *ending).await
            }
            Operation::Again(_) => unreachable!("is resolved"),
            Operation::Pass { ms } => {
                self.pannier().advance(std::time::Duration::from_millis(*ms));
                Ok(Reply::Nothing)
            }
            Operation::Upkeep => self.upkeep(expected).await,
            Operation::Restart => {
                let pannier = self.pannier.take().unwrap();
                self.pannier = Some(pannier.restart().await);
                Ok(Reply::Nothing)
            }
        }
    }

    fn pannier(&self) -> &Pannier {
        self.pannier.as_ref().unwrap()
    }

    /// The reply of `answer`, numbered.
    fn reply<T>(&mut self, answer: Result<Response<T>, Status>, of: impl FnOnce(T) -> Reply) -> Answer {
        let mut reply = of(answer.map_err(|status| reason_of(&status))?.into_inner());
        self.opaque.number(&mut reply);
        Ok(reply)
    }

    async fn read(&mut self, namespace: &str, read: &Read) -> Answer {
        let namespace = namespace.to_owned();
        let strings = |keys: &[&str]| keys.iter().map(ToString::to_string).collect();
        let mut cache = self.pannier().cache.clone();
        match read {
            Read::Get(key) => {
                let request = pb::GetRequest { namespace, key: (*key).into(), ..Default::default() };
                self.reply(cache.get(request).await, Reply::Get)
            }
            Read::BatchGet(keys) => {
                let request = pb::BatchGetRequest { namespace, keys: strings(keys), ..Default::default() };
                self.reply(cache.batch_get(request).await, Reply::BatchGet)
            }
            Read::Exists(keys) => {
                let request = pb::ExistsRequest { namespace, keys: strings(keys) };
                self.reply(cache.exists(request).await, Reply::Exists)
            }
            Read::List { prefix, tag, page_size, with_values } => {
                let request = pb::ListRequest {
                    namespace,
                    prefix: (*prefix).into(),
                    tag: (*tag).into(),
                    include_values: *with_values,
                    page_size: i32::try_from(*page_size).unwrap(),
                    page_token: String::new(),
                };
                self.list(request).await
            }
            Read::Stats => self.reply(cache.stats(pb::StatsRequest { namespace }).await, Reply::Stats),
            Read::GetNamespace => {
                let request = pb::GetNamespaceRequest { name: namespace };
                self.reply(cache.get_namespace(request).await, Reply::GetNamespace)
            }
            Read::GetOrLease { key, lease_ms } => {
                let request = get_or_lease(&namespace, key, *lease_ms, 0);
                self.reply(cache.get_or_lease(request).await, Reply::GetOrLease)
            }
        }
    }

    async fn list(&mut self, mut request: pb::ListRequest) -> Answer {
        let mut all = Vec::new();
        loop {
            let page = self.pannier().try_list(request.clone()).await.map_err(|status| reason_of(&status))?;
            if page.entries.len() > usize::try_from(request.page_size).unwrap() || all.len() > KEYS.len() {
                return Ok(Reply::Endless);
            }
            all.extend(page.entries);
            if page.next_page_token.is_empty() {
                return self.reply(Ok(Response::new(all)), Reply::List);
            }
            request.page_token = page.next_page_token;
        }
    }

    async fn write(&mut self, name: &str, write: &Write, id: Option<u32>) -> Answer {
        let (namespace, request_id) = (name.to_owned(), wire::request_id(id));
        let opaque = &self.opaque;
        let mut cache = self.pannier().cache.clone();
        match write {
            Write::Put(item, durability) => {
                let item = Some(wire::put_item(item, opaque));
                let durability = wire::durability(*durability);
                let request = pb::PutRequest { namespace, item, durability, request_id };
                self.reply(cache.put(request).await, Reply::Put)
            }
            Write::BatchPut(items, durability) => {
                let items = items.iter().map(|item| wire::put_item(item, opaque)).collect();
                let durability = wire::durability(*durability);
                let request =
                    pb::BatchPutRequest { namespace, items, durability, request_id, ..Default::default() };
                self.reply(cache.batch_put(request).await, Reply::BatchPut)
            }
            Write::Delete(items) => {
                let items = items.iter().map(|(key, mark)| wire::delete_item(key, mark.as_ref(), opaque));
                let items = items.collect();
                let request = pb::DeleteRequest { namespace, items, request_id, ..Default::default() };
                self.reply(cache.delete(request).await, Reply::Delete)
            }
            Write::DeleteByPrefix(_) | Write::DeleteByTag(_) => self.delete_rows(name, write, id).await,
            Write::Touch(items) => {
                let items = items.iter().map(|(key, expiry)| wire::touch_item(key, *expiry)).collect();
                let request = pb::TouchRequest { namespace, items, request_id, ..Default::default() };
                self.reply(cache.touch(request).await, Reply::Touch)
            }
            Write::Evict(count) => {
                let request =
                    pb::EvictRequest { namespace, count: i32::try_from(*count).unwrap(), request_id };
                self.reply(cache.evict(request).await, Reply::Evict)
            }
            Write::Update(change) => {
                let (namespace, mask) = wire::namespace(name, change);
                let (namespace, update_mask) = (Some(namespace), Some(mask));
                let request = pb::UpdateNamespaceRequest { namespace, update_mask, request_id };
                self.reply(cache.update_namespace(request).await, Reply::Update)
            }
            Write::DeleteNamespace => {
                let request = pb::DeleteNamespaceRequest { name: namespace, request_id };
                self.reply(cache.delete_namespace(request).await, Reply::DeleteNamespace)
            }
            Write::Release(key, mark) => {
                let lease_token = wire::text(mark, &opaque.tokens);
                let key = (*key).into();
                let request = pb::ReleaseLeaseRequest { namespace, key, lease_token, request_id };
                self.reply(cache.release_lease(request).await, Reply::Release)
            }
        }
    }

    /// Deletes by prefix or tag, with a request id once and without one until there is no more.
    async fn delete_rows(&mut self, namespace: &str, write: &Write, id: Option<u32>) -> Answer {
        let mut cache = self.pannier().cache.clone();
        let mut calls = Vec::new();
        loop {
            let (namespace, request_id) = (namespace.to_owned(), wire::request_id(id));
            let call = match write {
                Write::DeleteByPrefix(prefix) => {
                    let prefix = (*prefix).into();
                    let request = pb::DeleteByPrefixRequest { namespace, prefix, request_id };
                    let answer = cache.delete_by_prefix(request).await;
                    answer.map(|answer| (answer.get_ref().deleted_count, answer.get_ref().more))
                }
                Write::DeleteByTag(tag) => {
                    let tag = (*tag).into();
                    let request = pb::DeleteByTagRequest { namespace, tag, request_id };
                    let answer = cache.delete_by_tag(request).await;
                    answer.map(|answer| (answer.get_ref().deleted_count, answer.get_ref().more))
                }
                other => unreachable!("{other:?} deletes no rows by prefix or tag"),
            };
            let (deleted, more) = call.map_err(|status| reason_of(&status))?;
            calls.push((deleted, more));
            if !more || id.is_some() || calls.len() == 100 {
                return Ok(Reply::DeleteRows(calls));
            }
        }
    }

    async fn namespaces(&mut self, page_size: usize) -> Answer {
        let mut request = pb::ListNamespacesRequest {
            page_size: i32::try_from(page_size).unwrap(),
            page_token: String::new(),
        };
        let mut cache = self.pannier().cache.clone();
        let mut all = Vec::new();
        loop {
            let page = cache.list_namespaces(request.clone()).await;
            let page = page.map_err(|status| reason_of(&status))?.into_inner();
            if page.namespaces.len() > page_size || all.len() > NAMESPACES.len() {
                return Ok(Reply::Endless);
            }
            all.extend(page.namespaces.into_iter().filter(|namespace| namespace.name != WATCHED));
            if page.next_page_token.is_empty() {
                return Ok(Reply::Namespaces(all));
            }
            request.page_token = page.next_page_token;
        }
    }

    async fn contend(&mut self, namespace: &str, key: &'static str, lease_ms: u64, ending: Ending) -> Answer {
        let mut cache = self.pannier().cache.clone();
        let first = cache.get_or_lease(get_or_lease(namespace, key, lease_ms, 0)).await;
        let has_to_fill = first.as_ref().is_ok_and(|first| {
            let answer = first.get_ref();
            answer.lease.is_some() && answer.entry.is_none()
        });
        let mut answers = vec![self.reply(first, Reply::GetOrLease)];
        if has_to_fill {
            let token = self.opaque.tokens.newest();
            let request = get_or_lease(namespace, key, lease_ms, 30_000);
            let waiting = tokio::spawn(async move { cache.get_or_lease(request).await });
            answers.push(self.write(namespace, &ending.write(key, token), None).await);
            let waited =
                tokio::time::timeout(HANG, waiting).await.expect("the waiting caller is woken").unwrap();
            answers.push(self.reply(waited, Reply::GetOrLease));
        }
        Ok(Reply::Several(answers))
    }

    /// Moves the clock on so that upkeep begins, and waits until it is done.
    ///
    /// Upkeep writes gathered accesses, then removes what has expired in any namespace, then brings namespaces back within
    /// their limits. So when the watched one is within its limit again, all that does not show in statistics is done; the
    /// others' limits do show.
    async fn upkeep(&mut self, expected: &Answer) -> Answer {
        let pannier = self.pannier();
        if !self.is_watching {
            pannier.put(WATCHED, lasting("first", "v")).await;
        }
        pannier.limit_entries(WATCHED, 0).await;
        pannier.put(WATCHED, lasting(&format!("at {}", pannier.now_us()), "v")).await;
        pannier.limit_entries(WATCHED, 1).await;
        pannier.advance(std::time::Duration::from_millis(UPKEEP_MS));
        let mut asked = 0;
        while pannier.stats(WATCHED).await.entry_count > 1 {
            asked += 1;
            assert!(asked < ASKED_MAX, "upkeep did not begin, or did not end");
        }
        self.is_watching = true;
        let mut asked = 0;
        loop {
            let mut all = Vec::new();
            for namespace in NAMESPACES {
                all.push(self.read(namespace, &Read::Stats).await);
            }
            asked += 1;
            let answer = Ok(Reply::Several(all));
            if answer == *expected || asked >= ASKED_AGAIN_MAX {
                return answer;
            }
        }
    }
}

fn get_or_lease(namespace: &str, key: &str, lease_ms: u64, wait_ms: u64) -> pb::GetOrLeaseRequest {
    pb::GetOrLeaseRequest {
        namespace: namespace.into(),
        key: key.into(),
        lease_ttl: Some(wire::milliseconds(lease_ms)),
        wait_max: Some(wire::milliseconds(wait_ms)),
    }
}

/// The reason of an error; an error without one is told as unspecified.
fn reason_of(status: &Status) -> ErrorReason {
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| format!("ERROR_REASON_{}", info.reason));
    reason.and_then(|name| ErrorReason::from_str_name(&name)).unwrap_or_default()
}
