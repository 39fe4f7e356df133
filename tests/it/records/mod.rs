//! `pannier.records.v1.RecordsService`.

mod asking;
mod indexes;
mod query;
mod random_queries;
mod schema;
