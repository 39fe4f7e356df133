//! What a search is: the words of a text, what a query means, and the pieces that show what was found. No I/O.

pub mod grammar;
pub mod snippets;
pub mod substring;
pub mod tokens;
