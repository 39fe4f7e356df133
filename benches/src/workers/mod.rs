//! What in-flight workers do, service by service.

pub(crate) mod cache;
pub(crate) mod dispatch;
pub(crate) mod jobs;
pub(crate) mod prompts;
pub(crate) mod records;
pub(crate) mod stream;
pub(crate) mod tasks;
pub(crate) mod uploads;

use crate::Failure;

/// A status as a sentence.
pub(crate) fn refused(status: tonic::Status) -> Failure {
    format!("{:?}: {}", status.code(), status.message()).into()
}
