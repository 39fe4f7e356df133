//! Every type through this engine's executor. Runs where `tests/postgres.sh run` has started a server.

use std::sync::Arc;

use sea_orm::{ConnectionTrait as _, Statement};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use super::executor::Executor;
use super::failure::FailureKind;
use super::outage::Outage;
use crate::storage::counters::Counters;
use crate::storage::round_trip::check;

async fn executor() -> Option<Arc<Executor>> {
    let Ok(url) = std::env::var("PANNIER_TEST_POSTGRES_URL") else {
        assert!(std::env::var("PANNIER_TEST_STORAGE").is_err(), "run it by tests/postgres.sh run");
        return None;
    };
    let connection = PgConnection::connect(&url).await.unwrap();
    let outage = Outage::none(PgConnection::connect(&url).await.unwrap());
    Some(Executor::new(connection, Arc::new(Counters::default()), Arc::new(outage)))
}

#[tokio::test]
async fn every_type_comes_back_as_it_went_with_a_value_and_with_null() {
    let Some(executor) = executor().await else { return };
    check(&executor.database().unwrap(), &*executor).await;
}

#[tokio::test]
async fn a_value_of_a_type_that_no_table_has_is_an_error_and_not_null() {
    let Some(executor) = executor().await else { return };
    let database = executor.database().unwrap();
    let sum = "SELECT sum(x) AS sum FROM (VALUES (1::bigint)) AS v (x) WHERE $1::bigint = 1";
    let statement = Statement::from_sql_and_values(database.get_database_backend(), sum, [1_i64.into()]);
    let found = database.query_one_raw(statement).await;
    assert!(found.unwrap_err().to_string().contains("NUMERIC"), "a sum of bigints must be cast");
}

#[tokio::test]
async fn a_transaction_in_which_a_statement_failed_is_over() {
    let Some(executor) = executor().await else { return };
    let database = executor.database().unwrap();
    executor.run("BEGIN").await.unwrap();
    assert!(database.execute_unprepared("SELECT 1 / 0").await.is_err());
    assert!(database.execute_unprepared("SELECT 1").await.is_err(), "and asks nothing any more");
    let failure = executor.take_failure().unwrap();
    assert_eq!((failure.kind, failure.message.contains("22012")), (FailureKind::Statement, true));
    executor.run("ROLLBACK").await.unwrap();
    database.execute_unprepared("SELECT 1").await.unwrap();
}
