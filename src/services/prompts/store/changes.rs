//! What follows when prompts come and go: the one place where everything that is derived from them is told, inside the transaction
//! that changes them.

use super::rows::PromptRow;
use crate::error::Result;
use crate::services::prompts::domain::NewPrompt;
use crate::storage::Tx;

/// Prompts were saved: their rows, and what they were saved from.
pub(super) async fn saved(_tx: &Tx<'_>, _prompts: &[(PromptRow, &NewPrompt)]) -> Result<()> {
    Ok(())
}

/// Prompts were deleted, with their bodies if they had them.
pub(super) async fn removed(_tx: &Tx<'_>, _rows: &[PromptRow]) -> Result<()> {
    Ok(())
}

/// The bodies of prompts were deleted, and the prompts stay.
pub(super) async fn bodies_removed(_tx: &Tx<'_>, _rows: &[PromptRow]) -> Result<()> {
    Ok(())
}
