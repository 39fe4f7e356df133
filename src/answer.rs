//! The size of an answer: the limit of the call that is served, and a budget for the rows that go into one message.
//!
//! gRPC clients refuse a message above 4 MiB unless their channel allows more. A caller that allows more says so in the
//! metadata `pannier-response-bytes-max`. The server sets the limit around each call and around each poll of a stream.

use pannier_proto::codec;

use crate::error::{Error, Result};

/// The metadata in which a caller gives the largest message that it accepts.
pub const METADATA: &str = "pannier-response-bytes-max";

/// The limit outside of calls, and the default of `server.response_bytes_max`: what gRPC clients accept by default.
pub const DEFAULT_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Runs a call under its limit.
pub async fn scope<F: Future>(bytes_max: usize, call: F) -> F::Output {
    codec::ENCODED_BYTES_MAX.scope(bytes_max, call).await
}

/// Runs a function under the limit of its call.
pub fn sync_scope<T>(bytes_max: usize, function: impl FnOnce() -> T) -> T {
    codec::ENCODED_BYTES_MAX.sync_scope(bytes_max, function)
}

/// The largest message that the caller of the current call accepts.
pub fn bytes_max() -> usize {
    let default = || usize::try_from(DEFAULT_BYTES_MAX).unwrap_or(usize::MAX);
    codec::ENCODED_BYTES_MAX.try_with(|bytes_max| *bytes_max).unwrap_or_else(|_| default())
}

/// A budget of bytes for the rows of one message. An eighth of the limit is left for the fields around the rows.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    bytes_max: usize,
    bytes_left: usize,
    is_unused: bool,
}

impl Budget {
    /// The budget of the current call.
    pub fn of_call() -> Self {
        Self::of(bytes_max())
    }

    /// The budget of a message of at most `bytes_max` bytes.
    pub fn of(bytes_max: usize) -> Self {
        Self { bytes_max, bytes_left: bytes_max - bytes_max / 8, is_unused: true }
    }

    /// At most `bytes` of this budget; a first row may be larger.
    #[must_use]
    pub fn at_most(self, bytes: usize) -> Self {
        Self { bytes_left: self.bytes_left.min(bytes), ..self }
    }

    /// Bytes that are left.
    pub fn bytes_left(&self) -> usize {
        self.bytes_left
    }

    /// Takes `bytes` for a row; false: the message is full, and stays so. The first row of a message may use all of the limit.
    ///
    /// Error: AnswerTooLarge, which has the row's name, if the row does not fit into any message.
    pub fn take(&mut self, bytes: usize, name: impl FnOnce() -> String) -> Result<bool> {
        match self.bytes_left.checked_sub(bytes) {
            Some(left) => self.bytes_left = left,
            None if !self.is_unused => {
                self.bytes_left = 0;
                return Ok(false);
            }
            None if bytes <= self.bytes_max => self.bytes_left = 0,
            None => return Err(Error::answer_too_large(name(), bytes, self.bytes_max)),
        }
        self.is_unused = false;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> String {
        "k".to_owned()
    }

    #[test]
    fn rows_fill_seven_eighths_and_a_first_row_may_fill_all() {
        let mut budget = Budget::of(800);
        assert!(budget.take(700, name).unwrap());
        assert!(!budget.take(1, name).unwrap());
        let mut budget = Budget::of(800);
        assert!(budget.take(800, name).unwrap());
        assert!(!budget.take(1, name).unwrap());
        assert!(budget.take(0, name).unwrap(), "a row without bytes fits");
    }

    #[test]
    fn a_row_above_the_limit_is_refused_only_where_it_is_first() {
        let refused = Budget::of(800).take(801, name);
        assert!(matches!(refused, Err(Error::AnswerTooLarge { bytes: 801, bytes_max: 800, .. })));
        let mut budget = Budget::of(800);
        assert!(budget.take(1, name).unwrap());
        assert!(!budget.take(801, name).unwrap());
        assert!(!budget.take(1, name).unwrap(), "a later row does not slip in");
    }

    #[tokio::test]
    async fn the_limit_is_the_calls_and_4_mib_outside() {
        assert_eq!(bytes_max() as u64, DEFAULT_BYTES_MAX);
        scope(5, async { assert_eq!(bytes_max(), 5) }).await;
        assert_eq!(sync_scope(6, bytes_max), 6);
    }
}
