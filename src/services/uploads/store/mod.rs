//! The uploads' queries: one function is one step inside a transaction.
//!
//! Locks are taken in one order: the session's row, then reservations, then files, then errors; reservations and files in
//! ascending order of their hashes.

mod check;
mod errors;
mod index;
mod list;
mod names;
mod register;
mod remove;
mod reserve;
mod rows;
mod sessions;
mod sql;
mod stats;

pub use check::{check, forget};
pub use errors::{ErrorFilter, NewError, list_all_errors, list_errors, record_error};
pub use index::index;
pub use list::{FileFilter, Page, SessionFilter, list_files, list_sessions};
pub use names::{Names, services};
pub use register::register;
pub use remove::{delete_session, due, remove_expired, remove_remains};
pub use reserve::{extend, release, reserve};
pub use sessions::{Metadata, change, create, find, lock_of, locked_status};
pub use stats::stats;

#[cfg(test)]
mod plans;
