//! `pannier config`: the settings, each with where it came from.

use clap::{Args, Subcommand};

use super::{Failure, Sources, print};
use crate::settings::describe::{self, SECTIONS, Section};
use crate::settings::{Loaded, Origin, Settings};

#[derive(Debug, Args)]
pub(super) struct Config {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print every setting, in TOML, with where it came from.
    Print {
        #[command(flatten)]
        sources: Sources,
        /// Print the sentence that describes each setting above it.
        #[arg(long)]
        describe: bool,
    },
    /// Check the settings; exit 78 and report all that is wrong, if anything is.
    Check(Sources),
    /// Print docs/configuration.md: every setting with its default and its sentence.
    Document,
}

impl Config {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.action {
            Action::Print { sources, describe } => print(&listing(&sources.load(&[])?, describe)?),
            Action::Check(sources) => {
                let loaded = sources.load(&[])?;
                let said = loaded.origins.values().filter(|origin| **origin != Origin::Default).count();
                print(&format!("settings are right ({said} of {} are not defaults)", loaded.origins.len()))
            }
            Action::Document => print(document()?.trim_end()),
        }
    }
}

fn table(settings: &Settings) -> Result<toml::Table, Failure> {
    toml::Table::try_from(settings)
        .map_err(|error| Failure::Message(format!("settings cannot be printed: {error}")))
}

/// The settings of a section in the order of the structs: key, sentence, value.
fn settings<'t>(
    table: &'t toml::Table,
    (section, _, sentences): &Section,
) -> impl Iterator<Item = (&'static str, &'static str, &'t toml::Value)> + use<'t> {
    let values = table.get(*section).and_then(toml::Value::as_table);
    let sentences = *sentences;
    sentences.iter().filter_map(move |(key, sentence)| Some((*key, *sentence, values?.get(*key)?)))
}

fn listing(loaded: &Loaded, describe: bool) -> Result<String, Failure> {
    let table = table(&loaded.settings)?;
    let mut lines = Vec::new();
    for section in SECTIONS {
        let (name, sentence, _) = section;
        if describe {
            lines.push(format!("# {sentence}"));
        }
        lines.push(format!("[{name}]"));
        for (key, sentence, value) in settings(&table, section) {
            let value = match key {
                // Without its password.
                "url" => toml::Value::String(loaded.settings.storage.url.to_string()),
                _ => value.clone(),
            };
            let origin = loaded.origins.get(&format!("{name}.{key}")).unwrap_or(&Origin::Default);
            if describe {
                lines.push(format!("# {sentence}"));
            }
            lines.push(format!("{:<48} # {origin}", format!("{key} = {value}")));
        }
        lines.push(String::new());
    }
    Ok(lines.join("\n").trim_end().to_owned())
}

/// The page of all settings.
fn document() -> Result<String, Failure> {
    let table = table(&Settings::default())?;
    let mut page = String::from(INTRODUCTION);
    for section in SECTIONS {
        let (name, sentence, _) = section;
        page += &format!("\n## {name}\n\n{sentence}\n\n| setting | default | |\n|---|---|---|\n");
        for (key, sentence, value) in settings(&table, section) {
            let key = format!("{name}.{key}");
            let spelled = describe::spelled(&key, value).map_or(String::new(), |text| format!(" ({text})"));
            page += &format!("| `{key}` | `{value}`{spelled} | {} |\n", sentence.replace('|', "\\|"));
        }
    }
    Ok(page)
}

/// The page's begin.
const INTRODUCTION: &str = "\
# Configuration

<!-- `make document` generates this page from the comments in src/settings: edit those. -->

Four layers, of which the later wins: defaults, a TOML file (`--config`, `$PANNIER_CONFIG`), environment variables
(`PANNIER_SECTION__KEY`, or `PANNIER_SECTION__KEY_FILE` for a value that a file holds), flags (`--set section.key=value`).
Other users of the machine can read flags: secrets belong in the environment or in a file. `pannier config print --describe`
prints the settings in use, each with its layer and its sentence.

A setting named `_ms` takes milliseconds as a number, or a number with `ms`, `s`, `m`, `h`, `d` or `w`: `\"90s\"`, `\"30d\"`. One
named `_bytes` takes bytes as a number, or a number with `B`, `kB`, `MB`, `GB`, `TB` (powers of 1000), `KiB`, `MiB`, `GiB` or
`TiB` (powers of 1024): `\"500MB\"`. TOML wants the quotes; the environment and flags take none.
";

#[cfg(test)]
mod tests {
    use super::*;

    /// `PANNIER_UPDATE=1` writes the page.
    #[test]
    fn the_page_of_all_settings_is_up_to_date() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
        let page = document().unwrap_or_else(|_| panic!("a page"));
        if std::env::var_os("PANNIER_UPDATE").is_some() {
            std::fs::write(&path, &page).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        let differing = page.lines().zip(written.lines()).find(|(new, old)| new != old);
        assert!(written == page, "docs/configuration.md is out of date, run `make document`: {differing:?}");
    }

    #[test]
    fn a_listing_describes_each_setting_and_shows_no_password() {
        let flags = [("storage.url".to_owned(), "postgres://me:geheim@db/x".to_owned())];
        let loaded = Settings::load(None, [], &flags).unwrap();
        let described = listing(&loaded, true).unwrap_or_else(|_| panic!("a listing"));
        assert!(described.contains("postgres://me:***@db/x") && !described.contains("geheim"));
        let lines: Vec<_> = described.lines().collect();
        for (place, line) in lines.iter().enumerate() {
            let is_setting = !line.is_empty() && !line.starts_with('#') && !line.starts_with('[');
            assert!(!is_setting || lines[place - 1].starts_with("# "), "{line} has no sentence");
        }
        assert!(described.parse::<toml::Table>().is_ok(), "{described}");
        assert!(!listing(&loaded, false).unwrap_or_default().contains("# The gRPC address"));
    }

    #[test]
    fn no_example_gives_a_secret_as_a_flag() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let pages = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
        for page in pages.chain([root.join("README.md")]) {
            for line in std::fs::read_to_string(&page).unwrap_or_default().lines() {
                let is_secret = line.contains("--set storage.url=") && line.contains('@');
                assert!(!is_secret, "{}: {line}", page.display());
            }
        }
    }
}
