//! `pannier config`: the settings, each with where it came from.

use clap::{Args, Subcommand};

use super::{Failure, Sources, print};
use crate::settings::{Loaded, Origin};

#[derive(Debug, Args)]
pub(super) struct Config {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print every setting, in TOML, with where it came from.
    Print(Sources),
    /// Check the settings; exit 78 and tell all that is wrong, if anything is.
    Check(Sources),
}

impl Config {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.action {
            Action::Print(sources) => {
                let loaded = sources.load(&[])?;
                print(&listing(&loaded)?);
            }
            Action::Check(sources) => {
                let loaded = sources.load(&[])?;
                let said = loaded.origins.values().filter(|origin| **origin != Origin::Default).count();
                print(&format!("settings are right ({said} of {} are not defaults)", loaded.origins.len()));
            }
        }
        Ok(())
    }
}

fn listing(loaded: &Loaded) -> Result<String, Failure> {
    let table = toml::Table::try_from(&loaded.settings)
        .map_err(|error| Failure::Message(format!("settings cannot be printed: {error}")))?;
    let mut lines = Vec::new();
    for (section, keys) in &table {
        lines.push(format!("[{section}]"));
        for (key, value) in keys.as_table().into_iter().flatten() {
            let value = match key.as_str() {
                // Without its password.
                "url" => toml::Value::String(loaded.settings.storage.url.to_string()),
                _ => value.clone(),
            };
            let origin = loaded.origins.get(&format!("{section}.{key}")).unwrap_or(&Origin::Default);
            lines.push(format!("{:<48} # {origin}", format!("{key} = {value}")));
        }
        lines.push(String::new());
    }
    Ok(lines.join("\n").trim_end().to_owned())
}
