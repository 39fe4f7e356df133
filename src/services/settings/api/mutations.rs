//! What changes settings, prepared for a call of its own or for a commit: Set, Delete; and the check of a commit.

use pannier_proto::settings::v1 as pb;
use pannier_proto::transaction::v1::{CheckResult, SettingsCheck, settings_check::Expected};

use super::super::convert::{self, Parser};
use super::super::domain::Condition;
use super::super::{Settings, WAKE_TOPIC, store};
use crate::storage::Operation;

impl Settings {
    pub(in crate::services) fn prepare_set(
        &self,
        parser: &mut Parser<'_>,
        request: pb::SetRequest,
    ) -> Operation<pb::SetResponse> {
        parser.key(&request.key);
        parser.value(&request.value_json);
        let condition = parser.condition(request.condition);
        let durability = parser.durability("durability", request.durability);
        let now_us = self.clock.now_us();
        let settings_max = i64::try_from(self.configuration.settings.settings_max).unwrap_or(i64::MAX);
        let operation = Operation::new(request, move |tx, request| {
            Box::pin(async move {
                let (key, value) = (&request.key, &request.value_json);
                let (setting, created) = store::set(tx, key, value, condition, settings_max, now_us).await?;
                tx.wake(WAKE_TOPIC.to_owned());
                Ok(pb::SetResponse { setting: Some(convert::setting(setting)), created })
            })
        });
        operation.surviving(durability).locking([store::lock_of_state()])
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
