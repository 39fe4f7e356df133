//! The settings' queries: one function is one step inside a transaction.
//!
//! Every change begins with the lock of the one row of `settings_state`: revisions are given in the order of commits.

use sea_orm::sea_query::{Expr, LockType};
use sea_orm::{
    ColumnTrait as _, Condition as Where, EntityTrait as _, IntoActiveModel as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, Set,
};
use uuid::Uuid;

use super::domain::{Change, Condition, News, Position, Refusal, Setting};
use super::entity::{settings, state};
use crate::answer::Budget;
use crate::error::{Error, Result};
use crate::storage::{Db, Rank, RowLock, Tx, branch};

/// The id of the one row of `settings_state`.
const STATE: i64 = 1;

/// Rows read at once, so that a page of the largest values is not held whole.
const ROWS_AT_ONCE: u64 = 64;

/// Times, revisions and framing of a setting in an answer.
const ROW_OVERHEAD_BYTES: usize = 100;

/// How much to read.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// At most so many rows.
    pub rows_max: u64,
    /// At most this many bytes.
    pub budget: Budget,
}

/// The setting of that key. Error: SettingNotFound.
pub async fn find(db: &Db<'_>, key: &str) -> Result<Setting> {
    let row = settings::Entity::find_by_id(key).one(db).await?;
    row.and_then(setting).ok_or(Error::SettingNotFound)
}

/// The last revision given.
pub async fn end(db: &Db<'_>) -> Result<Position> {
    let state = state(db).await?;
    Ok(Position { branch: state.branch, revision: state.revision })
}

/// Makes and replaces settings, and holds the state until the commit.
pub struct Writer<'w> {
    tx: &'w Tx<'w>,
    state: state::Model,
    first_revision: i64,
    settings_max: i64,
    now_us: i64,
}

impl<'w> Writer<'w> {
    /// Takes hold of the state.
    pub async fn begin(tx: &'w Tx<'w>, settings_max: i64, now_us: i64) -> Result<Self> {
        let state = lock(tx).await?;
        Ok(Self { tx, first_revision: state.revision, state, settings_max, now_us })
    }

    /// Makes or replaces a setting; returns whether it was made. Errors, with nothing changed: those of the condition; TooManySettings.
    pub async fn set(
        &mut self,
        key: &str,
        value_json: &str,
        condition: Condition,
    ) -> Result<(Setting, bool)> {
        let former = settings::Entity::find_by_id(key).one(&**self.tx).await?;
        let is_new = former.is_none();
        let live = former.and_then(setting);
        condition.check(live.as_ref().map(|live| live.revision)).map_err(refused)?;
        if live.is_none() && self.state.live_count >= self.settings_max {
            return Err(Error::TooManySettings { settings_max: self.settings_max });
        }
        let setting = Setting {
            key: key.to_owned(),
            value_json: value_json.to_owned(),
            revision: self.state.revision + 1,
            create_us: live.as_ref().map_or(self.now_us, |live| live.create_us),
            update_us: self.now_us,
        };
        let row = settings::ActiveModel {
            key: Set(setting.key.clone()),
            value_json: Set(Some(setting.value_json.clone())),
            revision: Set(setting.revision),
            create_time: Set(setting.create_us),
            update_time: Set(setting.update_us),
        };
        if is_new {
            settings::Entity::insert(row).exec_without_returning(&**self.tx).await?;
        } else {
            let update = settings::Entity::update_many().set(row).filter(settings::Column::Key.eq(key));
            update.exec(&**self.tx).await?;
        }
        self.state.revision += 1;
        self.state.live_count += i64::from(live.is_none());
        Ok((setting, live.is_none()))
    }

    /// Writes the state; returns whether anything was changed.
    pub async fn finish(self) -> Result<bool> {
        if self.state.revision == self.first_revision {
            return Ok(false);
        }
        save(self.tx, &self.state, self.first_revision + 1).await?;
        Ok(true)
    }
}

/// Deletes a setting; answers with the deletion's revision, or none if there was no setting. Errors: those of the condition.
pub async fn delete(tx: &Tx<'_>, key: &str, condition: Condition, now_us: i64) -> Result<Option<i64>> {
    let mut state = lock(tx).await?;
    let live = settings::Entity::find_by_id(key).one(&**tx).await?.and_then(setting);
    condition.check(live.as_ref().map(|live| live.revision)).map_err(refused)?;
    if live.is_none() {
        return Ok(None);
    }
    state.revision += 1;
    state.live_count -= 1;
    let deleted = settings::ActiveModel {
        value_json: Set(None),
        revision: Set(state.revision),
        update_time: Set(now_us),
        ..Default::default()
    };
    settings::Entity::update_many().set(deleted).filter(settings::Column::Key.eq(key)).exec(&**tx).await?;
    save(tx, &state, state.revision).await?;
    Ok(Some(state.revision))
}

/// Checks a setting, and holds on to it until the commit. Errors: those of the condition.
pub async fn check(tx: &Tx<'_>, key: &str, condition: Condition) -> Result<()> {
    lock(tx).await?;
    let live = settings::Entity::find_by_id(key).one(&**tx).await?.and_then(setting);
    condition.check(live.map(|live| live.revision)).map_err(refused)
}

/// Settings by key, those after `after`, and whether there are more; and the revision at which they were read.
pub async fn list(
    db: &Db<'_>,
    prefix: &str,
    after: Option<&str>,
    page: Page,
) -> Result<(Vec<Setting>, bool, Position)> {
    let mut reading = Reading::new(page);
    let mut after = after.map(str::to_owned);
    while let Some(rows_max) = reading.wants() {
        let mut query = settings::Entity::find()
            .filter(under(prefix))
            .filter(settings::Column::ValueJson.is_not_null())
            .order_by_asc(settings::Column::Key)
            .limit(rows_max);
        if let Some(after) = &after {
            query = query.filter(settings::Column::Key.gt(after.as_str()));
        }
        let rows = query.all(db).await?;
        after = rows.last().map(|last| last.key.clone());
        reading.take(rows, rows_max)?;
    }
    let found = reading.rows.into_iter().filter_map(setting).collect();
    Ok((found, reading.more, end(db).await?))
}

/// What happened after a position.
pub async fn changes(db: &Db<'_>, prefix: &str, start: Position, page: Page) -> Result<News> {
    let state = state(db).await?;
    let after = start.revision;
    let is_known = (state.forgotten_revision..=state.revision).contains(&after);
    if !is_known || !branch::has(db, branch::SETTINGS, after, start.branch).await? {
        return Ok(News::Reload);
    }
    let mut reading = Reading::new(page);
    let mut last = after;
    while let Some(rows_max) = reading.wants() {
        let rows = settings::Entity::find()
            .filter(settings::Column::Revision.gt(last))
            .filter(under(prefix))
            .order_by_asc(settings::Column::Revision)
            .limit(rows_max)
            .all(db)
            .await?;
        last = rows.last().map_or(last, |row| row.revision);
        reading.take(rows, rows_max)?;
    }
    let revision = match reading.rows.last() {
        Some(last) if reading.more => last.revision,
        _ => state.revision,
    };
    let branch = match revision == after {
        true => start.branch,
        false => branch::at(db, branch::SETTINGS, revision).await?.unwrap_or_default(),
    };
    let seen = Position { branch, revision };
    let changes = reading.rows.into_iter().map(|row| Change {
        key: row.key.clone(),
        revision: row.revision,
        setting: setting(row),
    });
    Ok(News::Changes { changes: changes.collect(), seen })
}

/// Forgets at most `rows_max` deletions made at `until_us` or before; tells how many.
pub async fn forget(tx: &Tx<'_>, until_us: i64, rows_max: u64) -> Result<u64> {
    let state = lock(tx).await?;
    let old = settings::Entity::find()
        .filter(settings::Column::ValueJson.is_null())
        .filter(settings::Column::UpdateTime.lte(until_us))
        .order_by_asc(settings::Column::UpdateTime)
        .limit(rows_max)
        .all(&**tx)
        .await?;
    let Some(forgotten) = old.iter().map(|row| row.revision).max() else { return Ok(0) };
    let keys = old.iter().map(|row| row.key.as_str());
    settings::Entity::delete_many().filter(settings::Column::Key.is_in(keys)).exec(&**tx).await?;
    let forgotten = state.forgotten_revision.max(forgotten);
    state::Entity::update_many()
        .col_expr(state::Column::ForgottenRevision, forgotten.into())
        .filter(state::Column::Id.eq(STATE))
        .exec(&**tx)
        .await?;
    Ok(old.len() as u64)
}

/// Rows that are read piece by piece, until there are enough of them.
struct Reading {
    page: Page,
    rows: Vec<settings::Model>,
    more: bool,
    is_over: bool,
}

impl Reading {
    fn new(page: Page) -> Self {
        Self { page, rows: Vec::new(), more: false, is_over: false }
    }

    /// How many rows to read next: one more than wanted, to know whether there are more.
    fn wants(&self) -> Option<u64> {
        let missing = (self.page.rows_max + 1).saturating_sub(self.rows.len() as u64);
        (!self.is_over).then_some(missing.min(ROWS_AT_ONCE))
    }

    fn take(&mut self, rows: Vec<settings::Model>, rows_max: u64) -> Result<()> {
        self.is_over = (rows.len() as u64) < rows_max;
        for row in rows {
            let texts = row.key.len() * 2 + row.value_json.as_ref().map_or(0, String::len);
            let is_full = self.rows.len() as u64 == self.page.rows_max;
            if is_full || !self.page.budget.take(texts + ROW_OVERHEAD_BYTES, || row.key.clone())? {
                (self.more, self.is_over) = (true, true);
                return Ok(());
            }
            self.rows.push(row);
        }
        Ok(())
    }
}

/// Before the first change.
const FIRST: state::Model =
    state::Model { id: STATE, revision: 0, branch: Uuid::nil(), forgotten_revision: 0, live_count: 0 };

async fn state(db: &Db<'_>) -> Result<state::Model> {
    Ok(state::Entity::find_by_id(STATE).one(db).await?.unwrap_or(FIRST))
}

/// The lock that every change begins with.
pub fn lock_of_state() -> RowLock {
    RowLock::new(
        Rank::Settings,
        [],
        r#"SELECT "id" FROM "settings_state" WHERE "id" = $1"#,
        vec![STATE.into()],
    )
}

async fn lock(tx: &Tx<'_>) -> Result<state::Model> {
    if let Some(row) = locked(tx).await? {
        return Ok(row);
    }
    // A Commit that found no row has the turn of making it.
    lock_of_state().take(tx).await?;
    if let Some(row) = locked(tx).await? {
        return Ok(row);
    }
    state::Entity::insert(FIRST.into_active_model()).exec_without_returning(&**tx).await?;
    Ok(FIRST)
}

async fn locked(tx: &Tx<'_>) -> Result<Option<state::Model>> {
    Ok(state::Entity::find_by_id(STATE).lock(LockType::NoKeyUpdate).one(&**tx).await?)
}

/// Writes the state after changes whose revisions begin with `first_revision`.
async fn save(tx: &Tx<'_>, state: &state::Model, first_revision: i64) -> Result<()> {
    let branch = branch::enter(tx, branch::SETTINGS, first_revision, state.branch).await?;
    state::Entity::update_many()
        .col_expr(state::Column::Revision, Expr::value(state.revision))
        .col_expr(state::Column::Branch, Expr::value(branch))
        .col_expr(state::Column::LiveCount, Expr::value(state.live_count))
        .filter(state::Column::Id.eq(STATE))
        .exec(&**tx)
        .await?;
    Ok(())
}

fn under(prefix: &str) -> Where {
    let key = settings::Column::Key;
    match prefix.is_empty() {
        true => Where::all(),
        false => Where::all()
            .add(key.gte(prefix))
            .add_option(crate::page::after_prefix(prefix).map(|end| key.lt(end))),
    }
}

fn refused(refusal: Refusal) -> Error {
    match refusal {
        Refusal::NotFound => Error::SettingNotFound,
        Refusal::Exists => Error::SettingExists,
        Refusal::Changed => Error::SettingChanged,
    }
}

fn setting(row: settings::Model) -> Option<Setting> {
    Some(Setting {
        key: row.key,
        value_json: row.value_json?,
        revision: row.revision,
        create_us: row.create_time,
        update_us: row.update_time,
    })
}
