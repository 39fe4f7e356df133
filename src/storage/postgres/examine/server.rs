//! What a server says of itself, and what that means to a sidecar.

use sqlx::postgres::{PgRow, PgSslMode};

use super::{Failure, Place, column};
use crate::storage::examine::{Finding, size};

/// The connection that listens for wake-ups.
const LISTENERS: i64 = 1;

/// Everything in one go; functions and settings that every role may ask for. Other roles' sessions are seen by such a role
/// without their kind.
pub(super) const ASK: &str = "\
    WITH sessions AS ( \
        SELECT application_name = 'pannier' AND datname = current_database() AS is_sidecar FROM pg_stat_activity \
        WHERE datid IS NOT NULL AND pid <> pg_backend_pid() \
        AND coalesce(backend_type, 'client backend') = 'client backend') \
    SELECT current_setting('server_encoding') AS encoding, \
    pg_is_in_recovery() AS is_standby, \
    current_setting('search_path') AS search_path, \
    current_schema()::text AS schema, \
    coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create, \
    current_user::text AS role, \
    (SELECT coalesce(d ->> 'datlocale', d ->> 'daticulocale', d ->> 'datcollate') \
        FROM (SELECT to_jsonb(b) AS d FROM pg_database b WHERE datname = current_database()) d) AS collation, \
    current_setting('max_connections')::int8 AS connections_all, \
    current_setting('superuser_reserved_connections')::int8 \
        + coalesce(nullif(current_setting('reserved_connections', true), '')::int8, 0) AS connections_reserved, \
    least((SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user), \
        (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database()))::int8 \
        AS connections_limit, \
    (SELECT count(*) FROM sessions) AS connections_in_use, \
    (SELECT count(*) FROM sessions WHERE is_sidecar) AS connections_of_sidecars, \
    current_setting('fsync') AS fsync, \
    current_setting('full_page_writes') AS full_page_writes, \
    (SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit') AS synchronous_commit, \
    pg_database_size(current_database()) AS database_bytes, \
    coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS is_encrypted, \
    (SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()) AS tls_version";

/// The answer.
#[derive(Default)]
pub(super) struct Server {
    encoding: String,
    is_standby: bool,
    search_path: String,
    pub(super) schema: Option<String>,
    pub(super) may_create: bool,
    role: String,
    collation: Option<String>,
    connections_all: i64,
    connections_reserved: i64,
    /// Of the role or of the database.
    connections_limit: Option<i64>,
    connections_in_use: i64,
    connections_of_sidecars: i64,
    fsync: String,
    full_page_writes: String,
    /// Before the sidecar's own word on it.
    synchronous_commit: Option<String>,
    database_bytes: i64,
    is_encrypted: bool,
    tls_version: Option<String>,
}

impl Server {
    pub(super) fn read(row: &PgRow) -> Result<Self, Failure> {
        Ok(Self {
            encoding: column(row, "encoding")?,
            is_standby: column(row, "is_standby")?,
            search_path: column(row, "search_path")?,
            schema: column(row, "schema")?,
            may_create: column(row, "may_create")?,
            role: column(row, "role")?,
            collation: column(row, "collation")?,
            connections_all: column(row, "connections_all")?,
            connections_reserved: column(row, "connections_reserved")?,
            connections_limit: column(row, "connections_limit")?,
            connections_in_use: column(row, "connections_in_use")?,
            connections_of_sidecars: column(row, "connections_of_sidecars")?,
            fsync: column(row, "fsync")?,
            full_page_writes: column(row, "full_page_writes")?,
            synchronous_commit: column(row, "synchronous_commit")?,
            database_bytes: column(row, "database_bytes")?,
            is_encrypted: column(row, "is_encrypted")?,
            tls_version: column(row, "tls_version")?,
        })
    }

    pub(super) fn findings(&self, place: &Place) -> Vec<Finding> {
        vec![
            self.standing(),
            self.encoding(),
            self.collation(),
            self.encryption(place),
            self.durability(),
            self.connections(place),
            self.size(),
            self.schema(),
        ]
    }

    fn standing(&self) -> Finding {
        if self.is_standby {
            return Finding::problem(
                "standing",
                "a standby, which takes no writes",
                "give the address of the primary",
            );
        }
        Finding::ok("standing", "a primary")
    }

    fn encoding(&self) -> Finding {
        if self.encoding != "UTF8" {
            let advice = "make a database with ENCODING 'UTF8'";
            return Finding::problem("encoding", self.encoding.clone(), advice);
        }
        Finding::ok("encoding", "UTF8")
    }

    fn collation(&self) -> Finding {
        let collation = self.collation.as_deref().unwrap_or("of no name");
        Finding::ok("collation", format!("{collation}; keys are ordered by their bytes all the same"))
    }

    fn encryption(&self, place: &Place) -> Finding {
        let is_verified =
            matches!(place.options().get_ssl_mode(), PgSslMode::VerifyCa | PgSslMode::VerifyFull);
        let version = self.tls_version.as_deref().unwrap_or("TLS");
        match (self.is_encrypted, is_verified) {
            (true, true) => {
                Finding::ok("tls", format!("{version}, and the server's certificate is verified"))
            }
            (true, false) if !place.is_local() => Finding::warning(
                "tls",
                format!("{version}, but another could pose as the server: its certificate is not verified"),
                "put sslmode=verify-full into storage.url, and sslrootcert if the authority is your own",
            ),
            (true, false) => Finding::ok("tls", version),
            // No connection to another machine is opened without it.
            (false, _) => Finding::ok("tls", "none; the server is on this machine"),
        }
    }

    fn durability(&self) -> Finding {
        let settings = [("fsync", &self.fsync), ("full_page_writes", &self.full_page_writes)];
        let off: Vec<_> =
            settings.iter().filter(|(_, value)| *value == "off").map(|(name, _)| *name).collect();
        if !off.is_empty() {
            return Finding::warning(
                "durability",
                format!(
                    "{} off: acknowledged writes may be lost with the server's machine",
                    off.join(" and ")
                ),
                "turn it on in the server's postgresql.conf",
            );
        }
        Finding::ok(
            "durability",
            match self.synchronous_commit.as_deref().unwrap_or("on") {
                "off" => {
                    "synchronous_commit is off by default; the sidecar sets it on where it must".to_owned()
                }
                other => format!("fsync on, full_page_writes on, synchronous_commit {other}"),
            },
        )
    }

    fn connections(&self, place: &Place) -> Finding {
        let wanted = i64::try_from(place.settings.connections).unwrap_or(i64::MAX).saturating_add(LISTENERS);
        let given = self.connections_all - self.connections_reserved;
        let given = self.connections_limit.map_or(given, |limit| limit.min(given));
        let others = self.connections_in_use - self.connections_of_sidecars;
        let found = format!(
            "this sidecar takes up to {wanted}, the server gives {given} ({} less {} reserved{}); \
             in use are {}, {} of these by sidecars on this database",
            self.connections_all,
            self.connections_reserved,
            if self.connections_limit.is_some() { "; the role or the database has a limit" } else { "" },
            self.connections_in_use,
            self.connections_of_sidecars
        );
        let finding = if wanted > given {
            let advice =
                "lower storage.connections, or raise max_connections or the role's or database's limit";
            Finding::problem("connections", found, advice)
        } else if others + wanted.max(self.connections_of_sidecars) > given {
            let advice = "they may run out: lower storage.connections, or raise max_connections";
            Finding::warning("connections", found, advice)
        } else {
            Finding::ok("connections", found)
        };
        finding
            .measure("connections_wanted", wanted)
            .measure("connections_given", given)
            .measure("connections_reserved", self.connections_reserved)
            .measure("connections_in_use", self.connections_in_use)
            .measure("connections_of_sidecars", self.connections_of_sidecars)
    }

    fn size(&self) -> Finding {
        let bytes = u64::try_from(self.database_bytes).unwrap_or(0);
        Finding::ok("size", format!("{} in the whole database", size(bytes)))
            .measure("database_bytes", self.database_bytes)
    }

    fn schema(&self) -> Finding {
        match &self.schema {
            None => Finding::problem(
                "schema",
                format!("the search_path ({}) names no schema that is there", self.search_path),
                "make the schema, or change the search_path of the role or in storage.url",
            ),
            Some(schema) => {
                let may = if self.may_create { "may" } else { "may not" };
                Finding::ok(
                    "schema",
                    format!(
                        "{schema} (search_path {}); the role {} {may} create in it",
                        self.search_path, self.role
                    ),
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::StorageSettings;
    use crate::storage::examine::Grade;

    #[test]
    fn more_connections_than_are_given_is_a_problem_and_few_left_a_warning() {
        let settings = StorageSettings {
            url: "postgres://me@127.0.0.1/x".to_owned().into(),
            connections: 9,
            ..StorageSettings::default()
        };
        let place = Place::new(&settings).unwrap();
        let grade = |all: i64, limit: Option<i64>, in_use: i64, of_sidecars: i64| {
            let server = Server {
                connections_all: all,
                connections_reserved: 3,
                connections_limit: limit,
                connections_in_use: in_use,
                connections_of_sidecars: of_sidecars,
                ..Server::default()
            };
            server.connections(&place).grade
        };
        assert_eq!(grade(12, None, 0, 0), Grade::Problem);
        assert_eq!(grade(13, None, 0, 0), Grade::Ok);
        assert_eq!(grade(100, Some(9), 0, 0), Grade::Problem);
        assert_eq!(grade(13, Some(50), 0, 0), Grade::Ok);
        assert_eq!(grade(13, None, 1, 0), Grade::Warning);
        assert_eq!(grade(13, None, 10, 10), Grade::Ok, "its own connections are those that are in use");
        assert_eq!(grade(100, None, 60, 50), Grade::Ok);
    }

    #[test]
    fn a_server_that_may_lose_acknowledged_writes_is_told() {
        let with = |fsync: &str, pages: &str, commit: &str| {
            let server = Server {
                fsync: fsync.into(),
                full_page_writes: pages.into(),
                synchronous_commit: Some(commit.into()),
                ..Server::default()
            };
            server.durability().grade
        };
        assert_eq!(with("on", "on", "on"), Grade::Ok);
        assert_eq!(with("off", "on", "on"), Grade::Warning);
        assert_eq!(with("on", "off", "on"), Grade::Warning);
        assert_eq!(with("on", "on", "off"), Grade::Ok, "the sidecar sets it on");
    }

    #[test]
    fn a_standby_another_encoding_and_no_schema_are_problems() {
        let server = Server { is_standby: true, encoding: "LATIN1".into(), ..Server::default() };
        for finding in [server.standing(), server.encoding(), server.schema()] {
            assert_eq!(finding.grade, Grade::Problem, "{finding:?}");
            assert!(!finding.advice.is_empty(), "{finding:?}");
        }
    }
}
