//! The servers of the cache's workloads: a sidecar with a prefilled cache, a floor that answers as it does, and such a
//! sidecar on PostgreSQL.

use pannier_proto::cache::v1::{Entry, PutResult};
use pannier_proto::durability::v1::Durability;
use prost::Message as _;

use crate::Fallible;
use crate::bench::{Bench, VALUE_BYTES};
use crate::contest::{Contest, ON_POSTGRES, ON_SQLITE, Side};
use crate::material::{Material, stored_key};
use crate::sidecar::{Sidecar, Via};
use crate::workers::cache::{Caller, Operation};

/// Entries a BatchPut of the preparation carries.
const FILL: usize = 1000;

/// The servers, with the same answers.
pub(crate) struct Pair {
    pub(crate) pannier: Sidecar,
    pub(crate) floor: Sidecar,
    pub(crate) postgres: Option<Sidecar>,
    /// Encoded sizes of the answers, for the report.
    pub(crate) sizes: String,
}

impl Bench {
    /// A sidecar with `stored` entries that have all been read once, a floor that answers as it does, and such a sidecar on
    /// PostgreSQL if there is one.
    pub(crate) async fn pair(&self, name: &str, settings: &[&str], stored: usize) -> Fallible<Pair> {
        let pannier = self.sidecar(name, settings).await?;
        let mut caller = self.prefill(&pannier, stored).await?;
        let answers = record(&mut caller, &mut self.material(VALUE_BYTES, stored)).await?;
        let recorded = [("Entry", answers.0.encode_to_vec()), ("PutResult", answers.1.encode_to_vec())];
        let floor = self.floor(name, &recorded).await?;
        let sizes = same_sizes(&floor, &answers, self.material(VALUE_BYTES, stored)).await?;
        let postgres = match self.launch_on_postgres(name, settings).await? {
            Some(launch) => {
                let sidecar = Sidecar::start(&launch).await?;
                self.prefill(&sidecar, stored).await?;
                self.analyze().await?;
                Some(sidecar)
            }
            None => None,
        };
        Ok(Pair { pannier, floor, postgres, sizes })
    }

    async fn prefill(&self, sidecar: &Sidecar, stored: usize) -> Fallible<Caller> {
        let mut caller = Caller::new(sidecar.connect(Via::Tcp).await?, self.material(VALUE_BYTES, stored));
        fill(&mut caller, &mut self.material(VALUE_BYTES, stored), stored).await?;
        for from in (0..stored).step_by(FILL) {
            caller.read_all((from..(from + FILL).min(stored)).map(stored_key).collect()).await?;
        }
        Ok(caller)
    }

    /// One worker for each call in flight, spread over the connections.
    pub(crate) async fn workers(
        &self,
        server: &Sidecar,
        via: Via,
        in_flight: usize,
        stored: usize,
        operation: impl Fn(Caller) -> Operation,
    ) -> Fallible<Vec<Operation>> {
        let channels = self.channels(server, via, in_flight).await?;
        let caller = |channel| Caller::new(channel, self.material(VALUE_BYTES, stored));
        Ok(channels.into_iter().map(|channel| operation(caller(channel))).collect())
    }
}

impl Contest {
    /// The sidecar on PostgreSQL as one more side, over TCP, if there is one; the one on SQLite is compared with it.
    pub(crate) async fn with_postgres(
        self,
        bench: &Bench,
        pair: &Pair,
        in_flight: usize,
        stored: usize,
        operation: impl Fn(Caller) -> Operation,
    ) -> Fallible<Self> {
        let Some(sidecar) = &pair.postgres else { return Ok(self) };
        let workers = bench.workers(sidecar, Via::Tcp, in_flight, stored, operation).await?;
        let side = Side::pannier(ON_POSTGRES, sidecar.pid(), workers);
        Ok(self.side(side).ratio(ON_POSTGRES, ON_SQLITE, None))
    }
}

/// Puts the stored entries.
pub(crate) async fn fill(caller: &mut Caller, material: &mut Material, stored: usize) -> Fallible<()> {
    for from in (0..stored).step_by(FILL) {
        let keys = from..(from + FILL).min(stored);
        let items = keys.map(|index| material.item_of(stored_key(index))).collect();
        caller.write_all(items).await?;
    }
    Ok(())
}

/// What the sidecar answers to a Put and to a Get.
async fn record(caller: &mut Caller, material: &mut Material) -> Fallible<(Entry, PutResult)> {
    let put = caller.write(material.item_of(stored_key(0)), Durability::Full).await?;
    Ok((caller.read(stored_key(0)).await?, put))
}

/// The floor's answers must be as long as the sidecar's, or the comparison means nothing.
async fn same_sizes(floor: &Sidecar, of: &(Entry, PutResult), material: Material) -> Fallible<String> {
    let mut material = material;
    let item = material.item();
    let mut caller = Caller::new(floor.connect(Via::Tcp).await?, material);
    let entry = caller.read(stored_key(0)).await?;
    let put = caller.write(item, Durability::Full).await?;
    let (theirs, ours) = ((entry.encoded_len(), put.encoded_len()), (of.0.encoded_len(), of.1.encoded_len()));
    if theirs != ours {
        return Err(format!("the floor answers {theirs:?} bytes, the sidecar {ours:?}").into());
    }
    Ok(format!("answers on both sides: an entry of {} bytes, a put result of {} bytes", ours.0, ours.1))
}
