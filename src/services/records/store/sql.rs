//! The placeholders of statements that list values.

use std::fmt::Write as _;

/// `$first, …`, so many.
pub(super) fn places(first: usize, count: usize) -> String {
    let mut text = String::with_capacity(count * 5);
    for place in first..first + count {
        let comma = if place == first { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{comma}${place}");
    }
    text
}
