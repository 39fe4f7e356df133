//! The queue among workers that die and sidecars that are killed: nothing lost, nothing held twice, nothing recorded twice.
//!
//! Every call is written down with the moments of its start and its answer; afterwards a checker, which knows the protocol
//! and nothing of the code, looks for what the promises do not allow.

mod caller;
mod chaos;
mod checker;
mod history;
mod producer;
mod recorder;
mod run;
mod session;
mod survey;
mod tally;
mod wire;
mod worker;
