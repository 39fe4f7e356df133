//! A text that is looked for as it is written, in either case.

use std::ops::Range;

/// Places of one text that are looked at.
const PLACES_MAX: usize = 1_000;

/// A text to find, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needle(String);

impl Needle {
    /// To find `text`.
    pub fn new(text: &str) -> Self {
        Self(text.chars().flat_map(char::to_lowercase).collect())
    }

    /// Whether a text has it.
    pub fn is_in(&self, text: &str) -> bool {
        if text.is_ascii() {
            return text.to_ascii_lowercase().contains(&self.0);
        }
        text.chars().flat_map(char::to_lowercase).collect::<String>().contains(&self.0)
    }

    /// The bytes of a text where it stands, from the first on; no two overlap.
    pub fn places(&self, text: &str) -> Vec<Range<usize>> {
        if self.0.is_empty() {
            return Vec::new();
        }
        // The text in lower case, and for each of its bytes the character that it is of.
        let mut lower = String::with_capacity(text.len());
        let mut chars: Vec<Range<usize>> = Vec::with_capacity(text.len());
        for (start, c) in text.char_indices() {
            lower.extend(c.to_lowercase());
            chars.resize(lower.len(), start..start + c.len_utf8());
        }
        let found = lower.match_indices(self.0.as_str()).take(PLACES_MAX);
        found.map(|(at, found)| chars[at].start..chars[at + found.len() - 1].end).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_as_it_is_written_in_either_case() {
        for (text, needle, expected) in [
            ("The Blue whale", "BLUE WH", vec!["Blue wh"]),
            ("a%_b", "%_", vec!["%_"]),
            ("Straße STRASSE", "straße", vec!["Straße"]),
            ("ΟΔΟΣ οδος", "οδοσ", vec!["ΟΔΟΣ"]),
            ("İstanbul x", "stan", vec!["stan"]),
            ("日本語と日本", "日本", vec!["日本", "日本"]),
            ("aaa", "aa", vec!["aa"]),
            ("whale", "shark", vec![]),
            ("whale", "", vec![]),
        ] {
            let places = Needle::new(needle).places(text);
            let found: Vec<&str> = places.into_iter().map(|bytes| &text[bytes]).collect();
            assert_eq!(found, expected, "{needle}");
            assert_eq!(
                Needle::new(needle).is_in(text),
                needle.is_empty() || !expected.is_empty(),
                "{needle}"
            );
        }
        assert_eq!(Needle::new("a").places(&"a".repeat(5_000)).len(), PLACES_MAX);
    }
}
