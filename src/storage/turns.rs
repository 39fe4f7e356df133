//! One order for rows that are not there yet.
//!
//! Rows that are there are locked in ascending order. A row that two transactions are about to insert cannot be locked: the second one
//! waits at the unique index, and two transactions that insert the same rows in other orders wait for each other until PostgreSQL ends
//! one of them, a second later. A transaction that is to insert such a row therefore takes the row's turn first. SQLite has one writer,
//! and needs none of this.

use super::Tx;
use crate::error::Result;

impl Tx<'_> {
    /// Takes the turn of one row that is not there, until the commit.
    pub(super) async fn take_turn_of_row(&self, row: &[u8]) -> Result<()> {
        let turn = i64::from_ne_bytes(spread(row).to_ne_bytes());
        let sql = "SELECT pg_advisory_xact_lock(hashtextextended(current_schema()::text, $1::bigint))";
        self.run(sql, vec![turn.into()]).await?;
        Ok(())
    }
}

/// The 64-bit FNV-1a of some bytes: the same in every sidecar and after every start. Of `foobar` it is 0x85944171f73967e8.
pub fn spread(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::spread;

    #[test]
    fn bytes_are_spread_as_the_authors_of_fnv_say() {
        assert_eq!(spread(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(spread(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
