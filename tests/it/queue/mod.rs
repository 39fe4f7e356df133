//! The queue service.

mod by_hand;
pub(crate) mod calls;
mod leases;
mod life;
mod order;
mod waits;
mod workers;
