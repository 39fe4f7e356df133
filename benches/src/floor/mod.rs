//! The floor: a tonic server that does nothing but answer, with messages of the sidecar's sizes. What it reaches is what
//! gRPC itself leaves to reach. It runs as a process of its own, as the sidecar does.

mod cache;
mod jobs;
mod prompts;
mod queue;
mod records;
mod uploads;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use pannier_proto::cache::v1::cache_service_server::CacheServiceServer;
use pannier_proto::jobs::v1::jobs_service_server::JobsServiceServer;
use pannier_proto::prompts::v1::prompts_service_server::PromptsServiceServer;
use pannier_proto::queue::v1::queue_service_server::QueueServiceServer;
use pannier_proto::records::v1::records_service_server::RecordsServiceServer;
use pannier_proto::uploads::v1::uploads_service_server::UploadsServiceServer;
use prost::Message;
use serde_json::json;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::Status;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::Fallible;

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
    /// The folder with messages as the sidecar answered them, each in a file with its name.
    #[arg(long)]
    answers: PathBuf,
}

/// Serves until SIGTERM.
pub(crate) async fn serve(arguments: FloorArguments) -> Fallible<()> {
    let answers = Answers { folder: arguments.answers };
    let routes = Routes::new(CacheServiceServer::new(cache::Cache::new(&answers)?))
        .add_service(QueueServiceServer::new(queue::Queue::new(&answers)?))
        .add_service(JobsServiceServer::new(jobs::Jobs::new(&answers)?))
        .add_service(UploadsServiceServer::new(uploads::Uploads::new(&answers)?))
        .add_service(PromptsServiceServer::new(prompts::Prompts::new(&answers)?))
        .add_service(RecordsServiceServer::new(records::Records::new(&answers)?));
    let listener = TcpListener::bind(arguments.listen).await?;
    let address = listener.local_addr()?;
    // tonic ignores its own setting for a listener that it is given; without this, calls stall 40 ms each.
    let tcp = TcpIncoming::from(listener).with_nodelay(Some(true));
    let unix = UnixListenerStream::new(UnixListener::bind(&arguments.socket)?);

    let ready = json!({ "pid": std::process::id(), "grpc": address.to_string(), "socket": arguments.socket });
    let partial = arguments.ready_file.with_extension("partial");
    std::fs::write(&partial, ready.to_string())?;
    std::fs::rename(&partial, &arguments.ready_file)?;

    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        ended = Server::builder().add_routes(routes.clone()).serve_with_incoming(tcp) => ended?,
        ended = Server::builder().add_routes(routes).serve_with_incoming(unix) => ended?,
        _ = terminated.recv() => {}
    }
    Ok(())
}

/// What the sidecar answered.
struct Answers {
    folder: PathBuf,
}

impl Answers {
    /// The message of this name; an empty one if the workload has recorded none.
    fn read<M: Message + Default>(&self, name: &str) -> Fallible<M> {
        let path = self.folder.join(name);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(M::decode(&*bytes)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(M::default()),
            Err(error) => Err(format!("{}: {error}", path.display()).into()),
        }
    }
}

fn not_measured() -> Status {
    Status::unimplemented("the floor answers only what is measured")
}

/// The methods that no workload calls on the floor.
macro_rules! unmeasured {
    ($($method:ident($request:ty) -> $response:ty;)*) => {$(
        fn $method<'life0, 'async_trait>(
            &'life0 self,
            _request: tonic::Request<$request>,
        ) -> std::pin::Pin<Box<dyn Future<Output = Result<tonic::Response<$response>, tonic::Status>> + Send + 'async_trait>>
        where
            'life0: 'async_trait,
            Self: 'async_trait,
        {
            Box::pin(async { Err($crate::floor::not_measured()) })
        }
    )*};
}
use unmeasured;
