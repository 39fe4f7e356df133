//! The sidecars of a run: killed and started again on the same data, while their callers look for one that is there.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tonic::transport::{Channel, Endpoint};

use crate::chance::Chance;
use crate::sidecar::{Launch, Sidecar};

/// Now and then the next one is killed as well, while it starts and recovers.
const START_SPAN_MICROS: u64 = 120_000;

/// Who notes when the sidecars start and end.
pub(crate) trait Witness: Send + Sync {
    /// One is about to be started; the others are told this number.
    fn starting(&self) -> usize;
    /// It serves.
    fn serves(&self, start: usize);
    /// It is about to be killed.
    fn killing(&self, start: usize);
}

/// Nobody.
impl Witness for () {
    fn starting(&self) -> usize {
        0
    }
    fn serves(&self, _: usize) {}
    fn killing(&self, _: usize) {}
}

/// Sidecars that share one database.
pub(crate) struct Fleet {
    posts: Vec<Post>,
    witness: Arc<dyn Witness>,
}

/// The place of one sidecar.
struct Post {
    launch: Launch,
    /// Where it listens, while it does.
    address: watch::Sender<Option<String>>,
    running: Mutex<Option<Running>>,
}

struct Running {
    sidecar: Sidecar,
    start: usize,
}

impl Fleet {
    pub(crate) async fn started(launches: Vec<Launch>, witness: Arc<dyn Witness>) -> Self {
        let mut posts = Vec::new();
        for launch in launches {
            let start = witness.starting();
            let sidecar = launch.start().await;
            witness.serves(start);
            let (address, _) = watch::channel(Some(sidecar.grpc()));
            posts.push(Post { launch, address, running: Mutex::new(Some(Running { sidecar, start })) });
        }
        Self { posts, witness }
    }

    pub(crate) fn size(&self) -> usize {
        self.posts.len()
    }

    /// kill -9, and a start on the same data.
    pub(crate) async fn kill_and_start(&self, post: usize, chance: &mut Chance) {
        let post = &self.posts[post];
        let mut running = post.running.lock().await;
        self.kill(post, running.take().expect("each kill is followed by a start"));
        while chance.once_in(4) {
            let start = self.witness.starting();
            let moment = Duration::from_micros(chance.below(START_SPAN_MICROS));
            let sidecar = post.launch.started_for(moment).await;
            self.kill(post, Running { sidecar, start });
        }
        let start = self.witness.starting();
        let sidecar = post.launch.start().await;
        self.witness.serves(start);
        post.address.send_replace(Some(sidecar.grpc()));
        *running = Some(Running { sidecar, start });
    }

    fn kill(&self, post: &Post, mut running: Running) {
        post.address.send_replace(None);
        self.witness.killing(running.start);
        running.sidecar.kill();
    }

    /// A connection to a sidecar, when it is there.
    pub(crate) async fn channel(&self, post: usize) -> Channel {
        let mut address = self.posts[post].address.subscribe();
        loop {
            let there =
                address.wait_for(Option::is_some).await.expect("the fleet outlives its callers").clone();
            let endpoint =
                Endpoint::from_shared(format!("http://{}", there.expect("waited for"))).expect("an address");
            match endpoint.connect().await {
                Ok(channel) => return channel,
                // It was killed just now: the next address is another.
                Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    }

    /// What the sidecars that run now have logged.
    pub(crate) async fn log(&self) -> String {
        let mut log = String::new();
        for post in &self.posts {
            log +=
                &post.running.lock().await.as_ref().map(|running| running.sidecar.log()).unwrap_or_default();
        }
        log
    }

    /// SIGTERM to all, and that they end well.
    pub(crate) async fn stop(&self) {
        for post in &self.posts {
            post.running.lock().await.as_mut().expect("it runs").sidecar.stop().await;
        }
    }
}
