//! Every type a table may declare, with a value and with NULL, through SeaORM's entities over the executor.

use std::sync::Arc;

use futures_util::FutureExt as _;
use rusqlite::Connection;
use sea_orm::entity::prelude::*;
use sea_orm::{Schema, Set};

use super::executor::Executor;
use crate::storage::counters::Counters;

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "every_type")]
    pub(super) struct Model {
        #[sea_orm(primary_key)]
        pub(super) id: i64,
        pub(super) number: i64,
        pub(super) maybe_number: Option<i64>,
        pub(super) flag: bool,
        pub(super) maybe_flag: Option<bool>,
        pub(super) real: f64,
        pub(super) maybe_real: Option<f64>,
        pub(super) text: String,
        pub(super) maybe_text: Option<String>,
        pub(super) bytes: Vec<u8>,
        pub(super) maybe_bytes: Option<Vec<u8>>,
        pub(super) uuid: Uuid,
        pub(super) maybe_uuid: Option<Uuid>,
        pub(super) json: Json,
        pub(super) maybe_json: Option<Json>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(super) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

fn database() -> DatabaseConnection {
    let executor = Executor::new(Connection::open_in_memory().unwrap(), Arc::new(Counters::default()));
    let database = executor.database().unwrap();
    let table = Schema::new(database.get_database_backend()).create_table_from_entity(entity::Entity);
    database.execute(&table).now_or_never().unwrap().unwrap();
    database
}

fn row(id: i64, full: bool) -> entity::Model {
    let uuid = Uuid::from_u128(0x0102_0304_0506_0708_090A_0B0C_0D0E_0F10);
    let json = serde_json::json!({"b": [1, 2.5, null], "a": "ü"});
    entity::Model {
        id,
        number: i64::MIN,
        maybe_number: full.then_some(7),
        flag: true,
        maybe_flag: full.then_some(false),
        // Stored as an integer by SQLite, and a real again when read.
        real: 3.0,
        maybe_real: full.then_some(-0.125),
        text: "é\u{0}\u{1F600}".into(),
        maybe_text: full.then(String::new),
        bytes: vec![0, 255, 0],
        maybe_bytes: full.then(Vec::new),
        uuid,
        maybe_uuid: full.then_some(uuid),
        json: json.clone(),
        maybe_json: full.then_some(json),
    }
}

#[test]
fn every_type_comes_back_as_it_went_with_a_value_and_with_null() {
    let database = database();
    for (id, full) in [(1, true), (2, false)] {
        let row = row(id, full);
        let insert = entity::Entity::insert(entity::ActiveModel::from(row.clone()).reset_all());
        insert.exec_without_returning(&database).now_or_never().unwrap().unwrap();
        let found = entity::Entity::find_by_id(id).one(&database).now_or_never().unwrap().unwrap();
        assert_eq!(found, Some(row));
    }
}

#[test]
fn a_value_of_another_type_than_declared_is_an_error_and_not_null() {
    let database = database();
    let mut active = entity::ActiveModel::from(row(1, true)).reset_all();
    active.maybe_number = Set(Some(7));
    entity::Entity::insert(active).exec_without_returning(&database).now_or_never().unwrap().unwrap();
    let spoil = "UPDATE every_type SET maybe_number = 'seven'";
    database.execute_unprepared(spoil).now_or_never().unwrap().unwrap();
    let found = entity::Entity::find_by_id(1).one(&database).now_or_never().unwrap();
    assert!(found.is_err(), "{found:?}");
}
