//! The uploads service.

mod bad_input;
mod calls;
mod check;
mod composed;
mod contest;
mod errors;
mod index;
mod list_files;
mod register;
mod request_id;
mod reservations;
mod sessions;
mod stats;
