//! The floor: a tonic server that does nothing but answer, with messages of the sidecar's sizes. What it reaches is what
//! gRPC itself leaves to reach. It runs as a process of its own, as the sidecar does.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use pannier_proto::cache::v1::cache_service_server::{CacheService, CacheServiceServer};
use pannier_proto::cache::v1::*;
use prost::Message as _;
use serde_json::json;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::Fallible;

/// The files in which the benchmark leaves what the sidecar answered.
pub(crate) const ENTRY_FILE: &str = "entry.bin";
pub(crate) const PUT_FILE: &str = "put.bin";

#[derive(Args)]
pub(crate) struct FloorArguments {
    /// The TCP address; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The Unix socket's path.
    #[arg(long)]
    socket: PathBuf,
    /// Written when it serves, as the sidecar writes its own.
    #[arg(long)]
    ready_file: PathBuf,
    /// The folder with an Entry and a PutResult as the sidecar answered them.
    #[arg(long)]
    answers: PathBuf,
}

/// Serves until SIGTERM.
pub(crate) async fn serve(arguments: FloorArguments) -> Fallible<()> {
    let floor = Floor {
        entry: Entry::decode(&*read(&arguments.answers.join(ENTRY_FILE))?)?,
        put: PutResult::decode(&*read(&arguments.answers.join(PUT_FILE))?)?,
    };
    let listener = TcpListener::bind(arguments.listen).await?;
    let address = listener.local_addr()?;
    // tonic ignores its own setting for a listener that it is given; without this, calls stall 40 ms each.
    let tcp = TcpIncoming::from(listener).with_nodelay(Some(true));
    let unix = UnixListenerStream::new(UnixListener::bind(&arguments.socket)?);

    let ready = json!({ "pid": std::process::id(), "grpc": address.to_string(), "socket": arguments.socket });
    let partial = arguments.ready_file.with_extension("partial");
    std::fs::write(&partial, ready.to_string())?;
    std::fs::rename(&partial, &arguments.ready_file)?;

    let service = CacheServiceServer::new(floor);
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        ended = Server::builder().add_service(service.clone()).serve_with_incoming(tcp) => ended?,
        ended = Server::builder().add_service(service).serve_with_incoming(unix) => ended?,
        _ = terminated.recv() => {}
    }
    Ok(())
}

fn read(path: &Path) -> Fallible<Vec<u8>> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()).into())
}

#[derive(Clone)]
struct Floor {
    entry: Entry,
    put: PutResult,
}

/// The methods that no workload calls on the floor.
macro_rules! not_measured {
    ($($method:ident($request:ty) -> $response:ty;)*) => {$(
        fn $method<'life0, 'async_trait>(
            &'life0 self,
            _request: Request<$request>,
        ) -> std::pin::Pin<Box<dyn Future<Output = Result<Response<$response>, Status>> + Send + 'async_trait>>
        where
            'life0: 'async_trait,
            Self: 'async_trait,
        {
            Box::pin(async { Err(Status::unimplemented("the floor answers only what is measured")) })
        }
    )*};
}

#[tonic::async_trait]
impl CacheService for Floor {
    async fn get(&self, _request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        Ok(Response::new(GetResponse { entry: Some(self.entry.clone()) }))
    }

    async fn batch_get(
        &self,
        request: Request<BatchGetRequest>,
    ) -> Result<Response<BatchGetResponse>, Status> {
        let keys = request.into_inner().keys;
        let result = |key| BatchGetResult { key, entry: Some(self.entry.clone()), deferred: false };
        Ok(Response::new(BatchGetResponse { results: keys.into_iter().map(result).collect() }))
    }

    async fn put(&self, _request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        Ok(Response::new(PutResponse { result: Some(self.put.clone()) }))
    }

    async fn batch_put(
        &self,
        request: Request<BatchPutRequest>,
    ) -> Result<Response<BatchPutResponse>, Status> {
        let outcome = Some(batch_put_result::Outcome::Put(self.put.clone()));
        let results = vec![BatchPutResult { outcome }; request.into_inner().items.len()];
        Ok(Response::new(BatchPutResponse { results }))
    }

    not_measured! {
        get_or_lease(GetOrLeaseRequest) -> GetOrLeaseResponse;
        release_lease(ReleaseLeaseRequest) -> ReleaseLeaseResponse;
        exists(ExistsRequest) -> ExistsResponse;
        delete(DeleteRequest) -> DeleteResponse;
        delete_by_prefix(DeleteByPrefixRequest) -> DeleteByPrefixResponse;
        delete_by_tag(DeleteByTagRequest) -> DeleteByTagResponse;
        touch(TouchRequest) -> TouchResponse;
        evict(EvictRequest) -> EvictResponse;
        list(ListRequest) -> ListResponse;
        stats(StatsRequest) -> StatsResponse;
        update_namespace(UpdateNamespaceRequest) -> UpdateNamespaceResponse;
        get_namespace(GetNamespaceRequest) -> GetNamespaceResponse;
        list_namespaces(ListNamespacesRequest) -> ListNamespacesResponse;
        delete_namespace(DeleteNamespaceRequest) -> DeleteNamespaceResponse;
    }
}
