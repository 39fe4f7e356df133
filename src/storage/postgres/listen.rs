//! Listens for the wake-ups of all sidecars on the same schema and hands them to those who wait in this one.

use std::time::Duration;

use sqlx::Row as _;
use sqlx::postgres::{PgListener, PgPoolOptions};

use super::connection::{CHANNEL, Place};
use crate::storage::Wake;

/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs until it is aborted. While there is no connection wake-ups are lost: waiters look again by themselves now and then,
/// and all are woken when there is one again.
pub(super) async fn run(place: Place, wake: Wake) {
    loop {
        if let Err(error) = listen(&place, &wake).await {
            tracing::debug!(error = %error, "no wake-ups from the database for now");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn listen(place: &Place, wake: &Wake) -> sqlx::Result<()> {
    // The listener takes its connection from a pool; this one has no other use.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(Duration::from_millis(place.settings.connect_ms_max))
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(place.options().clone())
        .await?;
    let channel = format!("SELECT {CHANNEL} AS channel");
    let channel: String =
        sqlx::query(sqlx::AssertSqlSafe(channel)).fetch_one(&pool).await?.try_get("channel")?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    listener.listen(&channel).await?;
    wake.notify_all();
    // None: the connection is gone, and with it perhaps some wake-ups.
    while let Some(notification) = listener.try_recv().await? {
        wake.notify(|| notification.payload().to_owned());
    }
    Ok(())
}
