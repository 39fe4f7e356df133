//! Collections: made, declared, read, deleted. They configure, and so are no mutations of commits.

use pannier_proto::records::v1 as pb;

use super::super::Records;
use super::super::convert::{self, Parser};
use super::super::store;
use crate::answer::Budget;
use crate::error::Result;
use crate::page::Query;
use crate::storage::Operation;

impl Records {
    pub(super) fn prepare_create_collection(
        &self,
        parser: &mut Parser<'_>,
        mut request: pb::CreateCollectionRequest,
    ) -> Operation<pb::CreateCollectionResponse> {
        let declaration = parser.new_collection(&mut request);
        let durability = parser.durability("durability", request.durability);
        let (incarnation, now_us) = (self.clock.token(), self.clock.now_us());
        let collections_max = self.context.bounds.collections_max;
        let operation = Operation::new(declaration, move |tx, declaration| {
            Box::pin(async move {
                let made = store::create(tx, declaration, incarnation, collections_max, now_us).await?;
                Ok(pb::CreateCollectionResponse { collection: Some(convert::collection(made)) })
            })
        });
        operation.surviving(durability)
    }

    pub(super) fn prepare_update_collection(
        &self,
        parser: &mut Parser<'_>,
        mut request: pb::UpdateCollectionRequest,
    ) -> Operation<pb::UpdateCollectionResponse> {
        let declaration = parser.changed_collection(&mut request);
        if request.if_revision < 0 {
            parser.violations.add("if_revision", "must be a revision, or zero");
        }
        let if_revision = (request.if_revision > 0).then_some(request.if_revision);
        let durability = parser.durability("durability", request.durability);
        let now_us = self.clock.now_us();
        let indexing = self.indexing.clone();
        let operation = Operation::new((declaration, indexing), move |tx, (declaration, indexing)| {
            Box::pin(async move {
                let changed = store::update(tx, declaration, if_revision, now_us).await?;
                if changed.indexes.iter().any(|index| !index.is_ready) {
                    let indexing = indexing.clone();
                    tx.after_commit(move || indexing.notify_one());
                }
                Ok(pb::UpdateCollectionResponse { collection: Some(convert::collection(changed)) })
            })
        });
        operation.surviving(durability)
    }

    pub(super) fn prepare_delete_collection(
        &self,
        parser: &mut Parser<'_>,
        request: pb::DeleteCollectionRequest,
    ) -> Operation<pb::DeleteCollectionResponse> {
        parser.name("name", &request.name);
        let durability = parser.durability("durability", request.durability);
        let names_max = self.context.bounds.deleted_collections_max;
        let operation = Operation::new(request.name, move |tx, name| {
            Box::pin(async move {
                let deleted = store::delete(tx, name, names_max).await?;
                if deleted {
                    // Who watches it is told that it is gone.
                    tx.wake(super::super::wake_topic(name));
                }
                Ok(pb::DeleteCollectionResponse { deleted })
            })
        });
        operation.surviving(durability)
    }

    pub(super) async fn get_collection(
        &self,
        request: pb::GetCollectionRequest,
    ) -> Result<pb::GetCollectionResponse> {
        let mut parser = Parser::new(&self.settings.records);
        parser.name("name", &request.name);
        parser.violations.check()?;
        let found = self.storage.read(request.name, |db, name| Box::pin(store::declared(db, name))).await?;
        Ok(pb::GetCollectionResponse { collection: Some(convert::collection(found)) })
    }

    pub(super) async fn list_collections(
        &self,
        request: pb::ListCollectionsRequest,
    ) -> Result<pb::ListCollectionsResponse> {
        let mut parser = Parser::new(&self.settings.records);
        parser.prefix(&request.prefix);
        let rows_max = parser.page_rows(&self.settings.server, request.page_size);
        parser.violations.check()?;
        let query = Query::of("records.ListCollections", &[&request.prefix]);
        let after = query.key_of(&request.page_token)?;
        let budget = Budget::of_call();
        let (found, more) = self
            .storage
            .read((request.prefix, after), move |db, (prefix, after)| {
                Box::pin(store::list_collections(db, prefix, after.as_deref(), rows_max, budget))
            })
            .await?;
        let next_page_token = match found.last() {
            Some(last) if more => query.token(&last.collection.name),
            _ => String::new(),
        };
        let collections = found.into_iter().map(convert::collection).collect();
        Ok(pb::ListCollectionsResponse { collections, next_page_token })
    }
}
