//! The RPCs of `pannier.settings.v1.SettingsService`: parse, store, reply.

mod mutations;
mod watch;

use pannier_proto::settings::v1 as pb;
use pannier_proto::settings::v1::settings_service_server::{
    SERVICE_NAME, SettingsService as Rpc, SettingsServiceServer,
};
use tonic::Request;

use super::convert::{self, Parser};
use super::store::{self, Page};
use super::{Settings, SettingsService};
use crate::answer::Budget;
use crate::error::Result;
use crate::page::Query;
use crate::status::{Reply, reply};
use crate::storage::Durability;

/// The service's full name.
pub const NAME: &str = SERVICE_NAME;

/// The service for tonic's router, with messages of at most `message_bytes_max` either way.
pub fn server(settings: SettingsService) -> SettingsServiceServer<SettingsService> {
    let bytes_max = settings.0.configuration.server.message_bytes_max();
    SettingsServiceServer::new(settings)
        .max_decoding_message_size(bytes_max)
        .max_encoding_message_size(bytes_max)
}

#[tonic::async_trait]
impl Rpc for SettingsService {
    type WatchStream = watch::Messages;

    async fn get(&self, request: Request<pb::GetRequest>) -> Reply<pb::GetResponse> {
        reply(self.0.get(request.into_inner()).await)
    }

    async fn set(&self, request: Request<pb::SetRequest>) -> Reply<pb::SetResponse> {
        reply(self.0.set(request.into_inner()).await)
    }

    async fn batch_set(&self, request: Request<pb::BatchSetRequest>) -> Reply<pb::BatchSetResponse> {
        reply(self.0.batch_set(request.into_inner()).await)
    }

    async fn delete(&self, request: Request<pb::DeleteRequest>) -> Reply<pb::DeleteResponse> {
        reply(self.0.delete(request.into_inner()).await)
    }

    async fn list(&self, request: Request<pb::ListRequest>) -> Reply<pb::ListResponse> {
        reply(self.0.list(request.into_inner()).await)
    }

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Reply<Self::WatchStream> {
        reply(self.0.watch(request.into_inner()).await)
    }
}

impl Settings {
    async fn get(&self, request: pb::GetRequest) -> Result<pb::GetResponse> {
        let mut parser = Parser::new(&self.configuration.settings);
        parser.key(&request.key);
        parser.violations.check()?;
        let setting = self.storage.read(request.key, |db, key| Box::pin(store::find(db, key))).await?;
        Ok(pb::GetResponse { setting: Some(convert::setting(setting)) })
    }

    async fn set(&self, mut request: pb::SetRequest) -> Result<pb::SetResponse> {
        let mut parser = Parser::new(&self.configuration.settings);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "Set", &request);
        let operation = self.prepare_set(&mut parser, request);
        parser.violations.check()?;
        self.storage.write_once(Durability::Full, key, operation).await
    }

    async fn batch_set(&self, mut request: pb::BatchSetRequest) -> Result<pb::BatchSetResponse> {
        let mut parser = Parser::new(&self.configuration.settings);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "BatchSet", &request);
        let operation = self.prepare_batch_set(&mut parser, request);
        parser.violations.check()?;
        self.storage.write_once(Durability::Full, key, operation).await
    }

    async fn delete(&self, mut request: pb::DeleteRequest) -> Result<pb::DeleteResponse> {
        let mut parser = Parser::new(&self.configuration.settings);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "Delete", &request);
        let operation = self.prepare_delete(&mut parser, request);
        parser.violations.check()?;
        self.storage.write_once(Durability::Full, key, operation).await
    }

    async fn list(&self, request: pb::ListRequest) -> Result<pb::ListResponse> {
        let mut parser = Parser::new(&self.configuration.settings);
        parser.prefix(&request.prefix);
        let rows_max = parser.page_rows(&self.configuration.server, request.page_size);
        parser.violations.check()?;
        let query = Query::of("settings.List", &[&request.prefix]);
        let after = query.key_of(&request.page_token)?;
        let page = Page { rows_max, budget: Budget::of_call() };
        let (found, more, end) = self
            .storage
            .read((request.prefix, after), move |db, (prefix, after)| {
                Box::pin(store::list(db, prefix, after.as_deref(), page))
            })
            .await?;
        let next_page_token = match found.last() {
            Some(last) if more => query.token(&last.key),
            _ => String::new(),
        };
        let settings = found.into_iter().map(convert::setting).collect();
        Ok(pb::ListResponse { settings, next_page_token, cursor: convert::cursor(end) })
    }
}
