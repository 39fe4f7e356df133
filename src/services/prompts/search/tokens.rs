//! The words of a text: what is indexed, what is asked for and what snippets mark are cut by this one function, so that a query
//! means the same on every database.
//!
//! A word is a run of letters and digits, in lower case, without diacritics. Scripts that put no spaces between words (Han,
//! Kana, Hangul, Thai, Lao, Khmer, Myanmar) are cut into pairs of neighbouring characters: 日本語 is 日本, 本語 and 語, so that
//! any piece of a run can be asked for, as a phrase of its pairs.
//!
//! Signs that belong to a language's name are kept: C++ is `cplusplus`, C# `csharp`, F# `fsharp`, .NET `dotnet`.
//!
//! A change of what comes out here must raise [`VERSION`]: what is indexed is then indexed anew.

use unicode_normalization::char::is_combining_mark;
use unicode_normalization::{IsNormalized, UnicodeNormalization as _, is_nfc_quick, is_nfkd_quick};

/// Which words this function makes.
pub const VERSION: i64 = 2;

/// Characters of a word that count; longer words are compared by these.
const WORD_CHARS_MAX: usize = 64;

/// Characters that one character of a run may be made of, marks included; further marks are dropped.
const UNIT_CHARS_MAX: usize = 8;

/// A word and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// As it is compared.
    pub text: String,
    /// Its first byte in the text that was cut.
    pub start: usize,
    /// Behind its last byte.
    pub end: usize,
    /// What it is of.
    pub part: Part,
}

/// What a word is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A word between spaces.
    Whole,
    /// Two neighbours in a run without spaces; the first ends at this byte.
    Pair(usize),
    /// The last character of such a run.
    Last,
}

/// The first words of a text.
pub fn words(text: &str, words_max: usize) -> Vec<Word> {
    let mut cutter =
        Cutter { words: Vec::new(), word: None, run: Vec::new(), plus: None, dot: None, word_dot: None };
    for (start, c) in text.char_indices() {
        if cutter.words.len() >= words_max {
            break;
        }
        let end = start + c.len_utf8();
        if c.is_ascii() {
            match c.is_ascii_alphanumeric() {
                true => cutter.letter(c.to_ascii_lowercase(), start, end),
                false => cutter.sign(c, start, end),
            }
        } else if is_nfkd_quick(std::iter::once(c)) == IsNormalized::Yes && !is_ignored(c) {
            cutter.part(c, start, end);
        } else if !is_ignored(c) {
            for part in std::iter::once(c).nfkd() {
                cutter.part(part, start, end);
            }
        }
    }
    cutter.gap();
    cutter.words.truncate(words_max);
    cutter.words
}

/// What has been cut, and what is still open: a word or a run, never both.
struct Cutter {
    words: Vec<Word>,
    word: Option<Word>,
    run: Vec<Unit>,
    /// The end of a plus behind the open word, where a second one makes it a language's name.
    plus: Option<usize>,
    /// Where a dot stands that nothing is before.
    dot: Option<usize>,
    /// The same of a dot with which the open word begins.
    word_dot: Option<usize>,
}

/// A character of a run, with its marks.
struct Unit {
    text: String,
    chars: usize,
    start: usize,
    end: usize,
}

impl Cutter {
    /// A character that is decomposed.
    fn part(&mut self, c: char, start: usize, end: usize) {
        if is_diacritic(c) {
            return self.extend(end);
        }
        if is_combining_mark(c) || is_later_jamo(c) {
            return self.mark(c, end);
        }
        if !c.is_alphanumeric() {
            return self.sign(c, start, end);
        }
        if has_no_spaces(c) {
            return self.unit(c, start, end);
        }
        match spelt_out(c) {
            Some(letters) => letters.chars().for_each(|letter| self.letter(letter, start, end)),
            None => {
                for lower in c.to_lowercase().filter(|lower| !is_diacritic(*lower)) {
                    self.letter(lower, start, end);
                }
            }
        }
    }

    fn letter(&mut self, c: char, start: usize, end: usize) {
        if !self.run.is_empty() || self.plus.is_some() {
            self.gap();
        }
        if self.word.is_none() {
            self.word_dot = self.dot.take();
        }
        let new = || Word { text: String::new(), start, end, part: Part::Whole };
        let word = self.word.get_or_insert_with(new);
        word.text.push(c);
        word.end = end;
    }

    /// A sign: it ends what is open, unless it belongs to the name of a language.
    fn sign(&mut self, c: char, start: usize, end: usize) {
        let has_begun = self.word.is_some() || !self.run.is_empty();
        if let Some(word) = &mut self.word {
            let is_letter = word.text.len() == 1 && word.text.as_bytes()[0].is_ascii_alphabetic();
            match (c, self.plus) {
                ('+', None) if matches!(word.text.as_str(), "c" | "g" | "j") => {
                    self.plus = Some(end);
                    return;
                }
                ('+', Some(_)) => {
                    word.text.push_str("plusplus");
                    word.end = end;
                }
                ('#', None) if is_letter => {
                    word.text.push_str("sharp");
                    word.end = end;
                }
                _ => {}
            }
        }
        self.gap();
        self.dot = (c == '.' && !has_begun).then_some(start);
    }

    fn unit(&mut self, c: char, start: usize, end: usize) {
        self.dot = None;
        if self.word.is_some() {
            self.gap();
        }
        // A run may be long: what nobody can add to any more is cut.
        if self.run.len() > 1 {
            self.cut_pair();
        }
        self.run.push(Unit { text: c.into(), chars: 1, start, end });
    }

    /// A mark that makes another letter of the one before it.
    fn mark(&mut self, c: char, end: usize) {
        if let Some(unit) = self.run.last_mut() {
            if unit.chars < UNIT_CHARS_MAX {
                unit.text.push(c);
                unit.chars += 1;
            }
            unit.end = end;
        } else if let Some(word) = &mut self.word {
            word.text.push(c);
            word.end = end;
        }
    }

    /// A diacritic: it belongs to what is marked, not to what is compared.
    fn extend(&mut self, end: usize) {
        if let Some(unit) = self.run.last_mut() {
            unit.end = end;
        } else if let Some(word) = &mut self.word {
            word.end = end;
        }
    }

    /// The first two of the run are a word; the first is done with.
    fn cut_pair(&mut self) {
        if let [first, second, ..] = self.run.as_slice() {
            let text = composed([first.text.as_str(), &second.text].concat());
            let (start, end, part) = (first.start, second.end, Part::Pair(first.end));
            self.words.push(Word { text, start, end, part });
            self.run.remove(0);
        }
    }

    /// Something that is of no word.
    fn gap(&mut self) {
        self.plus = None;
        let dot = self.word_dot.take();
        if let Some(mut word) = self.word.take() {
            if let Some(dot) = dot.filter(|_| word.text == "net") {
                word.text.insert_str(0, "dot");
                word.start = dot;
            }
            let mut text = composed(word.text);
            if let Some((end, _)) = text.char_indices().nth(WORD_CHARS_MAX) {
                text.truncate(end);
            }
            self.words.push(Word { text, start: word.start, end: word.end, part: word.part });
        }
        while self.run.len() > 1 {
            self.cut_pair();
        }
        if let Some(last) = self.run.pop() {
            let text = composed(last.text);
            self.words.push(Word { text, start: last.start, end: last.end, part: Part::Last });
        }
    }
}

/// The same letters, marks and letters as one wherever that can be: mostly they are.
fn composed(text: String) -> String {
    match text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        true => text,
        false => text.nfc().collect(),
    }
}

/// What stands inside words and says nothing: soft hyphens, joiners, marks of direction.
fn is_ignored(c: char) -> bool {
    matches!(c, '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2064}' | '\u{FEFF}')
}

/// Marks that people leave out when they search: accents, Hebrew points, Arabic vowels. Those of Indic scripts, Thai and Kana are letters.
fn is_diacritic(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36F}' | '\u{591}'..='\u{5BD}' | '\u{5BF}' | '\u{5C1}'..='\u{5C2}' | '\u{5C4}'..='\u{5C5}' | '\u{5C7}'
        | '\u{610}'..='\u{61A}' | '\u{640}' | '\u{64B}'..='\u{65F}' | '\u{670}' | '\u{6D6}'..='\u{6DC}' | '\u{6DF}'..='\u{6E4}'
        | '\u{1AB0}'..='\u{1AFF}' | '\u{1DC0}'..='\u{1DFF}' | '\u{20D0}'..='\u{20FF}' | '\u{FE00}'..='\u{FE0F}'
        | '\u{FE20}'..='\u{FE2F}')
}

/// Vowels and final consonants of a Hangul syllable that is written in pieces.
fn is_later_jamo(c: char) -> bool {
    matches!(c, '\u{1160}'..='\u{11FF}')
}

/// Letters of scripts that put no spaces between words; Hangul, whose words carry endings, is cut like them.
fn has_no_spaces(c: char) -> bool {
    matches!(c,
        '\u{E00}'..='\u{EFF}' | '\u{1000}'..='\u{109F}' | '\u{1100}'..='\u{11FF}' | '\u{1780}'..='\u{17FF}'
        | '\u{3005}'..='\u{3007}' | '\u{3021}'..='\u{3029}' | '\u{3031}'..='\u{303C}' | '\u{3041}'..='\u{31FF}'
        | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{A960}'..='\u{A97F}' | '\u{AC00}'..='\u{D7FF}'
        | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFF}')
}

/// Letters that Unicode does not decompose, as those write them who do not have them.
fn spelt_out(c: char) -> Option<&'static str> {
    Some(match c {
        'ß' | 'ẞ' => "ss",
        'æ' | 'Æ' => "ae",
        'œ' | 'Œ' => "oe",
        'ø' | 'Ø' => "o",
        'ł' | 'Ł' => "l",
        'đ' | 'Đ' => "d",
        'ı' => "i",
        'ς' => "σ",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        words(text, usize::MAX).into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn words_are_letters_and_digits_in_lower_case_without_diacritics() {
        for (text, expected) in [
            ("Hello, World!", vec!["hello", "world"]),
            ("don't stop-me_now 3.14", vec!["don", "t", "stop", "me", "now", "3", "14"]),
            ("Ångström CAFÉ naïve", vec!["angstrom", "cafe", "naive"]),
            ("Straße Ærø Łódź İstanbul ΟΔΟΣ", vec!["strasse", "aero", "lodz", "istanbul", "οδοσ"]),
            ("οδος Ёлка", vec!["οδοσ", "елка"]),
            ("שָׁלוֹם مُحَمَّد", vec!["שלום", "محمد"]),
            ("हिन्दी भाषा", vec!["हिन्दी", "भाषा"]),
            ("ＡＢＣ ﬁne x²", vec!["abc", "fine", "x2"]),
            ("co\u{AD}operate zero\u{200B}width", vec!["cooperate", "zerowidth"]),
            ("👍🏽 🙂 — … \u{0}\u{7}", vec![]),
        ] {
            assert_eq!(texts(text), expected, "{text}");
        }
    }

    #[test]
    fn signs_of_a_languages_name_are_kept() {
        for (text, expected) in [
            ("C, C++ and C#", vec!["c", "cplusplus", "and", "csharp"]),
            ("C++17 F#, Ｃ＋＋ g++", vec!["cplusplus", "17", "fsharp", "cplusplus", "gplusplus"]),
            (".NET and (.net) ASP.NET", vec!["dotnet", "and", "dotnet", "asp", "net"]),
            ("example.net .network net", vec!["example", "net", "network", "net"]),
            ("a+b i++ c+d C+ # ## x", vec!["a", "b", "i", "c", "d", "c", "x"]),
            ("issue#12 日.net", vec!["issue", "12", "日", "net"]),
        ] {
            assert_eq!(texts(text), expected, "{text}");
        }
        let text = "use .NET or C++.";
        let places: Vec<&str> =
            words(text, usize::MAX).into_iter().map(|word| &text[word.start..word.end]).collect();
        assert_eq!(places, ["use", ".NET", "or", "C++"]);
    }

    #[test]
    fn what_is_composed_and_what_is_decomposed_are_the_same_words() {
        for text in ["Café crème", "が日本 ﾊﾟﾝ", "한국어 검색", "Tiếng Việt", "हिन्दी"]
        {
            let composed: String = text.nfc().collect();
            let decomposed: String = text.nfd().collect();
            assert_eq!(texts(&composed), texts(&decomposed), "{text}");
        }
    }

    #[test]
    fn what_is_composed_already_is_left_as_it_is() {
        // All blocks in which letters are composed.
        for c in (0..0x3400).chain(0xA000..0xAD00).chain(0xF900..0x1_2000).filter_map(char::from_u32) {
            for text in [c.to_string(), format!("{c}\u{301}"), format!("e{c}")] {
                assert_eq!(composed(text.clone()), text.nfc().collect::<String>(), "{text}");
            }
        }
    }

    #[test]
    fn scripts_without_spaces_are_cut_into_pairs() {
        assert_eq!(texts("日本語"), ["日本", "本語", "語"]);
        assert_eq!(texts("Rustと日本"), ["rust", "と日", "日本", "本"]);
        assert_eq!(texts("가나 다"), ["가나", "나", "다"]);
        assert_eq!(texts("ภาษาไทย").len(), 7);
        let word = &words("x 日本", usize::MAX)[1];
        assert_eq!((word.start, word.end, word.part), (2, 8, Part::Pair(5)));
    }

    #[test]
    fn places_are_those_of_the_text_and_lie_at_its_characters() {
        let text = "Zum Straßenbau: Größe e\u{301}té\u{301}, ﷺ ㍿ ½ が 日本語";
        for word in words(text, usize::MAX) {
            assert!(text.get(word.start..word.end).is_some_and(|piece| !piece.is_empty()), "{word:?}");
        }
        let of = |wanted: &str| {
            let word = words(text, usize::MAX).into_iter().find(|word| word.text == wanted).unwrap();
            &text[word.start..word.end]
        };
        assert_eq!(of("strassenbau"), "Straßenbau");
        assert_eq!(of("ete"), "e\u{301}té\u{301}");
    }

    #[test]
    fn long_words_many_marks_and_many_words_are_bounded() {
        assert_eq!(texts(&"x".repeat(10_000)), ["x".repeat(64)]);
        assert!(texts(&format!("か{}", "\u{3099}".repeat(10_000)))[0].chars().count() <= UNIT_CHARS_MAX);
        assert_eq!(words(&"a ".repeat(10_000), 100).len(), 100);
        assert_eq!(words(&"日".repeat(10_000), 100).len(), 100);
    }

    #[test]
    fn no_word_holds_what_an_index_could_take_for_anything_but_a_letter() {
        let all: String = (0..0x11_0000).filter_map(char::from_u32).collect();
        for word in words(&all, usize::MAX) {
            assert!(!word.text.is_empty());
            assert!(
                word.text.chars().all(|c| !c.is_ascii() || c.is_ascii_lowercase() || c.is_ascii_digit()),
                "{word:?}"
            );
            assert!(!word.text.contains('\u{E000}'), "private characters are no words");
        }
    }
}
