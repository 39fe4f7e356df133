//! The queue's indexes.
//!
//! Which index serves which query (docs/queue.md says why they are partial):
//! - `queue_tasks_claimable`: claims, lists of what is queued.
//! - `queue_tasks_scheduled`: what becomes due by the wall clock.
//! - `queue_tasks_expiring`: leases and time limits that end, retries and snoozes that become due, by the steady clock.
//! - `queue_tasks_held`: what a worker holds, and all that is held.
//! - `queue_tasks_finished`: retention, dead letters, lists of what is finished.
//! - `queue_tasks_by_key`: the limits of keys.
//! - `queue_keys_blocked`: keys whose tasks come back by time. `queue_workers_beating`, `queue_workers_ended`: death and removal.
//! - `queue_tasks_by_unique`: tasks of a unique key by state. `queue_tasks_by_job`: tasks of an item of a job.
//! - `queue_uniques_by_key`: unique keys. `queue_task_logs_by_task`: the log of a task.

use sea_orm_migration::prelude::*;

use super::{QueueKeys, QueueSchedules, QueueTaskLogs, QueueTasks, QueueTypes, QueueUniques, QueueWorkers};

pub(super) fn of_tasks() -> [IndexCreateStatement; 8] {
    use QueueTasks as C;
    let index = |name: &str| Index::create().name(name).table(C::Table).take();
    let state = || Expr::col(C::State);
    [
        index("queue_tasks_claimable")
            .col(C::TypeId)
            .col((C::Priority, IndexOrder::Desc))
            .col(C::OrderKey)
            .and_where(state().eq(0))
            .take(),
        index("queue_tasks_scheduled")
            .col(C::RunTime)
            .and_where(state().eq(1))
            .and_where(Expr::col(C::ExpireTime).is_null())
            .take(),
        index("queue_tasks_expiring")
            .col(C::ExpireTime)
            .and_where(Expr::col(C::ExpireTime).is_not_null())
            .take(),
        index("queue_tasks_held").col(C::WorkerId).and_where(state().is_in([2, 3])).take(),
        index("queue_tasks_finished")
            .col(C::TypeId)
            .col(C::State)
            .col(C::FinishTime)
            .and_where(Expr::col(C::FinishTime).is_not_null())
            .take(),
        index("queue_tasks_by_key")
            .col(C::KeyId)
            .col(C::TypeId)
            .col(C::State)
            .col((C::Priority, IndexOrder::Desc))
            .col(C::OrderKey)
            .and_where(Expr::col(C::KeyId).is_not_null())
            .take(),
        index("queue_tasks_by_unique")
            .col(C::UniqueId)
            .col(C::State)
            .col(C::Id)
            .and_where(Expr::col(C::UniqueId).is_not_null())
            .take(),
        index("queue_tasks_by_job")
            .col(C::JobRowId)
            .col(C::JobItemKey)
            .and_where(Expr::col(C::JobRowId).is_not_null())
            .take(),
    ]
}

pub(super) fn others() -> Vec<IndexCreateStatement> {
    let index = |name: &str, table: DynIden| Index::create().name(name).table(table).take();
    let (types, keys) = (QueueTypes::Table.into_iden(), QueueKeys::Table.into_iden());
    let workers = || QueueWorkers::Table.into_iden();
    vec![
        index("queue_types_by_name", types).col(QueueTypes::QueueId).col(QueueTypes::Name).unique().take(),
        index("queue_keys_by_name", keys.clone())
            .col(QueueKeys::QueueId)
            .col(QueueKeys::Name)
            .unique()
            .take(),
        index("queue_keys_blocked", keys)
            .col(QueueKeys::UnblockTime)
            .and_where(Expr::col(QueueKeys::UnblockTime).is_not_null())
            .take(),
        index("queue_workers_beating", workers())
            .col(QueueWorkers::BeatTime)
            .and_where(Expr::col(QueueWorkers::EndTime).is_null())
            .take(),
        index("queue_workers_ended", workers())
            .col(QueueWorkers::EndTime)
            .and_where(Expr::col(QueueWorkers::EndTime).is_not_null())
            .take(),
        index("queue_task_logs_by_task", QueueTaskLogs::Table.into_iden()).col(QueueTaskLogs::TaskId).take(),
        index("queue_uniques_by_key", QueueUniques::Table.into_iden())
            .col(QueueUniques::QueueId)
            .col(QueueUniques::Key)
            .unique()
            .take(),
        index("queue_schedules_due", QueueSchedules::Table.into_iden())
            .col(QueueSchedules::NextRunTime)
            .and_where(Expr::col(QueueSchedules::NextRunTime).is_not_null())
            .take(),
    ]
}
