//! Searching: what matches is ranked, and then looked at from the best on, as far as a page goes.
//!
//! Of many matches only those that were saved last are ranked, so a common word costs no more than a rare one. What the filter asks is
//! looked at row by row, as in lists.

use std::collections::HashMap;

use super::find::{Bodies, Found, complete, rows_query};
use super::index::{INDEX, NEWEST, is_filling};
use super::list::{Walk, Wanted, with_bodies, with_tags};
use super::rows::PromptRow;
use super::sql;
use crate::answer::Budget;
use crate::error::Result;
use crate::services::prompts::domain::Prompt;
use crate::services::prompts::filter::Filter;
use crate::storage::text_index::{self, Match};
use crate::storage::{Db, row};

/// Matches that are looked at together.
const PIECE_ROWS: usize = 64;

/// Where a page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The last prompt that was saved when the first page was made: later ones are on none.
    pub until_id: i64,
    /// Ranked matches before this page.
    pub position: usize,
    /// Prompts that are still to be left out.
    pub skip: usize,
}

/// How much of a search.
#[derive(Clone, Copy, Debug)]
pub struct SearchPage {
    /// Where it begins; none: it is the first.
    pub from: Option<Place>,
    /// Prompts that the first page leaves out.
    pub skip: usize,
    /// Prompts at most.
    pub rows_max: usize,
    /// Bytes of them at most, about, their bodies among them; but one prompt at least.
    pub budget: Budget,
    /// Matches that are looked at.
    pub scan_rows_max: usize,
    /// Matches that are ranked.
    pub ranked_max: usize,
}

/// A prompt that was found, with its body.
#[derive(Clone, Debug)]
pub struct Hit {
    /// The prompt.
    pub prompt: Prompt,
    /// How well it fits.
    pub rank: f64,
    /// Where it stands among all that are ranked.
    pub place: Place,
}

/// A page of a search.
#[derive(Clone, Debug, Default)]
pub struct Hits {
    /// The best first.
    pub hits: Vec<Hit>,
    /// Where the next page begins.
    pub next: Option<Place>,
    /// Whether more match than are ranked.
    pub is_truncated: bool,
    /// Whether prompts are still being put into the index.
    pub is_indexing: bool,
    /// Whether the index holds only a part of some prompt.
    pub is_partial: bool,
}

row! {
    struct Id {
        id: i64,
    }
}

/// A page of the prompts that have what is wanted and that a filter takes.
pub async fn search(
    db: &Db<'_>,
    wanted: &text_index::Wanted,
    filter: &Filter,
    page: &SearchPage,
) -> Result<Hits> {
    let mut answer = Hits {
        is_indexing: is_filling(db).await?,
        is_partial: INDEX.has_truncated(db).await?,
        ..Hits::default()
    };
    let Some(numbers) = Wanted::of(db, filter).await? else { return Ok(answer) };
    let Place { until_id, mut position, mut skip } = match page.from {
        Some(place) => place,
        None => {
            let newest = db.row::<Id>(NEWEST, Vec::new()).await?;
            Place { until_id: newest.map_or(0, |row| row.id), position: 0, skip: page.skip }
        }
    };
    let ranked;
    (ranked, answer.is_truncated) = ranked_matches(db, wanted, until_id, page.ranked_max).await?;
    let end = ranked.len().min(position.saturating_add(page.scan_rows_max).saturating_add(skip));
    let mut found = Found::new(page.rows_max, page.budget);
    let mut places = Vec::new();
    'page: while position < end {
        let piece = &ranked[position..end.min(position + PIECE_ROWS)];
        let rows = rows_of(db, piece).await?;
        let rows = rows.into_iter().filter(|row| row.has_body && numbers.takes(filter, row)).collect();
        let rows = with_tags(db, filter, &Walk::All, rows).await?;
        let rows = with_bodies(db, filter, &rows).await?;
        let skipped = skip.min(rows.len());
        skip -= skipped;
        let mut rest = &rows[skipped..];
        while let Some((fitting, behind)) = found.fitting(rest, Bodies::Read) {
            for prompt in complete(db, fitting, Bodies::Read).await? {
                let at = piece.iter().position(|of| of.id == prompt.id).unwrap_or(0);
                if !found.take(prompt)? {
                    position += at;
                    break 'page;
                }
                places.push((piece[at].rank, position + at));
            }
            rest = behind;
        }
        position += piece.len();
    }
    let place = |position| Place { until_id, position, skip: 0 };
    answer.next = (position < ranked.len()).then(|| Place { skip, ..place(position) });
    let hits = found.prompts.into_iter().zip(places);
    answer.hits = hits.map(|(prompt, (rank, at))| Hit { prompt, rank, place: place(at) }).collect();
    Ok(answer)
}

/// The matches that are ranked, the best first, of equal ones the newest; and whether there are more.
async fn ranked_matches(
    db: &Db<'_>,
    wanted: &text_index::Wanted,
    until_id: i64,
    ranked_max: usize,
) -> Result<(Vec<Match>, bool)> {
    let one_more = i64::try_from(ranked_max).unwrap_or(i64::MAX).saturating_add(1);
    let mut matches = INDEX.matches(db, wanted, until_id, one_more).await?;
    let is_truncated = matches.len() > ranked_max;
    matches.truncate(ranked_max);
    matches.sort_by(|one, other| other.rank.total_cmp(&one.rank).then(other.id.cmp(&one.id)));
    Ok((matches, is_truncated))
}

/// The rows of some matches that are there, in their order.
async fn rows_of(db: &Db<'_>, piece: &[Match]) -> Result<Vec<PromptRow>> {
    let ids: Vec<i64> = piece.iter().map(|of| of.id).collect();
    let rows: Vec<PromptRow> = sql::all_of_ids(db, rows_query, &ids).await?;
    let mut by_id: HashMap<i64, PromptRow> = rows.into_iter().map(|row| (row.id, row)).collect();
    Ok(ids.iter().filter_map(|id| by_id.remove(id)).collect())
}
