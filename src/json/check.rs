//! Whether a text may be stored: one JSON value, not too long, not too deep, no name twice.

use std::borrow::Cow;

use super::number;
use super::reader::{Container, Event, Reader, Scalar, unescaped};
use super::{Fault, Problem};

/// What a text may have.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// At most so many bytes.
    pub bytes_max: usize,
    /// At most so many objects and arrays in each other.
    pub depth_max: usize,
    /// Whether it must be an object.
    pub is_object: bool,
}

/// Checks a text; it is not changed by that.
pub fn check(text: &str, limits: Limits) -> Result<(), Fault> {
    if text.len() > limits.bytes_max {
        return Err(Fault::at(text, 0, Problem::TooLong { bytes_max: limits.bytes_max }));
    }
    let mut reader = Reader::new(text);
    let mut names = Names::default();
    let mut is_first = true;
    while let Some(event) = reader.next()? {
        let fault = |problem| Err(Fault::at(text, reader.start(), problem));
        if is_first && limits.is_object && event != Event::Open(Container::Object) {
            return fault(Problem::NoObject);
        }
        is_first = false;
        match event {
            Event::Open(container) => {
                if reader.depth() > limits.depth_max {
                    return fault(Problem::TooDeep { depth_max: limits.depth_max });
                }
                names.open(container);
            }
            Event::Name(name) => names.found.push((unescaped(name), reader.start())),
            Event::Close(container) => {
                if let Some(at) = names.close(container) {
                    return Err(Fault::at(text, at, Problem::DuplicateName));
                }
            }
            Event::Scalar(Scalar::Number, written) if !number::has_order(written) => {
                return fault(Problem::ExponentTooLarge);
            }
            Event::Scalar(..) => {}
        }
    }
    Ok(())
}

/// The names of all objects that are open, those of the innermost last.
#[derive(Default)]
struct Names<'t> {
    /// Each name, and where it stands.
    found: Vec<(Cow<'t, str>, usize)>,
    /// Where the names of each open object begin.
    begins: Vec<usize>,
}

impl Names<'_> {
    fn open(&mut self, container: Container) {
        if container == Container::Object {
            self.begins.push(self.found.len());
        }
    }

    /// Where a name stands for the second time.
    fn close(&mut self, container: Container) -> Option<usize> {
        if container == Container::Array {
            return None;
        }
        let begin = self.begins.pop()?;
        let names = &mut self.found[begin..];
        names.sort_unstable();
        let second = names.windows(2).filter(|pair| pair[0].0 == pair[1].0).map(|pair| pair[1].1).min();
        self.found.truncate(begin);
        second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { bytes_max: 100, depth_max: 3, is_object: true };

    fn problem(text: &str) -> Option<(Problem, usize, usize)> {
        check(text, LIMITS).err().map(|fault| (fault.problem, fault.line, fault.column))
    }

    #[test]
    fn one_object_within_the_limits_passes() {
        for text in ["{}", r#" {"a":[{"b":1e9}],"A":"\u0000"} "#, r#"{"a":{"a":{}},"b":[{"a":1},{"a":2}]}"#] {
            assert_eq!(problem(text), None, "{text}");
        }
        assert!(check("[1]", Limits { is_object: false, ..LIMITS }).is_ok());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, expected) in [
            ("", (Problem::NoJson, 1, 1)),
            ("[]", (Problem::NoObject, 1, 1)),
            ("{}\n {}", (Problem::MoreThanOneValue, 2, 2)),
            ("{\"é\":\n  tru}", (Problem::NoJson, 2, 3)),
            (r#"{"é":"\ud800"}"#, (Problem::HalfCharacter, 1, 13)),
            (r#"{"a":[[[1]]]}"#, (Problem::TooDeep { depth_max: 3 }, 1, 8)),
            ("{\"a\":{\"b\":1,\n\"\\u0062\":2}}", (Problem::DuplicateName, 2, 1)),
            (r#"{"a":1e1000000000}"#, (Problem::ExponentTooLarge, 1, 6)),
        ] {
            assert_eq!(problem(text), Some(expected), "{text}");
        }
        let long = format!("{:101}", "{}");
        assert_eq!(check(&long, LIMITS).unwrap_err().to_string(), "is longer than 100 bytes");
        assert_eq!(check("[]", LIMITS).unwrap_err().to_string(), "is JSON, but no object (line 1, column 1)");
    }
}
