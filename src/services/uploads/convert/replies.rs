//! Domain types to replies.

use pannier_proto::uploads::v1 as pb;

use super::super::domain::{Session, Stats, Status, UploadError};
use super::super::file::{File, FileState, Outcome, Wish};
use crate::answer::Budget;
use crate::clock::Clock;
use crate::convert::timestamp;

/// Bytes of framing, times and numbers of a file in an answer, with its hash.
const FILE_OVERHEAD_BYTES: usize = 200;

/// The file, if it fits into the answer.
fn fitting(file: File, budget: &mut Budget) -> Option<pb::UploadedFile> {
    let path = file.path.len() + file.name.len();
    let texts = path + file.mime_type.len() + file.service_file_id.len() + file.source_id.len();
    // A file that is larger than any answer is left out as well.
    let fits = budget.take(texts + FILE_OVERHEAD_BYTES, String::new).unwrap_or(false);
    fits.then(|| uploaded_file(file))
}

/// A session as the wire has it.
pub(in super::super) fn session(session: Session) -> pb::UploadSession {
    pb::UploadSession {
        id: session.id,
        source_id: session.source_id,
        name: session.name,
        status: status(session.status).into(),
        total_count: session.total,
        processed_count: session.counts.processed(),
        success_count: session.counts.success,
        error_count: session.counts.error,
        duplicate_count: session.counts.duplicate,
        last_processed_file: session.last_processed_file,
        error: session.error,
        metadata_json: session.metadata_json,
        revision: session.revision,
        start_time: Some(timestamp(session.start_us)),
        create_time: Some(timestamp(session.create_us)),
        update_time: Some(timestamp(session.update_us)),
        end_time: session.end_us.map(timestamp),
    }
}

fn status(status: Status) -> pb::UploadSessionStatus {
    match status {
        Status::Running => pb::UploadSessionStatus::Running,
        Status::Paused => pb::UploadSessionStatus::Paused,
        Status::Completed => pb::UploadSessionStatus::Completed,
        Status::Failed => pb::UploadSessionStatus::Failed,
    }
}

/// A file as the wire has it.
pub(in super::super) fn uploaded_file(file: File) -> pb::UploadedFile {
    pb::UploadedFile {
        service: file.service,
        sha256: file.hash.to_string(),
        path: file.path,
        name: file.name,
        size_bytes: file.size_bytes,
        mime_type: file.mime_type,
        service_file_id: file.service_file_id,
        source_id: file.source_id,
        session_id: file.session_id.unwrap_or_default(),
        upload_time: Some(timestamp(file.upload_us)),
    }
}

/// What is known of a file. Reservations end on the steady clock and are shown as the wall clock has it.
pub(in super::super) fn check_result(
    state: FileState,
    steady: &Clock,
    budget: &mut Budget,
) -> pb::CheckFilesResult {
    let tell = |state: pb::FileState| pb::CheckFilesResult { state: state.into(), ..Default::default() };
    match state {
        FileState::Unknown => tell(pb::FileState::Unknown),
        FileState::Reserved(until_us) => pb::CheckFilesResult {
            reserved_until_time: Some(timestamp(steady.wall_of(until_us))),
            ..tell(pb::FileState::Reserved)
        },
        FileState::Uploaded(files) => pb::CheckFilesResult {
            files: files.into_iter().filter_map(|file| fitting(file, budget)).collect(),
            ..tell(pb::FileState::Uploaded)
        },
    }
}

/// What became of a wish to reserve.
pub(in super::super) fn reservation_result(
    wish: Wish,
    until_us: i64,
    steady: &Clock,
    budget: &mut Budget,
) -> pb::ReserveFileResult {
    use pb::reserve_file_result::Outcome;
    let outcome = match wish {
        Wish::Granted(token) => Outcome::Reserved(pb::Reservation {
            token: token.to_string(),
            expire_time: Some(timestamp(steady.wall_of(until_us))),
        }),
        Wish::Held(until_us) => Outcome::HeldUntilTime(timestamp(steady.wall_of(until_us))),
        Wish::Uploaded(file) => {
            let (service, sha256) = (file.service.clone(), file.hash);
            let short = || pb::UploadedFile { service, sha256: sha256.to_string(), ..Default::default() };
            Outcome::Uploaded(fitting(*file, budget).unwrap_or_else(short))
        }
    };
    pb::ReserveFileResult { outcome: Some(outcome) }
}

/// What became of a file that was registered, and what was known of it.
pub(in super::super) fn outcome(
    outcome: Outcome,
    budget: &mut Budget,
) -> (pb::RegisterOutcome, Option<pb::UploadedFile>) {
    match outcome {
        Outcome::Registered => (pb::RegisterOutcome::Registered, None),
        Outcome::Duplicate(file) => (pb::RegisterOutcome::Duplicate, fitting(*file, budget)),
    }
}

/// An error as the wire has it.
pub(in super::super) fn error(error: UploadError) -> pb::UploadError {
    pb::UploadError {
        session_id: error.session_id,
        path: error.path,
        r#type: error.error_type,
        message: error.message,
        retry_count: error.retry_count,
        create_time: Some(timestamp(error.create_us)),
        update_time: Some(timestamp(error.update_us)),
        resolve_time: error.resolve_us.map(timestamp),
        counted: error.is_counted,
    }
}

/// Numbers as the wire has them.
pub(in super::super) fn stats(stats: Stats) -> pb::StatsResponse {
    let services = stats.services.into_iter().map(|sums| pb::ServiceFiles {
        service: sums.service,
        file_count: sums.files,
        size_bytes: sums.bytes,
    });
    let sessions = stats.sessions.into_iter().map(|sums| pb::StatusSessions {
        status: status(sums.status).into(),
        session_count: sums.sessions,
        success_count: sums.counts.success,
        error_count: sums.counts.error,
        duplicate_count: sums.counts.duplicate,
    });
    pb::StatsResponse {
        services: services.collect(),
        files_truncated: stats.files_truncated,
        sessions: sessions.collect(),
        sessions_truncated: stats.sessions_truncated,
        reservation_count: stats.reservations,
    }
}
