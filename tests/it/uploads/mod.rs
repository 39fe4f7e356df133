//! The uploads service.

mod calls;
mod check;
mod register;
mod sessions;
