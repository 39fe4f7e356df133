//! Making, declaring, reading and deleting collections. Everything that changes one, or what it holds, begins with [`lock`]: on a
//! database with several writers those of one collection take turns, so that its changes are numbered in the order of commits.

use sea_orm::sea_query::{Expr, LockType};
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, Set,
};
use uuid::Uuid;

use super::{heights, indexes, rows};
use crate::answer::Budget;
use crate::error::{RecordsError, Result};
use crate::page::after_prefix;
use crate::services::records::domain::{Collection, Declaration, Declared};
use crate::services::records::entity::{collections, remains, schemas};
use crate::storage::{Db, Rank, RowLock, Tx, branch};

/// Name, numbers, times and framing of a collection in an answer.
const COLLECTION_OVERHEAD_BYTES: usize = 500;

/// The lock of a collection's row.
pub fn lock_of(name: &str) -> RowLock {
    let select = r#"SELECT "id" FROM "record_collections" WHERE "name" = $1"#;
    RowLock::new(Rank::Collections, name, select, vec![name.into()])
}

/// The collection of that name. Error: CollectionNotFound.
pub async fn find(db: &Db<'_>, name: &str) -> Result<Collection> {
    let row = collections::Entity::find().filter(collections::Column::Name.eq(name)).one(db).await?;
    Ok(row.map(rows::collection).ok_or(RecordsError::CollectionNotFound)?)
}

/// The same, locked until the end of the transaction.
pub(super) async fn lock(tx: &Tx<'_>, name: &str) -> Result<Collection> {
    let query = collections::Entity::find().filter(collections::Column::Name.eq(name));
    let row = query.lock(LockType::NoKeyUpdate).one(&**tx).await?;
    Ok(row.map(rows::collection).ok_or(RecordsError::CollectionNotFound)?)
}

/// The same by its number, if it is still there.
pub(super) async fn lock_by_id(tx: &Tx<'_>, id: i64) -> Result<Option<Collection>> {
    let query = collections::Entity::find_by_id(id).lock(LockType::NoKeyUpdate);
    Ok(query.one(&**tx).await?.map(rows::collection))
}

/// A collection with all that is declared of it. Error: CollectionNotFound.
pub async fn declared(db: &Db<'_>, name: &str) -> Result<Declared> {
    let collection = find(db, name).await?;
    declaration_of(db, collection).await
}

async fn declaration_of(db: &Db<'_>, collection: Collection) -> Result<Declared> {
    let schema = match collection.schema_revision {
        0 => None,
        _ => schemas::Entity::find_by_id(collection.id).one(db).await?,
    };
    Ok(Declared {
        schema_json: schema.map(|schema| schema.schema_json).unwrap_or_default(),
        indexes: indexes::of_collection(db, collection.id).await?,
        collection,
    })
}

/// Collections by name, those after `after`; and whether there are more.
pub async fn list(
    db: &Db<'_>,
    prefix: &str,
    after: Option<&str>,
    rows_max: u64,
    mut budget: Budget,
) -> Result<(Vec<Declared>, bool)> {
    use collections::Column as C;
    let mut query = collections::Entity::find().filter(C::Name.gte(prefix)).order_by_asc(C::Name);
    if let Some(end) = after_prefix(prefix) {
        query = query.filter(C::Name.lt(end));
    }
    if let Some(after) = after {
        query = query.filter(C::Name.gt(after));
    }
    let mut found = Vec::new();
    for row in query.limit(rows_max + 1).all(db).await? {
        let declared = declaration_of(db, rows::collection(row)).await?;
        let paths: usize = declared.indexes.iter().map(|index| index.path.len()).sum();
        let bytes = declared.schema_json.len() + paths + COLLECTION_OVERHEAD_BYTES;
        let name = || declared.collection.name.clone();
        if found.len() as u64 == rows_max || !budget.take(bytes, name)? {
            return Ok((found, true));
        }
        found.push(declared);
    }
    Ok((found, false))
}

/// Makes a collection. Errors: CollectionExists, TooManyCollections.
pub async fn create(
    tx: &Tx<'_>,
    declaration: &Declaration,
    incarnation: Uuid,
    collections_max: i64,
    now_us: i64,
) -> Result<Declared> {
    let named = collections::Entity::find().filter(collections::Column::Name.eq(declaration.name.as_str()));
    if named.count(&**tx).await? > 0 {
        return Err(RecordsError::CollectionExists.into());
    }
    let count = i64::try_from(collections::Entity::find().count(&**tx).await?).unwrap_or(i64::MAX);
    if count >= collections_max {
        return Err(RecordsError::TooManyCollections { collections_max }.into());
    }
    let mut collection = Collection {
        id: 0,
        name: declaration.name.clone(),
        incarnation,
        revision: 1,
        schema_revision: 0,
        limits: declaration.limits.unwrap_or_default(),
        last_seq: heights::start(tx, &declaration.name).await?,
        branch: Uuid::nil(),
        purged_seq: 0,
        record_count: 0,
        tombstone_count: 0,
        size_bytes: 0,
        watched_until_us: 0,
        create_us: now_us,
        update_us: now_us,
    };
    let schema = declaration.schema_json.as_deref().unwrap_or_default();
    collection.schema_revision = i64::from(!schema.is_empty());
    collection.id = tx.insert(rows::row_of(&collection)).await?;
    if collection.last_seq > 0 {
        // Cursors know of the number at which it begins.
        collection.branch = branch::enter(tx, collection.id, collection.last_seq, collection.branch).await?;
        save(tx, &collection).await?;
    }
    write_schema(tx, collection.id, schema).await?;
    let paths = declaration.index_paths.as_deref().unwrap_or_default();
    indexes::declare(tx, &collection, paths).await?;
    declaration_of(tx, collection).await
}

/// Changes what is declared of a collection. Errors: CollectionNotFound, CollectionChanged.
pub async fn update(
    tx: &Tx<'_>,
    declaration: &Declaration,
    if_revision: Option<i64>,
    now_us: i64,
) -> Result<Declared> {
    let mut collection = lock(tx, &declaration.name).await?;
    if if_revision.is_some_and(|revision| revision != collection.revision) {
        return Err(RecordsError::CollectionChanged.into());
    }
    collection.revision += 1;
    collection.update_us = now_us;
    collection.limits = declaration.limits.unwrap_or(collection.limits);
    if let Some(schema) = &declaration.schema_json {
        // What was compiled of an earlier one is not taken for this one.
        collection.schema_revision = if schema.is_empty() { 0 } else { collection.revision };
        write_schema(tx, collection.id, schema).await?;
    }
    save(tx, &collection).await?;
    if let Some(paths) = &declaration.index_paths {
        indexes::declare(tx, &collection, paths).await?;
    }
    declaration_of(tx, collection).await
}

async fn save(tx: &Tx<'_>, collection: &Collection) -> Result<()> {
    let changed = collections::Entity::update_many().set(rows::row_of(collection));
    changed.filter(collections::Column::Id.eq(collection.id)).exec(&**tx).await?;
    Ok(())
}

/// The schema of that revision of a collection; none: it has another by now.
pub async fn schema_of(db: &Db<'_>, collection_id: i64, schema_revision: i64) -> Result<Option<String>> {
    let collection = collections::Entity::find_by_id(collection_id).one(db).await?;
    if collection.is_none_or(|collection| collection.schema_revision != schema_revision) {
        return Ok(None);
    }
    Ok(schemas::Entity::find_by_id(collection_id).one(db).await?.map(|schema| schema.schema_json))
}

async fn write_schema(tx: &Tx<'_>, collection_id: i64, schema_json: &str) -> Result<()> {
    schemas::Entity::delete_by_id(collection_id).exec(&**tx).await?;
    if !schema_json.is_empty() {
        let row = schemas::ActiveModel {
            collection_id: Set(collection_id),
            schema_json: Set(schema_json.to_owned()),
        };
        schemas::Entity::insert(row).exec_without_returning(&**tx).await?;
    }
    Ok(())
}

/// Deletes a collection; returns whether there was one. Its records are removed in small steps. The last numbers of `names_max` deleted
/// collections are kept by name.
pub async fn delete(tx: &Tx<'_>, name: &str, names_max: i64) -> Result<bool> {
    let collection = match lock(tx, name).await {
        Ok(collection) => collection,
        Err(crate::error::Error::Records(RecordsError::CollectionNotFound)) => return Ok(false),
        Err(error) => return Err(error),
    };
    heights::keep(tx, &collection, names_max).await?;
    branch::remove(tx, collection.id).await?;
    write_schema(tx, collection.id, "").await?;
    indexes::drop_all(tx, collection.id).await?;
    collections::Entity::delete_by_id(collection.id).exec(&**tx).await?;
    let left = remains::ActiveModel { collection_id: Set(collection.id) };
    remains::Entity::insert(left).exec_without_returning(&**tx).await?;
    Ok(true)
}

/// Notes that somebody watches a collection until a time; no row is written for less than that.
pub async fn watched(tx: &Tx<'_>, name: &str, until_us: i64) -> Result<()> {
    use collections::Column as C;
    let noted = collections::Entity::update_many().col_expr(C::WatchedUntilTime, Expr::value(until_us));
    noted.filter(C::Name.eq(name)).filter(C::WatchedUntilTime.lt(until_us)).exec(&**tx).await?;
    Ok(())
}
