//! The queue service.

pub(crate) mod calls;
mod leases;
mod life;
mod workers;
