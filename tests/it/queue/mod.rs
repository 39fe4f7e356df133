//! The queue service.

mod by_hand;
pub(crate) mod calls;
mod keys;
mod leases;
mod life;
mod order;
mod request_id;
mod schedules;
mod stats;
mod unique;
mod waits;
mod work;
mod workers;
