//! What settings are about. No I/O.

use uuid::Uuid;

/// A setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key.
    pub key: String,
    /// JSON as it was given.
    pub value_json: String,
    /// The revision of its last change.
    pub revision: i64,
    /// When it was first set, since it was last absent.
    pub create_us: i64,
    /// When it was last set.
    pub update_us: i64,
}

/// What must hold for a change to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Always,
    /// There is no such setting.
    IfAbsent,
    /// There is such a setting.
    IfPresent,
    /// The setting has this revision.
    IfRevision(i64),
}

/// Why a change is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is none, and one is asked for.
    NotFound,
    /// There is one, and none is asked for.
    Exists,
    /// It has another revision.
    Changed,
}

impl Condition {
    /// Whether the condition holds for a setting of `revision`; none: there is none.
    pub fn check(self, revision: Option<i64>) -> Result<(), Refusal> {
        match (self, revision) {
            (Self::Always, _) | (Self::IfAbsent, None) | (Self::IfPresent, Some(_)) => Ok(()),
            (Self::IfAbsent, Some(_)) => Err(Refusal::Exists),
            (Self::IfPresent | Self::IfRevision(_), None) => Err(Refusal::NotFound),
            (Self::IfRevision(asked), Some(revision)) if asked == revision => Ok(()),
            (Self::IfRevision(_), Some(_)) => Err(Refusal::Changed),
        }
    }
}

/// A change of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: String,
    /// The setting as it is now; none: it was deleted.
    pub setting: Option<Setting>,
    /// The change's revision.
    pub revision: i64,
}

/// Where a watcher stands: it has seen everything up to a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The branch of the revision; nil: it is zero.
    pub branch: Uuid,
    /// The revision.
    pub revision: i64,
}

/// What happened after a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// These changes; everything up to `seen` is among them or was overtaken.
    Changes {
        /// In the order of their revisions.
        changes: Vec<Change>,
        /// Nothing is missing up to it.
        seen: Position,
    },
    /// Deletions may have been forgotten since, or the position belongs to another history.
    Reload,
}
