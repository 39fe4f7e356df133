//! The queue service.

mod by_hand;
pub(crate) mod calls;
mod keys;
mod leases;
mod life;
mod order;
mod unique;
mod waits;
mod workers;
