//! Protobuf ⇄ domain.

mod index;
mod replies;
mod requests;

pub(super) use index::{Lines, line, lines};
pub(super) use replies::{check_result, error, outcome, reservation_result, session, stats, uploaded_file};
pub use requests::Parser;
