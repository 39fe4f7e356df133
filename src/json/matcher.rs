//! A filter that is made ready for many documents: all of its paths are found in one pass over each, and each value's key is made once.

use std::cell::OnceCell;

use super::filter::{Filter, Test};
use super::finder::Finder;
use super::path::Path;
use super::reader::elements;
use super::sort_key::full_key;

/// A filter, and a path that is looked for beside it.
#[derive(Debug)]
pub struct Matcher<'f> {
    node: Node<'f>,
    finder: Finder,
    /// The place of the path beside the filter.
    beside: Option<usize>,
}

#[derive(Debug)]
enum Node<'f> {
    All(Vec<Node<'f>>),
    Any(Vec<Node<'f>>),
    Not(Box<Node<'f>>),
    Value(usize, &'f Test),
}

/// The values at the paths of a matcher in one document.
struct Values<'d> {
    found: Vec<Option<&'d str>>,
    keys: Vec<OnceCell<Vec<u8>>>,
    /// The keys of the elements of an array, in their order.
    elements: Vec<OnceCell<Vec<Vec<u8>>>>,
}

impl<'f> Matcher<'f> {
    /// A matcher of `filter` that finds the value at `beside` as well.
    pub fn new(filter: &'f Filter, beside: Option<&'f Path>) -> Self {
        let mut paths: Vec<&'f Path> = beside.into_iter().collect();
        let node = prepare(filter, &mut paths);
        let beside = beside.map(|_| 0);
        Self { node, finder: Finder::new(paths), beside }
    }

    /// Whether the filter takes a document; and what is at the path beside it.
    pub fn look<'d>(&self, document: &'d str) -> (bool, Option<&'d str>) {
        let found = self.finder.find(document);
        let beside = self.beside.and_then(|place| found[place]);
        let count = found.len();
        let values =
            Values { found, keys: vec![OnceCell::new(); count], elements: vec![OnceCell::new(); count] };
        (values.pass(&self.node), beside)
    }

    /// Whether the filter takes a document.
    pub fn takes(&self, document: &str) -> bool {
        self.look(document).0
    }
}

fn prepare<'f>(filter: &'f Filter, paths: &mut Vec<&'f Path>) -> Node<'f> {
    match filter {
        Filter::All(all) => Node::All(all.iter().map(|filter| prepare(filter, paths)).collect()),
        Filter::Any(any) => Node::Any(any.iter().map(|filter| prepare(filter, paths)).collect()),
        Filter::Not(filter) => Node::Not(Box::new(prepare(filter, paths))),
        Filter::Value(path, test) => {
            let place = paths.iter().position(|known| *known == path).unwrap_or_else(|| {
                paths.push(path);
                paths.len() - 1
            });
            Node::Value(place, test)
        }
    }
}

impl Values<'_> {
    fn pass(&self, node: &Node<'_>) -> bool {
        match node {
            Node::All(all) => all.iter().all(|node| self.pass(node)),
            Node::Any(any) => any.iter().any(|node| self.pass(node)),
            Node::Not(node) => !self.pass(node),
            Node::Value(place, Test::Within(ranges)) => {
                let key = self.keys[*place].get_or_init(|| full_key(self.found[*place]));
                ranges.iter().any(|range| range.has(key))
            }
            Node::Value(place, Test::Contains(key)) => {
                let keys = self.elements[*place].get_or_init(|| {
                    let elements = elements(self.found[*place].unwrap_or_default());
                    let mut keys: Vec<_> = elements.map(|element| full_key(Some(element))).collect();
                    keys.sort_unstable();
                    keys
                });
                keys.binary_search(key).is_ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_passes_as_it_does_condition_by_condition() {
        let value = |path: &str, test| Filter::Value(Path::parse(path).unwrap(), test);
        let documents = [
            r#"{"a":1,"b":{"c":"xyz"},"tags":["red","blue",1.0]}"#,
            r#"{"a":2,"b":{"c":null},"tags":"red"}"#,
            r#"{"tags":[]}"#,
        ];
        let filters = [
            value("a", Test::one_of(["1"])),
            value("a", Test::one_of(["2"])),
            value("b.c", Test::prefix("xy")),
            value("b", Test::exists(true)),
            value("tags", Test::contains("\"red\"")),
            value("tags", Test::contains("1e0")),
            value("nothing", Test::exists(false)),
        ];
        let all = Filter::All(filters.to_vec());
        let any = Filter::Any(filters.to_vec());
        let not = Filter::Not(Box::new(any.clone()));
        let path = Path::parse("b.c").unwrap();
        for document in documents {
            for filter in filters.iter().chain([&all, &any, &not]) {
                let (takes, beside) = Matcher::new(filter, Some(&path)).look(document);
                assert_eq!(
                    (takes, beside),
                    (filter.takes(document), path.find(document)),
                    "{document} {filter:?}"
                );
                assert_eq!(Matcher::new(filter, None).takes(document), takes);
            }
        }
    }
}
