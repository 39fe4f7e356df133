//! What `pannier doctor` finds on PostgreSQL, over one connection of its own, whether sidecars are running or not.

mod server;

use std::collections::HashSet;
use std::time::Duration;

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _};

use server::Server;

use super::connection::{Place, VERSION_MIN};
use super::failure::Failure;
use crate::clock::{self, Clock};
use crate::settings::StorageSettings;
use crate::storage::examine::{Finding, schema_changes, unfinished_import};
use crate::storage::transfer::MARK;

/// Times a round trip is measured.
const ROUND_TRIPS: usize = 5;

/// A longer round trip makes every call slow: a write takes several.
const ROUND_TRIP_US_MAX: i64 = 10_000;

/// Leases are timed by the sidecars' own clocks.
const CLOCK_DIFFERENCE_US_MAX: i64 = 1_000_000;

/// Schemas that have a table of applied changes.
const SCHEMAS: &str = "SELECT DISTINCT table_schema::text AS schema FROM information_schema.tables \
    WHERE table_name = 'seaql_migrations' ORDER BY 1";

/// The tables and sequences of whoever made the schema on which this role lacks a right that serving takes.
const RIGHTS: &str = "\
    WITH made AS (SELECT relowner, relnamespace FROM pg_class \
        WHERE relname = 'seaql_migrations' AND relnamespace = current_schema()::regnamespace) \
    SELECT string_agg(relname::text, ', ' ORDER BY relname) AS lacking \
    FROM pg_class JOIN made USING (relowner, relnamespace) \
    WHERE relname <> 'seaql_migrations' AND CASE relkind \
        WHEN 'r' THEN NOT (has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT') \
            AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE')) \
        WHEN 'S' THEN NOT has_sequence_privilege(oid, 'USAGE') \
        ELSE false END";

pub(in crate::storage) async fn examine(settings: &StorageSettings) -> Vec<Finding> {
    let place = match Place::new(settings) {
        Ok(place) => place,
        Err(error) => return vec![Finding::problem("backend", error.to_string(), "")],
    };
    let mut found =
        vec![Finding::ok("backend", "PostgreSQL"), Finding::ok("location", settings.url.to_string())];
    let started = clock::instant();
    let mut connection = match place.open().await {
        Ok(connection) => connection,
        Err(failure) => {
            found.push(unreachable(&place, &failure));
            return found;
        }
    };
    let connect_us = micros(started.elapsed());
    found.push(
        Finding::ok("reachable", format!("{}, connected in {}", place.name(), milliseconds(connect_us)))
            .measure("connect_us", connect_us),
    );
    if let Err(failure) = look(&place, &mut connection, &mut found).await {
        found.push(Finding::problem(
            "server",
            format!("it ended the examination: {}", failure.message),
            "look into the server's log",
        ));
    }
    // What was found does not depend on how the server takes the farewell.
    let _ = tokio::time::timeout(Duration::from_secs(1), connection.close()).await;
    found
}

/// Stops at the first question that the server does not answer.
async fn look(place: &Place, connection: &mut PgConnection, found: &mut Vec<Finding>) -> Result<(), Failure> {
    let row = ask(
        place,
        connection,
        "SELECT current_setting('server_version_num')::int4 AS number, current_setting('server_version') AS name",
    )
    .await?;
    let version: i32 = column(&row, "number")?;
    let name: String = column(&row, "name")?;
    if version < VERSION_MIN {
        found.push(Finding::problem("version", format!("PostgreSQL {name}"), "use PostgreSQL 15 or later"));
        return Ok(());
    }
    found.push(Finding::ok("version", format!("PostgreSQL {name}")));
    found.push(round_trip(place, connection).await?);
    found.push(clock_difference(place, connection).await?);
    let server = Server::read(&ask(place, connection, server::ASK).await?)?;
    found.extend(server.findings(place));
    if server.schema.is_some() {
        let (changes, are_there) = changes(place, connection, &server).await?;
        found.push(changes);
        if is_partial(place, connection).await? {
            found.push(unfinished_import());
        }
        if are_there {
            found.push(rights(place, connection).await?);
        }
    }
    Ok(())
}

/// Whether an import was cut short.
async fn is_partial(place: &Place, connection: &mut PgConnection) -> Result<bool, Failure> {
    let probe = format!(
        "SELECT count(*) AS tables FROM information_schema.tables WHERE table_schema = current_schema() AND table_name = '{MARK}'"
    );
    Ok(column::<i64>(&ask(place, connection, &probe).await?, "tables")? > 0)
}

async fn ask(place: &Place, connection: &mut PgConnection, sql: &str) -> Result<PgRow, Failure> {
    bounded(place, connection.fetch_one(AssertSqlSafe(sql.to_owned()))).await
}

/// The server ends a statement by itself; only if its word does not come, this does.
async fn bounded<T>(place: &Place, answer: impl Future<Output = sqlx::Result<T>>) -> Result<T, Failure> {
    let limit = Duration::from_millis(place.settings.statement_ms_max + 500);
    match tokio::time::timeout(limit, answer).await {
        Ok(result) => result.map_err(|error| Failure::of(&error)),
        Err(_) => Err(Failure::silent(limit.as_millis())),
    }
}

fn column<'r, T>(row: &'r PgRow, name: &str) -> Result<T, Failure>
where
    T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    row.try_get(name).map_err(|error| Failure::of(&error))
}

fn unreachable(place: &Place, failure: &Failure) -> Finding {
    let code = failure.message.rsplit_once(" (").map(|(_, code)| code.trim_end_matches(')'));
    let advice = match code {
        Some("28P01" | "28000") => {
            "look at the user and the password in storage.url, and at the server's pg_hba.conf"
        }
        Some("3D000") => "make the database, or name another one in storage.url",
        Some("53300") => "raise the server's max_connections, or lower storage.connections of its sidecars",
        Some("57P03") => "the server is starting or stopping: try again",
        _ => {
            "look whether the server runs, whether storage.url has its host and port, and whether sslmode suits it"
        }
    };
    Finding::problem("reachable", format!("{}: {}", place.name(), failure.message), advice)
}

async fn round_trip(place: &Place, connection: &mut PgConnection) -> Result<Finding, Failure> {
    let mut took_us = Vec::with_capacity(ROUND_TRIPS);
    for _ in 0..ROUND_TRIPS {
        let started = clock::instant();
        ask(place, connection, "SELECT 1").await?;
        took_us.push(micros(started.elapsed()));
    }
    took_us.sort_unstable();
    let median_us = took_us[ROUND_TRIPS / 2];
    let found = milliseconds(median_us);
    let finding = if median_us > ROUND_TRIP_US_MAX {
        let advice = "run the sidecar nearer to the server: a write takes several round trips";
        Finding::warning("round_trip", found, advice)
    } else {
        Finding::ok("round_trip", found)
    };
    Ok(finding.measure("round_trip_us", median_us))
}

async fn clock_difference(place: &Place, connection: &mut PgConnection) -> Result<Finding, Failure> {
    const NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8 AS now_us";
    let clock = Clock::system();
    let before_us = clock.now_us();
    let row = ask(place, connection, NOW).await?;
    let after_us = clock.now_us();
    Ok(clocks(before_us, column(&row, "now_us")?, after_us))
}

/// The server's time was read between two readings of this machine's.
fn clocks(before_us: i64, server_us: i64, after_us: i64) -> Finding {
    let middle_us = before_us + (after_us - before_us) / 2;
    let difference_us = server_us - middle_us;
    let unsure_us = (after_us - before_us) / 2;
    let word = if difference_us >= 0 { "ahead of" } else { "behind" };
    let found =
        format!("the server's is {} {word} this machine's", milliseconds(difference_us.saturating_abs()));
    let finding = if difference_us.saturating_abs() - unsure_us > CLOCK_DIFFERENCE_US_MAX {
        let advice = "set all machines' clocks by NTP: leases are timed by the sidecars' clocks";
        Finding::warning("clock", found, advice)
    } else {
        Finding::ok("clock", found)
    };
    finding.measure("difference_us", difference_us)
}

/// What is said of the changes of the schema, and whether any is applied.
async fn changes(
    place: &Place,
    connection: &mut PgConnection,
    server: &Server,
) -> Result<(Finding, bool), Failure> {
    let probe = ask(place, connection, super::MIGRATIONS_PROBE).await?;
    let mut applied = HashSet::new();
    if column::<i64>(&probe, "tables")? > 0 {
        let rows = connection.fetch_all("SELECT version FROM seaql_migrations");
        for row in bounded(place, rows).await? {
            applied.insert(column(&row, "version")?);
        }
    }
    let mut finding = schema_changes(&applied, server.may_create, &place.settings);
    if applied.is_empty() {
        let mut others = Vec::new();
        for row in bounded(place, connection.fetch_all(SCHEMAS)).await? {
            others.push(column::<String>(&row, "schema")?);
        }
        if !others.is_empty() {
            finding.found =
                format!("{}; other schemas have such tables: {}", finding.found, others.join(", "));
        }
    }
    Ok((finding, !applied.is_empty()))
}

async fn rights(place: &Place, connection: &mut PgConnection) -> Result<Finding, Failure> {
    let lacking: Option<String> = column(&ask(place, connection, RIGHTS).await?, "lacking")?;
    Ok(match lacking {
        None => Finding::ok("rights", "the role may read and write all tables"),
        Some(lacking) => Finding::problem(
            "rights",
            format!("the role may not read and write {lacking}"),
            "grant it SELECT, INSERT, UPDATE, DELETE on the tables and USAGE on the sequences",
        ),
    })
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn milliseconds(micros: i64) -> String {
    format!("{:.2} ms", micros as f64 / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::examine::Grade;

    #[test]
    fn clocks_that_differ_by_more_than_the_answer_took_are_told() {
        let second = 1_000_000;
        assert_eq!(clocks(0, 2_000, 4_000).measures["difference_us"], 0);
        assert_eq!(clocks(0, second + 1_500, 2_000).grade, Grade::Ok, "the answer took longer than that");
        assert_eq!(clocks(0, second + 2_001, 2_000).grade, Grade::Warning);
        let behind = clocks(10 * second, 5 * second, 10 * second);
        assert!(behind.grade == Grade::Warning && behind.found.contains("5000.00 ms behind"), "{behind:?}");
    }
}
