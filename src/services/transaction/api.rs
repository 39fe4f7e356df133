//! The RPC of `pannier.transaction.v1.TransactionService`: has the services prepare what is asked for, runs it, replies.

use std::sync::Arc;

use pannier_proto::transaction::v1 as pb;
use pannier_proto::transaction::v1::mutation::What;
use pannier_proto::transaction::v1::mutation_result::Result as Outcome;
use pannier_proto::transaction::v1::transaction_service_server::{
    SERVICE_NAME, TransactionService as Rpc, TransactionServiceServer,
};
use prost::Message as _;
use tonic::Request;

use super::domain::Sequence;
use super::{Transaction, TransactionService, convert};
use crate::answer;
use crate::convert::{Parser, prepared};
use crate::error::{Error, Result, Violations};
use crate::status::{Reply, reply};
use crate::storage::idempotency::{self, RequestKey};
use crate::storage::{Durability, Operation, RowLock, Tx, check_judged, until_judged};

/// The service's full name.
pub const NAME: &str = SERVICE_NAME;

/// The service for tonic's router, with messages of at most `message_bytes_max` either way.
pub fn server(transaction: TransactionService) -> TransactionServiceServer<TransactionService> {
    let bytes_max = usize::try_from(transaction.0.configuration.server.message_bytes_max);
    let bytes_max = bytes_max.unwrap_or(usize::MAX);
    TransactionServiceServer::new(transaction)
        .max_decoding_message_size(bytes_max)
        .max_encoding_message_size(bytes_max)
}

#[tonic::async_trait]
impl Rpc for TransactionService {
    async fn commit(&self, request: Request<pb::CommitRequest>) -> Reply<pb::CommitResponse> {
        reply(self.0.commit(request.into_inner()).await)
    }
}

/// All mutations there are, a line for each: its name in the protocol, and the function of the service that prepares it. The
/// service has the name of its section in the settings.
macro_rules! mutations {
    (
        calls { $($call:ident $name:literal => $service:ident.$prepare:ident;)* }
        checks { $($check:ident $check_name:literal => $checked:ident.$prepare_check:ident;)* }
    ) => {
        impl Transaction {
            /// Has a mutation prepared, and what is wrong with it added to `violations`.
            fn prepare(&self, place: &str, what: What, is_repeatable: bool, violations: &mut Violations) -> Part {
                let first = violations.count();
                match what {
                    $(What::$call(mut request) => {
                        let place = format!("{place}.{}", $name);
                        let mut parser = Parser::of_part(&self.configuration.$service, is_repeatable);
                        std::mem::swap(&mut parser.violations, violations);
                        parser.request_id(&std::mem::take(&mut request.request_id));
                        let operation = self.services.$service.0.$prepare(&mut parser, request);
                        std::mem::swap(&mut parser.violations, violations);
                        violations.place(first, || place.clone());
                        Part { place, operation: operation.map(Outcome::$call) }
                    })*
                    $(What::$check(check) => {
                        let place = format!("{place}.{}", $check_name);
                        let mut parser = Parser::of_part(&self.configuration.$checked, is_repeatable);
                        std::mem::swap(&mut parser.violations, violations);
                        let operation = self.services.$checked.0.$prepare_check(&mut parser, check);
                        std::mem::swap(&mut parser.violations, violations);
                        violations.place(first, || place.clone());
                        Part { place, operation: operation.map(Outcome::$check) }
                    })*
                }
            }
        }
    };
}

mutations! {
    calls {
        CachePut "cache_put" => cache.prepare_put;
        CacheBatchPut "cache_batch_put" => cache.prepare_batch_put;
        CacheDelete "cache_delete" => cache.prepare_delete;
        CacheTouch "cache_touch" => cache.prepare_touch;
        JobsCreate "jobs_create" => jobs.prepare_create;
        JobsUpdateJob "jobs_update_job" => jobs.prepare_update_job;
        JobsUpdateStatus "jobs_update_status" => jobs.prepare_update_status;
        JobsReportProgress "jobs_report_progress" => jobs.prepare_report_progress;
        JobsAddResults "jobs_add_results" => jobs.prepare_add_results;
        JobsComplete "jobs_complete" => jobs.prepare_complete;
        JobsFail "jobs_fail" => jobs.prepare_fail;
        JobsAbort "jobs_abort" => jobs.prepare_abort;
        JobsDelete "jobs_delete" => jobs.prepare_delete;
        QueueEnqueue "queue_enqueue" => queue.prepare_enqueue;
        QueueBatchEnqueue "queue_batch_enqueue" => queue.prepare_batch_enqueue;
        QueueSettle "queue_settle" => queue.prepare_settle;
        QueueComplete "queue_complete" => queue.prepare_complete;
        QueueFail "queue_fail" => queue.prepare_fail;
        QueueRelease "queue_release" => queue.prepare_release;
        QueueSnooze "queue_snooze" => queue.prepare_snooze;
        QueueCancel "queue_cancel" => queue.prepare_cancel;
        QueueRetry "queue_retry" => queue.prepare_retry;
        SettingsSet "settings_set" => settings.prepare_set;
        SettingsDelete "settings_delete" => settings.prepare_delete;
        SettingsBatchSet "settings_batch_set" => settings.prepare_batch_set;
        UploadsCreateSession "uploads_create_session" => uploads.prepare_create_session;
        UploadsUpdateSession "uploads_update_session" => uploads.prepare_update_session;
        UploadsPauseSession "uploads_pause_session" => uploads.prepare_pause_session;
        UploadsResumeSession "uploads_resume_session" => uploads.prepare_resume_session;
        UploadsCompleteSession "uploads_complete_session" => uploads.prepare_complete_session;
        UploadsFailSession "uploads_fail_session" => uploads.prepare_fail_session;
        UploadsDeleteSession "uploads_delete_session" => uploads.prepare_delete_session;
        UploadsRegisterFile "uploads_register_file" => uploads.prepare_register_file;
        UploadsBatchRegisterFiles "uploads_batch_register_files" => uploads.prepare_batch_register_files;
        UploadsForget "uploads_forget" => uploads.prepare_forget;
        UploadsRecordError "uploads_record_error" => uploads.prepare_record_error;
        PromptsSave "prompts_save" => prompts.prepare_save;
        PromptsBatchSave "prompts_batch_save" => prompts.prepare_batch_save;
        PromptsScore "prompts_score" => prompts.prepare_score;
        PromptsBatchScore "prompts_batch_score" => prompts.prepare_batch_score;
        PromptsTag "prompts_tag" => prompts.prepare_tag;
        PromptsDelete "prompts_delete" => prompts.prepare_delete;
        PromptsBatchDelete "prompts_batch_delete" => prompts.prepare_batch_delete;
        RecordsPut "records_put" => records.prepare_put;
        RecordsBatchPut "records_batch_put" => records.prepare_batch_put;
        RecordsPatch "records_patch" => records.prepare_patch;
        RecordsDelete "records_delete" => records.prepare_delete;
        RecordsBatchDelete "records_batch_delete" => records.prepare_batch_delete;
        RecordsBatchPatch "records_batch_patch" => records.prepare_batch_patch;
    }
    checks {
        CacheCheck "cache_check" => cache.prepare_check;
        JobsCheck "jobs_check" => jobs.prepare_check;
        QueueCheck "queue_check" => queue.prepare_check;
        SettingsCheck "settings_check" => settings.prepare_check;
        UploadsCheck "uploads_check" => uploads.prepare_check;
        RecordsCheck "records_check" => records.prepare_check;
    }
}

/// One mutation of a commit.
struct Part {
    place: String,
    operation: Operation<Outcome>,
}

/// A commit that is prepared.
struct Commit {
    parts: Vec<Part>,
    /// Rows that are locked before the first part is run.
    locks: Vec<RowLock>,
    durability: Durability,
    request: Option<RequestKey>,
    answer_bytes_max: usize,
    /// Whether any of it looks at tasks: what is due in the queue is done first.
    has_tasks: bool,
}

impl Transaction {
    async fn commit(self: &Arc<Self>, request: pb::CommitRequest) -> Result<pb::CommitResponse> {
        let bytes = request.encoded_len();
        let transaction = self.clone();
        let commit = prepared(bytes, move || transaction.parse(request, bytes)).await?;
        if commit.has_tasks {
            self.services.queue.0.do_what_is_due().await?;
        }
        let judges: Vec<_> = commit.parts.iter().filter_map(|part| part.operation.judge()).collect();
        let (durability, commit) = (commit.durability, Arc::new((commit, judges.clone())));
        let attempt = || {
            self.storage.write(durability, commit.clone(), |tx, commit| {
                Box::pin(async move {
                    let answer = commit.0.run(tx).await?;
                    check_judged(&commit.1).map(|()| answer)
                })
            })
        };
        until_judged(&judges, attempt).await
    }

    fn parse(&self, mut request: pb::CommitRequest, bytes: usize) -> Result<Commit> {
        let limits = &self.configuration.transaction;
        let mut parser = Parser::new(limits);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "Commit", &request);
        let durability = parser.durability("durability", request.durability).unwrap_or(Durability::Full);
        let count = request.mutations.len();
        let mut is_small =
            parser.batch("mutations", count, limits.mutations_max, "transaction.mutations_max");
        if bytes as u64 > limits.bytes_max {
            let max = limits.bytes_max;
            let message = format!("must be at most {max} bytes (transaction.bytes_max), are {bytes}");
            parser.violations.add("mutations", message);
            is_small = false;
        }
        if !is_small {
            request.mutations.clear();
        }
        let has_tasks = request.mutations.iter().any(|mutation| looks_at_tasks(mutation.what.as_ref()));
        let mut parts = self.parts(request.mutations, id.is_some(), parser.violations)?;
        let locks = parts.iter_mut().flat_map(|part| std::mem::take(&mut part.operation.locks));
        let locks = RowLock::in_order(locks.collect());
        let answer_bytes_max = answer::bytes_max();
        Ok(Commit { parts, locks, durability, request: key, answer_bytes_max, has_tasks })
    }

    /// Has all mutations prepared. Error: all that is wrong with them.
    fn parts(
        &self,
        mutations: Vec<pb::Mutation>,
        is_repeatable: bool,
        mut violations: Violations,
    ) -> Result<Vec<Part>> {
        let mut sequence = Sequence::default();
        let mut parts = Vec::with_capacity(mutations.len());
        for (index, mutation) in mutations.into_iter().enumerate() {
            let place = format!("mutations[{index}]");
            let Some(what) = mutation.what else {
                violations.add(place, "is empty, or of a kind that this sidecar does not know");
                continue;
            };
            let contradicted =
                convert::steps(&what).into_iter().find_map(|step| sequence.follow(index, step).err());
            if let Some(by) = contradicted {
                let message = match by {
                    by if by == index => {
                        "has items of which one rules out what a later one asks for".to_owned()
                    }
                    by => format!("cannot succeed after mutations[{by}], which rules out what it asks for"),
                };
                violations.add(place.as_str(), message);
            }
            parts.push(self.prepare(&place, what, is_repeatable, &mut violations));
        }
        let items: usize = parts.iter().map(|part| part.operation.items).sum();
        let max = self.configuration.transaction.items_max;
        if items as u64 > max {
            let message =
                format!("must have at most {max} items together (transaction.items_max), have {items}");
            violations.add("mutations", message);
        }
        violations.check().map(|()| parts)
    }
}

impl Commit {
    async fn run(&self, tx: &Tx<'_>) -> Result<pb::CommitResponse> {
        let answer = idempotency::once(tx, self.request.as_ref(), self.run_all(tx)).await?;
        if tx.is_repeat() {
            self.parts.iter().for_each(|part| part.operation.note_repeat(tx));
        }
        Ok(answer)
    }

    async fn run_all(&self, tx: &Tx<'_>) -> Result<pb::CommitResponse> {
        // A single lock is taken by the one that needs it.
        if self.locks.len() > 1 {
            for lock in &self.locks {
                lock.take(tx).await?;
            }
        }
        let mut answer = pb::CommitResponse::default();
        let mut bytes = 0;
        for part in &self.parts {
            let outcome = part.operation.run(tx).await;
            let outcome = outcome.map_err(|error| Error::at(part.place.clone(), error))?;
            let result = pb::MutationResult { result: Some(outcome) };
            // With its tag and its length.
            bytes += result.encoded_len() + 11;
            answer.results.push(result);
            if bytes > self.answer_bytes_max {
                return Err(Error::answer_too_large(String::new(), bytes, self.answer_bytes_max));
            }
        }
        Ok(answer)
    }
}

/// Whether a mutation is about a task that is there already.
fn looks_at_tasks(what: Option<&What>) -> bool {
    matches!(
        what,
        Some(
            What::QueueCheck(_)
                | What::QueueSettle(_)
                | What::QueueComplete(_)
                | What::QueueFail(_)
                | What::QueueRelease(_)
                | What::QueueSnooze(_)
                | What::QueueCancel(_)
                | What::QueueRetry(_)
        )
    )
}
