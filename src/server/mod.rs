//! Composes services and layers, listens, and stops in time.
//!
//! Start: NOT_SERVING, lock and look at the data, migrate, SERVING. Stop: NOT_SERVING, stop accepting, let running calls
//! end for `server.drain_ms`, answer the others, end streams at once, flush, checkpoint, close. Idle peers are not waited for.

mod call;
mod clients;
mod connections;
mod executor;
mod gate;
mod handshake;
mod health;
mod listen;
mod metrics;
mod open_files;
mod reading;
mod sending;
mod share;
mod side_port;
mod stream;
mod timekeeping;
mod transport;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic_health::pb::health_server::HealthServer;
use tower::Layer as _;

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::files;
use crate::services::{
    admin, cache, jobs, prompts, queue, records, settings as application_settings, transaction, uploads,
};
use crate::settings::{ClockSettings, Settings, StorageSettings};
use crate::storage::{Durability, Storage, idempotency, migrate, transfer};

pub use crate::services::admin::Process;

use call::CallLayer;
use clients::Clients;
use connections::Connections;
use gate::Gate;
use health::Health;
use metrics::Metrics;
use transport::Transport;

/// How long the last flush and the closing of the database may take.
const CLOSE_MAX: Duration = Duration::from_millis(500);

/// The services, as grpc.health names them.
const SERVICES: [&str; 9] = [
    admin::NAME,
    cache::NAME,
    jobs::NAME,
    application_settings::NAME,
    queue::NAME,
    uploads::NAME,
    prompts::NAME,
    records::NAME,
    transaction::NAME,
];

/// How often old answers to repeated requests are looked for.
const IDEMPOTENCY_SWEEP_MS: u64 = 60_000;

/// Rows that one step of that removes.
const IDEMPOTENCY_ROWS_PER_STEP: u64 = 256;

/// A sidecar that serves.
pub struct Running {
    /// Where it listens for gRPC.
    pub address: Option<SocketAddr>,
    /// The Unix socket.
    pub socket: Option<PathBuf>,
    /// Where it listens for HTTP.
    pub http_address: Option<SocketAddr>,
    socket_identity: Option<files::Identity>,
    displaced: watch::Receiver<Option<PathBuf>>,
    storage: Storage,
    clock: Clock,
    clock_settings: ClockSettings,
    gate: Gate,
    clients: Arc<Clients>,
    stopping: watch::Sender<bool>,
    is_ready: Arc<watch::Sender<bool>>,
    transport: JoinHandle<Result<()>>,
    upkeep: Vec<JoinHandle<()>>,
    drain: Duration,
}

/// Opens the database and brings its schema up to date, if the settings allow that; tells each change to `progress`.
pub async fn open(settings: &StorageSettings, mut progress: impl FnMut(&str)) -> Result<Storage> {
    let storage = Storage::open(settings).await?;
    let prepared = async {
        transfer::refuse_unfinished(&storage).await?;
        let changes = migrate::status(&storage).await?;
        let pending = changes.iter().filter(|change| !change.is_applied).count();
        if !settings.create && pending == changes.len() {
            return Err(Error::Refused(
                "the database is empty: look whether it is the right one (storage.create is false)".into(),
            ));
        }
        if pending > 0 && !settings.migrate_on_start {
            return Err(Error::Refused(format!(
                "the database has an older schema ({pending} migrations are missing): run `pannier migrate up`, or set storage.migrate_on_start"
            )));
        }
        if pending > 0 && settings.read_only {
            return Err(Error::Refused(format!(
                "the database has an older schema ({pending} migrations are missing), and storage.read_only is set: run `pannier migrate up`"
            )));
        }
        migrate::up(&storage, None, &mut progress).await
    };
    if let Err(error) = prepared.await {
        storage.close().await;
        return Err(error);
    }
    Ok(storage)
}

/// Starts serving; answers when every service does.
pub async fn start(settings: &Settings, clock: Clock) -> Result<Running> {
    start_as(settings, clock, Process::default()).await
}

/// Starts serving as a process of which the admin service reports `process`.
pub async fn start_as(settings: &Settings, clock: Clock, process: Process) -> Result<Running> {
    let listeners = listen::bind(&settings.server).await?;
    let (address, http_address) = (listeners.address()?, listeners.http_address()?);
    let socket = listeners.socket();
    let socket_identity = socket.as_deref().and_then(files::identity);
    let storage =
        open(&settings.storage, |change| tracing::info!(migration = change, "migration applied")).await?;
    if let Err(error) = timekeeping::resume(&storage, &clock, &settings.clock).await {
        storage.close().await;
        return Err(error);
    }

    let cache = cache::CacheService::new(storage.clone(), clock.clone(), settings);
    let jobs = jobs::JobsService::new(storage.clone(), clock.clone(), settings);
    let application_settings =
        application_settings::SettingsService::new(storage.clone(), clock.clone(), settings);
    let queue = queue::QueueService::new(storage.clone(), clock.clone(), settings);
    let uploads = uploads::UploadsService::new(storage.clone(), clock.clone(), settings);
    let prompts = prompts::PromptsService::new(storage.clone(), clock.clone(), settings);
    let records = records::RecordsService::new(storage.clone(), clock.clone(), settings);
    let composed = transaction::Services {
        cache: cache.clone(),
        jobs: jobs.clone(),
        queue: queue.clone(),
        settings: application_settings.clone(),
        uploads: uploads.clone(),
        prompts: prompts.clone(),
        records: records.clone(),
    };
    let transaction = transaction::TransactionService::new(storage.clone(), &clock, settings, composed);
    let admin = admin::AdminService::new(&storage, clock.clone(), settings, process);
    let gate = Gate::new(&settings.server);
    open_files::raise_limit(&settings.server);
    let clients = Arc::new(Clients::new());
    let connections = Connections::new(settings.server.connections_max);
    let metrics = Arc::new(Metrics::new(&storage, &cache, &gate, &connections)?);

    let (stopping, is_stopping) = watch::channel(false);
    let (is_ready, ready) = watch::channel(false);
    let is_ready = Arc::new(is_ready);
    let reflection = |error: tonic_reflection::server::Error| Error::internal(error.to_string());
    let routes = Routes::new(HealthServer::new(Health::new(&SERVICES, ready.clone())))
        .add_service(reflection_builder().build_v1().map_err(reflection)?)
        .add_service(reflection_builder().build_v1alpha().map_err(reflection)?)
        .add_service(cache::server(cache.clone()))
        .add_service(jobs::server(jobs.clone()))
        .add_service(application_settings::server(application_settings.clone()))
        .add_service(queue::server(queue.clone()))
        .add_service(uploads::server(uploads.clone()))
        .add_service(prompts::server(prompts.clone()))
        .add_service(records::server(records.clone()))
        .add_service(transaction::server(transaction))
        .add_service(admin::server(admin))
        .prepare();
    let (grpc, http) = listeners.split();
    let call = CallLayer::new(gate.clone(), metrics.clone()).layer(routes);
    let accepting = Transport::new(call, connections, clients.clone(), &settings.server, is_stopping.clone());
    let transport = tokio::spawn(async move {
        let mut listening = tokio::task::JoinSet::new();
        for listener in grpc {
            listening.spawn(accepting.clone().accept(listener));
        }
        drop(accepting);
        while let Some(ended) = listening.join_next().await {
            ended.map_err(|error| Error::internal(format!("the gRPC server failed: {error}")))?;
        }
        Ok(())
    });
    // A sidecar that only reads removes, flushes and schedules nothing.
    let mut upkeep = if storage.is_read_only() {
        Vec::new()
    } else {
        vec![
            tokio::spawn(cache::upkeep(cache, is_stopping.clone())),
            tokio::spawn(jobs::upkeep(jobs, is_stopping.clone())),
            tokio::spawn(application_settings::upkeep(application_settings, is_stopping.clone())),
            tokio::spawn(queue::upkeep(queue, is_stopping.clone())),
            tokio::spawn(uploads::upkeep(uploads, is_stopping.clone())),
            tokio::spawn(prompts::derived(prompts.clone(), is_stopping.clone())),
            tokio::spawn(prompts::upkeep(prompts, is_stopping.clone())),
            tokio::spawn(records::upkeep(records, is_stopping.clone())),
            tokio::spawn(forget_old_answers(storage.clone(), clock.steady(), is_stopping.clone())),
            tokio::spawn(timekeeping::run(
                storage.clone(),
                clock.clone(),
                settings.clock.clone(),
                is_stopping.clone(),
            )),
        ]
    };
    let (displaced_sender, displaced) = watch::channel(None);
    let presence = Presence {
        storage: storage.clone(),
        clock: clock.steady(),
        pause_ms: settings.storage.presence_check_ms,
        is_ready: is_ready.clone(),
        displaced: displaced_sender,
    };
    upkeep.push(tokio::spawn(presence.watch(is_stopping.clone())));
    if let Some(http) = http {
        upkeep.push(tokio::spawn(side_port::serve(http, &settings.server, ready, metrics, is_stopping)));
    }
    is_ready.send_replace(true);
    Ok(Running {
        address,
        socket,
        socket_identity,
        http_address,
        displaced,
        storage,
        clock,
        clock_settings: settings.clock.clone(),
        gate,
        clients,
        stopping,
        is_ready,
        transport,
        upkeep,
        drain: Duration::from_millis(settings.server.drain_ms),
    })
}

impl Running {
    /// Waits until the sidecar can no longer serve; answers with the reason.
    pub async fn failed(&mut self) -> Error {
        let mut storage_failed = self.storage.failed();
        let displaced = async {
            match self.displaced.wait_for(Option::is_some).await.map(|path| path.clone()) {
                Ok(Some(path)) => path,
                // The look ends with the sidecar.
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            ended = &mut self.transport => match ended {
                Ok(Err(error)) => error,
                Ok(Ok(())) => Error::internal("the gRPC server ended by itself"),
                Err(error) => Error::internal(format!("the gRPC server panicked: {error}")),
            },
            path = displaced => Error::Refused(format!(
                "{} was removed or replaced while the sidecar used it: what is written now would be lost; restore it before the next start",
                path.display()
            )),
            _ = storage_failed.wait_for(|failed| *failed) => Error::StorageUnavailable {
                cause: "fsync failed; what was acknowledged is recovered at the next start".into(),
            },
        }
    }

    /// Waits until no client connection has been open for `limit`. Connections that only ask for health do not count.
    pub fn idle(&self, limit: Duration) -> impl Future<Output = ()> + use<> {
        let clients = self.clients.clone();
        async move { clients.idle(limit).await }
    }

    /// Stops; answers when everything that was acknowledged is on the disk.
    pub async fn stop(self) {
        self.is_ready.send_replace(false);
        self.stopping.send_replace(true);
        self.gate.drain(self.drain).await;
        let close = async {
            for task in self.upkeep {
                // A task that panicked has ended as well; its panic is in the log.
                let _ = task.await;
            }
            timekeeping::end(&self.storage, &self.clock, &self.clock_settings).await;
            self.storage.close().await;
        };
        if tokio::time::timeout(CLOSE_MAX, close).await.is_err() {
            tracing::warn!("the database was not closed in time; the next start recovers it");
        }
        self.transport.abort();
        // Another sidecar may have put its own socket there.
        if let Some(socket) = &self.socket
            && files::identity(socket) == self.socket_identity
            && let Err(error) = std::fs::remove_file(socket)
        {
            tracing::warn!(error = %error, "the socket file could not be removed");
        }
    }
}

fn reflection_builder() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(pannier_proto::FILE_DESCRIPTOR_SET)
        // grpcurl shows error details in clear when reflection knows their types.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

async fn forget_old_answers(storage: Storage, clock: Clock, mut stopping: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = clock.sleep_ms(IDEMPOTENCY_SWEEP_MS) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        loop {
            let now_us = clock.before_us(0);
            let step = storage.write(Durability::Relaxed, (), move |tx, ()| {
                Box::pin(idempotency::sweep(tx, now_us, IDEMPOTENCY_ROWS_PER_STEP))
            });
            match step.await {
                Ok(IDEMPOTENCY_ROWS_PER_STEP) => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(error = %error, "old answers were not removed; it is tried again");
                    break;
                }
            }
        }
    }
}

/// Looks whether the database's files are still in their places.
struct Presence {
    storage: Storage,
    clock: Clock,
    pause_ms: u64,
    is_ready: Arc<watch::Sender<bool>>,
    displaced: watch::Sender<Option<PathBuf>>,
}

impl Presence {
    /// Reports the first file that is not, after health is NOT_SERVING, and ends.
    async fn watch(self, mut stopping: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = self.clock.sleep_ms(self.pause_ms) => {}
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
            if let Some(path) = self.storage.displaced().await {
                self.is_ready.send_replace(false);
                tracing::error!(path = %path.display(), "a file of the database was removed or replaced");
                self.displaced.send_replace(Some(path));
                return;
            }
        }
    }
}
