//! The jobs' tables; what each column holds is said in the migration.

#![allow(missing_docs, reason = "tables; their columns are described in the migration")]

/// `jobs`.
pub mod jobs {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "jobs")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub row_id: i64,
        pub id: Uuid,
        #[sea_orm(column_name = "type")]
        pub job_type: String,
        pub status: i64,
        pub counted_by: i64,
        pub total_count: Option<i64>,
        pub successful_count: i64,
        pub failed_count: i64,
        pub auto_complete: bool,
        pub error_code: Option<String>,
        pub error_message: Option<String>,
        pub revision: i64,
        pub metadata_revision: i64,
        pub create_time: i64,
        pub start_time: Option<i64>,
        pub update_time: i64,
        pub end_time: Option<i64>,
        pub metadata_json: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// `job_results`.
pub mod results {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "job_results")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub job_row_id: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        pub number: i64,
        pub item_key: Option<String>,
        pub url: String,
        pub error_code: Option<String>,
        pub error_message: Option<String>,
        pub processing_us: Option<i64>,
        pub create_time: i64,
        pub data_json: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// `job_remains`.
pub mod remains {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "job_remains")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub job_row_id: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
