//! Every query that reads more than one row runs on an index, none sorts, and what is known of a hash costs one seek: asked of the
//! database itself.

use sea_orm::{DbBackend, EntityTrait, FromQueryResult, QueryTrait as _, Select};

use super::list::{Along, files_of, sessions_of};
use super::{check, errors, index, remove, reserve, stats};
use crate::services::uploads::domain::Status;
use crate::storage::plans::{assert_runs, storage, texts};

fn text<E>(select: &Select<E>) -> String
where
    E: EntityTrait,
    E::Model: FromQueryResult,
{
    select.build(DbBackend::Sqlite).to_string()
}

const OF_SESSION: &str = "SEARCH s USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN";

#[tokio::test]
async fn what_is_known_of_a_hash_is_one_seek_into_the_one_index_of_hashes() {
    let (storage, _directory) = storage().await;
    for hashes in [1, 256] {
        let by_hash = "SEARCH upload_files USING INDEX upload_files_by_hash (service_id=? AND hash=?)";
        let known = by_hash.replace("USING INDEX", "USING COVERING INDEX");
        assert_runs(&storage, &check::known_query(hashes), &[&known]).await;
        let look = by_hash.replace("upload_files USING", "f USING");
        assert_runs(&storage, &check::look_query(hashes), &[&look, OF_SESSION]).await;
        assert_runs(&storage, &check::forget_query(hashes), &[by_hash]).await;
    }
    let of_hashes = "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'upload_files' AND sql LIKE '%hash%'";
    let indexes = texts(&storage, of_hashes.into(), "name").await;
    assert_eq!(indexes, ["upload_files_by_hash"], "hashes are in the table and in one index");
}

#[tokio::test]
async fn a_reservation_is_one_seek() {
    let (storage, _directory) = storage().await;
    let key = "SEARCH upload_reservations USING INDEX sqlite_autoindex_upload_reservations_1 (service_id=? AND hash=?)";
    for hashes in [1, 256] {
        for query in
            [reserve::held_query(hashes), reserve::extend_query(hashes), reserve::remove_query(hashes)]
        {
            assert_runs(&storage, &query, &[key]).await;
        }
    }
    let expired = "SEARCH upload_reservations USING INDEX upload_reservations_by_expire_time (expire_time<?)";
    assert_runs(&storage, remove::EXPIRED, &[expired]).await;
    let live =
        "SEARCH upload_reservations USING COVERING INDEX upload_reservations_by_expire_time (expire_time>?)";
    assert_runs(&storage, stats::RESERVATIONS, &[live]).await;
}

#[tokio::test]
async fn each_list_runs_on_the_index_of_its_filter_and_needs_no_sort() {
    let (storage, _directory) = storage().await;
    for oldest_first in [true, false] {
        for (along, name, column) in [
            (Along::Session(1), "upload_files_by_session", "session_row_id"),
            (Along::Source(1), "upload_files_by_source", "source_id"),
        ] {
            let (first, _) = files_of(along, oldest_first, None);
            let step = format!("SEARCH f USING INDEX {name} ({column}=?)");
            assert_runs(&storage, &first, &[&step, OF_SESSION]).await;
            let (next, _) = files_of(along, oldest_first, Some(7));
            let than = if oldest_first { '>' } else { '<' };
            let step = format!("SEARCH f USING INDEX {name} ({column}=? AND rowid{than}?)");
            assert_runs(&storage, &next, &[&step, OF_SESSION]).await;
        }
        assert_runs(&storage, &files_of(Along::All, oldest_first, None).0, &["SCAN f", OF_SESSION]).await;
        let than = if oldest_first { '>' } else { '<' };
        let step = format!("SEARCH f USING INTEGER PRIMARY KEY (rowid{than}?)");
        assert_runs(&storage, &files_of(Along::All, oldest_first, Some(7)).0, &[&step, OF_SESSION]).await;
    }
    for after in [None, Some(7)] {
        let below = if after.is_some() { " AND rowid<?" } else { "" };
        for (status, source, name, columns) in [
            (Some(Status::Paused), None, "upload_sessions_by_status", "status=?"),
            (None, Some(1), "upload_sessions_by_source", "source_id=?"),
            (
                Some(Status::Paused),
                Some(1),
                "upload_sessions_by_source_and_status",
                "source_id=? AND status=?",
            ),
        ] {
            let step = format!("SEARCH upload_sessions USING INDEX {name} ({columns}{below})");
            assert_runs(&storage, &text(&sessions_of(status, source, after)), &[&step]).await;
        }
    }
}

#[tokio::test]
async fn errors_and_the_index_are_read_along_their_indexes() {
    let (storage, _directory) = storage().await;
    let of_session =
        "SEARCH upload_errors USING INDEX upload_errors_by_session (session_row_id=? AND rowid>?)";
    assert_runs(&storage, &text(&errors::errors_of(1, 7)), &[of_session]).await;
    let of_path = "SEARCH upload_errors USING INDEX upload_errors_by_path (session_row_id=? AND path_hash=?)";
    for paths in [1, 256] {
        assert_runs(&storage, &errors::open_query(paths), &[of_path]).await;
    }
    let by_number = "SEARCH upload_errors USING INTEGER PRIMARY KEY (rowid=?)";
    assert_runs(&storage, errors::RESOLVE, &[by_number]).await;
    let session = "SEARCH s USING INTEGER PRIMARY KEY (rowid=?)";
    let by_time = "SCAN e USING INDEX upload_errors_by_update_time";
    assert_runs(&storage, &errors::errors_by_time(false), &[by_time, session]).await;
    let by_time = "SEARCH e USING INDEX upload_errors_by_update_time (update_time<?)";
    assert_runs(&storage, &errors::errors_by_time(true), &[by_time, session]).await;
    let by_hash = "SEARCH f USING INDEX upload_files_by_hash (service_id=?";
    assert_runs(&storage, &index::files_after(false), &[&format!("{by_hash})"), OF_SESSION]).await;
    assert_runs(&storage, &index::files_after(true), &[&format!("{by_hash} AND hash>?)"), OF_SESSION]).await;
}

#[tokio::test]
async fn statistics_read_the_newest_rows_by_their_numbers() {
    let (storage, _directory) = storage().await;
    // There are few groups: services, and statuses.
    let groups = "USE TEMP B-TREE FOR GROUP BY";
    assert_runs(&storage, stats::FILES, &["SCAN upload_files", "SCAN newest", groups]).await;
    assert_runs(&storage, stats::SESSIONS, &["SCAN upload_sessions", "SCAN newest", groups]).await;
}
