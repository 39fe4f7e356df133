//! Statements that list values or rows. A statement is cached by its text, so lists come in few sizes.

use std::fmt::Write as _;

/// Values or rows of one statement.
pub const CHUNKS: [usize; 5] = [256, 64, 16, 4, 1];

/// `all` in pieces of the sizes in [`CHUNKS`], the largest first.
pub fn chunks<T>(all: &[T]) -> impl Iterator<Item = &[T]> {
    let mut rest = all;
    std::iter::from_fn(move || {
        let size = CHUNKS.into_iter().find(|size| *size <= rest.len())?;
        let (chunk, after) = rest.split_at(size);
        rest = after;
        Some(chunk)
    })
}

/// `$first, …`: so many placeholders.
pub fn places(first: usize, count: usize) -> String {
    let mut text = String::with_capacity(count * 5);
    push_places(&mut text, first..first + count);
    text
}

/// `($1, …), (…)`: so many rows of so many placeholders each.
pub fn rows_of_places(rows: usize, columns: usize) -> String {
    rows_that_share(0, rows, columns)
}

/// `($1, $2, $3, …), ($1, $2, …)`: the same where each row begins with the `shared` first values, which are given once.
pub fn rows_that_share(shared: usize, rows: usize, columns: usize) -> String {
    let mut text = String::with_capacity(rows * (shared + columns) * 5);
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        let first = 1 + shared + row * columns;
        push_places(&mut text, (1..=shared).chain(first..first + columns));
        text.push(')');
    }
    text
}

fn push_places(text: &mut String, places: impl Iterator<Item = usize>) {
    for (at, place) in places.enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{comma}${place}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_cut_into_known_sizes() {
        let all: Vec<i64> = (0..150).collect();
        let sizes: Vec<usize> = chunks(&all).map(<[i64]>::len).collect();
        assert_eq!(sizes, [64, 64, 16, 4, 1, 1]);
        assert_eq!(chunks(&all).flatten().copied().collect::<Vec<_>>(), all);
    }

    #[test]
    fn placeholders_are_numbered_through() {
        assert_eq!(places(3, 2), "$3, $4");
        assert_eq!(places(1, 0), "");
        assert_eq!(rows_of_places(2, 2), "($1, $2), ($3, $4)");
        assert_eq!(rows_that_share(2, 2, 1), "($1, $2, $3), ($1, $2, $4)");
    }
}
