//! Records among clients that were away, sidecars that are killed, and commits that are slow: nothing lost, nothing applied
//! twice, nothing missed.
//!
//! What is written here follows the protocol and knows nothing of the code.

mod changes;
mod outage;
mod sync;
mod wire;
