//! What a query means. Every text is a query: there is nothing that a person could write wrongly.
//!
//! ```text
//! words         all of them must be there
//! "a phrase"    its words must stand side by side
//! word*         a word that begins so
//! -word -"…"    what has it is left out
//! ```
//!
//! Nothing else is special. A term that holds several words, as `don't` or 日本語 does, is a phrase; one that holds none, as an
//! emoji, is passed over. A query that names nothing to look for finds nothing.

use super::tokens::{Part, Word, words};
use crate::storage::text_index::{Phrase, Wanted};

/// What `query` asks for; none if it has more than `words_max` words. A run of a script without spaces is one.
pub fn parse(query: &str, words_max: usize) -> Option<Wanted> {
    let mut wanted = Wanted::default();
    let mut count = 0;
    let mut rest = query.trim_start();
    while !rest.is_empty() {
        let (term, behind) = next_term(rest);
        rest = behind.trim_start();
        let found = words(term.text, usize::MAX);
        count += found.iter().filter(|word| !matches!(word.part, Part::Pair(_))).count();
        if count > words_max {
            return None;
        }
        if let Some(phrase) = phrase(found, term.is_prefix) {
            let phrases = if term.is_excluded { &mut wanted.none } else { &mut wanted.all };
            if !phrases.contains(&phrase) {
                phrases.push(phrase);
            }
        }
    }
    Some(wanted)
}

struct Term<'q> {
    text: &'q str,
    is_excluded: bool,
    is_prefix: bool,
}

/// The first term of a text that does not begin with a space, and what is behind it.
fn next_term(query: &str) -> (Term<'_>, &str) {
    let (is_excluded, query) = match query.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, query),
    };
    if let Some((text, behind)) = quoted(query) {
        let (is_prefix, behind) = match behind.strip_prefix('*') {
            Some(rest) => (true, rest),
            None => (false, behind),
        };
        return (Term { text, is_excluded, is_prefix }, behind);
    }
    // A quote that nothing closes is no quote.
    let is_end = |(at, c): &(usize, char)| c.is_whitespace() || (*at > 0 && quoted(&query[*at..]).is_some());
    let end = query.char_indices().find(is_end).map_or(query.len(), |(at, _)| at);
    let (text, behind) = query.split_at(end);
    (Term { text, is_excluded, is_prefix: text.ends_with('*') }, behind)
}

/// What stands in the quotes with which a text begins, and what is behind them.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let mut chars = text.chars();
    let is_closing = match chars.next()? {
        '"' => |c: char| c == '"',
        '“' | '„' | '”' => |c: char| matches!(c, '“' | '”'),
        '«' => |c: char| c == '»',
        '「' => |c: char| c == '」',
        _ => return None,
    };
    let inside = chars.as_str();
    let (at, closing) = inside.char_indices().find(|(_, c)| is_closing(*c))?;
    Some((&inside[..at], &inside[at + closing.len_utf8()..]))
}

/// The words of a term as they must stand in a text.
fn phrase(mut found: Vec<Word>, is_prefix: bool) -> Option<Phrase> {
    let mut is_prefix = is_prefix;
    if let [.., before, last] = found.as_slice()
        && last.part == Part::Last
        && matches!(before.part, Part::Pair(_))
    {
        // The run may go on in the text: its last pair says it all.
        found.pop();
        is_prefix = false;
    } else if found.last()?.part == Part::Last {
        // A character by itself: pairs begin with it, and it may be the last of its run.
        is_prefix = true;
    }
    Some(Phrase { words: found.into_iter().map(|word| word.text).collect(), is_prefix })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `cat "a b"* -x`: as a query of words that need no cutting.
    fn meaning(query: &str) -> String {
        let shown = |phrase: &Phrase, sign: &str| {
            let star = if phrase.is_prefix { "*" } else { "" };
            format!("{sign}{}{star}", phrase.words.join("+"))
        };
        let wanted = parse(query, 64).unwrap();
        let all = wanted.all.iter().map(|phrase| shown(phrase, ""));
        all.chain(wanted.none.iter().map(|phrase| shown(phrase, "-"))).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn words_phrases_prefixes_and_exclusions() {
        for (query, expected) in [
            ("blue Whale", "blue whale"),
            ("\"blue whale\" sings", "blue+whale sings"),
            ("sing* \"big blue\"*", "sing* big+blue*"),
            ("whale -blue -\"big song\" -sing*", "whale -blue -big+song -sing*"),
            ("“blue whale” „der Wal“ «la baleine» 「鯨」", "blue+whale der+wal la+baleine 鯨*"),
            ("whale\"blue sky\"", "whale blue+sky"),
            ("don't well-known", "don+t well+known"),
            ("cat cat CAT", "cat"),
            ("日本語", "日本+本語"),
            ("日本", "日本"),
            ("日", "日*"),
            ("日本*", "日本"),
            ("\"語 rust\"", "語+rust"),
            ("\"rust 日\"", "rust+日*"),
            ("C++ -C# c .NET*", "cplusplus c dotnet* -csharp"),
        ] {
            assert_eq!(meaning(query), expected, "{query}");
        }
    }

    #[test]
    fn everything_is_a_query() {
        for (query, expected) in [
            ("", ""),
            ("   ", ""),
            ("👍 🙂", ""),
            ("\"", ""),
            ("\"\"\"", ""),
            ("-", ""),
            ("--", ""),
            ("*", ""),
            ("- *", ""),
            ("-*", ""),
            ("5\" disk", "5 disk"),
            ("NEAR(", "near"),
            ("NEAR(a b, 5)", "near+a b 5"),
            ("a AND (b OR NOT c)", "a and b or not c"),
            ("idea:cat ^dog {x y}: z", "idea+cat dog x y z"),
            ("'; DROP TABLE prompts; --", "drop table prompts"),
            ("a & b | !c <-> d:*", "a b c d*"),
            ("\\ \\\\ \u{0} %_", ""),
            ("-only -exclusions", "-only -exclusions"),
        ] {
            assert_eq!(meaning(query), expected, "{query}");
        }
    }

    #[test]
    fn too_many_words_are_told() {
        assert!(parse(&"a ".repeat(64), 64).is_some());
        assert!(parse(&"a ".repeat(65), 64).is_none());
        assert!(parse(&format!("\"{}\"", "日".repeat(1_000)), 1).is_some());
        assert!(parse(&"日本 ".repeat(65), 64).is_none());
        assert!(parse(&"\"".repeat(10_000), 64).is_some());
    }
}
