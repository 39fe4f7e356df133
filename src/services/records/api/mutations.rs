//! What changes records, prepared for a call of its own or for a commit: Put, BatchPut, Patch, Delete, BatchDelete; and the check of a
//! commit. Put is a BatchPut of one, Delete a BatchDelete of one.

use pannier_proto::records::v1 as pb;
use pannier_proto::transaction::v1::{CheckResult, RecordsCheck, records_check::Expected};

use super::super::Records;
use super::super::convert::{self, Deleting, Parser, Storing};
use super::super::domain::Condition;
use super::super::store::{self, Context, Writer};
use crate::batch::Failing;
use crate::error::{Error, Result};
use crate::storage::{Operation, Tx};

/// Documents to be stored.
struct Puts {
    context: Context,
    collection: String,
    items: Vec<Storing>,
    now_us: i64,
    failing: Failing,
}

/// Records to be deleted.
struct Deletes {
    context: Context,
    collection: String,
    items: Vec<Deleting>,
    now_us: i64,
    failing: Failing,
}

impl Records {
    pub(in crate::services) fn prepare_put(
        &self,
        parser: &mut Parser<'_>,
        request: pb::PutRequest,
    ) -> Operation<pb::PutResponse> {
        let durability = parser.durability("durability", request.durability);
        let item = parser.storing(&|name| format!("item.{name}"), request.item.unwrap_or_default(), 0);
        let puts = self.puts(parser, request.collection, vec![item], Failing::Single);
        let stored = puts.map(|mut results| pb::PutResponse { result: results.pop().and_then(Result::ok) });
        stored.surviving(durability)
    }

    pub(in crate::services) fn prepare_batch_put(
        &self,
        parser: &mut Parser<'_>,
        request: pb::BatchPutRequest,
    ) -> Operation<pb::BatchPutResponse> {
        let durability = parser.durability("durability", request.durability);
        let is_mode = pb::PutMode::try_from(request.mode).is_ok();
        if !is_mode {
            parser.violations.add("mode", format!("{} is no PutMode", request.mode));
        }
        let mode = if is_mode { request.mode } else { 0 };
        let max = parser.settings.batch_items_max;
        let mut items = Vec::new();
        if parser.batch("items", request.items.len(), max, "records.batch_items_max") {
            for (index, item) in request.items.into_iter().enumerate() {
                items.push(parser.storing(&|name| format!("items[{index}].{name}"), item, mode));
            }
        }
        let (count, failing) = (items.len(), Failing::of_batch(parser.is_part()));
        let puts = self.puts(parser, request.collection, items, failing);
        let stored = puts.map(|results| pb::BatchPutResponse {
            results: results.into_iter().map(convert::put_result).collect(),
        });
        stored.surviving(durability).of_items(count)
    }

    /// The one way to store documents.
    fn puts(
        &self,
        parser: &mut Parser<'_>,
        collection: String,
        mut items: Vec<Storing>,
        failing: Failing,
    ) -> Operation<Vec<Result<pb::PutResult>>> {
        parser.name("collection", &collection);
        for item in items.iter_mut().filter(|item| item.key.is_empty()) {
            item.key = self.clock.uuid_v7().to_string();
        }
        let (context, now_us) = (self.context.clone(), self.clock.now_us());
        let lock = store::lock_of(&collection);
        let puts = Puts { context, collection, items, now_us, failing };
        Operation::new(puts, |tx, puts| Box::pin(puts.store(tx))).locking([lock])
    }

    pub(in crate::services) fn prepare_patch(
        &self,
        parser: &mut Parser<'_>,
        request: pb::PatchRequest,
    ) -> Operation<pb::PatchResponse> {
        parser.name("collection", &request.collection);
        parser.key(&|| "key".to_owned(), &request.key);
        parser.object(&|| "patch_json".to_owned(), &request.patch_json);
        let condition = parser.if_revision(&|| "if_revision".to_owned(), request.if_revision);
        let durability = parser.durability("durability", request.durability);
        let (lock, now_us) = (store::lock_of(&request.collection), self.clock.now_us());
        let operation = Operation::new((self.context.clone(), request), move |tx, (context, request)| {
            Box::pin(async move {
                let mut writer = Writer::begin(tx, context, &request.collection, now_us).await?;
                let record = writer.patch(None, &request.key, &request.patch_json, condition).await?;
                writer.finish().await?;
                Ok(pb::PatchResponse { record: Some(convert::record(record)) })
            })
        });
        operation.surviving(durability).locking([lock])
    }

    pub(in crate::services) fn prepare_delete(
        &self,
        parser: &mut Parser<'_>,
        request: pb::DeleteRequest,
    ) -> Operation<pb::DeleteResponse> {
        let durability = parser.durability("durability", request.durability);
        let item = parser.deleting(&|name| format!("item.{name}"), request.item.unwrap_or_default());
        let deletes = self.deletes(parser, request.collection, vec![item], Failing::Single);
        let deleted =
            deletes.map(|mut results| pb::DeleteResponse { result: results.pop().and_then(Result::ok) });
        deleted.surviving(durability)
    }

    pub(in crate::services) fn prepare_batch_delete(
        &self,
        parser: &mut Parser<'_>,
        request: pb::BatchDeleteRequest,
    ) -> Operation<pb::BatchDeleteResponse> {
        let durability = parser.durability("durability", request.durability);
        let max = parser.settings.batch_items_max;
        let mut items = Vec::new();
        if parser.batch("items", request.items.len(), max, "records.batch_items_max") {
            for (index, item) in request.items.into_iter().enumerate() {
                items.push(parser.deleting(&|name| format!("items[{index}].{name}"), item));
            }
        }
        let (count, failing) = (items.len(), Failing::of_batch(parser.is_part()));
        let deletes = self.deletes(parser, request.collection, items, failing);
        let deleted = deletes.map(|results| pb::BatchDeleteResponse {
            results: results.into_iter().map(convert::delete_result).collect(),
        });
        deleted.surviving(durability).of_items(count)
    }

    /// The one way to delete records.
    fn deletes(
        &self,
        parser: &mut Parser<'_>,
        collection: String,
        items: Vec<Deleting>,
        failing: Failing,
    ) -> Operation<Vec<Result<pb::DeleteResult>>> {
        parser.name("collection", &collection);
        let (context, now_us) = (self.context.clone(), self.clock.now_us());
        let lock = store::lock_of(&collection);
        let deletes = Deletes { context, collection, items, now_us, failing };
        Operation::new(deletes, |tx, deletes| Box::pin(deletes.delete(tx))).locking([lock])
    }

    pub(in crate::services) fn prepare_check(
        &self,
        parser: &mut Parser<'_>,
        check: RecordsCheck,
    ) -> Operation<CheckResult> {
        parser.name("collection", &check.collection);
        parser.key(&|| "key".to_owned(), &check.key);
        let condition = match check.expected {
            Some(Expected::Absent(said)) => parser.expects("absent", said, Condition::IfAbsent),
            Some(Expected::Present(said)) => parser.expects("present", said, Condition::IfPresent),
            Some(Expected::Revision(revision)) => {
                if revision < 1 {
                    parser.violations.add("revision", "must be a revision, 1 or more");
                }
                Condition::IfRevision(revision)
            }
            None => {
                parser.violations.add("expected", "is missing: say what must hold");
                Condition::Always
            }
        };
        let lock = store::lock_of(&check.collection);
        let operation = Operation::new(check, move |tx, check| {
            Box::pin(async move {
                store::check(tx, &check.collection, &check.key, condition).await?;
                Ok(CheckResult {})
            })
        });
        operation.locking([lock])
    }
}

impl Puts {
    async fn store(&self, tx: &Tx<'_>) -> Result<Vec<Result<pb::PutResult>>> {
        let mut writer = Writer::begin(tx, &self.context, &self.collection, self.now_us).await?;
        let mut results = Vec::with_capacity(self.items.len());
        for Storing { key, document, condition, existing } in &self.items {
            let put = writer.put(key, document, *condition, *existing).await;
            results.push(alone(put.map(|put| convert::stored(key.clone(), put)))?);
        }
        writer.finish().await?;
        self.failing.results(results, "items")
    }
}

impl Deletes {
    async fn delete(&self, tx: &Tx<'_>) -> Result<Vec<Result<pb::DeleteResult>>> {
        let mut writer = Writer::begin(tx, &self.context, &self.collection, self.now_us).await?;
        let mut results = Vec::with_capacity(self.items.len());
        for Deleting { key, condition } in &self.items {
            let deleted = writer.delete(key, *condition).await;
            results.push(alone(deleted.map(convert::deletion))?);
        }
        writer.finish().await?;
        self.failing.results(results, "items")
    }
}

/// What is wrong with one item alone; the errors are the database's, after which nothing goes on.
fn alone<T>(result: Result<T>) -> Result<Result<T>> {
    match result {
        Err(error @ (Error::Records(_) | Error::Invalid(_))) => Ok(Err(error)),
        Err(error) => Err(error),
        Ok(done) => Ok(Ok(done)),
    }
}
