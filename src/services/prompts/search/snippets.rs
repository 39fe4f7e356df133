//! Pieces of texts that show why a prompt was found.
//!
//! Made of the texts themselves, cut into words as they are for the index: what is highlighted is what was matched, phrases as a
//! whole and beginnings by the whole word.

use std::ops::Range;

use super::tokens::{Part, Word, words};
use crate::storage::text_index::{Phrase, Wanted};

/// Bytes of a piece, about.
const PIECE_BYTES: usize = 320;

/// Places of a text that are weighed against one another.
const PLACES_MAX: usize = 1_000;

/// Stands where the text goes on.
const CUT: char = '…';

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snippet {
    /// The piece.
    pub text: String,
    /// What was found in it, in characters, in their order; they do not overlap.
    pub highlights: Vec<Range<usize>>,
}

/// The piece of `text` that shows most of what is wanted; none if nothing of it is there.
pub fn snippet(text: &str, wanted: &Wanted) -> Option<Snippet> {
    let words = words(text, usize::MAX);
    let mut places = Vec::new();
    for (number, phrase) in wanted.all.iter().enumerate() {
        places
            .extend(places_of(&words, phrase).take(PLACES_MAX).map(|bytes| Place { phrase: number, bytes }));
    }
    places.sort_by_key(|place| (place.bytes.start, place.bytes.end));
    shown(text, &words, &places)
}

/// The piece of `text` that shows most of some places in it, which are in their order; none if there are none.
pub fn snippet_of(text: &str, places: Vec<Range<usize>>) -> Option<Snippet> {
    let places: Vec<Place> = places.into_iter().map(|bytes| Place { phrase: 0, bytes }).collect();
    if places.is_empty() {
        return None;
    }
    shown(text, &words(text, usize::MAX), &places)
}

fn shown(text: &str, words: &[Word], places: &[Place]) -> Option<Snippet> {
    let shown = best(places)?;
    let piece = around(text, words, shown);
    Some(marked(text, piece, shown))
}

/// Where something that is wanted stands.
#[derive(Debug)]
struct Place {
    phrase: usize,
    bytes: Range<usize>,
}

/// Where a phrase stands.
fn places_of<'w>(words: &'w [Word], phrase: &'w Phrase) -> impl Iterator<Item = Range<usize>> + 'w {
    words.windows(phrase.words.len().max(1)).filter_map(|window| {
        let (last_wanted, before) = phrase.words.split_last()?;
        let (last, first) = window.split_last()?;
        let fits =
            last.text == *last_wanted || (phrase.is_prefix && last.text.starts_with(last_wanted.as_str()));
        if !fits || !first.iter().zip(before).all(|(word, wanted)| word.text == *wanted) {
            return None;
        }
        let end = match last.part {
            // One character was asked for; the pair begins with it.
            Part::Pair(first_end) if last.text != *last_wanted => first_end,
            _ => last.end,
        };
        Some(window.first()?.start..end)
    })
}

/// The neighbours that show most: the most different phrases, then the most places, then the first.
fn best(places: &[Place]) -> Option<&[Place]> {
    let mut best: Option<((usize, usize), &[Place])> = None;
    for (at, first) in places.iter().enumerate() {
        let near = |place: &&Place| place.bytes.end <= first.bytes.start + PIECE_BYTES;
        let count = places[at..].iter().take_while(near).count().max(1);
        let shown = &places[at..at + count];
        let mut phrases: Vec<usize> = shown.iter().map(|place| place.phrase).collect();
        phrases.sort_unstable();
        phrases.dedup();
        let worth = (phrases.len(), count);
        if best.is_none_or(|(known, _)| worth > known) {
            best = Some((worth, shown));
        }
    }
    best.map(|(_, shown)| shown)
}

/// What surrounds some places, from the beginning of a word to the end of one.
fn around(text: &str, words: &[Word], shown: &[Place]) -> Range<usize> {
    let start = shown.first().map_or(0, |place| place.bytes.start);
    let end = shown.iter().map(|place| place.bytes.end).max().unwrap_or(start);
    let room = PIECE_BYTES.saturating_sub(end - start);
    let earliest = start.saturating_sub(room / 3);
    let from = match earliest {
        0 => 0,
        _ => words[words.partition_point(|word| word.start < earliest)..]
            .first()
            .map_or(start, |word| word.start)
            .min(start),
    };
    let latest = (from + PIECE_BYTES).max(end);
    let to = match latest >= text.len() {
        true => text.len(),
        false => words[..words.partition_point(|word| word.end <= latest)]
            .last()
            .map_or(end, |word| word.end)
            .max(end),
    };
    // A single word may be longer than a piece.
    from..text.floor_char_boundary(to.min(from + 2 * PIECE_BYTES))
}

/// The piece with its highlights, in characters.
fn marked(text: &str, piece: Range<usize>, shown: &[Place]) -> Snippet {
    let mut snippet = Snippet { text: String::new(), highlights: Vec::new() };
    let (mut chars, mut at) = (0, piece.start);
    if piece.start > 0 {
        snippet.text.push(CUT);
        chars += 1;
    }
    snippet.text.push_str(&text[piece.clone()]);
    for place in shown {
        let (start, end) = (place.bytes.start.max(at), place.bytes.end.min(piece.end));
        if start >= end {
            continue;
        }
        chars += text[at..start].chars().count();
        let length = text[start..end].chars().count();
        match snippet.highlights.last_mut() {
            // Pairs of a run overlap: together they are one.
            Some(last) if last.end == chars && place.bytes.start < at => last.end += length,
            _ => snippet.highlights.push(chars..chars + length),
        }
        chars += length;
        at = end;
    }
    if piece.end < text.len() {
        snippet.text.push(CUT);
    }
    snippet
}

#[cfg(test)]
mod tests {
    use super::super::grammar::parse;
    use super::*;

    fn show(text: &str, query: &str) -> Option<String> {
        let Snippet { text, highlights } = snippet(text, &parse(query, 64).unwrap())?;
        let mut shown = String::new();
        for (at, c) in text.chars().enumerate() {
            if highlights.iter().any(|range| range.start == at) {
                shown.push('[');
            }
            shown.push(c);
            if highlights.iter().any(|range| range.end == at + 1) {
                shown.push(']');
            }
        }
        Some(shown)
    }

    #[test]
    fn what_was_matched_is_highlighted() {
        for (text, query, expected) in [
            ("The Blue whale sings.", "whale", "The Blue [whale] sings."),
            ("The Blue whale sings.", "\"blue whale\" sing*", "The [Blue whale] [sings]."),
            ("Größe und Café", "cafe grosse", "[Größe] und [Café]"),
            ("blue, blue and whale", "\"blue and\"", "blue, [blue and] whale"),
            ("彼は日本語を話す", "日本語", "彼は[日本語]を話す"),
            ("彼は日本語を話す", "本", "彼は日[本]語を話す"),
            ("👍 whale 🐋", "whale", "👍 [whale] 🐋"),
            ("whale whale", "whale", "[whale] [whale]"),
            ("a whale", "whale -sea", "a [whale]"),
            ("a\u{0}whale <b>", "whale", "a\u{0}[whale] <b>"),
        ] {
            assert_eq!(show(text, query).as_deref(), Some(expected), "{query}");
        }
        assert_eq!(show("whales", "whale"), None);
        assert_eq!(show("", "whale"), None);
        assert_eq!(show("whale", "-whale"), None);
    }

    #[test]
    fn a_long_text_is_cut_to_the_piece_with_most_of_what_is_wanted() {
        let filling = "lorem ipsum ".repeat(100);
        let text = format!("{filling}whale {filling} blue whale sings {filling}");
        let shown = show(&text, "whale blue").unwrap();
        assert!(shown.starts_with('…') && shown.ends_with('…'), "{shown}");
        assert!(shown.contains("[blue] [whale] sings"), "{shown}");
        assert!(shown.len() <= PIECE_BYTES + 20, "{}", shown.len());
        assert!(
            shown.trim_matches('…').starts_with("ipsum") || shown.trim_matches('…').starts_with("lorem"),
            "{shown}"
        );
    }

    #[test]
    fn pieces_are_bounded_and_cut_at_characters() {
        for text in [
            "é".repeat(100_000),
            "日".repeat(100_000),
            format!("{}x", "👍".repeat(100_000)),
            "x ".repeat(100_000),
        ] {
            for query in ["é*", "日", "日日日日", "x", "\"x x x\""] {
                if let Some(found) = snippet(&text, &parse(query, 64).unwrap()) {
                    assert!(found.text.len() <= 2 * PIECE_BYTES + 6, "{} of {query}", found.text.len());
                    let chars = found.text.chars().count();
                    assert!(
                        found.highlights.iter().all(|range| range.start < range.end && range.end <= chars)
                    );
                    assert!(found.highlights.is_sorted_by(|one, next| one.end <= next.start));
                }
            }
        }
    }
}
