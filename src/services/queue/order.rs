//! The order in which tasks are claimed. No I/O.

use super::domain::PRIORITY_MAX;
use super::rules::Rules;

/// The order that a claim requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Requested {
    /// The queue's.
    #[default]
    QueueDefault,
    /// Strict priority, whatever the queue's ageing.
    Priority,
    /// The one that became claimable first, whatever its priority.
    Fifo,
    /// The one that became claimable last, whatever its priority.
    Lifo,
}

/// The weight of a priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    /// The highest goes first, always.
    Strict,
    /// A level counts as much as so many microseconds of waiting.
    Aged(i64),
    /// None.
    Ignored,
}

/// An order of tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    weight: Weight,
    is_lifo: bool,
}

/// The place of a task in an order: the lowest goes first.
pub type Rank = (i64, i64);

/// All priorities, the highest first.
pub fn priorities() -> impl Iterator<Item = i64> {
    (1..=PRIORITY_MAX).rev()
}

impl Order {
    /// The order of the index of claimable tasks.
    pub const OF_INDEX: Self = Self { weight: Weight::Strict, is_lifo: false };

    /// The order of a claim that requests `requested` of a queue with these rules.
    pub fn of(rules: &Rules, requested: Requested) -> Self {
        let is_lifo = rules.is_lifo;
        match requested {
            Requested::QueueDefault if rules.ageing_us > 0 => {
                Self { weight: Weight::Aged(rules.ageing_us), is_lifo }
            }
            Requested::QueueDefault | Requested::Priority => Self { weight: Weight::Strict, is_lifo },
            Requested::Fifo => Self { weight: Weight::Ignored, is_lifo: false },
            Requested::Lifo => Self { weight: Weight::Ignored, is_lifo: true },
        }
    }

    /// Whether newer tasks go before older ones of the same priority.
    pub fn is_lifo(self) -> bool {
        self.is_lifo
    }

    /// The rank of a task that became claimable at `ready_us`.
    ///
    /// Example: with an ageing of one hour, priority 5 since 10:00 has rank (0, 05:00) and goes before priority 4 since 9:30, rank
    /// (0, 05:30).
    pub fn rank(self, priority: i64, ready_us: i64) -> Rank {
        let time_us = if self.is_lifo { ready_us.saturating_neg() } else { ready_us };
        match self.weight {
            Weight::Strict => (-priority, time_us),
            Weight::Aged(level_us) => (0, time_us.saturating_sub(priority.saturating_mul(level_us))),
            Weight::Ignored => (0, time_us),
        }
    }
}
