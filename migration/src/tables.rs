//! Every table that the migrations make, for what handles whole databases: export, import, backup.
//!
//! A service adds its tables here with its migration; `tests/it/tables.rs` holds this list against the schema.

/// A table of rows that are Pannier's state. What a database derives from other tables by itself is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// The columns of its primary key, in the key's order; none of them may be NULL.
    pub key: &'static [&'static str],
    /// The column whose numbers the database gives, if there is one. A number is not given again, though its row be gone.
    pub identity: Option<&'static str>,
}

/// All of them, each behind those that its foreign keys refer to.
pub const TABLES: &[Table] = &[
    Table { name: "clock", key: &["id"], identity: None },
    Table { name: "clock_steps", key: &["steady_time"], identity: None },
    Table { name: "branches", key: &["sequence", "first_number"], identity: None },
    Table { name: "idempotency_keys", key: &["request_id"], identity: None },
    Table { name: "cache_namespaces", key: &["id"], identity: Some("id") },
    Table { name: "cache_entries", key: &["id"], identity: Some("id") },
    Table { name: "cache_tags", key: &["namespace_id", "tag", "key"], identity: None },
    Table { name: "cache_tag_deletions", key: &["namespace_id", "bucket"], identity: None },
    Table { name: "jobs", key: &["row_id"], identity: Some("row_id") },
    Table { name: "job_results", key: &["job_row_id", "number"], identity: None },
    Table { name: "job_remains", key: &["job_row_id"], identity: None },
    Table { name: "settings", key: &["key"], identity: None },
    Table { name: "settings_state", key: &["id"], identity: None },
    Table { name: "queue_queues", key: &["id"], identity: Some("id") },
    Table { name: "queue_types", key: &["id"], identity: Some("id") },
    Table { name: "queue_keys", key: &["id"], identity: Some("id") },
    Table { name: "queue_workers", key: &["id"], identity: Some("id") },
    Table { name: "queue_worker_counts", key: &["worker_id"], identity: None },
    Table { name: "queue_tasks", key: &["id"], identity: Some("id") },
    Table { name: "queue_task_logs", key: &["id"], identity: Some("id") },
    Table { name: "queue_uniques", key: &["id"], identity: Some("id") },
    Table { name: "queue_schedules", key: &["id"], identity: Some("id") },
    Table { name: "queue_counts", key: &["type_id"], identity: None },
    Table { name: "queue_minutes", key: &["type_id", "minute"], identity: None },
    Table { name: "queue_deltas", key: &["id"], identity: Some("id") },
    Table { name: "upload_names", key: &["id"], identity: Some("id") },
    Table { name: "upload_sessions", key: &["row_id"], identity: Some("row_id") },
    Table { name: "upload_files", key: &["id"], identity: Some("id") },
    Table { name: "upload_reservations", key: &["service_id", "hash"], identity: None },
    Table { name: "upload_errors", key: &["id"], identity: Some("id") },
    Table { name: "upload_remains", key: &["session_row_id"], identity: None },
    Table { name: "prompt_names", key: &["id"], identity: Some("id") },
    Table { name: "prompt_conversations", key: &["id"], identity: Some("id") },
    Table { name: "prompts", key: &["id"], identity: Some("id") },
    Table { name: "prompt_bodies", key: &["prompt_id"], identity: None },
    Table { name: "prompt_tags", key: &["prompt_id", "tag"], identity: None },
    Table { name: "prompt_scores", key: &["prompt_id", "name"], identity: None },
    Table {
        name: "prompt_stats",
        key: &["span", "start_time", "backend_id", "model_id", "framework_id"],
        identity: None,
    },
    Table { name: "prompt_stat_changes", key: &["id"], identity: Some("id") },
    Table { name: "record_collections", key: &["id"], identity: Some("id") },
    Table { name: "record_schemas", key: &["collection_id"], identity: None },
    Table { name: "record_indexes", key: &["id"], identity: Some("id") },
    Table { name: "records", key: &["id"], identity: Some("id") },
    Table { name: "record_values", key: &["index_id", "value", "record_id"], identity: None },
    Table { name: "record_clients", key: &["row_id"], identity: Some("row_id") },
    Table { name: "record_mutations", key: &["client_row_id", "mutation_id"], identity: None },
    Table { name: "record_heights", key: &["name"], identity: None },
    Table { name: "record_remains", key: &["collection_id"], identity: None },
];

/// Tables that are made of others: no export has their rows, an import empties them, and the sidecar fills them again by itself.
/// The database may have further tables for each, whose names begin with its name.
pub const DERIVED: &[&str] = &["prompt_search", "prompt_search_state"];

/// Tables that every start writes: a database that has rows in these alone is empty, and an import replaces them.
pub const WRITTEN_AT_START: &[&str] = &["clock", "clock_steps"];
