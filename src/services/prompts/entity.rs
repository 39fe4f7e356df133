//! The tables of prompts that are read and written by SeaORM; what each column holds is said in the migration. The others are read
//! and written by statements that are written out (store).

#![allow(missing_docs, reason = "tables; their columns are described in the migration")]

/// `prompt_conversations`.
pub mod conversations {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "prompt_conversations")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub name: String,
        pub prompt_count: i64,
        pub first_time: i64,
        pub last_time: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
