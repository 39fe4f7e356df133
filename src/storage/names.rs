//! Names that many rows share are numbers in those rows: in memory first, then in a table of `id`, `kind` and `name`.
//!
//! A name is never changed and never removed, so what is known of one stays true. Memory is bounded by the bounds of the kinds.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};

use super::{Db, Tx, row};
use crate::error::{Error, Result};

/// What a name is of: which table holds it, and what is answered when there are too many.
pub trait NameKind: Copy + Debug + Eq + Hash + Send + Sync + 'static {
    /// The table.
    const TABLE: &'static str;

    /// Its number in the table's column `kind`.
    fn number(self) -> i64;

    /// There are `names_max`, and may be no more.
    fn too_many(self, names_max: i64) -> Error;
}

/// Names and their numbers, cheap to clone.
#[derive(Clone, Debug)]
pub struct NameNumbers<K> {
    known: Arc<RwLock<Known<K>>>,
    bounds: Arc<[(K, u64)]>,
    /// Whether names that are read may be remembered: a read sees committed ones only, a write may see others.
    is_reading: bool,
}

#[derive(Debug)]
struct Known<K> {
    numbers: HashMap<K, HashMap<Arc<str>, i64>>,
    names: HashMap<i64, Arc<str>>,
}

impl<K: NameKind> Known<K> {
    fn set(&mut self, kind: K, name: Arc<str>, number: i64) {
        self.names.insert(number, name.clone());
        self.numbers.entry(kind).or_default().insert(name, number);
    }
}

row! {
    struct Number {
        number: i64,
    }
}

row! {
    struct Name {
        name: String,
    }
}

impl<K: NameKind> NameNumbers<K> {
    /// So many names of these kinds at most. What others may be called is bounded by who names them.
    pub fn new(bounds: impl Into<Arc<[(K, u64)]>>) -> Self {
        let known = Known { numbers: HashMap::new(), names: HashMap::new() };
        Self { known: Arc::new(RwLock::new(known)), bounds: bounds.into(), is_reading: false }
    }

    /// For a read, which remembers what it finds.
    pub fn reading(&self) -> Self {
        Self { is_reading: true, ..self.clone() }
    }

    /// The number of a name, if it has one.
    pub async fn number(&self, db: &Db<'_>, kind: K, name: &str) -> Result<Option<i64>> {
        if let Some(known) = self.known_number(kind, name) {
            return Ok(Some(known));
        }
        let found = find(db, kind, name).await?;
        if let Some(number) = found.filter(|_| self.is_reading) {
            self.known.write().unwrap_or_else(PoisonError::into_inner).set(kind, name.into(), number);
        }
        Ok(found)
    }

    /// The number of a name, which it is given if it has none. Error: what the kind answers when there are too many.
    pub async fn ensure(&self, tx: &Tx<'_>, kind: K, name: &str) -> Result<i64> {
        if let Some(known) = self.known_number(kind, name) {
            return Ok(known);
        }
        let number = match find(tx, kind, name).await? {
            Some(number) => number,
            None => self.insert(tx, kind, name).await?,
        };
        // Not before the commit: it may have been given in the same one.
        let (known, name) = (self.known.clone(), Arc::from(name));
        tx.after_commit(move || {
            known.write().unwrap_or_else(PoisonError::into_inner).set(kind, name, number)
        });
        Ok(number)
    }

    /// Gives numbers to all of these names, in one order, whatever theirs: two transactions that insert the same names do not wait for
    /// each other in a circle. Error: that of [`ensure`](Self::ensure).
    pub async fn ensure_all<'n>(
        &self,
        tx: &Tx<'_>,
        names: impl Iterator<Item = (K, &'n str)> + Send,
    ) -> Result<()> {
        let unknown = names.filter(|(kind, name)| self.known_number(*kind, name).is_none());
        let mut unknown: Vec<(i64, &str, K)> =
            unknown.map(|(kind, name)| (kind.number(), name, kind)).collect();
        unknown.sort_unstable_by_key(|(number, name, _)| (*number, *name));
        unknown.dedup_by_key(|(number, name, _)| (*number, *name));
        for (_, name, kind) in unknown {
            self.ensure(tx, kind, name).await?;
        }
        Ok(())
    }

    /// The same of a name that may be empty, which has no number.
    pub async fn ensure_filled(&self, tx: &Tx<'_>, kind: K, name: &str) -> Result<Option<i64>> {
        if name.is_empty() { Ok(None) } else { self.ensure(tx, kind, name).await.map(Some) }
    }

    /// The name of a number that a row has.
    pub async fn name(&self, db: &Db<'_>, kind: K, number: i64) -> Result<Arc<str>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).names.get(&number).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let table = K::TABLE;
        let sql = format!(r#"SELECT "name" FROM "{table}" WHERE "id" = $1"#);
        let found = db.row::<Name>(&sql, vec![number.into()]).await?.ok_or_else(|| Error::CorruptRow {
            table,
            column: "id",
            row: number,
            cause: "others name this row, and it is not there".into(),
        })?;
        let name: Arc<str> = found.name.into();
        if self.is_reading {
            self.known.write().unwrap_or_else(PoisonError::into_inner).set(kind, name.clone(), number);
        }
        Ok(name)
    }

    /// The same of a column that may be empty.
    pub async fn name_or_empty(&self, db: &Db<'_>, kind: K, number: Option<i64>) -> Result<String> {
        match number {
            Some(number) => Ok(self.name(db, kind, number).await?.to_string()),
            None => Ok(String::new()),
        }
    }

    fn known_number(&self, kind: K, name: &str) -> Option<i64> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.numbers.get(&kind)?.get(name).copied()
    }

    async fn insert(&self, tx: &Tx<'_>, kind: K, name: &str) -> Result<i64> {
        let bound = self.bounds.iter().find(|(bounded, _)| *bounded == kind);
        if let Some((_, names_max)) = bound {
            let names_max = i64::try_from(*names_max).unwrap_or(i64::MAX);
            let sql = format!(r#"SELECT count(*) AS "number" FROM "{}" WHERE "kind" = $1"#, K::TABLE);
            let count = tx.row::<Number>(&sql, vec![kind.number().into()]).await?;
            if count.is_some_and(|count| count.number >= names_max) {
                return Err(kind.too_many(names_max));
            }
        }
        let insert = format!(r#"INSERT INTO "{}" ("kind", "name") VALUES ($1, $2)"#, K::TABLE);
        tx.insert_written_out(&insert, vec![kind.number().into(), name.into()]).await
    }
}

/// All names of a kind, in their order.
pub async fn all<K: NameKind>(db: &Db<'_>, kind: K) -> Result<Vec<String>> {
    let sql = format!(r#"SELECT "name" FROM "{}" WHERE "kind" = $1 ORDER BY "name""#, K::TABLE);
    let rows = db.rows::<Name>(&sql, vec![kind.number().into()]).await?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}

async fn find<K: NameKind>(db: &Db<'_>, kind: K, name: &str) -> Result<Option<i64>> {
    let sql = format!(r#"SELECT "id" AS "number" FROM "{}" WHERE "kind" = $1 AND "name" = $2"#, K::TABLE);
    let row = db.row::<Number>(&sql, vec![kind.number().into(), name.into()]).await?;
    Ok(row.map(|row| row.number))
}
