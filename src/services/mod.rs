//! The gRPC services, one folder each, all alike; see docs/adding-a-service.md.

pub mod admin;
pub mod cache;
pub mod jobs;
pub mod prompts;
pub mod queue;
pub mod records;
pub mod settings;
pub mod transaction;
pub mod uploads;
