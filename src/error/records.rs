//! What can go wrong with records and their collections. `status/records.rs` says what a caller is told.

use thiserror::Error;

use super::Violation;

/// What went wrong.
#[derive(Clone, Debug, Error)]
pub enum RecordsError {
    /// There is no such collection.
    #[error("no such collection")]
    CollectionNotFound,
    /// There is a collection with this name.
    #[error("a collection has this name")]
    CollectionExists,
    /// The collection's declaration has another revision.
    #[error("the collection's declaration has another revision")]
    CollectionChanged,
    /// No further collection may be made.
    #[error("there are {collections_max} collections, as many as may be")]
    TooManyCollections {
        /// The limit.
        collections_max: i64,
    },
    /// The collection holds as much as it may.
    #[error("the collection holds {max} {what}, as many as may be")]
    CollectionFull {
        /// What there would be too many of.
        what: &'static str,
        /// The limit.
        max: i64,
    },
    /// There is no such record.
    #[error("no such record")]
    RecordNotFound,
    /// There is such a record, and none was asked for.
    #[error("a record has this key")]
    RecordExists,
    /// The record has another revision.
    #[error("the record has another revision")]
    RecordChanged,
    /// The document is larger than its collection allows.
    #[error("the document has {bytes} bytes, and its collection takes {bytes_max}")]
    DocumentTooLarge {
        /// Its size.
        bytes: i64,
        /// The limit.
        bytes_max: i64,
    },
    /// The document is not as the schema asks.
    #[error("the document is not as the schema asks, in {} places", .0.len())]
    SchemaViolated(Vec<Violation>),
    /// The schema takes too many steps with the document.
    #[error("the schema takes more than {steps_max} steps with the document")]
    SchemaStepsExceeded {
        /// The limit.
        steps_max: u64,
    },
    /// The cursor belongs to another collection or was never given.
    #[error("the cursor belongs to another collection, or was never given")]
    CursorInvalid,
    /// Deletions may have been missed.
    #[error("the cursor is older than what is kept")]
    CursorReset,
    /// The order has no index.
    #[error(
        "the order by {path} has no index, and there are more than {rows_max} documents, or {bytes_max} bytes of them, to sort"
    )]
    QueryNeedsIndex {
        /// What is to be ordered by.
        path: String,
        /// How many may be sorted.
        rows_max: u64,
        /// How many bytes may be read for it.
        bytes_max: u64,
    },
    /// The client is not known, or knows of more than the database does.
    #[error("the client is not known")]
    SyncClientUnknown,
    /// Mutations are missing.
    #[error("the next mutation of this client is {expected_mutation_id}")]
    SyncOutOfOrder {
        /// The next one.
        expected_mutation_id: i64,
    },
    /// A mutation came again with another body.
    #[error("mutation {mutation_id} came again with another body")]
    SyncMutationReused {
        /// Which.
        mutation_id: i64,
    },
    /// Too many outcomes are not acknowledged.
    #[error("more than {outcomes_max} outcomes would be kept")]
    SyncUnacknowledged {
        /// The limit.
        outcomes_max: i64,
    },
    /// No further client may be made.
    #[error("there are {clients_max} clients, as many as may be")]
    TooManySyncClients {
        /// The limit.
        clients_max: i64,
    },
}
