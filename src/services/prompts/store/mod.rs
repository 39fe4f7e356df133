//! Queries on the tables of prompts; one function is one step inside a transaction. It is a folder because a file would be too long.
//!
//! Conversations are locked first, by their names, then prompts, by their numbers. `changes` is told of every prompt and body that
//! comes or goes.

mod changes;
mod conversations;
mod find;
mod index;
mod list;
mod marks;
mod names;
mod prune;
mod remove;
mod rows;
mod save;
mod search;
mod sql;
mod stats;
mod tallies;

pub use conversations::{list_conversations, lock_of as lock_of_conversation};
pub use find::{Bodies, find};
pub use index::{fill, is_filling, merge, unfilled};
pub use list::{Page, list};
pub use marks::{lock_of as lock_of_prompt, score, score_all, tag};
pub use names::{NameLimits, free_names, unused_names};
pub use prune::{cut_of_count, is_due, prune};
pub use remove::remove;
pub use save::{Saving, save};
pub use search::{Hit, Place, SearchPage, search};
pub use stats::{Asked, Group, GroupBy, stats};
pub use tallies::{add_up, has_changes};

#[cfg(test)]
mod plans;
#[cfg(test)]
mod steps;
