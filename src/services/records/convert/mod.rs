//! Protobuf ⇄ domain.

mod collections;
mod cursors;
mod queries;
mod replies;
mod requests;
mod sync;

pub(super) use collections::collection;
pub(super) use cursors::{cursor, position};
pub(super) use queries::found;
pub(super) use replies::{delete_result, deletion, patch_result, put_result, record, stored};
pub use requests::Parser;
pub(super) use requests::{Deleting, Patching, Storing};
pub(super) use sync::{encode_error, sync_changes, sync_result};
