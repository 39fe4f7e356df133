//! Merge patches by RFC 7396, on texts: what a patch does not touch stays byte for byte, and in its order.

use std::collections::{HashMap, HashSet};

use super::reader::{Member, members};

/// `document` with `patch` applied. Both have passed [`super::check`]. A value that is untouched keeps its bytes and its place; what is
/// new is appended in the order of the patch. Of an object that changes, the space between its members goes.
pub fn merge_patch(document: &str, patch: &str) -> String {
    let mut merged = String::with_capacity(document.len() + patch.len());
    merge(Some(document), patch, &mut merged);
    merged
}

fn merge(target: Option<&str>, patch: &str, merged: &mut String) {
    let Some(changes) = members(patch) else { return merged.push_str(patch.trim()) };
    let current = match (target, target.and_then(members)) {
        // Nothing changes.
        (Some(target), Some(_)) if changes.is_empty() => return merged.push_str(target.trim()),
        (_, Some(current)) => current,
        // What is no object is as good as an empty one.
        (_, None) => Vec::new(),
    };
    let known: HashSet<&str> = current.iter().map(|member| &*member.name).collect();
    let new = changes.iter().filter(|change| !known.contains(&*change.name));
    let changed: HashMap<&str, &str> = changes.iter().map(|change| (&*change.name, change.value)).collect();
    let start = merged.len();
    for member in &current {
        match changed.get(&*member.name) {
            None => name_of(member, merged, start).push_str(member.value),
            Some(&"null") => {}
            Some(change) => merge(Some(member.value), change, name_of(member, merged, start)),
        }
    }
    for member in new.filter(|member| member.value != "null") {
        merge(None, member.value, name_of(member, merged, start));
    }
    merged.push_str(if merged.len() == start { "{}" } else { "}" });
}

/// Writes the name of a member of the object that begins at `start`.
fn name_of<'m>(member: &Member<'_>, merged: &'m mut String, start: usize) -> &'m mut String {
    merged.push(if merged.len() == start { '{' } else { ',' });
    merged.push_str(member.written_name);
    merged.push(':');
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc_come_out() {
        for (document, patch, expected) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
            (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
            (r#"{"a":"foo"}"#, "null", "null"),
            (r#"{"a":"foo"}"#, r#""bar""#, r#""bar""#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
            ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ] {
            assert_eq!(merge_patch(document, patch), expected, "{document} with {patch}");
        }
    }

    #[test]
    fn the_example_of_the_rfc_in_full_comes_out() {
        let document = r#"{"title":"Goodbye!","author":{"givenName":"John","familyName":"Doe"},"tags":["example","sample"],"content":"This will be unchanged"}"#;
        let patch = r#"{"title":"Hello!","phoneNumber":"+01-123-456-7890","author":{"familyName":null},"tags":["example"]}"#;
        let expected = r#"{"title":"Hello!","author":{"givenName":"John"},"tags":["example"],"content":"This will be unchanged","phoneNumber":"+01-123-456-7890"}"#;
        assert_eq!(merge_patch(document, patch), expected);
    }

    #[test]
    fn what_is_untouched_stays_byte_for_byte() {
        let document =
            r#"{ "z":1.0, "\u0061" :{ "n" : 123456789012345678901234567890 , "e":1e2 },"b" : [ 1,  2 ] }"#;
        let merged = merge_patch(document, r#" {"z": 2.50 , "c":{ "d" : null, "e": [ null ]}} "#);
        let kept = r#""\u0061":{ "n" : 123456789012345678901234567890 , "e":1e2 },"b":[ 1,  2 ]"#;
        assert_eq!(merged, format!(r#"{{"z":2.50,{kept},"c":{{"e":[ null ]}}}}"#));
        assert_eq!(merge_patch(document, " {} "), document);
        // A name is the same however it is written.
        assert_eq!(merge_patch(r#"{"\u0061":1}"#, r#"{"a":2}"#), r#"{"\u0061":2}"#);
        assert_eq!(merge_patch(r#"{"a":{"b": 1}}"#, r#"{"a":{}}"#), r#"{"a":{"b": 1}}"#);
    }
}
