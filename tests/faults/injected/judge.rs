//! Whether the answers of a script are right for the fault that it met, and what the process may do then.

use libc::{EIO, ENOSPC};
use tonic::{Code, Status};

use super::script::Script;
use crate::calls::Fault;
use crate::shim::{Failed, Plan, SYNCS, WRITES, Which};

/// What is to become of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// No call failed.
    Unharmed,
    /// It goes on by itself, now that the fault is lifted.
    MustResume,
    /// Either.
    MayEnd,
    /// It cannot know any more what is on disk: it ends with exit code 1.
    MustEnd,
}

/// Judges the answers, and notes in the books which writes were refused for good.
pub(super) fn judge(script: &Script, plan: Plan, failed: Option<Failed>) -> Fate {
    let errors: Vec<_> = script
        .steps
        .iter()
        .filter_map(|step| step.result.as_ref().err().map(|status| (step, status)))
        .collect();
    let Some(failed) = failed else {
        let kinds: Vec<_> = errors.iter().map(|(step, status)| (step.kind, status)).collect();
        assert!(kinds.is_empty(), "errors without a fault: {kinds:?}");
        return Fate::Unharmed;
    };
    for (place, (step, status)) in errors.iter().enumerate() {
        let reason = reason(status, plan, failed);
        if place == 0 {
            right_for(plan, failed, reason.as_deref(), status);
        }
        if reason.as_deref() == Some("STORAGE_FULL") {
            script.ledger.refuse(&step.tickets);
        }
    }
    match failed {
        Failed { kind: SYNCS, file: Which::Wal } if plan.error == EIO => Fate::MustEnd,
        Failed { kind: SYNCS, .. } => Fate::MayEnd,
        _ => Fate::MustResume,
    }
}

/// Whether nothing may be acknowledged any more: pages of the WAL may be lost, and no later sync tells.
pub(super) fn forbids_acknowledging(failed: Failed) -> bool {
    failed == Failed { kind: SYNCS, file: Which::Wal }
}

/// The reason in an answer; nothing if the connection ended with the process. Anything but a storage error that can be
/// retried is a fault of the sidecar's.
fn reason(status: &Status, plan: Plan, failed: Failed) -> Option<String> {
    let may_end = failed.kind == SYNCS;
    let Some(fault) = Fault::of(status) else {
        assert!(may_end, "an error without ErrorInfo after {failed:?}: {status:?}");
        return None;
    };
    let known = match (fault.code, fault.reason.as_str()) {
        (Code::ResourceExhausted, "STORAGE_FULL") => plan.error == ENOSPC,
        (Code::Unavailable, "STORAGE_UNAVAILABLE") => true,
        (Code::Unavailable, "SHUTTING_DOWN") => may_end,
        _ => false,
    };
    assert!(known, "after {failed:?} with errno {}: {fault:?}", plan.error);
    assert!(fault.retry.is_some(), "without RetryInfo: {fault:?}");
    Some(fault.reason)
}

/// The call that met the fault is told what it was; those after it may be told that storage is being reopened.
fn right_for(plan: Plan, failed: Failed, reason: Option<&str>, status: &Status) {
    if (plan.error, failed) == (ENOSPC, Failed { kind: WRITES, file: Which::Wal }) {
        assert_eq!(reason, Some("STORAGE_FULL"), "a full disk is not told as one: {status:?}");
    }
}
