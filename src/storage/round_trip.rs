//! Every type a table may declare, with a value and with NULL, through SeaORM's entities and as rows of statements that are written
//! out: what each engine is tried with.

use sea_orm::entity::prelude::*;
use sea_orm::{DatabaseConnection, Schema};

use super::db::{Db, Statements};
use super::row;

pub(super) mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "every_type")]
    pub(in crate::storage) struct Model {
        #[sea_orm(primary_key)]
        pub(in crate::storage) id: i64,
        pub(in crate::storage) number: i64,
        pub(in crate::storage) maybe_number: Option<i64>,
        pub(in crate::storage) flag: bool,
        pub(in crate::storage) maybe_flag: Option<bool>,
        pub(in crate::storage) real: f64,
        pub(in crate::storage) maybe_real: Option<f64>,
        pub(in crate::storage) text: String,
        pub(in crate::storage) maybe_text: Option<String>,
        pub(in crate::storage) bytes: Vec<u8>,
        pub(in crate::storage) maybe_bytes: Option<Vec<u8>>,
        pub(in crate::storage) uuid: Uuid,
        pub(in crate::storage) maybe_uuid: Option<Uuid>,
        pub(in crate::storage) json: Json,
        pub(in crate::storage) maybe_json: Option<Json>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(in crate::storage) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(super) fn row(id: i64, full: bool) -> entity::Model {
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
        text: "é\u{1}\u{1F600}".into(),
        maybe_text: full.then(String::new),
        bytes: vec![0, 255, 0],
        maybe_bytes: full.then(Vec::new),
        uuid,
        maybe_uuid: full.then_some(uuid),
        json: json.clone(),
        maybe_json: full.then_some(json),
    }
}

row! {
    /// What a statement that is written out reads of it.
    #[derive(Debug, PartialEq)]
    pub(super) struct Written {
        number: i64,
        maybe_number: Option<i64>,
        flag: bool,
        maybe_flag: Option<bool>,
        real: f64,
        maybe_real: Option<f64>,
        text: String,
        maybe_text: Option<String>,
        bytes: Vec<u8>,
        maybe_bytes: Option<Vec<u8>>,
        uuid: Uuid,
        maybe_uuid: Option<Uuid>,
    }
}

impl From<entity::Model> for Written {
    fn from(model: entity::Model) -> Self {
        Self {
            number: model.number,
            maybe_number: model.maybe_number,
            flag: model.flag,
            maybe_flag: model.maybe_flag,
            real: model.real,
            maybe_real: model.maybe_real,
            text: model.text,
            maybe_text: model.maybe_text,
            bytes: model.bytes,
            maybe_bytes: model.maybe_bytes,
            uuid: model.uuid,
            maybe_uuid: model.maybe_uuid,
        }
    }
}

/// Reads one of the two rows by a statement that is written out.
pub(super) async fn written(
    database: &DatabaseConnection,
    statements: &dyn Statements,
    id: i64,
) -> crate::error::Result<Option<Written>> {
    const WRITTEN: &str = r#"SELECT "number", "maybe_number", "flag", "maybe_flag", "real", "maybe_real", "text", "maybe_text",
        "bytes", "maybe_bytes", "uuid", "maybe_uuid" FROM "every_type" WHERE "id" = $1"#;
    Db::new(database, statements).row(WRITTEN, vec![id.into()]).await
}

/// Makes the table, stores rows in it and reads them back.
pub(super) async fn check(database: &DatabaseConnection, statements: &dyn Statements) {
    let mut table = Schema::new(database.get_database_backend()).create_table_from_entity(entity::Entity);
    database.execute(table.temporary()).await.unwrap();
    for (id, full) in [(1, true), (2, false)] {
        let row = row(id, full);
        let insert = entity::Entity::insert(entity::ActiveModel::from(row.clone()).reset_all());
        insert.exec_without_returning(database).await.unwrap();
        let found = entity::Entity::find_by_id(id).one(database).await.unwrap();
        assert_eq!(found.as_ref(), Some(&row));
        assert_eq!(written(database, statements, id).await.unwrap(), Some(row.into()));
    }
}
