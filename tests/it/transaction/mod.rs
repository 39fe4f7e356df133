//! Commits: several services changed by one call, all or nothing.

mod bad_input;
mod calls;
mod concurrency;
mod failing;
mod prompts;
mod random_commits;
mod records;
mod request_id;
mod shared;
mod uploads;
mod wake_ups;
mod whole;
