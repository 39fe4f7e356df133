//! Schedules: tasks that are enqueued again and again. No I/O.

use super::domain::NewTask;

/// What to do about runs that a schedule missed. The numbers are those in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MissedRuns {
    /// Nothing.
    Skip = 1,
    /// One task for all.
    One = 2,
    /// A task for each.
    All = 3,
}

impl MissedRuns {
    /// As the table has it.
    pub fn number(self) -> i64 {
        i64::from(self as u8)
    }

    /// What a number in the table means.
    pub fn of(number: i64) -> Option<Self> {
        [Self::Skip, Self::One, Self::All].into_iter().find(|missed| missed.number() == number)
    }
}

/// A schedule as it is put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSchedule {
    /// The name.
    pub name: String,
    /// The queue's name.
    pub queue: String,
    /// What is enqueued.
    pub task: NewTask,
    /// When.
    pub cron: String,
    /// Where.
    pub time_zone: String,
    /// What to do about missed runs.
    pub missed_runs: MissedRuns,
    /// Whether nothing is enqueued for now.
    pub is_paused: bool,
}

/// A schedule as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// What was put.
    pub put: NewSchedule,
    /// When the next task is enqueued.
    pub next_run_us: Option<i64>,
    /// The run time of the last task.
    pub last_run_us: Option<i64>,
    /// The last task.
    pub last_task_id: Option<i64>,
    /// When it was made.
    pub create_us: i64,
    /// When it was last put.
    pub update_us: i64,
}
