//! The numbers of names: in memory first, then in the table.

use sea_orm::{ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _, Set};

use crate::error::{Error, Result};
use crate::services::prompts::domain::NameKind;
use crate::services::prompts::entity::names;
use crate::services::prompts::registry::Registry;
use crate::storage::{Db, Tx};

/// Names and their numbers, cheap to clone.
#[derive(Clone, Debug)]
pub struct NameNumbers {
    /// What is known in memory.
    pub registry: Registry,
    /// Names of each kind, at most.
    pub names_max: i64,
    /// Whether names that are read may be remembered: a read sees committed ones only, a write may see others.
    pub is_reading: bool,
}

impl NameNumbers {
    /// For a read, which remembers what it finds.
    pub fn reading(&self) -> Self {
        Self { is_reading: true, ..self.clone() }
    }

    /// The number of a name, if it has one.
    pub async fn number(&self, db: &Db<'_>, kind: NameKind, name: &str) -> Result<Option<i64>> {
        if let Some(known) = self.registry.number(kind, name) {
            return Ok(Some(known));
        }
        let found = find(db, kind, name).await?;
        if let Some(row) = found.as_ref().filter(|_| self.is_reading) {
            self.registry.set(kind, name, row.id);
        }
        Ok(found.map(|row| row.id))
    }

    /// The number of a name, which it is given if it has none; none of an empty one. Error: TooManyPromptNames.
    pub async fn ensure(&self, tx: &Tx<'_>, kind: NameKind, name: &str) -> Result<Option<i64>> {
        if name.is_empty() {
            return Ok(None);
        }
        if let Some(known) = self.registry.number(kind, name) {
            return Ok(Some(known));
        }
        let number = match find(tx, kind, name).await? {
            Some(row) => row.id,
            None => self.insert(tx, kind, name).await?,
        };
        // Not before the commit: it may have been given in the same one.
        let (registry, name) = (self.registry.clone(), name.to_owned());
        tx.after_commit(move || registry.set(kind, &name, number));
        Ok(Some(number))
    }

    async fn insert(&self, tx: &Tx<'_>, kind: NameKind, name: &str) -> Result<i64> {
        let count = names::Entity::find().filter(names::Column::Kind.eq(kind_number(kind)));
        if i64::try_from(count.count(&**tx).await?).unwrap_or(i64::MAX) >= self.names_max {
            return Err(Error::TooManyPromptNames { what: kind.plural(), names_max: self.names_max });
        }
        let row = names::ActiveModel {
            kind: Set(kind_number(kind)),
            name: Set(name.to_owned()),
            ..Default::default()
        };
        tx.insert(row).await
    }

    /// The name of a number that a row has; empty without a number.
    pub async fn name(&self, db: &Db<'_>, kind: NameKind, number: Option<i64>) -> Result<String> {
        let Some(number) = number else { return Ok(String::new()) };
        if let Some(known) = self.registry.name(number) {
            return Ok(known.to_string());
        }
        let row = names::Entity::find_by_id(number).one(db).await?;
        let row = row.ok_or_else(|| Error::CorruptRow {
            table: "prompt_names",
            column: "id",
            row: number,
            cause: "others name this row, and it is not there".into(),
        })?;
        if self.is_reading {
            self.registry.set(kind, &row.name, number);
        }
        Ok(row.name)
    }
}

async fn find(db: &Db<'_>, kind: NameKind, name: &str) -> Result<Option<names::Model>> {
    let query = names::Entity::find().filter(names::Column::Kind.eq(kind_number(kind)));
    Ok(query.filter(names::Column::Name.eq(name)).one(db).await?)
}

fn kind_number(kind: NameKind) -> i64 {
    match kind {
        NameKind::Backend => 1,
        NameKind::Model => 2,
        NameKind::Framework => 3,
        NameKind::Role => 4,
    }
}
