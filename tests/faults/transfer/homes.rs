//! Databases to move between, and the two commands as a person runs them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use crate::sidecar::{Launch, Place, pannier};

/// A database, by the settings that name it on the command line.
pub(super) struct Home {
    name: &'static str,
    settings: Vec<(&'static str, OsString)>,
}

impl Home {
    /// Where a move begins: SQLite.
    pub(super) fn source(place: &Place) -> Self {
        Self { name: "source", settings: vec![("--data", place.path("source").into())] }
    }

    /// Where it ends.
    pub(super) fn target(place: &Place) -> Self {
        Self { name: "target", settings: target_settings(place) }
    }

    /// A sidecar on it.
    pub(super) fn launch(&self, place: &Place) -> Launch {
        let launch = Launch::named(place, self.name, &place.path(self.name));
        self.settings.iter().fold(launch, |launch, (flag, value)| launch.flag(flag, value.clone()))
    }

    /// A command on it.
    pub(super) fn command(&self, subcommand: &str) -> Command {
        let mut command = pannier(subcommand);
        for (flag, value) in &self.settings {
            command.arg(flag).arg(value);
        }
        command
    }

    /// Exports all of it to a file in the place.
    pub(super) fn export(&self, file: &Path) -> Exported {
        succeeded(&self.command("export").arg(file).output().expect("the binary runs"));
        Exported::read(file)
    }

    /// Imports a file, and gives the report.
    pub(super) fn import(&self, file: &Path, more: &[&str]) -> Json {
        let output =
            self.command("import").arg(file).arg("--json").args(more).output().expect("the binary runs");
        succeeded(&output);
        serde_json::from_slice(&output.stdout).expect("the report is JSON")
    }

    /// Imports what must be refused; gives the one line that says why.
    pub(super) fn refuses(&self, file: &Path, more: &[&str]) -> String {
        refused(&self.command("import").arg(file).args(more).output().expect("the binary runs"))
    }

    /// How many rows it holds in all tables, told by an export. Without a schema there are none.
    pub(super) fn rows(&self) -> u64 {
        let output = self.command("export").output().expect("the binary runs");
        if !output.status.success() {
            let told = refused(&output);
            assert!(told.contains("nothing to export") || told.contains("there is no database"), "{told}");
            return 0;
        }
        Exported::parse(&output.stdout).trailer["rows"].as_u64().expect("a number")
    }
}

/// The settings of the database that everything is moved to: SQLite, or a schema of its own in the PostgreSQL that
/// `tests/postgres.sh run` has started.
fn target_settings(place: &Place) -> Vec<(&'static str, OsString)> {
    let data = ("--data", place.path("target").into());
    if !on_postgres() {
        return vec![data];
    }
    let server = std::env::var("PANNIER_TEST_POSTGRES_URL").expect("run it by tests/postgres.sh run");
    let schema =
        format!("move_{}", hex(&Sha256::digest(place.path("target").as_os_str().as_encoded_bytes())[..8]));
    let make = ["-c", &format!("CREATE SCHEMA IF NOT EXISTS {schema}")];
    let made = Command::new("psql").arg(&server).args(["-q"]).args(make).output().expect("psql is there");
    assert!(made.status.success(), "{made:?}");
    vec![data, ("--set", format!("storage.url={server}?options=-c%20search_path%3D{schema}").into())]
}

/// Whether everything is moved to PostgreSQL in this run.
pub(super) fn on_postgres() -> bool {
    std::env::var("PANNIER_TEST_STORAGE").is_ok_and(|storage| storage == "postgres")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn succeeded(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

/// That a command failed with exit code 1 and one line that begins with `error: `; that line.
pub(super) fn refused(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert!(errors.len() == 1 && !stderr.contains("panicked"), "not one error: {stderr}");
    errors[0].to_owned()
}

/// A command that reads stdin and is left running.
pub(super) fn fed(command: &mut Command) -> std::process::Child {
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().expect("the binary runs")
}

/// An export that was read independently of the program.
pub(super) struct Exported {
    pub(super) header: Json,
    /// The rows' lines, with their newlines.
    pub(super) rows: Vec<String>,
    pub(super) trailer: Json,
}

impl Exported {
    pub(super) fn read(file: &Path) -> Self {
        Self::parse(&std::fs::read(file).expect("an export"))
    }

    fn parse(bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(bytes).expect("UTF-8");
        let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
        assert!(lines.iter().all(|line| line.ends_with('\n')), "a line without its end");
        let json = |line: String| serde_json::from_str(&line).expect("JSON");
        let trailer = json(lines.pop().expect("a last line"));
        let header = json(lines.remove(0));
        Self { header, rows: lines, trailer }
    }

    /// That counts and checksums of the trailer are those of the lines; gives the rows of each table.
    pub(super) fn checked(&self) -> BTreeMap<String, u64> {
        let mut of_tables: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for line in &self.rows {
            let table = line.strip_prefix("{\"table\":\"").and_then(|rest| rest.split('"').next());
            of_tables.entry(table.expect("a table's name")).or_default().push(line);
        }
        let told = self.trailer["tables"].as_array().expect("a list");
        let mut counts = BTreeMap::new();
        for totals in told {
            let name = totals["table"].as_str().expect("a name");
            let text = of_tables.remove(name).unwrap_or_default();
            let joined = text.concat();
            let digest = Sha256::digest(joined.as_bytes());
            let sha256: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(totals["rows"], text.len(), "{name}");
            assert_eq!(totals["bytes"], joined.len(), "{name}");
            assert_eq!(totals["sha256"], sha256, "{name}");
            counts.insert(name.to_owned(), text.len() as u64);
        }
        assert!(of_tables.is_empty(), "tables that the trailer does not know");
        assert_eq!(self.trailer["rows"], self.rows.len());
        counts
    }

    /// That everything but the time of the export is the same, byte by byte.
    pub(super) fn assert_same(&self, other: &Self) {
        let timeless = |header: &Json| {
            let mut header = header.clone();
            assert!(header["create_time_us"].as_i64().is_some_and(|time| time > 1_600_000_000_000_000));
            header["create_time_us"] = 0.into();
            header
        };
        assert_eq!(timeless(&self.header), timeless(&other.header));
        let differing = self.rows.iter().zip(&other.rows).find(|(one, other)| one != other);
        assert_eq!(differing, None);
        assert_eq!(self.rows.len(), other.rows.len());
        assert_eq!(self.trailer, other.trailer);
    }

    /// That a report says of every table what the trailer says.
    pub(super) fn assert_reported(&self, report: &Json) {
        assert_eq!(report["ok"], true);
        assert_eq!(report["rows"], self.trailer["rows"]);
        assert_eq!(report["bytes"], self.trailer["bytes"]);
        let tables = report["tables"].as_array().expect("a list");
        let told = self.trailer["tables"].as_array().expect("a list");
        assert_eq!(tables.len(), told.len());
        for (table, totals) in tables.iter().zip(told) {
            assert_eq!(table["ok"], true, "{table}");
            for key in ["table", "rows", "bytes", "sha256", "identity"] {
                assert_eq!(table[key], totals[key], "{table}");
            }
        }
    }
}

/// The export of this place's move.
pub(super) fn file(place: &Place) -> PathBuf {
    place.path("moved.ndjson")
}
