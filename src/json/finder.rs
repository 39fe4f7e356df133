//! Finds the values at several paths of a document in one pass.

use std::collections::HashMap;

use super::path::{Path, Step};
use super::reader::{Container, Event, Reader, unescaped};

/// Paths that are looked for together.
#[derive(Clone, Debug)]
pub struct Finder {
    /// The first one is the document itself.
    nodes: Vec<Node>,
    count: usize,
}

/// A value that a path leads to or through.
#[derive(Clone, Debug, Default)]
struct Node {
    members: HashMap<String, usize>,
    elements: HashMap<usize, usize>,
    /// The places of the paths that end here.
    ends: Vec<usize>,
}

impl Finder {
    /// A finder of `paths`.
    pub fn new<'p>(paths: impl IntoIterator<Item = &'p Path>) -> Self {
        let mut finder = Self { nodes: vec![Node::default()], count: 0 };
        for path in paths {
            let mut at = 0;
            for step in path.steps() {
                at = finder.child(at, step);
            }
            finder.nodes[at].ends.push(finder.count);
            finder.count += 1;
        }
        finder
    }

    fn child(&mut self, at: usize, step: &Step) -> usize {
        let next = self.nodes.len();
        let node = &mut self.nodes[at];
        let child = match step {
            Step::Name(name) => *node.members.entry(name.clone()).or_insert(next),
            Step::Index(index) => *node.elements.entry(*index).or_insert(next),
        };
        if child == next {
            self.nodes.push(Node::default());
        }
        child
    }

    /// The value at each path as it is written, in the order of the paths. `document` has passed [`super::check`].
    pub fn find<'d>(&self, document: &'d str) -> Vec<Option<&'d str>> {
        let mut found = vec![None; self.count];
        let mut reader = Reader::new(document);
        if let Ok(Some(first)) = reader.next() {
            // No text is stored that cannot be read to its end.
            let _ = self.walk(0, first, &mut reader, document, &mut found);
        }
        found
    }

    /// Reads the value that begins with `first`. The depth is at most that of the paths.
    fn walk<'d>(
        &self,
        at: usize,
        first: Event<'d>,
        reader: &mut Reader<'d>,
        document: &'d str,
        found: &mut [Option<&'d str>],
    ) -> Option<()> {
        let (start, depth) = (reader.start(), reader.depth());
        let node = &self.nodes[at];
        match first {
            Event::Open(Container::Object) if !node.members.is_empty() => {
                while let Event::Name(name) = reader.next().ok()?? {
                    match node.members.get(&*unescaped(name)) {
                        Some(child) => {
                            let first = reader.next().ok()??;
                            self.walk(*child, first, reader, document, found)?;
                        }
                        None => reader.value().ok().flatten().map(|_| ())?,
                    }
                }
            }
            Event::Open(Container::Array) if !node.elements.is_empty() => {
                let mut index = 0;
                loop {
                    let first = reader.next().ok()??;
                    match (first, node.elements.get(&index)) {
                        (Event::Close(_), _) => break,
                        (first, Some(child)) => self.walk(*child, first, reader, document, found)?,
                        (first, None) => skip(first, reader)?,
                    }
                    index += 1;
                }
            }
            Event::Open(_) => {
                while reader.depth() >= depth {
                    reader.next().ok()??;
                }
            }
            _ => {}
        }
        for end in &node.ends {
            found[*end] = Some(&document[start..reader.end()]);
        }
        Some(())
    }
}

/// Reads the rest of a value that begins with `first`.
fn skip(first: Event<'_>, reader: &mut Reader<'_>) -> Option<()> {
    if matches!(first, Event::Open(_)) {
        let depth = reader.depth();
        while reader.depth() >= depth {
            reader.next().ok()??;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_together_is_what_each_path_finds() {
        let documents = [
            r#"{"a": {"b": [10, {"c": "x"}, [1,[2]]], "": 1, "x.y": 2, "\u00e9": 3}, "k 1": null, "a2":[[5],{}]}"#,
            r#"[0, {"a": {"b": []}}]"#,
            r#"{"a": 1}"#,
            r#"{"a": []}"#,
            "3",
            "{}",
        ];
        let texts = [
            "a",
            "a.b",
            "a.b[0]",
            "a.b[1].c",
            "a.b[1]",
            "a.b[2][1][0]",
            r#"a."""#,
            r#"a."x.y""#,
            "a.é",
            r#""k 1""#,
            "a2[0][0]",
            "a2[1]",
            "a2[2]",
            "[1].a.b",
            "[0]",
            "nothing",
            "a.b",
            "a.b.c",
        ];
        let paths: Vec<Path> = texts.iter().map(|text| Path::parse(text).unwrap()).collect();
        let finder = Finder::new(&paths);
        for document in documents {
            let expected: Vec<_> = paths.iter().map(|path| path.find(document)).collect();
            assert_eq!(finder.find(document), expected, "{document}");
        }
    }
}
