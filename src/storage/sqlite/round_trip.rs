//! Every type through this engine's executor.

use std::sync::Arc;

use futures_util::FutureExt as _;
use rusqlite::Connection;
use sea_orm::{ConnectionTrait as _, DatabaseConnection, EntityTrait as _};

use super::executor::Executor;
use crate::storage::counters::Counters;
use crate::storage::round_trip::{check, entity, written};

fn database() -> (DatabaseConnection, Arc<Executor>) {
    let executor = Executor::new(Connection::open_in_memory().unwrap(), Arc::new(Counters::default()));
    (executor.database().unwrap(), executor)
}

#[test]
fn every_type_comes_back_as_it_went_with_a_value_and_with_null() {
    let (database, executor) = database();
    check(&database, &*executor).now_or_never().unwrap();
}

#[test]
fn a_value_of_another_type_than_declared_is_an_error_and_not_null() {
    let (database, executor) = database();
    check(&database, &*executor).now_or_never().unwrap();
    let spoil = "UPDATE every_type SET maybe_number = 'seven'";
    database.execute_unprepared(spoil).now_or_never().unwrap().unwrap();
    let found = entity::Entity::find_by_id(1).one(&database).now_or_never().unwrap();
    assert!(found.is_err(), "{found:?}");
    let found = written(&database, &*executor, 1).now_or_never().unwrap();
    assert!(found.unwrap_err().to_string().contains("a text in the column maybe_number"));
}
