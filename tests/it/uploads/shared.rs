//! What is about PostgreSQL alone.

use pannier_proto::uploads::v1 as pb;

use super::calls::files;
use crate::harness::pannier;

/// Nothing has analysed the tables yet.
#[tokio::test]
#[ignore = "PostgreSQL alone: asserts its plans; uploads::store::plans asserts SQLite's"]
async fn what_fills_a_new_database_is_looked_up_by_its_index() {
    const FILES: u64 = 10_000;
    let pannier = pannier().await;
    for first in (0..FILES).step_by(100) {
        let request =
            pb::BatchRegisterFilesRequest { files: files(first..first + 100), ..Default::default() };
        pannier.uploads().batch_register_files(request).await.unwrap();
    }
    // The sessions of the sidecar have told the server what they have read when they end.
    let pannier = pannier.restart().await;
    let read = "SELECT CAST(seq_tup_read + idx_tup_fetch AS text) FROM pg_stat_user_tables \
        WHERE schemaname = current_schema() AND relname = 'upload_files'";
    let rows_read: u64 = pannier.rows_as_text(read).await[0][0].parse().unwrap();
    assert!(rows_read < 100 * FILES, "{rows_read} rows were read for {FILES} new ones");
}
