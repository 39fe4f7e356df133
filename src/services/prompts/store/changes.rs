//! What follows when prompts come and go: the one place where everything that is derived from them is told, inside the transaction
//! that changes them.

use super::rows::{PromptRow, status_number};
use super::save::Saving;
use super::{index, tallies};
use crate::error::Result;
use crate::services::prompts::domain::{Measures, Status};
use crate::services::prompts::statistics::{Changes, Counted, Key};
use crate::storage::Tx;

/// Prompts were saved: their rows, and what they were saved from.
pub(super) async fn saved(tx: &Tx<'_>, prompts: &[(PromptRow, &Saving)]) -> Result<()> {
    let documents: Vec<_> = prompts.iter().map(|(row, saving)| (row.id, &saving.document)).collect();
    index::put(tx, &documents).await?;
    count(tx, prompts.iter().map(|(row, _)| row), 1).await
}

/// Prompts were deleted, with their bodies if they had them.
pub(super) async fn removed(tx: &Tx<'_>, rows: &[PromptRow]) -> Result<()> {
    let with_body: Vec<i64> = rows.iter().filter(|row| row.has_body).map(|row| row.id).collect();
    index::remove(tx, &with_body).await?;
    count(tx, rows.iter(), -1).await
}

/// The bodies of prompts were deleted, and the prompts stay.
pub(super) async fn bodies_removed(tx: &Tx<'_>, rows: &[PromptRow]) -> Result<()> {
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    index::remove(tx, &ids).await
}

async fn count(tx: &Tx<'_>, rows: impl Iterator<Item = &PromptRow>, sign: i64) -> Result<()> {
    let mut changes = Changes::default();
    for row in rows {
        changes.count(&counted(row), sign);
    }
    tallies::note(tx, &changes).await
}

/// A prompt as statistics count it.
fn counted(row: &PromptRow) -> Counted {
    Counted {
        key: Key {
            start_us: row.prompt_time,
            backend_id: row.backend_id,
            model_id: row.model_id.unwrap_or(0),
            framework_id: row.framework_id.unwrap_or(0),
        },
        is_failed: row.status == status_number(Status::Failed),
        measures: Measures {
            confidence: row.confidence,
            latency_us: row.latency_us,
            prompt_tokens: row.prompt_tokens,
            completion_tokens: row.completion_tokens,
            cost_micros: row.cost_micros,
        },
    }
}
