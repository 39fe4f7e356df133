//! The queue service.

pub(crate) mod calls;
mod life;
