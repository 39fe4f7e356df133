//! The queue: `queue_queues`, `queue_types`, `queue_keys`, `queue_workers`, `queue_tasks`, `queue_task_logs`, `queue_uniques`,
//! `queue_schedules`, `queue_counts`, `queue_minutes`, `queue_deltas`.
//!
//! Tasks have no foreign keys: an UPDATE that touches such a column costs a statement journal for every claim.

use sea_orm_migration::prelude::*;

use crate::text;

mod counts;
mod indexes;

use counts::{QueueCounts, QueueDeltas, QueueMinutes, QueueWorkerCounts};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[derive(DeriveIden)]
enum QueueQueues {
    Table,
    Id,
    Name,
    IsPaused,
    IsLifo,
    AgeingUs,
    IsRelaxed,
    RetriesMax,
    BackoffUs,
    BackoffUsMax,
    TimeoutUs,
    RetentionUs,
    FailedRetentionUs,
    HeldMax,
    ClaimsMax,
    ClaimsPeriodUs,
    CreateTime,
    UpdateTime,
}

#[derive(DeriveIden)]
enum QueueTypes {
    Table,
    Id,
    QueueId,
    Name,
    Paused,
}

#[derive(DeriveIden)]
enum QueueKeys {
    Table,
    Id,
    QueueId,
    Name,
    HasOwn,
    HeldMax,
    ClaimsMax,
    ClaimsPeriodUs,
    HeldCount,
    BlockedCount,
    ClaimsTime,
    UnblockTime,
}

#[derive(DeriveIden)]
enum QueueWorkers {
    Table,
    Id,
    Name,
    MetadataJson,
    CreateTime,
    BeatTime,
    EndTime,
}

#[derive(DeriveIden)]
enum QueueTasks {
    Table,
    Id,
    TypeId,
    State,
    Priority,
    Token,
    FailureCount,
    LossCount,
    IsCancelling,
    OrderKey,
    CreateTime,
    RunTime,
    ClaimTime,
    StartTime,
    ExpireTime,
    FinishTime,
    WorkerId,
    WorkerName,
    RetriesMax,
    TimeoutUs,
    KeyId,
    ScheduleId,
    JobId,
    JobRowId,
    JobItemKey,
    UniqueId,
    Error,
    Parameters,
    Result,
}

#[derive(DeriveIden)]
enum QueueTaskLogs {
    Table,
    Id,
    TaskId,
    Kind,
    Count,
    FirstTime,
    Time,
    FirstToken,
    Token,
    WorkerId,
    FirstClaimTime,
    ClaimTime,
    FirstStartTime,
    StartTime,
    RunTime,
    Error,
    Details,
    Progress,
}

#[derive(DeriveIden)]
enum QueueUniques {
    Table,
    Id,
    QueueId,
    Key,
}

#[derive(DeriveIden)]
enum QueueSchedules {
    Table,
    Id,
    Name,
    TypeId,
    Cron,
    TimeZone,
    MissedRuns,
    IsPaused,
    Priority,
    Parameters,
    RetriesMax,
    TimeoutUs,
    LimitKey,
    UniqueKey,
    UniqueStates,
    UniquePeriodUs,
    NextRunTime,
    LastRunTime,
    LastTaskId,
    CreateTime,
    UpdateTime,
}

fn id(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).big_integer().not_null().auto_increment().primary_key().take()
}

fn number(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).big_integer().not_null().take()
}

fn maybe(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).big_integer().take()
}

fn flag(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).boolean().not_null().take()
}

fn plain_text(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).text().not_null().take()
}

fn maybe_text(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).text().take()
}

fn queues(manager: &SchemaManager<'_>) -> TableCreateStatement {
    use QueueQueues as C;
    Table::create()
        .table(C::Table)
        .col(id(C::Id))
        .col(text(manager, C::Name).unique_key().take())
        .col(flag(C::IsPaused))
        .col(flag(C::IsLifo))
        // The wait that counts as much as a level of priority; zero: strict priority.
        .col(number(C::AgeingUs))
        // Whether a power loss may take the last tasks and claims.
        .col(flag(C::IsRelaxed))
        .col(number(C::RetriesMax))
        .col(number(C::BackoffUs))
        .col(number(C::BackoffUsMax))
        // Zero: no limit, or for ever.
        .col(number(C::TimeoutUs))
        .col(number(C::RetentionUs))
        .col(number(C::FailedRetentionUs))
        // The limits of keys without their own; zero: none.
        .col(number(C::HeldMax))
        .col(number(C::ClaimsMax))
        .col(number(C::ClaimsPeriodUs))
        .col(number(C::CreateTime))
        .col(number(C::UpdateTime))
        .take()
}

fn types(manager: &SchemaManager<'_>) -> TableCreateStatement {
    use QueueTypes as C;
    Table::create()
        .table(C::Table)
        .col(id(C::Id))
        .col(number(C::QueueId))
        .col(text(manager, C::Name))
        // 0 not; 1 by itself; 2 with its queue; 3 both.
        .col(number(C::Paused))
        .take()
}

fn keys(manager: &SchemaManager<'_>) -> TableCreateStatement {
    use QueueKeys as C;
    Table::create()
        .table(C::Table)
        .col(id(C::Id))
        .col(number(C::QueueId))
        .col(text(manager, C::Name))
        // Whether the three below apply, and not the queue's.
        .col(flag(C::HasOwn))
        .col(number(C::HeldMax))
        .col(number(C::ClaimsMax))
        .col(number(C::ClaimsPeriodUs))
        // Tasks with this key that are held, and that are blocked.
        .col(number(C::HeldCount))
        .col(number(C::BlockedCount))
        // When, by the steady clock, the claims so far would be over if they were spaced evenly.
        .col(number(C::ClaimsTime))
        // When, by the steady clock, blocked tasks may come back. None: when a task with this key is claimed or ends.
        .col(maybe(C::UnblockTime))
        .take()
}

fn workers() -> TableCreateStatement {
    use QueueWorkers as C;
    Table::create()
        .table(C::Table)
        .col(id(C::Id))
        .col(plain_text(C::Name))
        .col(plain_text(C::MetadataJson))
        .col(number(C::CreateTime))
        // By the steady clock.
        .col(number(C::BeatTime))
        .col(maybe(C::EndTime))
        .take()
}

fn tasks() -> TableCreateStatement {
    use QueueTasks as C;
    Table::create()
        .table(C::Table)
        .col(id(C::Id))
        .col(number(C::TypeId))
        // 0 queued, 1 scheduled, 2 claimed, 3 running, 4 completed, 5 failed, 6 cancelled, 7 blocked.
        .col(number(C::State))
        .col(number(C::Priority))
        // Claims so far; the last one's fencing token.
        .col(number(C::Token))
        .col(number(C::FailureCount))
        // Leases lost since it was enqueued or retried by hand.
        .col(number(C::LossCount))
        .col(flag(C::IsCancelling))
        // Steady time at which it becomes claimable.
        .col(number(C::OrderKey))
        // None: order_key.
        .col(maybe(C::CreateTime))
        // The run time asked for, or that of the last retry or snooze.
        .col(maybe(C::RunTime))
        .col(maybe(C::ClaimTime))
        // When work on the last claim began. None: not yet, or with the claim.
        .col(maybe(C::StartTime))
        // By the steady clock. Held: when the lease or the time limit ends; none: with the worker. Scheduled: when a retry or snooze is due.
        .col(maybe(C::ExpireTime))
        .col(maybe(C::FinishTime))
        // Who holds it or finished it.
        .col(maybe(C::WorkerId))
        // The name of the worker that finished it: the worker's own row is removed after a time.
        .col(maybe_text(C::WorkerName))
        // None: the queue's.
        .col(maybe(C::RetriesMax))
        .col(maybe(C::TimeoutUs))
        .col(maybe(C::KeyId))
        .col(maybe(C::ScheduleId))
        .col(ColumnDef::new(C::JobId).uuid())
        // The row of that job: another job may be made with the id of a deleted one.
        .col(maybe(C::JobRowId))
        // None: the task's id.
        .col(maybe_text(C::JobItemKey))
        .col(maybe(C::UniqueId))
        .col(maybe_text(C::Error))
        // JSON, checked before it is stored. None: empty.
        .col(maybe_text(C::Parameters))
        .col(maybe_text(C::Result))
        .take()
}

fn task_logs() -> TableCreateStatement {
    use QueueTaskLogs as C;
    Table::create()
        .table(C::Table)
        .col(id(C::Id))
        .col(number(C::TaskId))
        // How a claim ended: 5 retried, 7 released, 8 snoozed, 9 lease expired, 10 worker died, 11 forgotten; or 6 failed, 12 cancel
        // requested, 13 cancelled, 14 requeued; or 15 a line of the worker, 16 lines left out.
        .col(number(C::Kind))
        // Equal ends of consecutive claims are one row: how many, the first and the last of them.
        .col(number(C::Count))
        .col(number(C::FirstTime))
        .col(number(C::Time))
        .col(number(C::FirstToken))
        .col(number(C::Token))
        .col(maybe(C::WorkerId))
        // When the claims that ended began.
        .col(maybe(C::FirstClaimTime))
        .col(maybe(C::ClaimTime))
        // When work on them began.
        .col(maybe(C::FirstStartTime))
        .col(maybe(C::StartTime))
        .col(maybe(C::RunTime))
        // Of a line: its message.
        .col(maybe_text(C::Error))
        // Of a line: a JSON object, and the progress in millionths.
        .col(maybe_text(C::Details))
        .col(maybe(C::Progress))
        .take()
}

/// Unique keys that tasks have. A row is locked by each Enqueue of its key, and by each Retry of one of its tasks.
fn uniques(manager: &SchemaManager<'_>) -> TableCreateStatement {
    use QueueUniques as C;
    Table::create().table(C::Table).col(id(C::Id)).col(number(C::QueueId)).col(text(manager, C::Key)).take()
}

fn schedules(manager: &SchemaManager<'_>) -> TableCreateStatement {
    use QueueSchedules as C;
    Table::create()
        .table(C::Table)
        .col(id(C::Id))
        .col(text(manager, C::Name).unique_key().take())
        .col(number(C::TypeId))
        .col(plain_text(C::Cron))
        .col(plain_text(C::TimeZone))
        // 1 skip, 2 one, 3 all.
        .col(number(C::MissedRuns))
        .col(flag(C::IsPaused))
        .col(number(C::Priority))
        .col(maybe_text(C::Parameters))
        .col(maybe(C::RetriesMax))
        .col(maybe(C::TimeoutUs))
        .col(maybe_text(C::LimitKey))
        .col(maybe_text(C::UniqueKey))
        // A bit for each state.
        .col(number(C::UniqueStates))
        .col(maybe(C::UniquePeriodUs))
        // None: paused, or never any more.
        .col(maybe(C::NextRunTime))
        .col(maybe(C::LastRunTime))
        .col(maybe(C::LastTaskId))
        .col(number(C::CreateTime))
        .col(number(C::UpdateTime))
        .take()
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tables = [
            queues(manager),
            types(manager),
            keys(manager),
            workers(),
            counts::of_workers(),
            tasks(),
            task_logs(),
            uniques(manager),
            schedules(manager),
            counts::of_states(),
            counts::of_minutes(),
            counts::deltas(),
        ];
        for table in tables {
            manager.create_table(table).await?;
        }
        for index in indexes::of_tasks().into_iter().chain(indexes::others()) {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tables = [
            QueueDeltas::Table.into_iden(),
            QueueMinutes::Table.into_iden(),
            QueueCounts::Table.into_iden(),
            QueueSchedules::Table.into_iden(),
            QueueUniques::Table.into_iden(),
            QueueTaskLogs::Table.into_iden(),
            QueueTasks::Table.into_iden(),
            QueueWorkerCounts::Table.into_iden(),
            QueueWorkers::Table.into_iden(),
            QueueKeys::Table.into_iden(),
            QueueTypes::Table.into_iden(),
            QueueQueues::Table.into_iden(),
        ];
        for table in tables {
            manager.drop_table(Table::drop().table(table).take()).await?;
        }
        Ok(())
    }
}
