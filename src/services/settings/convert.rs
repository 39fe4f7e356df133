//! Protobuf ⇄ domain.

use pannier_proto::settings::v1 as pb;
use pannier_proto::settings::v1::{set_item, set_request};
use uuid::Uuid;

use super::domain::{Change, Condition, Position, Setting};
use crate::convert::timestamp;
use crate::error::Result;
use crate::page::Query;
use crate::settings::SettingsServiceSettings;
use crate::status::ItemErrors;

/// Requests of the settings, checked against theirs.
pub(super) type Parser<'s> = crate::convert::Parser<'s, SettingsServiceSettings>;

impl Parser<'_> {
    pub(super) fn key(&mut self, key: &str) {
        self.text("key", key, 1, self.settings.key_bytes_max, "settings.key_bytes_max");
    }

    pub(super) fn prefix(&mut self, prefix: &str) {
        self.text("prefix", prefix, 0, self.settings.key_bytes_max, "settings.key_bytes_max");
    }

    pub(super) fn value(&mut self, text: &str) {
        let max = self.settings.value_bytes_max;
        self.json(&|| "value_json".to_owned(), text, max, "settings.value_bytes_max");
    }

    pub(super) fn condition(&mut self, condition: Option<set_request::Condition>) -> Condition {
        match condition {
            None => Condition::Always,
            Some(set_request::Condition::IfAbsent(said)) => {
                if !said {
                    self.violations
                        .add("if_absent", "must be true where it is given: leave it out otherwise");
                }
                Condition::IfAbsent
            }
            Some(set_request::Condition::IfRevision(revision)) => {
                self.revision("if_revision", revision, 1);
                Condition::IfRevision(revision)
            }
        }
    }

    /// A watcher's position; none for an empty cursor.
    pub(super) fn cursor(&mut self, cursor: &str) -> Option<Position> {
        let text = match query().key_of(cursor) {
            Ok(text) => text?,
            Err(_) => String::new(),
        };
        let position = text.split_once(' ').and_then(|(branch, revision)| {
            Some(Position { branch: Uuid::try_parse(branch).ok()?, revision: revision.parse().ok()? })
        });
        if position.is_none() {
            self.violations.add("cursor", "must be one that List or Watch returned, or empty");
        }
        position
    }

    pub(super) fn revision(&mut self, field: &str, revision: i64, least: i64) {
        if revision < least {
            self.violations.add(field, format!("must be a revision, {least} or more"));
        }
    }
}

fn query() -> Query {
    Query::of("settings.Watch", &[])
}

/// The cursor of a position.
pub(super) fn cursor(position: Position) -> String {
    let Position { branch, revision } = position;
    query().token(&format!("{} {revision}", branch.simple()))
}

pub(super) fn setting(setting: Setting) -> pb::Setting {
    pb::Setting {
        key: setting.key,
        value_json: setting.value_json,
        revision: setting.revision,
        create_time: Some(timestamp(setting.create_us)),
        update_time: Some(timestamp(setting.update_us)),
    }
}

/// The condition of an item, as Set has it.
pub(super) fn condition_of_item(condition: set_item::Condition) -> set_request::Condition {
    match condition {
        set_item::Condition::IfAbsent(said) => set_request::Condition::IfAbsent(said),
        set_item::Condition::IfRevision(revision) => set_request::Condition::IfRevision(revision),
    }
}

/// What became of a setting of a batch.
pub(super) fn set_result(result: Result<(Setting, bool)>, errors: &mut ItemErrors) -> pb::BatchSetResult {
    use pb::batch_set_result::Outcome;
    let outcome = match result {
        Ok((setting, created)) => {
            Outcome::Set(pb::SetResult { key: setting.key, revision: setting.revision, created })
        }
        Err(error) => Outcome::Error(errors.of(&error)),
    };
    pb::BatchSetResult { outcome: Some(outcome) }
}

pub(super) fn change(change: Change) -> pb::Change {
    pb::Change { key: change.key, setting: change.setting.map(setting), revision: change.revision }
}
