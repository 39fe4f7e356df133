//! A reader of JSON texts: one token after the other, without recursion, and nothing changed.
//!
//! It accepts what RFC 8259 does, but for escapes of half a character (`"\ud800"`), which no UTF-8 holds.

use std::borrow::Cow;

use super::{Fault, Problem};

/// What holds other values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
}

/// What holds none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// `null`
    Null,
    /// `false`
    False,
    /// `true`
    True,
    /// A number.
    Number,
    /// A string.
    String,
}

/// A step through a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'t> {
    /// An object or an array begins.
    Open(Container),
    /// It ends.
    Close(Container),
    /// The name of a member, as it is written, with its quotes; its value follows.
    Name(&'t str),
    /// A value that holds no others, as it is written.
    Scalar(Scalar, &'t str),
}

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Value,
    FirstOrClose,
    CommaOrClose,
    End,
}

/// Reads a text.
#[derive(Debug)]
pub struct Reader<'t> {
    text: &'t str,
    at: usize,
    start: usize,
    open: Vec<Container>,
    due: Due,
}

impl<'t> Reader<'t> {
    /// A reader that stands before the text's one value.
    pub fn new(text: &'t str) -> Self {
        Self { text, at: 0, start: 0, open: Vec::new(), due: Due::Value }
    }

    /// Objects and arrays that have begun and not ended.
    pub fn depth(&self) -> usize {
        self.open.len()
    }

    /// The place where the last event begins, in bytes.
    pub fn start(&self) -> usize {
        self.start
    }

    /// The place behind the last event, in bytes.
    pub fn end(&self) -> usize {
        self.at
    }

    /// The next event; none at the end of the text.
    pub fn next(&mut self) -> Result<Option<Event<'t>>, Fault> {
        self.skip_space();
        self.start = self.at;
        match self.due {
            Due::Value => self.value_begins(),
            Due::FirstOrClose if self.closes() => Ok(self.close()),
            Due::FirstOrClose => self.item_begins(),
            Due::CommaOrClose if self.closes() => Ok(self.close()),
            Due::CommaOrClose => {
                self.expect(b',')?;
                self.skip_space();
                self.start = self.at;
                self.item_begins()
            }
            Due::End if self.at == self.text.len() => Ok(None),
            Due::End => Err(self.fault(Problem::MoreThanOneValue)),
        }
    }

    /// The next value as it is written; none if the object, the array or the text ends instead.
    pub fn value(&mut self) -> Result<Option<&'t str>, Fault> {
        let depth = self.depth();
        let first = self.next()?;
        let start = self.start;
        if matches!(first, None | Some(Event::Close(_))) {
            return Ok(None);
        }
        while self.depth() > depth {
            self.next()?;
        }
        Ok(Some(&self.text[start..self.at]))
    }

    fn item_begins(&mut self) -> Result<Option<Event<'t>>, Fault> {
        if self.open.last() == Some(&Container::Array) {
            return self.value_begins();
        }
        let name = self.string()?;
        self.skip_space();
        self.expect(b':')?;
        self.due = Due::Value;
        Ok(Some(Event::Name(name)))
    }

    fn value_begins(&mut self) -> Result<Option<Event<'t>>, Fault> {
        let (kind, written) = match self.peek() {
            Some(b'{') => return Ok(self.open(Container::Object)),
            Some(b'[') => return Ok(self.open(Container::Array)),
            Some(b'"') => (Scalar::String, self.string()?),
            Some(b'-' | b'0'..=b'9') => (Scalar::Number, self.number()?),
            Some(b't') => (Scalar::True, self.word("true")?),
            Some(b'f') => (Scalar::False, self.word("false")?),
            Some(b'n') => (Scalar::Null, self.word("null")?),
            _ => return Err(self.fault(Problem::NoJson)),
        };
        self.value_ends();
        Ok(Some(Event::Scalar(kind, written)))
    }

    fn open(&mut self, container: Container) -> Option<Event<'t>> {
        self.at += 1;
        self.open.push(container);
        self.due = Due::FirstOrClose;
        Some(Event::Open(container))
    }

    /// Whether what is open ends here.
    fn closes(&self) -> bool {
        match self.open.last() {
            Some(Container::Object) => self.peek() == Some(b'}'),
            Some(Container::Array) => self.peek() == Some(b']'),
            None => false,
        }
    }

    fn close(&mut self) -> Option<Event<'t>> {
        self.at += 1;
        let container = self.open.pop();
        self.value_ends();
        container.map(Event::Close)
    }

    fn value_ends(&mut self) {
        self.due = if self.open.is_empty() { Due::End } else { Due::CommaOrClose };
    }

    fn word(&mut self, word: &'static str) -> Result<&'t str, Fault> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.fault(Problem::NoJson));
        }
        self.at += word.len();
        Ok(word)
    }

    fn number(&mut self) -> Result<&'t str, Fault> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    /// One digit at least.
    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.fault(Problem::NoJson)) } else { Ok(()) }
    }

    /// A string with its quotes.
    fn string(&mut self) -> Result<&'t str, Fault> {
        let start = self.at;
        self.expect(b'"')?;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                Some(0..=0x1F) | None => return Err(self.fault(Problem::NoJson)),
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        Ok(&self.text[start..self.at])
    }

    fn escape(&mut self) -> Result<(), Fault> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => match self.code_unit()? {
                0xDC00..=0xDFFF => return Err(self.fault(Problem::HalfCharacter)),
                0xD800..=0xDBFF => {
                    let is_escape = self.take(b'\\') && self.peek() == Some(b'u');
                    if !is_escape || !(0xDC00..=0xDFFF).contains(&self.code_unit()?) {
                        return Err(self.fault(Problem::HalfCharacter));
                    }
                }
                _ => {}
            },
            _ => return Err(self.fault(Problem::NoJson)),
        }
        Ok(())
    }

    /// The four digits after `u`.
    fn code_unit(&mut self) -> Result<u32, Fault> {
        self.at += 1;
        let digits = self.text.get(self.at..self.at + 4);
        let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let unit = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let unit = unit.ok_or_else(|| self.fault(Problem::NoJson))?;
        self.at += 4;
        Ok(unit)
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        if self.take(byte) { Ok(()) } else { Err(self.fault(Problem::NoJson)) }
    }

    fn fault(&self, problem: Problem) -> Fault {
        Fault::at(self.text, self.at, problem)
    }
}

/// The text that a string or a name stands for, of which `written` has the quotes.
pub fn unescaped(written: &str) -> Cow<'_, str> {
    if written.contains('\\') {
        serde_json::from_str::<String>(written).map_or(Cow::Borrowed(written), Cow::Owned)
    } else {
        Cow::Borrowed(written.trim_matches('"'))
    }
}

/// What kind of value a text is, if it is one that holds no others.
pub fn scalar(text: &str) -> Option<Scalar> {
    match Reader::new(text).next() {
        Ok(Some(Event::Scalar(kind, _))) => Some(kind),
        _ => None,
    }
}

/// The text that a JSON string stands for; none if it is no string.
pub fn text_of(text: &str) -> Option<Cow<'_, str>> {
    match Reader::new(text).next() {
        Ok(Some(Event::Scalar(Scalar::String, written))) => Some(unescaped(written)),
        _ => None,
    }
}

/// A member of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member<'t> {
    /// Its name.
    pub name: Cow<'t, str>,
    /// Its name as it is written, with quotes.
    pub written_name: &'t str,
    /// Its value as it is written.
    pub value: &'t str,
}

/// The members of an object in their order; none if `text` is no object.
pub fn members(text: &str) -> Option<Vec<Member<'_>>> {
    let mut reader = Reader::new(text);
    if reader.next().ok()? != Some(Event::Open(Container::Object)) {
        return None;
    }
    let mut members = Vec::new();
    while let Some(Event::Name(written_name)) = reader.next().ok()? {
        let value = reader.value().ok()??;
        members.push(Member { name: unescaped(written_name), written_name, value });
    }
    Some(members)
}

/// The value of one member, as it is written.
pub fn member<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let mut reader = Reader::new(text);
    if reader.next().ok()? != Some(Event::Open(Container::Object)) {
        return None;
    }
    while let Some(Event::Name(written)) = reader.next().ok()? {
        let value = reader.value().ok()??;
        if unescaped(written) == name {
            return Some(value);
        }
    }
    None
}

/// The elements of an array, as they are written; nothing if `text` is no array.
pub fn elements(text: &str) -> impl Iterator<Item = &str> {
    let mut reader = Reader::new(text);
    let is_array = matches!(reader.next(), Ok(Some(Event::Open(Container::Array))));
    std::iter::from_fn(move || if is_array { reader.value().ok().flatten() } else { None })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads it to its end.
    fn accepts(text: &str) -> bool {
        let mut reader = Reader::new(text);
        loop {
            match reader.next() {
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    #[test]
    fn what_serde_json_accepts_is_accepted_and_nothing_else() {
        let whole = r#" {"a" : [1, -0, 2.50e+3, 1E-2, true ,false,null, "x\"\\\/\b\f\n\r\té\u00e9\uD83D\uDE00"], "": {}, "b":[[],{}]} "#;
        assert!(accepts(whole));
        // Each text that is one change away: a character left out, doubled, or replaced.
        let signs = [
            '"', '\\', '{', '}', '[', ']', ',', ':', '0', '1', '-', '+', '.', 'e', 'u', 'n', ' ', '\t',
            '\u{1}', '\u{7F}',
        ];
        let mut accepted = 0;
        for (at, character) in whole.char_indices() {
            let (before, after) = (&whole[..at], &whole[at + character.len_utf8()..]);
            let mut texts = vec![format!("{before}{after}"), before.to_owned(), after.to_owned()];
            texts.extend(signs.map(|sign| format!("{before}{sign}{after}")));
            texts.extend(signs.map(|sign| format!("{before}{sign}{character}{after}")));
            for text in texts {
                let expected = serde_json::from_str::<serde_json::Value>(&text).is_ok();
                assert_eq!(accepts(&text), expected, "{text}");
                accepted += usize::from(expected);
            }
        }
        assert!(accepted > 500, "{accepted} changes were harmless");
    }

    #[test]
    fn short_texts_of_all_kinds_are_read_as_serde_json_does() {
        let signs = ['1', '0', '-', '.', 'e', '[', ']', '{', '}', '"', ':', ',', ' '];
        let mut texts = vec![String::new()];
        for _ in 0..5 {
            texts = texts
                .iter()
                .flat_map(|text| signs.map(|sign| format!("{text}{sign}")))
                .chain(texts.iter().cloned())
                .collect();
            texts.sort_unstable();
            texts.dedup();
        }
        for text in &texts {
            let expected = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
            assert_eq!(accepts(text), expected, "{text}");
        }
    }

    #[test]
    fn numbers_that_no_double_holds_are_numbers() {
        assert!(accepts("1e999") && accepts("-123456789012345678901234567890.5"));
    }

    #[test]
    fn a_million_brackets_need_no_stack() {
        let deep = "[".repeat(1_000_000);
        assert!(!accepts(&deep));
        assert!(accepts(&format!("{deep}{}", "]".repeat(1_000_000))));
    }

    #[test]
    fn members_and_elements_are_as_they_are_written() {
        let text = r#"{ "a" : 1.0 , "\u0062" : [ 1, {"c":2} ] ,"c":""}"#;
        let expected = [("a", "1.0"), ("b", r#"[ 1, {"c":2} ]"#), ("c", "\"\"")];
        let found = members(text).unwrap();
        let pairs: Vec<_> = found.iter().map(|member| (&*member.name, member.value)).collect();
        assert_eq!(pairs, expected);
        assert_eq!(found[1].written_name, r#""\u0062""#);
        assert_eq!(member(text, "b"), Some(expected[1].1));
        assert_eq!(member(text, "d"), None);
        assert_eq!(elements(expected[1].1).collect::<Vec<_>>(), ["1", r#"{"c":2}"#]);
        assert_eq!(elements(text).count(), 0);
        assert_eq!(scalar(" 1.5 "), Some(Scalar::Number));
        assert!(scalar("[]").is_none() && text_of("1").is_none());
        assert_eq!(text_of(" \"\\u0061b\" ").as_deref(), Some("ab"));
        assert!(members("[]").is_none() && member("3", "a").is_none());
    }
}
