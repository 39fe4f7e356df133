//! Stats, UpdateNamespace, GetNamespace, ListNamespaces, DeleteNamespace.

use std::sync::Arc;

use pannier_proto::cache::v1 as pb;

use super::super::Cache;
use super::super::convert::{self, Parser};
use super::super::domain::{Namespace, Origin, Usage};
use super::super::store::{self, Making};
use crate::error::{Error, Result};
use crate::page::Query;
use crate::storage::Tx;

impl Cache {
    pub(super) async fn stats(&self, request: pb::StatsRequest) -> Result<pb::StatsResponse> {
        let mut parser = Parser::new(&self.settings.cache);
        parser.name("namespace", &request.namespace);
        parser.violations.check()?;

        let live = self.registry.get(&request.namespace);
        let _writing = match &live {
            Some(live) => Some(live.counted.writing.lock().await),
            None => None,
        };
        let mut stats =
            self.storage.read(request.namespace, |db, name| Box::pin(store::stats(db, name))).await?;
        let waiting = live.as_ref().map(|live| live.counted.reads()).unwrap_or_default();
        stats.reads.hits += waiting.hits;
        stats.reads.misses += waiting.misses;
        stats.reads.stales += waiting.stales;
        Ok(pb::StatsResponse { stats: Some(convert::stats(&stats, &self.clock)) })
    }

    pub(super) async fn update_namespace(
        self: &Arc<Self>,
        mut request: pb::UpdateNamespaceRequest,
    ) -> Result<pb::UpdateNamespaceResponse> {
        let mut parser = Parser::new(&self.settings.cache);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "UpdateNamespace", &request);
        let asked = request.namespace.unwrap_or_default();
        parser.name("namespace.name", &asked.name);
        let patch = parser.limits_patch(&asked, request.update_mask.as_ref());
        parser.violations.check()?;

        let durability = self.durability(None, &asked.name).await?;
        let (now_us, name) = (self.clock.now_us(), asked.name.clone());
        self.change(durability, asked.name, key, move |tx, cache, namespace| {
            let name = name.clone();
            Box::pin(async move {
                let created = namespace.is_none_or(|namespace| namespace.origin == Origin::Provisional);
                let (namespace, _) = cache.ensure_namespace(tx, &name, Origin::Configured, now_us).await?;
                let limits = patch.apply(namespace.limits);
                let namespace = store::update(tx, namespace, limits, now_us).await?;
                let shown = Some(convert::namespace(&namespace, &cache.clock));
                let cache = cache.clone();
                tx.after_commit(move || cache.registry.set_written(namespace, now_us));
                Ok(pb::UpdateNamespaceResponse { namespace: shown, created })
            })
        })
        .await
    }

    pub(super) async fn get_namespace(
        &self,
        request: pb::GetNamespaceRequest,
    ) -> Result<pb::GetNamespaceResponse> {
        let mut parser = Parser::new(&self.settings.cache);
        parser.name("name", &request.name);
        parser.violations.check()?;
        let found = self.storage.read(request.name, |db, name| Box::pin(store::find(db, name))).await?;
        let namespace = found.ok_or(Error::NamespaceNotFound)?;
        Ok(pb::GetNamespaceResponse { namespace: Some(convert::namespace(&namespace, &self.clock)) })
    }

    pub(super) async fn list_namespaces(
        &self,
        request: pb::ListNamespacesRequest,
    ) -> Result<pb::ListNamespacesResponse> {
        let mut parser = Parser::new(&self.settings.cache);
        let rows_max = parser.page_rows(&self.settings.server, request.page_size);
        parser.violations.check()?;
        let query = Query::of("cache.ListNamespaces", &[]);
        let after = query.key_of(&request.page_token)?;
        let mut found = self
            .storage
            .read(after, move |db, after| {
                Box::pin(store::find_all(db, after.as_deref(), rows_max.saturating_add(1)))
            })
            .await?;
        let rows_max = usize::try_from(rows_max).unwrap_or(usize::MAX);
        let more = found.len() > rows_max;
        found.truncate(rows_max);
        let next_page_token = match found.last() {
            Some(last) if more => query.token(&last.name),
            _ => String::new(),
        };
        let namespaces = found.iter().map(|found| convert::namespace(found, &self.clock)).collect();
        Ok(pb::ListNamespacesResponse { namespaces, next_page_token })
    }

    pub(super) async fn delete_namespace(
        self: &Arc<Self>,
        mut request: pb::DeleteNamespaceRequest,
    ) -> Result<pb::DeleteNamespaceResponse> {
        let mut parser = Parser::new(&self.settings.cache);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "DeleteNamespace", &request);
        parser.name("name", &request.name);
        parser.violations.check()?;

        let durability = self.durability(None, &request.name).await?;
        self.change(durability, request.name, key, move |tx, cache, namespace| {
            Box::pin(async move {
                let Some(namespace) = namespace else { return Ok(pb::DeleteNamespaceResponse::default()) };
                store::delete(tx, &namespace).await?;
                tx.wake(Cache::namespace_topic(namespace.id));
                let (cache, deleted) = (cache.clone(), namespace.origin != Origin::Provisional);
                tx.after_commit(move || cache.registry.forget(&namespace.name));
                Ok(pb::DeleteNamespaceResponse { deleted })
            })
        })
        .await
    }
    /// The namespace of that name in this transaction, and what it holds; made by a write of `origin` if no caller sees it yet.
    ///
    /// Error: TooManyNamespaces.
    pub(super) async fn ensure_namespace(
        self: &Arc<Self>,
        tx: &Tx<'_>,
        name: &str,
        origin: Origin,
        now_us: i64,
    ) -> Result<(Namespace, Usage)> {
        let making = self.making(origin, now_us);
        let (made, removed) = match find_or_take_turn(tx, name).await? {
            Some((namespace, usage)) if namespace.origin != Origin::Provisional => {
                return Ok((namespace, usage));
            }
            Some((namespace, _)) => store::promote(tx, namespace, making).await?,
            None => store::create(tx, name, making).await?,
        };
        let (cache, written) = (self.clone(), made.clone());
        tx.after_commit(move || {
            removed.iter().for_each(|name| cache.registry.forget(name));
            cache.registry.set_written(written, now_us);
        });
        Ok((made, Usage::default()))
    }

    /// The namespace of that name in this transaction, for a lease: provisional if it is made here.
    ///
    /// Error: TooManyNamespaces.
    pub(super) async fn namespace_of_lease(&self, tx: &Tx<'_>, name: &str, now_us: i64) -> Result<Namespace> {
        if let Some((namespace, _)) = find_or_take_turn(tx, name).await? {
            return Ok(namespace);
        }
        Ok(store::create(tx, name, self.making(Origin::Provisional, now_us)).await?.0)
    }

    fn making(&self, origin: Origin, now_us: i64) -> Making {
        let namespaces_max = i64::try_from(self.settings.cache.namespaces_max).unwrap_or(i64::MAX);
        Making { limits: self.default_limits(), origin, namespaces_max, now_us }
    }
}

/// The namespace of that name and what it holds, locked. If there is none, this transaction is the only one that makes it.
async fn find_or_take_turn(tx: &Tx<'_>, name: &str) -> Result<Option<(Namespace, Usage)>> {
    if let Some(found) = store::find_with_usage(tx, name).await? {
        return Ok(Some(found));
    }
    store::lock_of(name).take(tx).await?;
    store::find_with_usage(tx, name).await
}
