//! The uploads service.

mod bad_input;
mod bad_lists;
pub(crate) mod calls;
mod check;
mod contest;
mod errors;
mod free_text;
mod index;
mod list_files;
mod register;
mod request_id;
mod reservations;
mod sessions;
mod shared;
mod stats;
