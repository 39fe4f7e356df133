//! The uploads' tables that are read and written by SeaORM; what each column holds is said in the migration. The others are read
//! and written by statements that are written out (store).

#![allow(missing_docs, reason = "tables; their columns are described in the migration")]

/// `upload_sessions`.
pub mod sessions {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "upload_sessions")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub row_id: i64,
        pub id: String,
        pub source_id: i64,
        pub status: i64,
        pub total_count: Option<i64>,
        pub success_count: i64,
        pub error_count: i64,
        pub duplicate_count: i64,
        pub logged_error_count: i64,
        pub revision: i64,
        pub start_time: i64,
        pub create_time: i64,
        pub update_time: i64,
        pub end_time: Option<i64>,
        pub last_processed_file: Option<String>,
        pub name: String,
        pub error: Option<String>,
        pub metadata_json: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// `upload_errors`.
pub mod errors {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "upload_errors")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub session_row_id: i64,
        pub path_hash: Vec<u8>,
        pub path: String,
        #[sea_orm(column_name = "type")]
        pub error_type: String,
        pub message: String,
        pub retry_count: i64,
        pub create_time: i64,
        pub update_time: i64,
        pub resolve_time: Option<i64>,
        pub is_counted: bool,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// `upload_remains`.
pub mod remains {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "upload_remains")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub session_row_id: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
