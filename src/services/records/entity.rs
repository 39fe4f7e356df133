//! The tables of records that are read and written by SeaORM; what each column holds is said in the migration. Records themselves,
//! their values and outcomes are read and written by statements that are written out (store).

#![allow(missing_docs, reason = "tables; their columns are described in the migration")]

/// `record_collections`.
pub mod collections {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "record_collections")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub name: String,
        pub incarnation: Uuid,
        pub revision: i64,
        pub schema_revision: i64,
        pub records_max: Option<i64>,
        pub bytes_max: Option<i64>,
        pub document_bytes_max: Option<i64>,
        pub tombstone_retention_us: Option<i64>,
        pub last_seq: i64,
        pub branch: Uuid,
        pub purged_seq: i64,
        pub record_count: i64,
        pub tombstone_count: i64,
        pub size_bytes: i64,
        pub watched_until_time: i64,
        pub create_time: i64,
        pub update_time: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// `record_schemas`.
pub mod schemas {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "record_schemas")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub collection_id: i64,
        pub schema_json: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// `record_clients`.
pub mod clients {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "record_clients")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub row_id: i64,
        pub id: Uuid,
        pub last_mutation_id: i64,
        pub acknowledged_id: i64,
        pub create_time: i64,
        pub seen_time: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// `record_mutations`.
pub mod mutations {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "record_mutations")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub client_row_id: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        pub mutation_id: i64,
        pub outcome: i64,
        pub revision: i64,
        pub fingerprint: i64,
        pub error: Option<Vec<u8>>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// `record_remains`.
pub mod remains {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "record_remains")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub collection_id: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
