//! Exports that are damaged: one sentence with the line, exit code 1, and a target that is left empty.

use super::homes::{Home, file};
use super::material::{put_all, put_with_request_ids, take_leases};
use crate::calls::cache;
use crate::sidecar::Place;
use crate::turn;

/// The lines of a sound export with entries, namespaces and tags.
async fn sound(place: &Place) -> Vec<String> {
    let source = Home::source(place);
    let mut sidecar = source.launch(place).start().await;
    let mut client = cache(&sidecar).await;
    put_all(&mut client, 0..60).await;
    put_with_request_ids(&mut client, 5).await;
    take_leases(&mut client, 2).await;
    sidecar.stop().await;
    let counts = source.export(&file(place)).checked();
    let filled = ["cache_entries", "cache_namespaces", "cache_tags"];
    assert!(filled.iter().all(|table| counts[*table] > 0), "{counts:?}");
    let text = std::fs::read_to_string(file(place)).expect("an export");
    text.split_inclusive('\n').map(str::to_owned).collect()
}

/// The target, and an export to be damaged in many ways.
struct Damage {
    place: Place,
    lines: Vec<String>,
}

impl Damage {
    async fn new() -> Self {
        let place = Place::new();
        let lines = sound(&place).await;
        Self { place, lines }
    }

    /// The number of the first row of a table that has `part` in it.
    fn row_with(&self, table: &str, part: &str) -> usize {
        let begin = format!("{{\"table\":\"{table}\"");
        let found = self.lines.iter().position(|line| line.starts_with(&begin) && line.contains(part));
        found.expect("such a row") + 1
    }

    /// The export, with `change` made to a line.
    fn with(&self, number: usize, change: impl Fn(&str) -> String) -> Vec<u8> {
        let mut lines = self.lines.clone();
        let changed = change(&lines[number - 1]);
        assert_ne!(changed, lines[number - 1], "line {number} was not changed");
        lines[number - 1] = changed;
        lines.concat().into_bytes()
    }

    /// The same with one text for another, which the line must have.
    fn replacing(&self, number: usize, from: &str, to: &str) -> Vec<u8> {
        self.with(number, |line| line.replacen(from, to, 1))
    }

    /// That an import of `content` is refused with these words and leaves nothing behind.
    fn refused(&self, content: &[u8], words: &[&str]) {
        let target = Home::target(&self.place);
        let damaged = self.place.path("damaged.ndjson");
        std::fs::write(&damaged, content).expect("a file");
        let told = target.refuses(&damaged, &[]);
        for word in words {
            assert!(told.contains(word), "{word:?} is not in: {told}");
        }
        assert_eq!(target.rows(), 0, "rows were left behind: {told}");
    }

    /// That the target still takes the export as it was.
    fn still_good(&self) {
        let target = Home::target(&self.place);
        assert_eq!(target.import(&file(&self.place), &[])["ok"], true);
        assert!(target.rows() > 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_is_cut_short_is_refused() {
    let _turn = turn::shared().await;
    let damage = Damage::new().await;
    let (all, count) = (damage.lines.concat(), damage.lines.len());
    damage.refused(b"", &["the export is empty"]);
    let header = damage.lines[0].len();
    damage.refused(&all.as_bytes()[..header / 2], &["line 1 ", "cut short"]);
    damage.refused(&all.as_bytes()[..header], &["behind line 1 ", "cut short"]);
    let before_trailer = all.len() - damage.lines[count - 1].len();
    let behind = format!("behind line {} ", count - 1);
    damage.refused(&all.as_bytes()[..before_trailer], &[&behind, "cut short"]);
    let last_row = format!("line {} ", count - 1);
    damage.refused(&all.as_bytes()[..before_trailer - 10], &[&last_row, "cut short"]);
    let last = format!("line {count} ");
    for missing in [1, 40] {
        damage.refused(&all.as_bytes()[..all.len() - missing], &[&last, "cut short"]);
    }
    let behind_the_end = format!("{all}{}", damage.lines[1]);
    damage.refused(behind_the_end.as_bytes(), &[&format!("line {} ", count + 1), "nothing may follow"]);
    damage.still_good();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_is_wrong_is_refused_by_its_number() {
    let _turn = turn::shared().await;
    let damage = Damage::new().await;
    let entry = damage.row_with("cache_entries", "\"kind\":1");
    let leased = damage.row_with("cache_entries", "\"lease_token\":\"");
    let line = |number: usize| format!("line {number} ");
    let cases: [(usize, &str, &str, &[&str]); 13] = [
        (entry, "{\"table\"", "{table", &["no JSON"]),
        (entry, "\"row\":{", "\"rows\":{", &["no row of an export"]),
        (entry, "\"cache_entries\"", "\"cache_entrees\"", &["no table \"cache_entrees\""]),
        (entry, "\"kind\":", "\"kinds\":", &["cache_entries has no column \"kinds\""]),
        (entry, "\"access_count\":1,", "", &["column access_count of cache_entries is missing"]),
        (entry, "\"access_count\":1,", "\"access_count\":\"1\",", &["access_count", "an integer"]),
        (entry, "\"access_count\":1,", "\"access_count\":1.0,", &["access_count", "an integer"]),
        (entry, "\"is_compressed\":", "\"is_compressed\":1", &["no JSON"]),
        (entry, "\"value\":\"", "\"value\":\"*", &["value", "base64"]),
        (entry, "\"key\":\"", "\"key\":{},\"kez\":\"", &["has no column \"kez\""]),
        (leased, "\"lease_token\":\"", "\"lease_token\":\"x", &["lease_token", "a UUID"]),
        (entry, "\"access_count\":1,", "\"access_count\":null,", &["cannot be stored", "constraint"]),
        (entry, "\"namespace_id\":", "\"namespace_id\":9", &["cannot be stored", "constraint"]),
    ];
    for (number, from, to, words) in cases {
        let told = if words.contains(&"cannot be stored") { "lines ".to_owned() } else { line(number) };
        damage.refused(&damage.replacing(number, from, to), &[&[told.as_str()], words].concat());
    }
    let mut bytes = damage.lines.concat().into_bytes();
    let place = damage.lines[..entry - 1].concat().len() + 30;
    bytes[place] = 0xFF;
    damage.refused(&bytes, &[&line(entry), "no JSON"]);
    damage.still_good();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_do_not_add_up_to_the_trailer_are_refused() {
    let _turn = turn::shared().await;
    let damage = Damage::new().await;
    let last = damage.lines.len();
    let (line, one_before) = (format!("line {last} "), format!("line {} ", last - 1));
    let entry = damage.row_with("cache_entries", "\"kind\":2");
    // A value that is as good as the one that was there.
    let changed = damage.replacing(entry, "\"access_count\":1,", "\"access_count\":2,");
    damage.refused(&changed, &[&line, "damaged", "cache_entries", "checksum"]);

    let mut swapped = damage.lines.clone();
    swapped.swap(entry - 1, entry);
    damage.refused(swapped.concat().as_bytes(), &[&line, "damaged", "cache_entries"]);
    let mut without = damage.lines.clone();
    without.remove(entry - 1);
    damage.refused(without.concat().as_bytes(), &[&one_before, "damaged", "cache_entries"]);
    let mut twice = damage.lines.clone();
    twice.insert(entry, twice[entry - 1].clone());
    damage.refused(twice.concat().as_bytes(), &["lines ", "cannot be stored", "constraint"]);
    let mut children_first = damage.lines.clone();
    let tag = children_first.remove(damage.row_with("cache_tags", "") - 1);
    children_first.insert(1, tag);
    damage.refused(children_first.concat().as_bytes(), &["cannot be stored", "constraint"]);

    let trailer: [(&str, &str, &[&str]); 5] = [
        ("\"sha256\":\"", "\"sha256\":\"0", &["damaged", "checksum"]),
        ("\"identity\":null", "\"identity\":7", &["the identity of"]),
        ("cache_tags", "cache_togs", &["names other tables"]),
        ("],\"rows\":", "],\"rows\":1", &["sums"]),
        ("],\"rows\":", "],\"columns\":", &["no last line of an export"]),
    ];
    for (from, to, words) in trailer {
        damage.refused(&damage.replacing(last, from, to), &[&[line.as_str()], words].concat());
    }
    damage.still_good();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_of_something_else_is_refused() {
    let _turn = turn::shared().await;
    let damage = Damage::new().await;
    for foreign in
        ["notes of somebody\n", "{\"a\":1}\n", "{\"format\":\"other\",\"version\":1}\n", "\0\0\0\n", "\n"]
    {
        damage.refused(foreign.as_bytes(), &["line 1 ", "no export of pannier"]);
    }
    let cases: [(&str, &str, &[&str]); 8] = [
        ("\"version\":1", "\"version\":2", &["line 1 ", "version 2"]),
        ("\"create_time_us\":", "\"time\":", &["line 1 ", "no header"]),
        ("\"cache_tags\"", "\"cache_togs\"", &["line 1 ", "no table \"cache_togs\""]),
        ("\"access_count\":", "\"axess_count\":", &["line 1 ", "no column \"axess_count\""]),
        ("\"access_count\":\"integer\",", "", &["line 1 ", "access_count", "missing"]),
        (
            "\"access_count\":\"integer\"",
            "\"access_count\":\"text\"",
            &["line 1 ", "access_count", "Integer"],
        ),
        ("\"m20261121_cache", "\"m29990101_cache", &["m29990101_cache", "does not know", "version"]),
        ("\"m20261121_idempotency_keys\",", "", &["line 1 ", "migrations", "damaged"]),
    ];
    for (from, to, words) in cases {
        damage.refused(&damage.replacing(1, from, to), words);
    }
    damage.still_good();
}
