//! The RPCs of `pannier.cache.v1.CacheService`: parse, store, reply.

mod leases;
mod mutations;
mod namespaces;
mod reads;
mod writes;

use pannier_proto::cache::v1 as pb;
use pannier_proto::cache::v1::cache_service_server::{CacheService as Rpc, CacheServiceServer, SERVICE_NAME};
use tonic::Request;

use super::{Cache, CacheService};
use crate::status::{Reply, reply};

/// The service's full name.
pub const NAME: &str = SERVICE_NAME;

/// The service for tonic's router, with messages of at most `message_bytes_max` either way.
pub fn server(cache: CacheService) -> CacheServiceServer<CacheService> {
    let message_bytes_max = cache.0.settings.server.message_bytes_max();
    CacheServiceServer::new(cache)
        .max_decoding_message_size(message_bytes_max)
        .max_encoding_message_size(message_bytes_max)
}

#[tonic::async_trait]
impl Rpc for CacheService {
    async fn get(&self, request: Request<pb::GetRequest>) -> Reply<pb::GetResponse> {
        reply(self.0.get(request.into_inner()).await)
    }

    async fn batch_get(&self, request: Request<pb::BatchGetRequest>) -> Reply<pb::BatchGetResponse> {
        reply(self.0.batch_get(request.into_inner()).await)
    }

    async fn get_or_lease(&self, request: Request<pb::GetOrLeaseRequest>) -> Reply<pb::GetOrLeaseResponse> {
        reply(self.0.get_or_lease(request.into_inner()).await)
    }

    async fn release_lease(
        &self,
        request: Request<pb::ReleaseLeaseRequest>,
    ) -> Reply<pb::ReleaseLeaseResponse> {
        reply(Cache::release_lease(&self.0, request.into_inner()).await)
    }

    async fn put(&self, request: Request<pb::PutRequest>) -> Reply<pb::PutResponse> {
        reply(Cache::put(&self.0, request.into_inner()).await)
    }

    async fn batch_put(&self, request: Request<pb::BatchPutRequest>) -> Reply<pb::BatchPutResponse> {
        reply(Cache::batch_put(&self.0, request.into_inner()).await)
    }

    async fn exists(&self, request: Request<pb::ExistsRequest>) -> Reply<pb::ExistsResponse> {
        reply(self.0.exists(request.into_inner()).await)
    }

    async fn delete(&self, request: Request<pb::DeleteRequest>) -> Reply<pb::DeleteResponse> {
        reply(Cache::delete(&self.0, request.into_inner()).await)
    }

    async fn delete_by_prefix(
        &self,
        request: Request<pb::DeleteByPrefixRequest>,
    ) -> Reply<pb::DeleteByPrefixResponse> {
        reply(Cache::delete_by_prefix(&self.0, request.into_inner()).await)
    }

    async fn delete_by_tag(
        &self,
        request: Request<pb::DeleteByTagRequest>,
    ) -> Reply<pb::DeleteByTagResponse> {
        reply(Cache::delete_by_tag(&self.0, request.into_inner()).await)
    }

    async fn touch(&self, request: Request<pb::TouchRequest>) -> Reply<pb::TouchResponse> {
        reply(Cache::touch(&self.0, request.into_inner()).await)
    }

    async fn evict(&self, request: Request<pb::EvictRequest>) -> Reply<pb::EvictResponse> {
        reply(Cache::evict(&self.0, request.into_inner()).await)
    }

    async fn list(&self, request: Request<pb::ListRequest>) -> Reply<pb::ListResponse> {
        reply(self.0.list(request.into_inner()).await)
    }

    async fn stats(&self, request: Request<pb::StatsRequest>) -> Reply<pb::StatsResponse> {
        reply(self.0.stats(request.into_inner()).await)
    }

    async fn update_namespace(
        &self,
        request: Request<pb::UpdateNamespaceRequest>,
    ) -> Reply<pb::UpdateNamespaceResponse> {
        reply(Cache::update_namespace(&self.0, request.into_inner()).await)
    }

    async fn get_namespace(
        &self,
        request: Request<pb::GetNamespaceRequest>,
    ) -> Reply<pb::GetNamespaceResponse> {
        reply(self.0.get_namespace(request.into_inner()).await)
    }

    async fn list_namespaces(
        &self,
        request: Request<pb::ListNamespacesRequest>,
    ) -> Reply<pb::ListNamespacesResponse> {
        reply(self.0.list_namespaces(request.into_inner()).await)
    }

    async fn delete_namespace(
        &self,
        request: Request<pb::DeleteNamespaceRequest>,
    ) -> Reply<pb::DeleteNamespaceResponse> {
        reply(Cache::delete_namespace(&self.0, request.into_inner()).await)
    }
}
