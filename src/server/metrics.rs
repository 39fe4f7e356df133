//! What is measured, as Prometheus reads it from `/metrics`.
//!
//! Instruments are OpenTelemetry's. What others count already (the engine, the cache) is read when it is asked for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter, MeterProvider as _};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Encoder as _, Registry, TextEncoder};
use tonic::Code;

use super::connections::Connections;
use super::gate::Gate;
use crate::error::{Error, Result};
use crate::services::cache::CacheService;
use crate::storage::{Storage, StorageStats};

/// Seconds: from a hit in memory to a call that waits.
const CALL_BOUNDARIES: [f64; 12] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0];

/// All that is measured.
pub(super) struct Metrics {
    registry: Registry,
    calls: Histogram<f64>,
    methods: HashMap<String, Method>,
    other: Method,
    /// Keeps the instruments alive.
    _provider: SdkMeterProvider,
}

/// A method that is called.
#[derive(Clone)]
pub(super) struct Method {
    name: Arc<str>,
    /// Whether its request is a stream.
    pub(super) takes_stream: bool,
    /// Whether its answer is a stream.
    pub(super) is_stream: bool,
}

impl Metrics {
    pub(super) fn new(
        storage: &Storage,
        cache: &CacheService,
        gate: &Gate,
        connections: &Arc<Connections>,
    ) -> Result<Self> {
        let internal = |error: &dyn std::fmt::Display| Error::internal(error.to_string());
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .without_target_info()
            .build()
            .map_err(|error| internal(&error))?;
        let provider = SdkMeterProvider::builder().with_reader(exporter).build();
        let meter = provider.meter("pannier");
        observe_engine(&meter, storage);
        observe_cache(&meter, cache);
        observe_gate(&meter, gate);
        observe_connections(&meter, connections);
        let calls = meter
            .f64_histogram("pannier_call_duration")
            .with_unit("s")
            .with_description("Time to answer, by method and code")
            .with_boundaries(CALL_BOUNDARIES.to_vec())
            .build();
        let methods = methods();
        let other = Method { name: "other".into(), takes_stream: false, is_stream: false };
        Ok(Self { registry, calls, methods, other, _provider: provider })
    }

    /// The method of a path; all that Pannier does not have are one, so that callers cannot make up series.
    pub(super) fn method(&self, path: &str) -> Method {
        self.methods.get(path).unwrap_or(&self.other).clone()
    }

    pub(super) fn call_ended(&self, method: &Method, code: Code, took: Duration) {
        let attributes =
            [KeyValue::new("method", method.name.clone()), KeyValue::new("code", code_name(code))];
        self.calls.record(took.as_secs_f64(), &attributes);
    }

    /// Everything, in Prometheus' text format.
    pub(super) fn text(&self) -> Result<String> {
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .map_err(|error| Error::internal(error.to_string()))?;
        String::from_utf8(text).map_err(|error| Error::internal(error.to_string()))
    }
}

/// Pannier's own methods by their paths.
fn methods() -> HashMap<String, Method> {
    let named = |(name, takes_stream, is_stream): &(&'static str, bool, bool)| {
        let (takes_stream, is_stream) = (*takes_stream, *is_stream);
        (format!("/{name}"), Method { name: (*name).into(), takes_stream, is_stream })
    };
    pannier_proto::METHODS.iter().map(named).collect()
}

fn observe_gate(meter: &Meter, gate: &Gate) {
    type Gauge = (&'static str, &'static str, fn(&Gate) -> u64);
    let gauges: [Gauge; 4] = [
        ("pannier_calls_running", "Calls that run, until their answer is sent", Gate::running),
        ("pannier_calls_waiting", "Calls that wait for a task, a lease or a value", Gate::waiting),
        ("pannier_bytes_in_flight", "Bytes of requests and of unsent answers", Gate::bytes_in_flight),
        ("pannier_streams_running", "Answers that are streams and go on", Gate::streams_running),
    ];
    for (name, description, value) in gauges {
        let gate = gate.clone();
        meter
            .u64_observable_gauge(name)
            .with_description(description)
            .with_callback(move |observer| observer.observe(value(&gate), &[]))
            .build();
    }
}

fn observe_connections(meter: &Meter, connections: &Arc<Connections>) {
    let open = connections.clone();
    meter
        .u64_observable_gauge("pannier_connections")
        .with_description("gRPC connections that are open")
        .with_callback(move |observer| observer.observe(open.count(), &[]))
        .build();
    type Counter = (&'static str, &'static str, fn(&Connections) -> u64);
    let counters: [Counter; 3] = [
        ("pannier_connections_full", "Connections that found server.connections_max reached", |c| {
            c.counts().0
        }),
        ("pannier_connections_unshaken", "Connections closed without a handshake in time", |c| c.counts().1),
        ("pannier_connections_replaced", "Connections without a call closed for a new one", |c| c.counts().2),
    ];
    for (name, description, value) in counters {
        let connections = connections.clone();
        meter
            .u64_observable_counter(name)
            .with_description(description)
            .with_callback(move |observer| observer.observe(value(&connections), &[]))
            .build();
    }
}

fn observe_engine(meter: &Meter, storage: &Storage) {
    type Counter = (&'static str, &'static str, fn(&StorageStats) -> u64);
    let counters: [Counter; 9] = [
        ("pannier_storage_writes", "Write operations that were committed", |s| s.writes),
        ("pannier_storage_commits", "Commits, each of a group of writes", |s| s.commits),
        ("pannier_storage_faults", "Groups that failed by a fault of database or disk", |s| s.faults),
        ("pannier_storage_writes_dropped", "Writes dropped before they started", |s| s.writes_dropped),
        ("pannier_storage_writes_repeated", "Writes run again after a conflict or a lost connection", |s| {
            s.writes_repeated
        }),
        ("pannier_storage_reads", "Read operations", |s| s.reads),
        ("pannier_storage_checkpoints", "Checkpoints", |s| s.checkpoints),
        (
            "pannier_storage_autocommit_violations",
            "Groups that left their connection inside a transaction; anything but zero is a bug",
            |s| s.autocommit_violations,
        ),
        ("pannier_storage_slow_statements", "Statements over 100 ms", |s| s.slow_statements),
    ];
    for (name, description, value) in counters {
        let storage = storage.clone();
        meter
            .u64_observable_counter(name)
            .with_description(description)
            .with_callback(move |observer| observer.observe(value(&storage.stats()), &[]))
            .build();
    }
    let wal = storage.clone();
    meter
        .u64_observable_gauge("pannier_storage_wal")
        .with_unit("By")
        .with_description(
            "The write-ahead log after the last commit; over storage.wal_bytes_max a reader holds it up",
        )
        .with_callback(move |observer| observer.observe(wal.stats().wal_bytes, &[]))
        .build();
    let storage = storage.clone();
    meter
        .u64_observable_gauge("pannier_storage_queue_length")
        .with_description("Operations that wait for the database")
        .with_callback(move |observer| observer.observe(storage.stats().queue_length, &[]))
        .build();
}

fn observe_cache(meter: &Meter, cache: &CacheService) {
    let reads = cache.clone();
    meter
        .u64_observable_counter("pannier_cache_reads")
        .with_description("Reads by namespace and outcome")
        .with_callback(move |observer| {
            for reads in reads.reads() {
                let outcomes = [("hit", reads.hits), ("miss", reads.misses), ("stale", reads.stales)];
                for (outcome, count) in outcomes {
                    let namespace = KeyValue::new("namespace", reads.namespace.clone());
                    let attributes = [namespace, KeyValue::new("outcome", outcome)];
                    observer.observe(u64::try_from(count).unwrap_or(0), &attributes);
                }
            }
        })
        .build();
    let memory = cache.clone();
    meter
        .u64_observable_gauge("pannier_cache_memory")
        .with_unit("By")
        .with_description("The hot set in memory, about")
        .with_callback(move |observer| observer.observe(memory.memory_size().1, &[]))
        .build();
}

fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
