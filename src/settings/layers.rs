//! Reads the layers of settings and remembers where each value came from.
//!
//! The defaults are the schema: a key that they do not have is an error, and a text from the environment or a flag takes
//! the type of its default.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Deserialize as _;
use toml::{Table, Value};

use super::units::Unit;
use super::{Settings, hints};

const PREFIX: &str = "PANNIER_";

/// Settings, and where each came from by `section.key`.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Where each came from.
    pub origins: BTreeMap<String, Origin>,
}

/// The layer that a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// The file of that name.
    File(String),
    /// The environment variable of that name.
    Environment(String),
    /// A command-line flag.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(name) => write!(f, "{name}"),
            Self::Environment(name) => write!(f, "${name}"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// Something wrong in a layer.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    /// The layer.
    pub origin: Origin,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.origin)
    }
}

pub(super) fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: &[(String, String)],
) -> Result<Loaded, Vec<Problem>> {
    let mut layers = Layers::new().map_err(|problem| vec![problem])?;
    if let Some(path) = file {
        layers.file(path);
    }
    for (name, text) in environment {
        layers.variable(&name, &text);
    }
    for (key, text) in flags {
        layers.text(key, text, Origin::Flag);
    }
    layers.finish()
}

struct Layers {
    values: Table,
    origins: BTreeMap<String, Origin>,
    problems: Vec<Problem>,
}

impl Layers {
    fn new() -> Result<Self, Problem> {
        let values = Table::try_from(Settings::default())
            .map_err(|error| Problem { origin: Origin::Default, message: error.to_string() })?;
        let mut origins = BTreeMap::new();
        for (section, keys) in &values {
            for key in keys.as_table().into_iter().flat_map(Table::keys) {
                origins.insert(format!("{section}.{key}"), Origin::Default);
            }
        }
        Ok(Self { values, origins, problems: Vec::new() })
    }

    fn file(&mut self, path: &Path) {
        let origin = Origin::File(path.display().to_string());
        let table = std::fs::read_to_string(path).map_err(|error| error.to_string()).and_then(|text| {
            text.parse::<Table>().map_err(|error| {
                // The error's own text would show the line, and a password in it.
                let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
                format!("line {}: {}", before.matches('\n').count() + 1, error.message())
            })
        });
        match table {
            Ok(table) => {
                for (section, keys) in table {
                    match keys {
                        Value::Table(keys) => {
                            for (key, value) in keys {
                                self.value(&format!("{section}.{key}"), value, origin.clone());
                            }
                        }
                        _ => self.problem(&origin, format!("{section} stands outside a [section]")),
                    }
                }
            }
            Err(message) => self.problem(&origin, message),
        }
    }

    /// `PANNIER_SECTION__KEY`, or `PANNIER_SECTION__KEY_FILE` for a value that is in a file.
    fn variable(&mut self, name: &str, text: &str) {
        let Some(key) = name.strip_prefix(PREFIX).filter(|rest| rest.contains("__")) else { return };
        let key = key.to_lowercase().replacen("__", ".", 1);
        let origin = Origin::Environment(name.to_owned());
        match key.strip_suffix("_file") {
            Some(key) if !self.origins.contains_key(&format!("{key}_file")) => {
                match std::fs::read_to_string(text) {
                    Ok(text) => self.text(key, text.trim_end(), origin),
                    Err(error) => self.problem(&origin, format!("cannot read {text}: {error}")),
                }
            }
            _ => self.text(&key, text, origin),
        }
    }

    fn text(&mut self, key: &str, text: &str, origin: Origin) {
        let value = match self.default_of(key) {
            Some(Value::Integer(_)) => integer(key, text),
            Some(Value::Boolean(_)) => {
                text.trim().parse().map(Value::Boolean).map_err(|_| "give true or false")
            }
            _ => Ok(Value::String(text.to_owned())),
        };
        match value {
            Ok(value) => self.value(key, value, origin),
            Err(forms) => self.problem(&origin, format!("{key} cannot be {text:?}: {forms}")),
        }
    }

    fn value(&mut self, key: &str, value: Value, origin: Origin) {
        let Some(default) = self.default_of(key) else {
            let known: Vec<&str> = self.origins.keys().map(String::as_str).collect();
            let message = match hints::nearest(&known, key) {
                Some(near) => format!("unknown setting {key}; did you mean {near}?"),
                None => format!("unknown setting {key}; `pannier config print --describe` lists all"),
            };
            return self.problem(&origin, message);
        };
        let value = match (&*default, value) {
            (Value::Integer(_), Value::String(text)) if Unit::of(key).is_some() => {
                match integer(key, &text) {
                    Ok(value) => value,
                    Err(forms) => {
                        return self.problem(&origin, format!("{key} cannot be {text:?}: {forms}"));
                    }
                }
            }
            (_, value) => value,
        };
        if default.type_str() != value.type_str() {
            let message = format!("{key} must be of type {}, is {}", default.type_str(), value.type_str());
            return self.problem(&origin, message);
        }
        *default = value;
        self.origins.insert(key.to_owned(), origin);
    }

    fn default_of(&mut self, key: &str) -> Option<&mut Value> {
        let (section, name) = key.split_once('.')?;
        self.values.get_mut(section)?.as_table_mut()?.get_mut(name)
    }

    fn problem(&mut self, origin: &Origin, message: String) {
        self.problems.push(Problem { origin: origin.clone(), message });
    }

    fn finish(mut self) -> Result<Loaded, Vec<Problem>> {
        // Each value has its default's type by now; what is left are names such as those of eviction policies.
        match Settings::deserialize(Value::Table(self.values)) {
            Ok(settings) => {
                for (key, message) in settings.violations() {
                    let origin = self.origins.get(key).cloned().unwrap_or(Origin::Default);
                    self.problems.push(Problem { origin, message: format!("{key} {message}") });
                }
                if self.problems.is_empty() {
                    return Ok(Loaded { settings, origins: self.origins });
                }
            }
            Err(error) => {
                let message = error.to_string().trim_end().replace('\n', " ");
                let origin =
                    self.origins.values().rev().find(|o| **o != Origin::Default).unwrap_or(&Origin::Default);
                self.problems.push(Problem { origin: origin.clone(), message });
            }
        }
        Err(self.problems)
    }
}

/// A whole number, with a unit where the setting has one. Error: the forms that are understood.
fn integer(key: &str, text: &str) -> Result<Value, &'static str> {
    let Some(unit) = Unit::of(key) else {
        return text.trim().parse().map(Value::Integer).map_err(|_| "give a whole number");
    };
    // Some settings have a meaning below zero, which is a violation of the others.
    let number = text.trim().parse().ok().or_else(|| i64::try_from(unit.parse(text)?).ok());
    number.map(Value::Integer).ok_or(unit.forms())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn later_layers_win_and_each_value_tells_its_origin() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pannier.toml");
        std::fs::write(&file, "[server]\ncalls_max = 7\npage_size = 8\n[cache]\neviction = \"ttl\"\n")
            .unwrap();
        let environment =
            variables(&[("PANNIER_SERVER__PAGE_SIZE", "9"), ("PANNIER_BIN", "x"), ("HOME", "/")]);
        let flags = variables(&[("storage.directory", "here")]);
        let loaded = load(Some(&file), environment, &flags).unwrap();
        assert_eq!((loaded.settings.server.calls_max, loaded.settings.server.page_size), (7, 9));
        assert_eq!(loaded.settings.cache.eviction, super::super::Eviction::Ttl);
        assert_eq!(loaded.settings.storage.directory, "here");
        assert_eq!(loaded.origins["server.page_size"].to_string(), "$PANNIER_SERVER__PAGE_SIZE");
        assert_eq!(loaded.origins["storage.directory"], Origin::Flag);
        assert_eq!(loaded.origins["cache.ttl_ms"], Origin::Default);
    }

    #[test]
    fn all_problems_are_told_at_once_with_suggestions() {
        let environment = variables(&[
            ("PANNIER_SERVER__PAGESIZE", "9"),
            ("PANNIER_SERVER__LISTEN", "0.0.0.0:1"),
            ("PANNIER_CACHE__TAGS_MAX", "many"),
            ("PANNIER_STORAGE__READERS", "0"),
        ]);
        let problems = load(None, environment, &[]).unwrap_err();
        let text = problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n");
        for part in [
            "did you mean server.page_size?",
            "cache.tags_max cannot be",
            "loopback",
            "storage.readers must be 1",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }

    #[test]
    fn durations_and_sizes_with_units_are_understood_in_every_layer() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pannier.toml");
        std::fs::write(&file, "[jobs]\nretention_ms = \"30d\"\n").unwrap();
        let environment = variables(&[("PANNIER_STORAGE__DATABASE_BYTES_MAX", "500MB")]);
        let flags = variables(&[("server.deadline_ms", "90s")]);
        let settings = load(Some(&file), environment, &flags).unwrap().settings;
        assert_eq!(settings.jobs.retention_ms, 2_592_000_000);
        assert_eq!(settings.storage.database_bytes_max, 500_000_000);
        assert_eq!(settings.server.deadline_ms, 90_000);

        std::fs::write(&file, "[jobs]\nretention_ms = \"a month\"\n").unwrap();
        let flags = variables(&[("storage.mmap_bytes", "64k")]);
        let problems = load(Some(&file), [], &flags).unwrap_err();
        let text = problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n");
        for part in ["jobs.retention_ms cannot be \"a month\"", "30d", "storage.mmap_bytes", "KiB"] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }

    #[test]
    fn a_broken_file_is_told_by_its_line_without_what_stands_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pannier.toml");
        std::fs::write(&file, "[storage]\nurl = \"postgres://me:geheim@db/x\n").unwrap();
        let problems = load(Some(&file), [], &[]).unwrap_err();
        let text = problems[0].to_string();
        assert!(text.starts_with("line 2: ") && !text.contains("geheim"), "{text}");
    }

    #[test]
    fn a_value_can_come_from_a_file_named_by_a_variable() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("value");
        std::fs::write(&file, "/run/p.sock\n").unwrap();
        let environment = variables(&[("PANNIER_SERVER__SOCKET_FILE", file.to_str().unwrap())]);
        assert_eq!(load(None, environment, &[]).unwrap().settings.server.socket, "/run/p.sock");
    }
}
