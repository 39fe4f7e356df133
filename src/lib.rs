//! Pannier: a persistence sidecar. `docs/architecture.md` is the guide to this crate.

pub mod answer;
mod batch;
pub mod cli;
pub mod clock;
mod concurrency;
mod convert;
pub mod deadline;
pub mod error;
mod files;
mod json;
pub mod page;
mod request_end;
pub mod server;
pub mod services;
pub mod settings;
mod status;
pub mod storage;
mod waiting;
