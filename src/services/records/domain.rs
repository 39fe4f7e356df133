//! What records are about: collections, conditions, cursors, mutations of clients. No I/O.

use uuid::Uuid;

use crate::settings::RecordsSettings;

/// What a collection may hold; none: as the settings say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Records at once.
    pub records_max: Option<i64>,
    /// Bytes of keys and documents.
    pub bytes_max: Option<i64>,
    /// Bytes of one document.
    pub document_bytes_max: Option<i64>,
    /// How long a deletion is kept.
    pub tombstone_retention_us: Option<i64>,
}

/// What holds for collections that do not say otherwise, and for all of them together.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Collections at once.
    pub collections_max: i64,
    /// Deleted collections whose last number is kept by name.
    pub deleted_collections_max: i64,
    /// Records of a collection.
    pub records_max: i64,
    /// Bytes of a collection.
    pub bytes_max: i64,
    /// Bytes of one document.
    pub document_bytes_max: i64,
    /// How long a deletion is kept.
    pub tombstone_retention_us: i64,
    /// Documents of at least so many bytes are compressed.
    pub compress_bytes_min: u64,
    /// How deep a document may be nested.
    pub depth_max: u64,
}

impl Bounds {
    /// The bounds that the settings give.
    pub fn new(settings: &RecordsSettings) -> Self {
        let bound = |bound: u64| i64::try_from(bound).unwrap_or(i64::MAX);
        Self {
            collections_max: bound(settings.collections_max),
            deleted_collections_max: bound(settings.deleted_collections_max),
            records_max: bound(settings.records_max),
            bytes_max: bound(settings.bytes_max),
            document_bytes_max: bound(settings.document_bytes_max),
            tombstone_retention_us: bound(settings.tombstone_retention_ms).saturating_mul(1_000),
            compress_bytes_min: settings.compress_bytes_min,
            depth_max: settings.depth_max,
        }
    }
}

/// A collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Tells it from an earlier one of the same name.
    pub incarnation: Uuid,
    /// Counts changes of its declaration.
    pub revision: i64,
    /// Counts changes of its schema; zero: there is none.
    pub schema_revision: i64,
    /// What it may hold.
    pub limits: Limits,
    /// The number of its last change.
    pub last_seq: i64,
    /// The last branch that changed it; nil: none did.
    pub branch: Uuid,
    /// The largest number of a tombstone that was removed.
    pub purged_seq: i64,
    /// Records that are there.
    pub record_count: i64,
    /// Deletions that are kept.
    pub tombstone_count: i64,
    /// Bytes of keys and documents.
    pub size_bytes: i64,
    /// Until when somebody watches it.
    pub watched_until_us: i64,
    /// When it was made.
    pub create_us: i64,
    /// When its declaration was last changed.
    pub update_us: i64,
}

/// What a caller declares of a collection.
#[derive(Clone, Debug)]
pub struct Declaration {
    /// Its name.
    pub name: String,
    /// What it may hold; none: it stays.
    pub limits: Option<Limits>,
    /// Its schema; none: it stays. Empty: there is none.
    pub schema_json: Option<String>,
    /// The paths of its indexes; none: they stay.
    pub index_paths: Option<Vec<String>>,
}

/// An index of a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// Its number.
    pub id: i64,
    /// Where it looks in a document.
    pub path: String,
    /// Whether it is used.
    pub is_ready: bool,
}

/// A collection with all that is declared of it.
#[derive(Clone, Debug)]
pub struct Declared {
    /// The collection.
    pub collection: Collection,
    /// Its schema; empty: none.
    pub schema_json: String,
    /// Its indexes, by their paths.
    pub indexes: Vec<Index>,
}

/// A record or a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The key.
    pub key: String,
    /// The number of its last change within the collection: its revision.
    pub seq: i64,
    /// The document; none: it was deleted.
    pub document: Option<String>,
    /// When it was made.
    pub create_us: i64,
    /// When it was last changed.
    pub update_us: i64,
}

/// The mutation of a client that made a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The number of the client.
    pub client_row_id: i64,
    /// The number of the mutation.
    pub mutation_id: i64,
}

/// What there is under a key before a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The revision.
    pub revision: i64,
    /// Whether it is a tombstone.
    pub is_deleted: bool,
    /// What made the last change, if it was a mutation of a client.
    pub origin: Option<Origin>,
}

/// What must hold for a change to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Always,
    /// There is no record.
    IfAbsent,
    /// There is a record.
    IfPresent,
    /// There is a record with this revision.
    IfRevision(i64),
    /// There is a record or a tombstone with this revision.
    IfSeen(i64),
    /// The last change was this one.
    IfOrigin(Origin),
}

/// Why a change is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is none, and one is asked for.
    NotFound,
    /// There is one, and none is asked for.
    Exists,
    /// It is another.
    Changed,
}

impl Condition {
    /// Whether the condition holds for what stands there; none: nothing ever did.
    pub fn check(self, standing: Option<Standing>) -> Result<(), Refusal> {
        let live = standing.filter(|standing| !standing.is_deleted);
        match (self, live) {
            (Self::Always, _) | (Self::IfAbsent, None) | (Self::IfPresent, Some(_)) => Ok(()),
            (Self::IfAbsent, Some(_)) => Err(Refusal::Exists),
            (Self::IfPresent | Self::IfRevision(_), None) => Err(Refusal::NotFound),
            (Self::IfRevision(asked), Some(live)) if live.revision == asked => Ok(()),
            (Self::IfRevision(_), Some(_)) => Err(Refusal::Changed),
            (Self::IfSeen(_) | Self::IfOrigin(_), _) => match standing {
                Some(standing) if self.is_of(standing) => Ok(()),
                _ => Err(Refusal::Changed),
            },
        }
    }

    fn is_of(self, standing: Standing) -> bool {
        match self {
            Self::IfSeen(revision) => standing.revision == revision,
            Self::IfOrigin(origin) => standing.origin == Some(origin),
            _ => false,
        }
    }
}

/// What is to be done with a key that has a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It is a matter of the condition.
    Replaced,
    /// It stays.
    Kept,
}

/// How a document is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// By a merge patch (RFC 7396).
    Merge(String),
    /// Members are replaced whole, and removed.
    Replace {
        /// The new members, an object.
        members: String,
        /// The names of those that are removed.
        removed: Vec<String>,
    },
}

/// What became of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// The key had no record.
    Created,
    /// The record was replaced.
    Replaced,
    /// The record stays.
    Kept,
    /// The document is what was stored.
    Unchanged,
}

/// Where a reader of changes stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The collection that it reads.
    pub incarnation: Uuid,
    /// The branch of the last change that it knows of; nil: it knows of none.
    pub branch: Uuid,
    /// The last change that it was told of, or that there was nothing before.
    pub seq: i64,
    /// The last change there was when it began with nothing: what was deleted until then it never had.
    pub scan_head: i64,
}

impl Position {
    /// At the beginning of a collection as it is now.
    pub fn beginning(collection: &Collection) -> Self {
        let Collection { incarnation, branch, last_seq, .. } = *collection;
        Self { incarnation, branch, seq: 0, scan_head: last_seq }
    }

    /// At the end of a collection as it is now.
    pub fn end(collection: &Collection) -> Self {
        Self { seq: collection.last_seq, ..Self::beginning(collection) }
    }

    /// The number of the last change that the reader knows of.
    pub fn known(&self) -> i64 {
        self.seq.max(self.scan_head)
    }

    /// Whether the collection is another than the reader's, or was set back.
    pub fn is_ahead(&self, collection: &Collection) -> bool {
        self.incarnation != collection.incarnation || self.known() > collection.last_seq
    }

    /// Whether deletions may have been removed that the reader does not know of.
    pub fn is_behind(&self, collection: &Collection) -> bool {
        collection.purged_seq > self.known()
    }
}

/// What became of a client's mutation. The number is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncOutcome {
    /// It was applied.
    Applied,
    /// The record is another than the client had seen.
    Conflict,
    /// It cannot be applied.
    Rejected,
}

impl SyncOutcome {
    /// All of them, in the order of their numbers, from 1.
    pub const ALL: [Self; 3] = [Self::Applied, Self::Conflict, Self::Rejected];
}

/// What a client saw when it made a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// It does not matter.
    Anything,
    /// No record.
    Absent,
    /// A record or a tombstone of this revision.
    Revision(i64),
    /// What its own mutation had made.
    After(i64),
}

impl Base {
    /// What must hold for a change of that client.
    pub fn condition(self, client_row_id: i64) -> Condition {
        match self {
            Self::Anything => Condition::Always,
            Self::Absent => Condition::IfAbsent,
            Self::Revision(revision) => Condition::IfSeen(revision),
            Self::After(mutation_id) => Condition::IfOrigin(Origin { client_row_id, mutation_id }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collection(last_seq: i64, purged_seq: i64) -> Collection {
        Collection {
            id: 1,
            name: "a".into(),
            incarnation: Uuid::from_u128(7),
            revision: 1,
            schema_revision: 0,
            limits: Limits::default(),
            last_seq,
            branch: Uuid::nil(),
            purged_seq,
            record_count: 0,
            tombstone_count: 0,
            size_bytes: 0,
            watched_until_us: 0,
            create_us: 0,
            update_us: 0,
        }
    }

    #[test]
    fn a_reader_is_lost_when_it_missed_a_deletion_that_it_could_have_seen() {
        let incarnation = Uuid::from_u128(7);
        let at = |seq, scan_head| Position { incarnation, branch: Uuid::nil(), seq, scan_head };
        assert!(!at(5, 0).is_behind(&collection(10, 5)));
        assert!(at(4, 0).is_behind(&collection(10, 5)));
        assert!(!at(1, 5).is_behind(&collection(10, 5)), "it began after the deletion");
        assert!(at(1, 4).is_behind(&collection(10, 5)));
        assert!(at(11, 0).is_ahead(&collection(10, 0)), "the database was set back");
        let other = Position { incarnation: Uuid::from_u128(8), ..at(5, 0) };
        assert!(other.is_ahead(&collection(10, 0)));
        let beginning = Position::beginning(&collection(10, 9));
        assert!(!beginning.is_behind(&collection(10, 9)) && !beginning.is_ahead(&collection(10, 9)));
        assert_eq!(Position::end(&collection(10, 9)).seq, 10);
    }

    #[test]
    fn conditions_hold_of_what_they_ask_for() {
        let origin = Origin { client_row_id: 1, mutation_id: 2 };
        let live = Some(Standing { revision: 3, is_deleted: false, origin: Some(origin) });
        let gone = Some(Standing { revision: 4, is_deleted: true, origin: None });
        let held =
            |condition: Condition| [None, live, gone].map(|standing| condition.check(standing).is_ok());
        assert_eq!(held(Condition::Always), [true, true, true]);
        assert_eq!(held(Condition::IfAbsent), [true, false, true]);
        assert_eq!(held(Condition::IfPresent), [false, true, false]);
        assert_eq!(held(Condition::IfRevision(3)), [false, true, false]);
        assert_eq!(held(Condition::IfRevision(4)), [false, false, false]);
        assert_eq!(held(Condition::IfSeen(3)), [false, true, false]);
        assert_eq!(held(Condition::IfSeen(4)), [false, false, true]);
        assert_eq!(held(Condition::IfOrigin(origin)), [false, true, false]);
        assert_eq!(Base::After(2).condition(1), Condition::IfOrigin(origin));
        assert_eq!(Condition::IfRevision(4).check(live), Err(Refusal::Changed));
        assert_eq!(Condition::IfRevision(4).check(gone), Err(Refusal::NotFound));
        assert_eq!(Condition::IfAbsent.check(live), Err(Refusal::Exists));
    }
}
