//! Repeated requests: the first answer to a `request_id` is kept in the transaction that did the work, and given again.
//!
//! Only committed successes are kept: a call that failed changed nothing and may be tried again with the same id.

use std::sync::atomic::Ordering;

use prost::Message;
use sea_orm::Set;
use sea_orm::sea_query::{Expr, ExprTrait as _, Query};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::Tx;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::settings::IdempotencySettings;

/// One kept answer.
mod entity {
    #![allow(missing_docs, reason = "a table; its columns are described in the migration")]
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "idempotency_keys")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub request_id: Uuid,
        pub fingerprint: Vec<u8>,
        pub response: Vec<u8>,
        pub expire_time: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// What identifies a request that may come again.
#[derive(Clone, Debug)]
pub struct RequestKey {
    id: Uuid,
    fingerprint: [u8; 32],
    /// Answers up to this expiry are over.
    expired_us: i64,
    expire_time_us: i64,
}

impl RequestKey {
    /// What is woken when a request that waits was answered, so that its repeats answer as well.
    pub fn topic(&self) -> String {
        format!("requests/{}", self.id)
    }
}

/// Makes the keys of the requests to one service, cheap to clone.
#[derive(Clone)]
pub struct RequestKeys {
    service: &'static str,
    clock: Clock,
    retention_us: i64,
}

impl RequestKeys {
    /// For the service of that full name.
    pub fn new(service: &'static str, clock: &Clock, settings: &IdempotencySettings) -> Self {
        let retention_us = i64::try_from(settings.retention_ms).unwrap_or(i64::MAX).saturating_mul(1_000);
        Self { service, clock: clock.steady(), retention_us }
    }

    /// The key of `request` to `method`; none if it has no id.
    pub fn key(&self, id: Option<Uuid>, method: &str, request: &impl Message) -> Option<RequestKey> {
        let id = id?;
        let mut hash = Sha256::new();
        hash.update(self.service.as_bytes());
        hash.update([b'/']);
        hash.update(method.as_bytes());
        hash.update([0]);
        hash.update(request.encode_to_vec());
        let now_us = self.clock.now_us();
        let expire_time_us = now_us.saturating_add(self.retention_us);
        // During the grace that follows a jump of the clock every answer is still given again.
        let expired_us = self.clock.before_us(0);
        Some(RequestKey { id, fingerprint: hash.finalize().into(), expired_us, expire_time_us })
    }
}

/// Runs `work` unless the request was answered before; then gives that answer again.
///
/// Errors: RequestIdReused; what `work` answers.
pub async fn once<T, W>(tx: &Tx<'_>, key: Option<&RequestKey>, work: W) -> Result<T>
where
    T: Message + Default,
    W: Future<Output = Result<T>>,
{
    if let Some(answer) = recall(tx, key).await? {
        return Ok(answer);
    }
    let answer = work.await?;
    keep(tx, key, &answer).await?;
    Ok(answer)
}

/// The answer that was given to the request before. For work that is not always kept; see [`once`].
///
/// Error: RequestIdReused.
pub async fn recall<T: Message + Default>(tx: &Tx<'_>, key: Option<&RequestKey>) -> Result<Option<T>> {
    let Some(key) = key else { return Ok(None) };
    let Some(kept) = entity::Entity::find_by_id(key.id).one(&**tx).await? else { return Ok(None) };
    if kept.expire_time <= key.expired_us {
        entity::Entity::delete_by_id(key.id).exec(&**tx).await?;
        return Ok(None);
    }
    if kept.fingerprint != key.fingerprint {
        return Err(Error::RequestIdReused);
    }
    tx.is_repeat.store(true, Ordering::Relaxed);
    let answer = T::decode(kept.response.as_slice()).map_err(|error| Error::CorruptRow {
        table: "idempotency_keys",
        column: "response",
        row: 0,
        cause: error.to_string(),
    });
    answer.map(Some)
}

/// Keeps the answer to a request that was not answered before.
pub async fn keep(tx: &Tx<'_>, key: Option<&RequestKey>, answer: &impl Message) -> Result<()> {
    let Some(key) = key else { return Ok(()) };
    let row = entity::ActiveModel {
        request_id: Set(key.id),
        fingerprint: Set(key.fingerprint.to_vec()),
        response: Set(answer.encode_to_vec()),
        expire_time: Set(key.expire_time_us),
    };
    entity::Entity::insert(row).exec_without_returning(&**tx).await?;
    Ok(())
}

/// Keeps an answer in the place of the one that was kept before, if one was.
pub async fn keep_instead(tx: &Tx<'_>, key: Option<&RequestKey>, answer: &impl Message) -> Result<()> {
    if let Some(key) = key {
        entity::Entity::delete_by_id(key.id).exec(&**tx).await?;
    }
    keep(tx, key, answer).await
}

/// Forgets at most `rows_max` answers whose time is over; tells how many.
pub async fn sweep(tx: &Tx<'_>, now_us: i64, rows_max: u64) -> Result<u64> {
    let expired = Query::select()
        .column(entity::Column::RequestId)
        .from(entity::Entity)
        .and_where(Expr::col(entity::Column::ExpireTime).lte(now_us))
        .order_by(entity::Column::ExpireTime, sea_orm::Order::Asc)
        .limit(rows_max)
        .take();
    let deleted = entity::Entity::delete_many()
        .filter(entity::Column::RequestId.in_subquery(expired))
        .exec(&**tx)
        .await?;
    Ok(deleted.rows_affected)
}
