//! Cursors: where a reader of changes stands, as a text that only we understand.

use uuid::Uuid;

use crate::error::{RecordsError, Result};
use crate::page::Query;
use crate::services::records::domain::Position;
use crate::services::records::store::Start;

/// A cursor belongs to one collection, and has a checksum.
fn query(collection: &str) -> Query {
    Query::of("records.Changes", &[collection])
}

/// The cursor of a position in a collection.
pub(in super::super) fn cursor(collection: &str, position: &Position) -> String {
    let Position { incarnation, branch, seq, scan_head } = position;
    query(collection).token(&format!("{} {} {seq} {scan_head}", incarnation.simple(), branch.simple()))
}

/// Where a cursor stands; an empty one at the beginning. Error: CursorInvalid.
pub(in super::super) fn position(collection: &str, cursor: &str) -> Result<Start> {
    let invalid = || RecordsError::CursorInvalid;
    let Some(text) = query(collection).key_of(cursor).map_err(|_| invalid())? else {
        return Ok(Start::Beginning);
    };
    let mut parts = text.split(' ');
    let mut id = || parts.next().and_then(|part| Uuid::try_parse(part).ok()).ok_or_else(invalid);
    let (incarnation, branch) = (id()?, id()?);
    let mut number = || parts.next().and_then(|part| part.parse::<i64>().ok()).filter(|number| *number >= 0);
    let (seq, scan_head) = (number().ok_or_else(invalid)?, number().ok_or_else(invalid)?);
    Ok(Start::At(Position { incarnation, branch, seq, scan_head }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_back_to_its_position_in_its_own_collection_only() {
        let branch = Uuid::from_u128(8);
        let there = Position { incarnation: Uuid::from_u128(7), branch, seq: 12, scan_head: 3 };
        let text = cursor("a", &there);
        assert!(matches!(position("a", &text), Ok(Start::At(found)) if found == there));
        assert!(matches!(position("a", ""), Ok(Start::Beginning)));
        assert!(position("b", &text).is_err());
        let damaged = [text[1..].to_owned(), "x".into(), query("a").token("x"), query("a").token("0 0 1 -2")];
        for damaged in damaged {
            assert!(position("a", &damaged).is_err(), "{damaged}");
        }
    }
}
