//! Stats, UpdateNamespace, GetNamespace, ListNamespaces, DeleteNamespace.

use std::sync::Arc;

use pannier_proto::cache::v1 as pb;

use super::super::Cache;
use super::super::convert::{self, Parser};
use super::super::store;
use crate::error::{Error, Result};
use crate::page::Query;

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
                let created = namespace.is_none();
                let namespace = match namespace {
                    Some(namespace) => namespace,
                    None => cache.ensure_namespace(tx, &name, now_us).await?.0,
                };
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
                let cache = cache.clone();
                tx.after_commit(move || cache.registry.forget(&namespace.name));
                Ok(pb::DeleteNamespaceResponse { deleted: true })
            })
        })
        .await
    }
}
