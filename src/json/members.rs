//! Members of an object that are replaced whole, on texts: the others stay byte for byte, and in their order.

use std::collections::{HashMap, HashSet};

use super::reader::{Member, members};

/// `document` with the members of `changes` in place of its own, and without those that are `removed`. All are objects that have passed
/// [`super::check`]. New members are appended in the order of `changes`. Of an object that changes, the space between members is lost.
pub fn replace_members(document: &str, changes: &str, removed: &[String]) -> String {
    let changes = members(changes).unwrap_or_default();
    replaced(document, &changes, &removed.iter().map(String::as_str).collect())
}

/// `document` with the values that `stored` has under `names`, where it has them.
pub fn keep_members(document: &str, stored: &str, names: &[String]) -> String {
    let names: HashSet<&str> = names.iter().map(String::as_str).collect();
    let mut kept = members(stored).unwrap_or_default();
    kept.retain(|member| names.contains(&*member.name));
    replaced(document, &kept, &HashSet::new())
}

fn replaced(document: &str, changes: &[Member<'_>], removed: &HashSet<&str>) -> String {
    let current = members(document).unwrap_or_default();
    let mut new: HashMap<&str, &str> = changes.iter().map(|change| (&*change.name, change.value)).collect();
    let is_same = |member: &Member<'_>| {
        !removed.contains(&*member.name) && new.get(&*member.name).is_none_or(|value| *value == member.value)
    };
    let known: HashSet<&str> = current.iter().map(|member| &*member.name).collect();
    if current.iter().all(is_same) && new.keys().all(|name| known.contains(name) || removed.contains(name)) {
        return document.to_owned();
    }
    let mut text = String::with_capacity(document.len());
    let mut append = |written_name: &str, value: &str| {
        text.push(if text.is_empty() { '{' } else { ',' });
        text.push_str(written_name);
        text.push(':');
        text.push_str(value);
    };
    for member in current.iter().filter(|member| !removed.contains(&*member.name)) {
        let value = new.remove(&*member.name).unwrap_or(member.value);
        append(member.written_name, value);
    }
    for change in changes {
        if new.contains_key(&*change.name) && !removed.contains(&*change.name) {
            append(change.written_name, change.value);
        }
    }
    text.push_str(if text.is_empty() { "{}" } else { "}" });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn members_are_replaced_whole_and_null_is_a_value() {
        for (document, changes, removed, expected) in [
            (r#"{"a":{"x":1,"y":2},"b":1}"#, r#"{"a":{"x":3}}"#, &[][..], r#"{"a":{"x":3},"b":1}"#),
            (r#"{ "a" : 1.0, "b":2 }"#, r#"{"b":null,"c":[ 1 ]}"#, &[], r#"{"a":1.0,"b":null,"c":[ 1 ]}"#),
            (r#"{"a":1,"b":2}"#, "{}", &["a", "none"], r#"{"b":2}"#),
            (r#"{"a":1}"#, r#"{"b":1}"#, &["a", "b"], "{}"),
            (r#"{ "a" : 1 }"#, r#"{"\u0061":1}"#, &[], r#"{ "a" : 1 }"#),
            ("{}", r#"{"a":{}}"#, &[], r#"{"a":{}}"#),
            (" {} ", "{}", &[], " {} "),
        ] {
            assert_eq!(replace_members(document, changes, &names(removed)), expected, "{document} {changes}");
        }
    }

    #[test]
    fn members_that_are_kept_have_the_stored_values() {
        let stored = r#"{"created":"then","views":[1, 2],"title":"old"}"#;
        let document = r#"{"title":"new","created":"now","n":1}"#;
        let kept = keep_members(document, stored, &names(&["created", "views", "absent", "n"]));
        assert_eq!(kept, r#"{"title":"new","created":"then","n":1,"views":[1, 2]}"#);
        assert_eq!(keep_members(document, stored, &[]), document);
    }
}
