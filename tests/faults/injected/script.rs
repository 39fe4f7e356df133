//! What is done while the storage fails: one of each kind of write, on keys of its own, so that each can be judged alone.

use pannier_proto::cache::v1 as pb;
use pannier_proto::durability::v1::Durability;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::calls::{Cache, endless, entries, item, look, put};
use crate::ledger::{Effect, Findings, Ledger, Seen, whole};
use crate::sidecar::LONG;

/// Stands in the books for the namespace that a step makes.
const MADE: &str = ":made";
/// Stands in the books for the expiry that a step takes away.
const TOUCHED: &str = ":touched";
/// Keys that are written or deleted in one call; they are there together or not at all.
const GROUPS: [(&str, u64); 3] = [("batch", 50), ("deleted", 5), ("prefix", 20)];

/// The kinds of writes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    MakeNamespace,
    Put,
    Overwrite,
    BatchPut,
    Delete,
    Touch,
    DeleteByPrefix,
    FillLease,
    RelaxedPut,
}

const KINDS: [Kind; 9] = [
    Kind::MakeNamespace,
    Kind::Put,
    Kind::Overwrite,
    Kind::BatchPut,
    Kind::Delete,
    Kind::Touch,
    Kind::DeleteByPrefix,
    Kind::FillLease,
    Kind::RelaxedPut,
];

/// One write, and what became of it.
pub(crate) struct Step {
    pub(crate) kind: Kind,
    pub(crate) tickets: Vec<u64>,
    pub(crate) result: Result<(), Status>,
    request_id: String,
}

impl Kind {
    fn keys(self) -> Vec<String> {
        match self {
            Self::MakeNamespace => vec![MADE.into()],
            Self::Put => vec!["put".into()],
            Self::Overwrite => vec!["old".into()],
            Self::BatchPut => group(GROUPS[0]),
            Self::Delete => group(GROUPS[1]),
            Self::Touch => vec![TOUCHED.into()],
            Self::DeleteByPrefix => group(GROUPS[2]),
            Self::FillLease => vec!["leased".into()],
            Self::RelaxedPut => vec!["relaxed".into()],
        }
    }

    fn effect(self) -> Effect {
        if matches!(self, Self::Delete | Self::DeleteByPrefix) { Effect::Delete } else { Effect::Put }
    }
}

fn group((name, size): (&str, u64)) -> Vec<String> {
    (0..size).map(|place| format!("{name}/{place:02}")).collect()
}

/// A run of all kinds in a namespace of its own, with its books.
pub(crate) struct Script {
    namespace: String,
    pub(crate) ledger: Ledger,
    pub(crate) steps: Vec<Step>,
}

impl Script {
    /// Stores what the steps overwrite, delete and touch. No fault is armed yet.
    pub(crate) async fn prepare(client: &mut Cache, namespace: String) -> Self {
        let script = Self { namespace, ledger: Ledger::default(), steps: Vec::new() };
        endless(client, &script.namespace).await;
        let mut keys = group(GROUPS[1]);
        keys.extend(group(GROUPS[2]));
        keys.push("old".into());
        let tickets = script.ledger.begin(&keys, Effect::Put);
        let mut items: Vec<_> = keys.iter().zip(&tickets).map(|(key, ticket)| item(key, *ticket)).collect();
        let hour = prost_types::Duration { seconds: 3_600, nanos: 0 };
        items.push(pb::PutItem { expiry: Some(pb::put_item::Expiry::Ttl(hour)), ..item("touched", 1) });
        let request =
            pb::BatchPutRequest { namespace: script.namespace.clone(), items, ..Default::default() };
        client.batch_put(request).await.expect("no fault is armed yet");
        script.ledger.acknowledge(&tickets);
        script
    }

    /// Runs the next step, if there is one.
    pub(crate) async fn next(&mut self, client: &mut Cache) -> Option<&Step> {
        let kind = *KINDS.get(self.steps.len())?;
        let tickets = self.ledger.begin(&kind.keys(), kind.effect());
        // From `clock.rs` of the sidecar come its own ids; a caller makes these.
        let request_id = Uuid::new_v4().to_string();
        let result = self.in_time(kind, client, &tickets, &request_id, true).await;
        if result.is_ok() {
            self.ledger.acknowledge(&tickets);
        }
        self.steps.push(Step { kind, tickets, result, request_id });
        self.steps.last()
    }

    /// Sends every request again that got no OK: the same request, with the same id. Now all must succeed.
    pub(crate) async fn repeat_failed(&mut self, client: &mut Cache) {
        for step in self.steps.iter().filter(|step| step.result.is_err()) {
            self.ledger.begin_again(&step.kind.keys(), &step.tickets, step.kind.effect());
            let result = self.in_time(step.kind, client, &step.tickets, &step.request_id, false).await;
            result.unwrap_or_else(|status| panic!("{:?} after the fault: {status:?}", step.kind));
            self.ledger.acknowledge(&step.tickets);
        }
    }

    async fn in_time(
        &self,
        kind: Kind,
        client: &mut Cache,
        tickets: &[u64],
        request_id: &str,
        first: bool,
    ) -> Result<(), Status> {
        let call = self.call(kind, client, tickets, request_id.to_owned(), first);
        tokio::time::timeout(LONG, call).await.unwrap_or_else(|_| panic!("{kind:?} hangs"))
    }

    async fn call(
        &self,
        kind: Kind,
        client: &mut Cache,
        tickets: &[u64],
        request_id: String,
        first: bool,
    ) -> Result<(), Status> {
        let namespace = self.namespace.clone();
        let keys = kind.keys();
        let put_of = |key: &str, durability| pb::PutRequest {
            request_id: request_id.clone(),
            ..put(&self.namespace, key, tickets[0], durability)
        };
        match kind {
            Kind::MakeNamespace => {
                let expiry = pb::namespace::DefaultExpiry::NeverExpires(true);
                let made =
                    pb::Namespace { name: self.made(), default_expiry: Some(expiry), ..Default::default() };
                let request =
                    pb::UpdateNamespaceRequest { namespace: Some(made), request_id, ..Default::default() };
                client.update_namespace(request).await.map(drop)
            }
            Kind::Put | Kind::Overwrite => client.put(put_of(&keys[0], Durability::Full)).await.map(drop),
            Kind::RelaxedPut => client.put(put_of(&keys[0], Durability::Relaxed)).await.map(drop),
            Kind::BatchPut => {
                let items: Vec<_> =
                    keys.iter().zip(tickets).map(|(key, ticket)| item(key, *ticket)).collect();
                let request = pb::BatchPutRequest { namespace, items, request_id, ..Default::default() };
                all_stored(&client.batch_put(request).await?.into_inner().results);
                Ok(())
            }
            Kind::Delete => {
                let items = keys.into_iter().map(|key| pb::DeleteItem { key, if_etag: None }).collect();
                let request = pb::DeleteRequest { namespace, items, request_id, ..Default::default() };
                client.delete(request).await.map(drop)
            }
            Kind::Touch => {
                let expiry = Some(pb::touch_item::Expiry::NeverExpires(true));
                let items = vec![pb::TouchItem { key: "touched".into(), expiry }];
                let results = client
                    .touch(pb::TouchRequest { namespace, items, request_id, ..Default::default() })
                    .await?;
                assert!(results.into_inner().results[0].found);
                Ok(())
            }
            Kind::DeleteByPrefix => {
                let request = pb::DeleteByPrefixRequest { namespace, prefix: "prefix/".into(), request_id };
                client.delete_by_prefix(request).await.map(drop)
            }
            // The second time it is an ordinary put: the lease may have gone with the process that gave it.
            Kind::FillLease if first => self.fill(client, put_of(&keys[0], Durability::Full)).await,
            Kind::FillLease => {
                client.put(put(&self.namespace, &keys[0], tickets[0], Durability::Full)).await.map(drop)
            }
        }
    }

    async fn fill(&self, client: &mut Cache, mut request: pb::PutRequest) -> Result<(), Status> {
        let ask = pb::GetOrLeaseRequest {
            namespace: self.namespace.clone(),
            key: "leased".into(),
            ..Default::default()
        };
        let lease = client.get_or_lease(ask).await?.into_inner().lease.expect("nobody else wants it");
        request.item.as_mut().expect("an item").lease_token = lease.token;
        client.put(request).await.map(drop)
    }

    fn made(&self) -> String {
        format!("{}-made", self.namespace)
    }

    /// A disk that takes no writes stops no reads, those that go to the database included.
    pub(crate) async fn reads_go_on(&self, client: &mut Cache) {
        let request = pb::ListRequest { namespace: self.namespace.clone(), ..Default::default() };
        client.list(request).await.expect("a read while writes fail");
    }

    /// What is there now.
    pub(crate) async fn observe(&self, client: &mut Cache) -> Findings {
        let keys: Vec<_> = self.ledger.keys().into_iter().filter(|key| !key.starts_with(':')).collect();
        let mut findings = look(client, &self.namespace, &keys).await;
        let made = client.get_namespace(pb::GetNamespaceRequest { name: self.made() }).await;
        let made = match made {
            Ok(_) => true,
            Err(status) if status.code() == Code::NotFound => false,
            Err(status) => panic!("{status:?}"),
        };
        findings.insert(MADE.into(), self.standing_for(Kind::MakeNamespace, made));
        let touched = entries(client, &self.namespace, &["touched".to_owned()]).await.remove("touched");
        let endless = touched.flatten().expect("an hour has not passed").expire_time.is_none();
        findings.insert(TOUCHED.into(), self.standing_for(Kind::Touch, endless));
        findings
    }

    fn standing_for(&self, kind: Kind, is: bool) -> Seen {
        let step = self.steps.iter().find(|step| step.kind == kind);
        match step {
            Some(step) if is => Seen::Write(step.tickets[0]),
            None if is => Seen::Garbled(format!("{kind:?} happened before it was asked for")),
            _ => Seen::Absent,
        }
    }

    /// Compares what is there with the books, and each group with itself. Tells what is wrong.
    pub(crate) async fn compare(&self, client: &mut Cache) -> Vec<String> {
        let findings = self.observe(client).await;
        let mut wrong = self.ledger.settle(&findings);
        for size in GROUPS {
            let seen: Vec<_> = group(size).iter().filter_map(|key| findings.get(key).cloned()).collect();
            wrong.extend(whole(&seen).err());
        }
        wrong
    }
}

fn all_stored(results: &[pb::BatchPutResult]) {
    let stored =
        |result: &pb::BatchPutResult| matches!(result.outcome, Some(pb::batch_put_result::Outcome::Put(_)));
    assert!(results.iter().all(stored), "{results:?}");
}
