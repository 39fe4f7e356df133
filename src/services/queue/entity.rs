//! The queue's tables; what each column holds is said in the migration. Tasks are read and written by statements that are written
//! out (store/rows.rs).

#![allow(missing_docs, reason = "tables; their columns are described in the migration")]

/// `queue_queues`.
pub mod queues {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "queue_queues")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub name: String,
        pub is_paused: bool,
        pub is_lifo: bool,
        pub ageing_us: i64,
        pub is_relaxed: bool,
        pub retries_max: i64,
        pub backoff_us: i64,
        pub backoff_us_max: i64,
        pub timeout_us: i64,
        pub retention_us: i64,
        pub failed_retention_us: i64,
        pub held_max: i64,
        pub claims_max: i64,
        pub claims_period_us: i64,
        pub create_time: i64,
        pub update_time: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// `queue_types`.
pub mod types {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "queue_types")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub queue_id: i64,
        pub name: String,
        pub paused: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// `queue_keys`.
pub mod keys {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "queue_keys")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub queue_id: i64,
        pub name: String,
        pub has_own: bool,
        pub held_max: i64,
        pub claims_max: i64,
        pub claims_period_us: i64,
        pub held_count: i64,
        pub blocked_count: i64,
        pub claims_time: i64,
        pub unblock_time: Option<i64>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// `queue_workers`.
pub mod workers {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "queue_workers")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub name: String,
        pub metadata_json: String,
        pub create_time: i64,
        pub beat_time: i64,
        pub end_time: Option<i64>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// `queue_task_logs`.
pub mod task_logs {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "queue_task_logs")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub task_id: i64,
        pub kind: i64,
        pub count: i64,
        pub first_time: i64,
        pub time: i64,
        pub first_token: i64,
        pub token: i64,
        pub worker_id: Option<i64>,
        pub first_claim_time: Option<i64>,
        pub claim_time: Option<i64>,
        pub first_start_time: Option<i64>,
        pub start_time: Option<i64>,
        pub run_time: Option<i64>,
        pub error: Option<String>,
        pub details: Option<String>,
        pub progress: Option<i64>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// `queue_schedules`.
pub mod schedules {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "queue_schedules")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub name: String,
        pub type_id: i64,
        pub cron: String,
        pub time_zone: String,
        pub missed_runs: i64,
        pub is_paused: bool,
        pub priority: i64,
        pub parameters: Option<String>,
        pub retries_max: Option<i64>,
        pub timeout_us: Option<i64>,
        pub limit_key: Option<String>,
        pub unique_key: Option<String>,
        pub unique_states: i64,
        pub unique_period_us: Option<i64>,
        pub next_run_time: Option<i64>,
        pub last_run_time: Option<i64>,
        pub last_task_id: Option<i64>,
        pub create_time: i64,
        pub update_time: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
