//! The bounds of what an error carries: a status fits the metadata of a stock client, all items of an answer share one budget.

use std::time::Duration;

use pannier_proto::errors::v1::ItemError;
use prost::Message as _;
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt as _};

use super::{Description, describe, log, root};
use crate::error::{Error, RecordsError, Violation};

/// Bytes of the details of one status. In base64, and with the message, they stay below 4 KiB of metadata: clients refuse 8 KiB.
const DETAILS_BYTES_MAX: usize = 2_048;

/// Bytes of a message, as metadata carries it.
const MESSAGE_BYTES_MAX: usize = 1_024;

/// Bytes of the details of all items of one answer.
const ITEM_DETAILS_BYTES_MAX: usize = 256 * 1024;

/// The violations of an error, as many as fit, and when to try again.
pub(super) fn details(error: &Error, retry: Option<Duration>) -> ErrorDetails {
    let mut details = ErrorDetails::new();
    let mut bytes = 0;
    for violation in violations(error) {
        // With the tags and lengths of protobuf.
        bytes += violation.field.len() + violation.description.len() + 8;
        if bytes > DETAILS_BYTES_MAX {
            break;
        }
        details.add_bad_request_violation(&violation.field, &violation.description);
    }
    if retry.is_some() {
        details.set_retry_info(retry);
    }
    details
}

fn violations(error: &Error) -> &[Violation] {
    match root(error) {
        Error::Invalid(violations) | Error::Records(RecordsError::SchemaViolated(violations)) => violations,
        _ => &[],
    }
}

/// At most [`MESSAGE_BYTES_MAX`] bytes of a message, as they are after percent-encoding.
pub(super) fn cut(mut message: String) -> String {
    let encoded = |char: char| if matches!(char, ' '..='~') && char != '%' { 1 } else { 3 * char.len_utf8() };
    let mut bytes = 0;
    let end = message.char_indices().find(|(_, char)| {
        bytes += encoded(*char);
        bytes > MESSAGE_BYTES_MAX
    });
    if let Some((end, _)) = end {
        message.truncate(end);
        message.push('…');
    }
    message
}

/// The errors of the items of one answer, whose details share a budget.
#[derive(Debug, Default)]
pub struct ItemErrors {
    details_bytes: usize,
}

impl ItemErrors {
    /// The error of one item; what is a fault of ours or of the machine's is logged here, once.
    pub fn of(&mut self, error: &Error) -> ItemError {
        log(error);
        let Description { code, reason, message, retry } = describe(error);
        let status = Status::with_error_details(code, "", details(error, retry));
        let details = tonic_types::pb::Status::decode(status.details()).unwrap_or_default().details;
        self.share(ItemError { code: code as i32, reason: reason.into(), message: cut(message), details })
    }

    /// The error of one item that was made before, without its details if the answer has no budget for them.
    pub fn share(&mut self, error: ItemError) -> ItemError {
        let bytes: usize = error.details.iter().map(prost::Message::encoded_len).sum();
        if self.details_bytes + bytes > ITEM_DETAILS_BYTES_MAX {
            return ItemError { details: Vec::new(), ..error };
        }
        self.details_bytes += bytes;
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status;

    fn violations(count: usize) -> Error {
        let description = "must be 1 to 1024 bytes (cache.key_bytes_max), is 0".to_owned();
        let violation =
            |index| Violation { field: format!("items[{index}].key"), description: description.clone() };
        Error::Invalid((0..count).map(violation).collect())
    }

    #[test]
    fn a_status_of_a_hundred_violations_stays_below_4_kib_of_metadata() {
        let status = status::of(violations(100));
        let headers = status.into_http::<()>().into_parts().0.headers;
        let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        assert!((1_000..4_096).contains(&bytes), "{bytes}");
    }

    #[test]
    fn only_what_may_be_tried_again_says_so() {
        assert!(ItemErrors::default().of(&Error::EntryExists).details.is_empty());
        assert!(status::of(Error::EntryExists).get_error_details().retry_info().is_none());
        assert_eq!(ItemErrors::default().of(&Error::StorageFull).details.len(), 1);
    }

    #[test]
    fn a_message_is_cut_by_its_encoded_size() {
        assert_eq!(cut("as it was".into()), "as it was");
        assert!(cut("é".repeat(1_000)).len() <= MESSAGE_BYTES_MAX / 3 + '…'.len_utf8());
    }

    #[test]
    fn items_beyond_the_budget_keep_code_reason_and_message() {
        let mut errors = ItemErrors::default();
        let items: Vec<ItemError> = (0..1_000).map(|_| errors.of(&violations(20))).collect();
        let bytes: usize = items.iter().flat_map(|item| &item.details).map(|any| any.encoded_len()).sum();
        assert!((200_000..=ITEM_DETAILS_BYTES_MAX).contains(&bytes), "{bytes}");
        let last = items.last().unwrap();
        assert!(last.details.is_empty() && last.code == 3 && last.message.contains("items[0].key"));
    }

    #[test]
    fn every_violation_is_told_and_no_cause_is() {
        let violation =
            |field: &str| Violation { field: field.to_owned(), description: "must be shorter".to_owned() };
        let status = status::of(Error::Invalid(vec![violation("key"), violation("value")]));
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        let details = status.get_error_details();
        assert_eq!(details.bad_request().unwrap().field_violations.len(), 2);
        assert_eq!(details.error_info().unwrap().reason, "INVALID_ARGUMENT");

        let status = status::of(Error::StorageUnavailable { cause: "/secret/path is gone".into() });
        assert!(!status.message().contains("secret"));
        assert!(status.get_error_details().retry_info().is_some());
    }
}
