//! `[prompts]`: limits and retention of the history of prompts.

use serde::{Deserialize, Serialize};

use super::within;

/// Limits and retention of the history of prompts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PromptsSettings {
    /// Bytes of the longest text of a prompt.
    pub text_bytes_max: u64,
    /// Bytes of all texts of a prompt together, its metadata and its error among them.
    pub body_bytes_max: u64,
    /// Bytes of the largest metadata of a prompt.
    pub metadata_bytes_max: u64,
    /// Guardrails of one prompt.
    pub guardrails_max: u64,
    /// Tags of one prompt.
    pub tags_max: u64,
    /// Scores of one prompt.
    pub scores_max: u64,
    /// Backends that are counted by themselves, and as many models, frameworks and providers. Further ones are counted as "(other)".
    pub names_max: u64,
    /// Prompts of one call that saves, reads or deletes.
    pub batch_prompts_max: u64,
    /// Prompts that one page looks at.
    pub scan_rows_max: u64,
    /// Prompts that List and Search leave out at most from the beginning; they are read all the same.
    pub offset_max: u64,
    /// Bytes of a query of Search.
    pub search_query_bytes_max: u64,
    /// Words of a query of Search; a run of a script without spaces is one.
    pub search_words_max: u64,
    /// Matches that one Search ranks, those saved last.
    pub search_ranked_max: u64,
    /// Rows that one Stats reads of the days, of the hours, and of the prompts of each hour that its range cuts.
    pub stats_rows_max: u64,
    /// Groups of one Stats.
    pub stats_groups_max: u64,
    /// How often the numbers of what was saved and deleted are added up for Stats, which is exact meanwhile too.
    pub stats_interval_ms: u64,
    /// Imports at once; further ones are refused with OVERLOADED.
    pub imports_max: u64,
    /// Exports at once; further ones are refused with OVERLOADED.
    pub exports_max: u64,
    /// Prompts that were made longer ago are deleted; zero: none for their age.
    pub retention_age_ms: u64,
    /// So many prompts are kept, the newest; zero: all.
    pub retention_count_max: u64,
    /// Bodies of prompts that were made longer ago are deleted; zero: none.
    pub retention_bodies_age_ms: u64,
    /// Prompts that one step of retention deletes.
    pub retention_batch_rows: u64,
    /// How long one step of maintenance (retention, Prune, statistics, the full-text index) holds the writer, about: one of a few rows is the
    /// least. Behind each step it rests for as long as the step took.
    pub maintenance_step_ms: u64,
    /// How often retention looks, the first time at the start.
    pub retention_interval_ms: u64,
}

impl Default for PromptsSettings {
    fn default() -> Self {
        Self {
            text_bytes_max: 256 * 1024,
            body_bytes_max: 768 * 1024,
            metadata_bytes_max: 64 * 1024,
            guardrails_max: 100,
            tags_max: 50,
            scores_max: 50,
            names_max: 10_000,
            batch_prompts_max: 1_000,
            scan_rows_max: 10_000,
            offset_max: 10_000,
            search_query_bytes_max: 4_096,
            search_words_max: 64,
            search_ranked_max: 10_000,
            stats_rows_max: 100_000,
            stats_groups_max: 10_000,
            stats_interval_ms: 1_000,
            imports_max: 4,
            exports_max: 4,
            // What is gone cannot be brought back: nothing goes unless that was said.
            retention_age_ms: 0,
            retention_count_max: 0,
            retention_bodies_age_ms: 0,
            retention_batch_rows: 256,
            maintenance_step_ms: 1,
            retention_interval_ms: 60_000,
        }
    }
}

impl PromptsSettings {
    /// Half of `message_bytes_max` is what the rows of a page may take, and one row must fit.
    pub(super) fn check(&self, found: &mut Vec<(&'static str, String)>, message_bytes_max: u64) {
        within(found, "prompts.body_bytes_max", self.body_bytes_max, 1..=message_bytes_max / 2);
        within(found, "prompts.text_bytes_max", self.text_bytes_max, 1..=self.body_bytes_max.max(1));
        within(found, "prompts.metadata_bytes_max", self.metadata_bytes_max, 2..=self.body_bytes_max.max(2));
        within(found, "prompts.guardrails_max", self.guardrails_max, 0..=10_000);
        within(found, "prompts.tags_max", self.tags_max, 0..=1_000);
        within(found, "prompts.scores_max", self.scores_max, 0..=1_000);
        within(found, "prompts.names_max", self.names_max, 1..=100_000);
        within(found, "prompts.batch_prompts_max", self.batch_prompts_max, 1..=10_000);
        within(found, "prompts.scan_rows_max", self.scan_rows_max, 100..=1_000_000);
        within(found, "prompts.offset_max", self.offset_max, 0..=1_000_000);
        within(found, "prompts.search_query_bytes_max", self.search_query_bytes_max, 1..=65_536);
        // An expression of FTS5 may be 256 deep.
        within(found, "prompts.search_words_max", self.search_words_max, 1..=200);
        within(found, "prompts.search_ranked_max", self.search_ranked_max, 1..=1_000_000);
        within(found, "prompts.stats_rows_max", self.stats_rows_max, 1_000..=10_000_000);
        within(found, "prompts.stats_groups_max", self.stats_groups_max, 1..=100_000);
        within(found, "prompts.stats_interval_ms", self.stats_interval_ms, 10..=3_600_000);
        within(found, "prompts.imports_max", self.imports_max, 0..=1_024);
        within(found, "prompts.exports_max", self.exports_max, 0..=1_024);
        within(found, "prompts.retention_age_ms", self.retention_age_ms, 0..=super::TTL_MS_MAX);
        within(found, "prompts.retention_count_max", self.retention_count_max, 0..=1 << 40);
        within(found, "prompts.retention_bodies_age_ms", self.retention_bodies_age_ms, 0..=super::TTL_MS_MAX);
        within(found, "prompts.retention_batch_rows", self.retention_batch_rows, 1..=10_000);
        within(found, "prompts.maintenance_step_ms", self.maintenance_step_ms, 0..=10_000);
        within(found, "prompts.retention_interval_ms", self.retention_interval_ms, 10..=86_400_000);
    }
}
