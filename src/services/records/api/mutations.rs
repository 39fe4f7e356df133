//! What changes records, prepared for a call of its own or for a commit: Put, Patch, Delete and their batches; and the check of a commit.
//! A single call is a batch of one.

use std::sync::Arc;

use pannier_proto::records::v1 as pb;
use pannier_proto::transaction::v1::{CheckResult, RecordsCheck, records_check::Expected};

use super::super::Records;
use super::super::convert::{self, Deleting, Parser, Patching, Storing};
use super::super::domain::{Condition, Record};
use super::super::store::{self, Context, Writer};
use crate::batch::{Batch, only};
use crate::error::{Error, Result};
use crate::status::ItemErrors;
use crate::storage::{Judge, Operation, Tx};

/// The setting that bounds batches.
const ITEMS_MAX: &str = "records.batch_items_max";

/// A batch that changes a collection.
struct Writing<T> {
    context: Context,
    collection: String,
    batch: Batch<T>,
    now_us: i64,
    /// Whether it is a mutation of a commit.
    is_part: bool,
}

/// The results of a batch, in the order of the request.
type Results<T> = Vec<Result<T>>;

impl Records {
    /// What a write needs, and what is done before it is run again.
    pub(super) fn context_of_write(&self) -> (Context, Arc<dyn Judge>) {
        let context = Context { verdicts: Default::default(), ..self.context.clone() };
        let judge = self.judging.judge(&context.verdicts);
        (context, judge)
    }

    /// A batch that changes a collection, as an operation.
    fn writing<T: Send + Sync + 'static, R: Send + 'static>(
        &self,
        parser: &mut Parser<'_>,
        collection: String,
        batch: Batch<T>,
        run: for<'a> fn(&'a Writing<T>, &'a Tx<'a>) -> futures_util::future::BoxFuture<'a, Result<R>>,
    ) -> Operation<R> {
        parser.name("collection", &collection);
        let (context, judge) = self.context_of_write();
        let (items, lock, now_us) = (batch.count(), store::lock_of(&collection), self.clock.now_us());
        let writing = Writing { context, collection, batch, now_us, is_part: parser.is_part() };
        let operation = Operation::new(writing, move |tx, writing| run(writing, tx));
        operation.of_items(items).locking([lock]).judged(judge)
    }

    pub(in crate::services) fn prepare_put(
        &self,
        parser: &mut Parser<'_>,
        request: pb::PutRequest,
    ) -> Operation<pb::PutResponse> {
        let durability = parser.durability("durability", request.durability);
        let item = request.item.unwrap_or_default();
        let batch = parser.item("item", item, |parser, item| parser.storing(item, 0));
        let stored = self.storing(parser, request.collection, batch);
        stored.surviving(durability).try_map(|results| {
            let result = only(results).and_then(|result| result)?;
            Ok(pb::PutResponse { result: Some(result) })
        })
    }

    pub(in crate::services) fn prepare_batch_put(
        &self,
        parser: &mut Parser<'_>,
        request: pb::BatchPutRequest,
    ) -> Operation<pb::BatchPutResponse> {
        let durability = parser.durability("durability", request.durability);
        let failing = parser.failing(request.atomic);
        let is_mode = pb::PutMode::try_from(request.mode).is_ok();
        if !is_mode {
            parser.violations.add("mode", format!("unknown PutMode {}", request.mode));
        }
        let mode = if is_mode { request.mode } else { 0 };
        let max = (parser.settings.batch_items_max, ITEMS_MAX);
        let batch =
            parser.items("items", request.items, max, failing, |parser, item| parser.storing(item, mode));
        self.storing(parser, request.collection, batch).surviving(durability).map(|results| {
            let mut errors = ItemErrors::default();
            let result = |result| convert::put_result(result, &mut errors);
            pb::BatchPutResponse { results: results.into_iter().map(result).collect() }
        })
    }

    /// The one way to store documents.
    fn storing(
        &self,
        parser: &mut Parser<'_>,
        collection: String,
        mut batch: Batch<Storing>,
    ) -> Operation<Results<pb::PutResult>> {
        for item in batch.items.iter_mut().filter(|item| item.key.is_empty()) {
            item.key = self.clock.uuid_v7().to_string();
        }
        self.writing(parser, collection, batch, |writing, tx| Box::pin(writing.store(tx)))
    }

    pub(in crate::services) fn prepare_patch(
        &self,
        parser: &mut Parser<'_>,
        request: pb::PatchRequest,
    ) -> Operation<pb::PatchResponse> {
        let durability = parser.durability("durability", request.durability);
        let item = request.item.unwrap_or_default();
        let batch = parser.item("item", item, |parser, item| parser.patching(item));
        let patched = self.patching(parser, request.collection, batch);
        patched.surviving(durability).try_map(|results| {
            let (record, _) = only(results).and_then(|result| result)?;
            Ok(pb::PatchResponse { record: Some(convert::record(record)) })
        })
    }

    pub(in crate::services) fn prepare_batch_patch(
        &self,
        parser: &mut Parser<'_>,
        request: pb::BatchPatchRequest,
    ) -> Operation<pb::BatchPatchResponse> {
        let durability = parser.durability("durability", request.durability);
        let failing = parser.failing(request.atomic);
        let max = (parser.settings.batch_items_max, ITEMS_MAX);
        let batch = parser.items("items", request.items, max, failing, |parser, item| parser.patching(item));
        self.patching(parser, request.collection, batch).surviving(durability).map(|results| {
            let mut errors = ItemErrors::default();
            let result = |result: Result<(Record, bool)>| {
                let result = result.map(|(record, changed)| pb::PatchResult {
                    key: record.key,
                    revision: record.seq,
                    changed,
                });
                convert::patch_result(result, &mut errors)
            };
            pb::BatchPatchResponse { results: results.into_iter().map(result).collect() }
        })
    }

    /// The one way to change documents. The results are the records, and whether they were changed.
    fn patching(
        &self,
        parser: &mut Parser<'_>,
        collection: String,
        batch: Batch<Patching>,
    ) -> Operation<Results<(Record, bool)>> {
        self.writing(parser, collection, batch, |writing, tx| Box::pin(writing.patch(tx)))
    }

    pub(in crate::services) fn prepare_delete(
        &self,
        parser: &mut Parser<'_>,
        request: pb::DeleteRequest,
    ) -> Operation<pb::DeleteResponse> {
        let durability = parser.durability("durability", request.durability);
        let item = request.item.unwrap_or_default();
        let batch = parser.item("item", item, |parser, item| parser.deleting(item));
        let deleted = self.deleting(parser, request.collection, batch);
        deleted.surviving(durability).try_map(|results| {
            let result = only(results).and_then(|result| result)?;
            Ok(pb::DeleteResponse { result: Some(result) })
        })
    }

    pub(in crate::services) fn prepare_batch_delete(
        &self,
        parser: &mut Parser<'_>,
        request: pb::BatchDeleteRequest,
    ) -> Operation<pb::BatchDeleteResponse> {
        let durability = parser.durability("durability", request.durability);
        let failing = parser.failing(request.atomic);
        let max = (parser.settings.batch_items_max, ITEMS_MAX);
        let batch = parser.items("items", request.items, max, failing, |parser, item| parser.deleting(item));
        self.deleting(parser, request.collection, batch).surviving(durability).map(|results| {
            let mut errors = ItemErrors::default();
            let result = |result| convert::delete_result(result, &mut errors);
            pb::BatchDeleteResponse { results: results.into_iter().map(result).collect() }
        })
    }

    /// The one way to delete records.
    fn deleting(
        &self,
        parser: &mut Parser<'_>,
        collection: String,
        batch: Batch<Deleting>,
    ) -> Operation<Results<pb::DeleteResult>> {
        self.writing(parser, collection, batch, |writing, tx| Box::pin(writing.delete(tx)))
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

impl<T> Writing<T> {
    async fn begin<'w>(&'w self, tx: &'w Tx<'w>) -> Result<Writer<'w>> {
        Writer::begin(tx, &self.context, &self.collection, self.now_us).await
    }
}

impl Writing<Storing> {
    async fn store(&self, tx: &Tx<'_>) -> Result<Results<pb::PutResult>> {
        let mut writer = self.begin(tx).await?;
        // Documents that take something of what is stored are known only below. In a commit the other mutations have documents too.
        let as_given = self.batch.items.iter().filter(|item| item.keep_members.is_empty());
        let as_given = as_given.filter(|_| !self.is_part);
        writer.note(as_given.map(|item| &item.document))?;
        let mut results = Vec::with_capacity(self.batch.items.len());
        for Storing { key, document, condition, existing, keep_members } in &self.batch.items {
            let put = writer.put(key, document, *condition, *existing, keep_members).await;
            results.push(alone(put.map(|put| convert::stored(key.clone(), put)))?);
        }
        writer.finish().await?;
        self.batch.results(results)
    }
}

impl Writing<Patching> {
    async fn patch(&self, tx: &Tx<'_>) -> Result<Results<(Record, bool)>> {
        let mut writer = self.begin(tx).await?;
        let mut results = Vec::with_capacity(self.batch.items.len());
        for Patching { key, change, condition } in &self.batch.items {
            let before = writer.last_seq();
            let patched = writer.patch(None, key, change, *condition).await;
            let is_changed = writer.last_seq() != before;
            results.push(alone(patched.map(|record| (record, is_changed)))?);
        }
        writer.finish().await?;
        self.batch.results(results)
    }
}

impl Writing<Deleting> {
    async fn delete(&self, tx: &Tx<'_>) -> Result<Results<pb::DeleteResult>> {
        let mut writer = self.begin(tx).await?;
        let mut results = Vec::with_capacity(self.batch.items.len());
        for Deleting { key, condition } in &self.batch.items {
            let deleted = writer.delete(key, *condition).await;
            results.push(alone(deleted.map(convert::deletion))?);
        }
        writer.finish().await?;
        self.batch.results(results)
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
