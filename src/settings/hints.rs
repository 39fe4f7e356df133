//! "Did you mean": the setting that an unknown name most likely means.
//!
//! Three sources, in this order: the name under another section or with a typing error, the names other programs use for the
//! same thing, and the sentences that describe the settings of the named section.

use super::describe;

/// Names of other programs and the setting that does the same.
const SYNONYMS: [(&str, &str); 22] = [
    ("address", "server.listen"),
    ("addr", "server.listen"),
    ("bind", "server.listen"),
    ("host", "server.listen"),
    ("port", "server.listen"),
    ("grpc_port", "server.listen"),
    ("http_port", "server.http_listen"),
    ("http_address", "server.http_listen"),
    ("metrics_port", "server.http_listen"),
    ("unix_socket", "server.socket"),
    ("timeout_ms", "server.deadline_ms"),
    ("connections", "server.connections_max"),
    ("data", "storage.directory"),
    ("data_dir", "storage.directory"),
    ("dir", "storage.directory"),
    ("path", "storage.directory"),
    ("dsn", "storage.url"),
    ("database_url", "storage.url"),
    ("connection_string", "storage.url"),
    ("pool_size", "storage.connections"),
    ("level", "log.filter"),
    ("log_level", "log.filter"),
];

/// Similarity of two names, from which on one is taken for a typing error of the other.
const SIMILAR: f64 = 0.88;

/// The setting of `known` that `key` most likely means.
pub(super) fn nearest<'k>(known: &[&'k str], key: &str) -> Option<&'k str> {
    let (section, name) = key.split_once('.').unwrap_or(("", key));
    let find = |key: &str| known.iter().find(|known| **known == key).copied();
    typing_error(known, section, name)
        .or_else(|| SYNONYMS.iter().find(|(synonym, _)| *synonym == name).and_then(|(_, key)| find(key)))
        .or_else(|| named_alike(known, section, name))
        .or_else(|| described(known, section, name))
}

/// The most similar name: of the section, of another section that has exactly this name, of a section with a typing error.
fn typing_error<'k>(known: &[&'k str], section: &str, name: &str) -> Option<&'k str> {
    let scored = known.iter().filter_map(|known| {
        let (known_section, known_name) = known.split_once('.')?;
        let of_section = strsim::jaro_winkler(known_section, section);
        let of_name = strsim::normalized_damerau_levenshtein(known_name, name);
        let is_near = match known_section == section {
            true => of_name > 0.7,
            false => known_name == name || (of_section > SIMILAR && of_name > 0.8),
        };
        is_near.then_some((of_name + of_section, *known))
    });
    best(scored)
}

/// A setting of the section that shares most words of the name.
fn named_alike<'k>(known: &[&'k str], section: &str, name: &str) -> Option<&'k str> {
    let words: Vec<_> = name.split('_').collect();
    let shared = |known: &str| known.split('_').filter(|word| words.contains(word)).count();
    let scored = known.iter().filter_map(|known| {
        let (known_section, known_name) = known.split_once('.')?;
        let count = shared(known_name);
        // A single word may be anything: it must be there. Of several, half.
        let is_alike = count == words.len() || (words.len() > 1 && count * 2 >= words.len());
        (known_section == section && is_alike)
            .then_some((count as f64 - known_name.len() as f64 / 1e3, *known))
    });
    best(scored)
}

/// A setting of the section whose sentence has a word of the name.
fn described<'k>(known: &[&'k str], section: &str, name: &str) -> Option<&'k str> {
    let in_section =
        known.iter().filter(|known| known.split_once('.').is_some_and(|(own, _)| own == section));
    in_section
        .filter(|known| {
            let sentence = describe::sentence(known).to_lowercase();
            let mut words = sentence.split(|char: char| !char.is_alphanumeric());
            words.any(|word| word.len() > 2 && name.split('_').any(|part| part == word))
        })
        .copied()
        .next()
}

fn best<'k>(scored: impl Iterator<Item = (f64, &'k str)>) -> Option<&'k str> {
    scored.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_likely_name_leads_to_the_setting_that_is_meant() {
        let table = toml::Table::try_from(super::super::Settings::default()).unwrap();
        let keys: Vec<String> = table
            .iter()
            .flat_map(|(section, keys)| {
                keys.as_table().unwrap().keys().map(move |key| format!("{section}.{key}"))
            })
            .collect();
        let known: Vec<&str> = keys.iter().map(String::as_str).collect();
        for (key, meant) in [
            ("server.address", "server.listen"),
            ("server.port", "server.listen"),
            ("server.pagesize", "server.page_size"),
            ("server.streams", "server.streams_max"),
            ("server.max_connections", "server.connections_max"),
            ("sever.listen", "server.listen"),
            ("storage.listen", "server.listen"),
            ("storage.dir", "storage.directory"),
            ("storage.wal_max_bytes", "storage.wal_bytes_max"),
            ("cache.value_byte_max", "cache.value_bytes_max"),
            ("log.level", "log.filter"),
            ("server.metrics", "server.http_listen"),
        ] {
            let found = nearest(&known, key);
            assert_eq!(found, Some(meant), "{key}");
        }
        assert_eq!(nearest(&known, "nothing.x"), None);
    }
}
