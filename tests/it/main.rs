//! Every behaviour, through the public gRPC API, against a real server on a fresh real database.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod admin;
mod cache;
mod clock;
mod exceptions;
mod harness;
mod jobs;
mod prompts;
mod queue;
mod records;
mod server;
mod settings;
mod shuffled;
mod storage;
mod tables;
mod transaction;
mod uploads;
