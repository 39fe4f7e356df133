//! Listens for the wake-ups of all sidecars on the same schema and hands them to those who wait in this one.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};
use sqlx::{Executor as _, Row as _};

use super::connection::{CHANNEL, KEEPALIVE, Place};
use super::outage::{Outage, PAUSE};
use crate::storage::Wake;

/// After so long without a wake-up it is asked whether the connection still works: a network can forget it without a word.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Runs until it is aborted. While there is no connection wake-ups are lost: waiters look again by themselves now and then,
/// and all are woken when there is one again.
pub(super) async fn run(place: Place, wake: Wake, outage: Arc<Outage>) {
    loop {
        outage.until_over().await;
        let generation = outage.generation();
        tokio::select! {
            ended = listen(&place, &wake) => {
                let cause = ended.err().map(|error| error.to_string());
                tracing::debug!(cause, "no wake-ups from the database for now");
            }
            // A session has lost its connection: this one may be lost as well, and nobody would say so. What is dropped here
            // says its farewell in a task of its own, which a dead connection can keep for as long as the system lets it.
            () = outage.until_after(generation) => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn listen(place: &Place, wake: &Wake) -> sqlx::Result<()> {
    let limit = Duration::from_millis(place.settings.connect_ms_max);
    let mut listener = within(limit, connect(place, limit)).await?;
    wake.notify_all();
    loop {
        match tokio::time::timeout(SILENCE_MAX, listener.try_recv()).await {
            Ok(Ok(Some(notification))) => wake.notify(|| notification.payload().to_owned()),
            // The connection is gone, and with it perhaps some wake-ups.
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                within(limit, listener.execute("SELECT 1")).await?;
            }
        }
    }
}

async fn connect(place: &Place, limit: Duration) -> sqlx::Result<PgListener> {
    // The listener takes its connection from a pool; this one has no other use.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(limit)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(place.options().clone())
        .await?;
    let channel = format!("SELECT {CHANNEL} AS channel");
    let channel: String =
        sqlx::query(sqlx::AssertSqlSafe(channel)).fetch_one(&pool).await?.try_get("channel")?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    listener.execute(KEEPALIVE).await?;
    listener.listen(&channel).await?;
    Ok(listener)
}

async fn within<T>(limit: Duration, work: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
    }
}
