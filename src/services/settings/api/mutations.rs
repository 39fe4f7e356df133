//! What changes settings, prepared for a call of its own or for a commit: Set, BatchSet, Delete; and the check of a commit.

use pannier_proto::settings::v1 as pb;
use pannier_proto::transaction::v1::{CheckResult, SettingsCheck, settings_check::Expected};

use super::super::convert::{self, Parser};
use super::super::domain::{self, Condition};
use super::super::{Settings, WAKE_TOPIC, store};
use crate::batch::{Batch, Failing, only};
use crate::error::{Error, Result};
use crate::status::ItemErrors;
use crate::storage::Operation;

/// A setting to be made or replaced.
struct Setting {
    key: String,
    value_json: String,
    condition: Condition,
}

impl Settings {
    pub(in crate::services) fn prepare_set(
        &self,
        parser: &mut Parser<'_>,
        request: pb::SetRequest,
    ) -> Operation<pb::SetResponse> {
        let durability = parser.durability("durability", request.durability);
        let condition = parser.condition(request.condition);
        parser.key(&request.key);
        parser.value(&request.value_json);
        let mut batch = Batch::new("items", Failing::Single, 1);
        batch.accept(Setting { key: request.key, value_json: request.value_json, condition });
        self.setting(batch).surviving(durability).try_map(|results| {
            let (setting, created) = only(results).and_then(|result| result)?;
            Ok(pb::SetResponse { setting: Some(convert::setting(setting)), created })
        })
    }

    pub(in crate::services) fn prepare_batch_set(
        &self,
        parser: &mut Parser<'_>,
        request: pb::BatchSetRequest,
    ) -> Operation<pb::BatchSetResponse> {
        let durability = parser.durability("durability", request.durability);
        let failing = parser.failing(request.atomic);
        let max = (parser.settings.batch_items_max, "settings.batch_items_max");
        let batch = parser.items("items", request.items, max, failing, |parser, item| {
            parser.key(&item.key);
            parser.value(&item.value_json);
            let condition = parser.condition(item.condition.map(convert::condition_of_item));
            Setting { key: item.key, value_json: item.value_json, condition }
        });
        self.setting(batch).surviving(durability).map(|results| {
            let mut errors = ItemErrors::default();
            let result = |result| convert::set_result(result, &mut errors);
            pb::BatchSetResponse { results: results.into_iter().map(result).collect() }
        })
    }

    /// The one way to set: the results are the settings, and whether they were made.
    fn setting(&self, batch: Batch<Setting>) -> Operation<Vec<Result<(domain::Setting, bool)>>> {
        let now_us = self.clock.now_us();
        let settings_max = i64::try_from(self.configuration.settings.settings_max).unwrap_or(i64::MAX);
        let items = batch.count();
        let operation = Operation::new(batch, move |tx, batch| {
            Box::pin(async move {
                let mut writer = store::Writer::begin(tx, settings_max, now_us).await?;
                let mut results = Vec::with_capacity(batch.items.len());
                for Setting { key, value_json, condition } in &batch.items {
                    results.push(alone(writer.set(key, value_json, *condition).await)?);
                }
                if writer.finish().await? {
                    tx.wake(WAKE_TOPIC.to_owned());
                }
                batch.results(results)
            })
        });
        operation.of_items(items).locking([store::lock_of_state()])
    }

    pub(in crate::services) fn prepare_delete(
        &self,
        parser: &mut Parser<'_>,
        request: pb::DeleteRequest,
    ) -> Operation<pb::DeleteResponse> {
        parser.key(&request.key);
        parser.revision("if_revision", request.if_revision, 0);
        let condition = match request.if_revision {
            0 => Condition::Always,
            revision => Condition::IfRevision(revision),
        };
        let durability = parser.durability("durability", request.durability);
        let now_us = self.clock.now_us();
        let operation = Operation::new(request.key, move |tx, key| {
            Box::pin(async move {
                let deleted = store::delete(tx, key, condition, now_us).await?;
                if deleted.is_some() {
                    tx.wake(WAKE_TOPIC.to_owned());
                }
                let revision = deleted.unwrap_or_default();
                Ok(pb::DeleteResponse { deleted: deleted.is_some(), revision })
            })
        });
        operation.surviving(durability).locking([store::lock_of_state()])
    }

    pub(in crate::services) fn prepare_check(
        &self,
        parser: &mut Parser<'_>,
        check: SettingsCheck,
    ) -> Operation<CheckResult> {
        parser.key(&check.key);
        let condition = match check.expected {
            Some(Expected::Absent(said)) => parser.expects("absent", said, Condition::IfAbsent),
            Some(Expected::Present(said)) => parser.expects("present", said, Condition::IfPresent),
            Some(Expected::Revision(revision)) => {
                parser.revision("revision", revision, 1);
                Condition::IfRevision(revision)
            }
            None => {
                parser.violations.add("expected", "is missing: say what must hold");
                Condition::Always
            }
        };
        let operation = Operation::new(check.key, move |tx, key| {
            Box::pin(async move {
                store::check(tx, key, condition).await?;
                Ok(CheckResult {})
            })
        });
        operation.locking([store::lock_of_state()])
    }
}

/// What is wrong with one item alone; the errors are the database's, after which nothing goes on.
fn alone<T>(result: Result<T>) -> Result<Result<T>> {
    match result {
        Err(
            error @ (Error::SettingNotFound
            | Error::SettingExists
            | Error::SettingChanged
            | Error::TooManySettings { .. }),
        ) => Ok(Err(error)),
        Err(error) => Err(error),
        Ok(done) => Ok(Ok(done)),
    }
}
