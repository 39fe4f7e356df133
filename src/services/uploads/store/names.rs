//! The numbers of names: in memory first, then in the table.

use std::sync::Arc;

use sea_orm::{
    ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _, Set,
};

use crate::error::{Error, Result};
use crate::services::uploads::domain::NameKind;
use crate::services::uploads::entity::names;
use crate::services::uploads::registry::Registry;
use crate::storage::{Db, Tx};

/// Names and their numbers, cheap to clone.
#[derive(Clone, Debug)]
pub struct Names {
    /// What is known in memory.
    pub registry: Registry,
    /// Sources, at most.
    pub sources_max: i64,
    /// MIME types, at most.
    pub mime_types_max: i64,
    /// Whether names that are read may be remembered: a read sees committed ones only, a write may see others.
    pub is_reading: bool,
}

impl Names {
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

    /// The number of a name, which it is given if it has none. Error: TooManyUploadNames.
    pub async fn ensure(&self, tx: &Tx<'_>, kind: NameKind, name: &str) -> Result<i64> {
        if let Some(known) = self.registry.number(kind, name) {
            return Ok(known);
        }
        let number = match find(tx, kind, name).await? {
            Some(row) => row.id,
            None => self.insert(tx, kind, name).await?,
        };
        // Not before the commit: it may have been given in the same one.
        let (registry, name) = (self.registry.clone(), name.to_owned());
        tx.after_commit(move || registry.set(kind, &name, number));
        Ok(number)
    }

    async fn insert(&self, tx: &Tx<'_>, kind: NameKind, name: &str) -> Result<i64> {
        let bound = match kind {
            // A closed list, by the settings.
            NameKind::Service => None,
            NameKind::Source => Some(("sources", self.sources_max, "uploads.sources_max")),
            NameKind::MimeType => Some(("MIME types", self.mime_types_max, "uploads.mime_types_max")),
        };
        if let Some((what, names_max, setting)) = bound {
            let count = names::Entity::find().filter(names::Column::Kind.eq(kind_number(kind)));
            if i64::try_from(count.count(&**tx).await?).unwrap_or(i64::MAX) >= names_max {
                return Err(Error::TooManyUploadNames { what, names_max, setting });
            }
        }
        let row = names::ActiveModel {
            kind: Set(kind_number(kind)),
            name: Set(name.to_owned()),
            ..Default::default()
        };
        tx.insert(row).await
    }

    /// The name of a number that a row has.
    pub async fn name(&self, db: &Db<'_>, kind: NameKind, number: i64) -> Result<Arc<str>> {
        if let Some(known) = self.registry.name(number) {
            return Ok(known);
        }
        let row = names::Entity::find_by_id(number).one(db).await?;
        let row = row.ok_or_else(|| Error::CorruptRow {
            table: "upload_names",
            column: "id",
            row: number,
            cause: "others name this row, and it is not there".into(),
        })?;
        if self.is_reading {
            self.registry.set(kind, &row.name, number);
        }
        Ok(row.name.into())
    }

    /// The same of a column that may be empty.
    pub async fn optional_name(&self, db: &Db<'_>, kind: NameKind, number: Option<i64>) -> Result<String> {
        match number {
            Some(number) => Ok(self.name(db, kind, number).await?.to_string()),
            None => Ok(String::new()),
        }
    }
}

/// The names of all services that files were ever registered for, in their order.
pub async fn services(db: &Db<'_>) -> Result<Vec<String>> {
    let query = names::Entity::find().filter(names::Column::Kind.eq(kind_number(NameKind::Service)));
    let rows = query.order_by_asc(names::Column::Name).all(db).await?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}

async fn find(db: &Db<'_>, kind: NameKind, name: &str) -> Result<Option<names::Model>> {
    let query = names::Entity::find().filter(names::Column::Kind.eq(kind_number(kind)));
    Ok(query.filter(names::Column::Name.eq(name)).one(db).await?)
}

fn kind_number(kind: NameKind) -> i64 {
    match kind {
        NameKind::Service => 1,
        NameKind::Source => 2,
        NameKind::MimeType => 3,
    }
}
