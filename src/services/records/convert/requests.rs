//! Requests: checked, with all violations told at once.

use pannier_proto::records::v1 as pb;

use crate::json::{self, Limits};
use crate::services::records::document::Document;
use crate::services::records::domain::{Change, Condition, Existing};
use crate::settings::RecordsSettings;

/// Requests of the records, checked against their settings.
pub type Parser<'s> = crate::convert::Parser<'s, RecordsSettings>;

/// A document to be stored.
#[derive(Debug)]
pub(in super::super) struct Storing {
    /// The key; empty: one is to be made.
    pub(in super::super) key: String,
    /// The document.
    pub(in super::super) document: Document,
    /// What must hold.
    pub(in super::super) condition: Condition,
    /// What is to be done with a record that is there.
    pub(in super::super) existing: Existing,
    /// Members that keep the values of the record that is there.
    pub(in super::super) keep_members: Vec<String>,
}

/// A document to be changed.
#[derive(Debug)]
pub(in super::super) struct Patching {
    /// The key.
    pub(in super::super) key: String,
    /// How.
    pub(in super::super) change: Change,
    /// What must hold.
    pub(in super::super) condition: Condition,
}

/// A record to be deleted.
#[derive(Debug)]
pub(in super::super) struct Deleting {
    /// The key.
    pub(in super::super) key: String,
    /// What must hold.
    pub(in super::super) condition: Condition,
}

impl Parser<'_> {
    pub(in super::super) fn key(&mut self, field: &dyn Fn() -> String, key: &str) {
        let max = self.settings.key_bytes_max;
        // The field is named only where something is wrong.
        if key.is_empty() || key.len() as u64 > max || key.contains('\0') {
            self.text(&field(), key, 1, max, "records.key_bytes_max");
        }
    }

    pub(in super::super) fn prefix(&mut self, prefix: &str) {
        self.text("prefix", prefix, 0, self.settings.key_bytes_max, "records.key_bytes_max");
    }

    fn limits_of_json(&self) -> Limits {
        Limits {
            bytes_max: usize::try_from(self.settings.document_bytes_max).unwrap_or(usize::MAX),
            depth_max: usize::try_from(self.settings.depth_max).unwrap_or(usize::MAX),
            is_object: true,
        }
    }

    /// Checks a document or a patch: both are objects.
    pub(in super::super) fn object(&mut self, field: &dyn Fn() -> String, text: &str) -> bool {
        let Err(fault) = json::check(text, self.limits_of_json()) else { return true };
        let setting = match fault.problem {
            json::Problem::TooLong { .. } => " (records.document_bytes_max)",
            json::Problem::TooDeep { .. } => " (records.depth_max)",
            _ => "",
        };
        self.violations.add(field(), format!("{fault}{setting}"));
        false
    }

    /// A document, compressed where that makes it smaller.
    pub(in super::super) fn document(&mut self, field: &dyn Fn() -> String, text: String) -> Document {
        let is_right = self.object(field, &text);
        let compress_bytes_min = if is_right { self.settings.compress_bytes_min } else { u64::MAX };
        Document::new(text, compress_bytes_min)
    }

    /// The condition of a revision; zero: any.
    pub(in super::super) fn if_revision(&mut self, field: &dyn Fn() -> String, revision: i64) -> Condition {
        if revision < 0 {
            self.violations.add(field(), "must be a revision, or zero");
        }
        if revision == 0 { Condition::Always } else { Condition::IfRevision(revision) }
    }

    /// A document to be stored; `of_batch` is the mode of those that say none.
    pub(in super::super) fn storing(&mut self, item: pb::PutItem, of_batch: i32) -> Storing {
        let at = |name: &str| name.to_owned();
        if !item.key.is_empty() {
            self.key(&|| at("key"), &item.key);
        }
        let document = self.document(&|| at("document_json"), item.document_json);
        let mode = if item.mode == 0 { of_batch } else { item.mode };
        let of_revision = self.if_revision(&|| at("if_revision"), item.if_revision);
        let (condition, existing) = match pb::PutMode::try_from(mode) {
            Ok(pb::PutMode::Insert) => (Condition::IfAbsent, Existing::Replaced),
            Ok(pb::PutMode::Keep) => (Condition::Always, Existing::Kept),
            Ok(pb::PutMode::Unspecified | pb::PutMode::Replace) => (of_revision, Existing::Replaced),
            Err(_) => {
                self.violations.add(at("mode"), format!("{mode} is no PutMode"));
                (of_revision, Existing::Replaced)
            }
        };
        let ignores_it = condition != of_revision || existing == Existing::Kept;
        if item.if_revision > 0 && ignores_it {
            self.violations.add(at("if_revision"), "goes with REPLACE only");
        }
        if item.if_revision > 0 && item.key.is_empty() {
            self.violations.add(at("key"), "must be given with if_revision");
        }
        if !item.keep_members.is_empty() && (condition == Condition::IfAbsent || existing == Existing::Kept) {
            self.violations.add("keep_members", "goes with REPLACE only");
        }
        self.member_names("keep_members", &item.keep_members);
        Storing { key: item.key, document, condition, existing, keep_members: item.keep_members }
    }

    fn member_names(&mut self, field: &str, names: &[String]) {
        let max = self.settings.keep_members_max;
        if names.len() as u64 > max {
            let message = format!("must be at most {max} (records.keep_members_max), are {}", names.len());
            self.violations.add(field, message);
        }
    }

    /// A document to be changed.
    pub(in super::super) fn patching(&mut self, item: pb::PatchItem) -> Patching {
        self.key(&|| "key".to_owned(), &item.key);
        self.object(&|| "patch_json".to_owned(), &item.patch_json);
        let condition = self.if_revision(&|| "if_revision".to_owned(), item.if_revision);
        self.member_names("remove_members", &item.remove_members);
        let is_replacing = match pb::PatchMode::try_from(item.mode) {
            Ok(pb::PatchMode::Unspecified | pb::PatchMode::Merge) => false,
            Ok(pb::PatchMode::Replace) => true,
            Err(_) => {
                self.violations.add("mode", format!("unknown PatchMode {}", item.mode));
                false
            }
        };
        if !is_replacing && !item.remove_members.is_empty() {
            self.violations.add("remove_members", "goes with REPLACE only: null removes with MERGE");
        }
        let change = match is_replacing {
            true => Change::Replace { members: item.patch_json, removed: item.remove_members },
            false => Change::Merge(item.patch_json),
        };
        Patching { key: item.key, change, condition }
    }

    /// A record to be deleted.
    pub(in super::super) fn deleting(&mut self, item: pb::DeleteItem) -> Deleting {
        self.key(&|| "key".to_owned(), &item.key);
        let condition = self.if_revision(&|| "if_revision".to_owned(), item.if_revision);
        Deleting { key: item.key, condition }
    }
}
