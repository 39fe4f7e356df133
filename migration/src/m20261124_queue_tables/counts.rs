//! The queue's counts: of tasks by state and by minute, and of what workers have done.

use sea_orm_migration::prelude::*;

use super::{id, number};

#[derive(DeriveIden)]
pub(super) enum QueueWorkerCounts {
    Table,
    WorkerId,
    Completed,
    Failed,
}

#[derive(DeriveIden)]
pub(super) enum QueueCounts {
    Table,
    TypeId,
    Queued,
    Scheduled,
    Claimed,
    Running,
    Completed,
    Failed,
    Cancelled,
    Blocked,
}

#[derive(DeriveIden)]
pub(super) enum QueueDeltas {
    Table,
    Id,
    TypeId,
    Minute,
    Queued,
    Scheduled,
    Claimed,
    Running,
    Completed,
    Failed,
    Cancelled,
    Blocked,
    Enqueued,
    Claims,
    Completions,
    Failures,
    Losses,
    WaitUs,
    RunUs,
}

#[derive(DeriveIden)]
pub(super) enum QueueMinutes {
    Table,
    TypeId,
    Minute,
    Enqueued,
    Claimed,
    Completed,
    Failed,
    Lost,
    WaitUs,
    RunUs,
}

/// What workers have done. Its rows are locked last, behind tasks, keys and jobs, and so are none of `queue_workers`.
pub(super) fn of_workers() -> TableCreateStatement {
    use QueueWorkerCounts as C;
    Table::create()
        .table(C::Table)
        .col(number(C::WorkerId).primary_key().take())
        // Tasks.
        .col(number(C::Completed))
        // Attempts.
        .col(number(C::Failed))
        .take()
}

/// Tasks of a type by state, as far as `queue_deltas` is folded into them. The row of type 0 counts Recounts (`queued`).
pub(super) fn of_states() -> TableCreateStatement {
    use QueueCounts as C;
    Table::create()
        .table(C::Table)
        .col(number(C::TypeId).primary_key().take())
        .col(number(C::Queued))
        .col(number(C::Scheduled))
        .col(number(C::Claimed))
        .col(number(C::Running))
        .col(number(C::Completed))
        .col(number(C::Failed))
        .col(number(C::Cancelled))
        .col(number(C::Blocked))
        .take()
}

/// Changes of `queue_counts` and `queue_minutes`: a row for each transaction and type, written by the transaction that changes the tasks.
pub(super) fn deltas() -> TableCreateStatement {
    use QueueDeltas as C;
    Table::create()
        .table(C::Table)
        .col(id(C::Id))
        .col(number(C::TypeId))
        // Unix minutes.
        .col(number(C::Minute))
        // Changes of the number of tasks in each state.
        .col(number(C::Queued))
        .col(number(C::Scheduled))
        .col(number(C::Claimed))
        .col(number(C::Running))
        .col(number(C::Completed))
        .col(number(C::Failed))
        .col(number(C::Cancelled))
        .col(number(C::Blocked))
        // As in `queue_minutes`.
        .col(number(C::Enqueued))
        .col(number(C::Claims))
        .col(number(C::Completions))
        .col(number(C::Failures))
        .col(number(C::Losses))
        .col(number(C::WaitUs))
        .col(number(C::RunUs))
        .take()
}

pub(super) fn of_minutes() -> TableCreateStatement {
    use QueueMinutes as C;
    Table::create()
        .table(C::Table)
        .col(number(C::TypeId))
        // Unix minutes.
        .col(number(C::Minute))
        .col(number(C::Enqueued))
        .col(number(C::Claimed))
        .col(number(C::Completed))
        .col(number(C::Failed))
        .col(number(C::Lost))
        // Sums: waiting of what was claimed, running of what was completed.
        .col(number(C::WaitUs))
        .col(number(C::RunUs))
        .primary_key(Index::create().col(C::TypeId).col(C::Minute))
        .take()
}
