//! Gathers the sentence of every setting: the comments of the structs under src/settings.
//!
//! `pannier config print --describe`, docs/configuration.md and the suggestions for unknown settings read them from there.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

/// The fields of a struct in their order: name, type, comment.
type Fields = Vec<(String, String, String)>;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=src/settings");
    // The present one, not the one of the compilation: checkouts may share a target directory.
    let folder = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("src/settings");
    let mut structs = BTreeMap::new();
    for entry in std::fs::read_dir(&folder)? {
        read(&entry?.path(), &mut structs)?;
    }
    let sections = structs.get("Settings").ok_or("src/settings has no struct Settings")?;
    let mut table = String::from("&[\n");
    for (section, kind, comment) in sections {
        table += &format!("    ({section:?}, {comment:?}, &[\n");
        for (key, _, comment) in structs.get(kind).ok_or_else(|| format!("there is no struct {kind}"))? {
            if comment.is_empty() {
                return Err(format!("{kind}.{key} has no comment").into());
            }
            table += &format!("        ({key:?}, {comment:?}),\n");
        }
        table += "    ]),\n";
    }
    table += "]\n";
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("settings.rs"), table)?;
    Ok(())
}

/// Adds the structs of a file. Their form is rustfmt's: a field a line, `}` at the begin of a line ends one.
fn read(path: &Path, structs: &mut BTreeMap<String, Fields>) -> Result<(), Box<dyn Error>> {
    let mut open: Option<(String, Fields)> = None;
    let mut comment: Vec<String> = Vec::new();
    for line in std::fs::read_to_string(path)?.lines() {
        let code = line.trim();
        if let Some(name) = line.strip_prefix("pub struct ").and_then(|rest| rest.strip_suffix(" {")) {
            open = Some((name.to_owned(), Vec::new()));
            comment.clear();
        } else if line == "}" {
            structs.extend(open.take());
        } else if let Some(text) = code.strip_prefix("///") {
            comment.push(text.trim().to_owned());
        } else if let Some((_, fields)) = &mut open
            && let Some((name, kind)) = code.strip_prefix("pub ").and_then(|rest| rest.split_once(": "))
        {
            fields.push((name.to_owned(), kind.trim_end_matches(',').to_owned(), comment.join(" ")));
            comment.clear();
        } else if !code.starts_with("#[") {
            comment.clear();
        }
    }
    Ok(())
}
