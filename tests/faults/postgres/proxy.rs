//! A network between sidecar and database that can be slow, hang, forget connections, cut them, and lose the answer to one
//! COMMIT.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::sidecar::{LONG, within};

/// What happens to the next COMMIT of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trap {
    /// It never arrives, and nothing else on its connection.
    CommitLost,
    /// It arrives; its answer does not, and nothing else on its connection.
    AnswerLost,
    /// It arrives; instead of its answer comes the end of the connection.
    AnswerCut,
}

#[derive(Clone, Copy, Debug, Default)]
struct Control {
    requests_held: bool,
    answers_held: bool,
    /// How long everything takes, each way.
    delay: Duration,
    /// Connections with lower numbers: nothing goes through them ever again.
    forgotten_below: u64,
    /// The same for connections on which somebody listens for notifications.
    listeners_forgotten_below: u64,
    /// Connections with lower numbers: closed.
    cut_below: u64,
    /// How many there were.
    connections: u64,
}

/// The proxy; its connections end when it is dropped.
pub(super) struct Proxy {
    address: SocketAddr,
    control: watch::Sender<Control>,
    trap: Arc<Mutex<Option<Trap>>>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Before the server at `to`, which need not be there yet.
    pub(super) async fn before(to: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let control = watch::Sender::new(Control::default());
        let trap = Arc::default();
        let accepting = tokio::spawn(accept(listener, to, control.clone(), Arc::clone(&trap)));
        Self { address, control, trap, accepting }
    }

    /// The URL of a database behind it.
    pub(super) fn url(&self, database: &str) -> String {
        format!("postgres://pannier@{}/{database}", self.address)
    }

    /// Takes so long, each way.
    pub(super) fn delay(&self, delay: Duration) {
        self.control.send_modify(|control| control.delay = delay);
    }

    /// Stops forwarding; connections are still accepted.
    pub(super) fn hang(&self) {
        self.control.send_modify(|control| {
            control.requests_held = true;
            control.answers_held = true;
        });
    }

    /// Stops forwarding answers alone.
    pub(super) fn hold_answers(&self) {
        self.control.send_modify(|control| control.answers_held = true);
    }

    /// Forwards what was held, and from now on everything.
    pub(super) fn go_on(&self) {
        self.control.send_modify(|control| {
            control.requests_held = false;
            control.answers_held = false;
        });
    }

    /// Never forwards anything again on the connections that there are; new ones work.
    pub(super) fn forget_connections(&self) {
        self.control.send_modify(|control| control.forgotten_below = control.connections);
        self.go_on();
    }

    /// The same for those connections alone on which somebody listens for notifications.
    pub(super) fn forget_listeners(&self) {
        self.control.send_modify(|control| control.listeners_forgotten_below = control.connections);
    }

    /// Closes the connections that there are.
    pub(super) fn cut_connections(&self) {
        self.control.send_modify(|control| control.cut_below = control.connections);
    }

    /// How many connections were made so far.
    pub(super) fn connections(&self) -> u64 {
        self.control.borrow().connections
    }

    /// Has this happen to the next COMMIT of a write.
    pub(super) fn set_trap(&self, trap: Trap) {
        *self.trap.lock().expect("nobody panicked") = Some(trap);
    }

    /// That a COMMIT has run into the trap.
    pub(super) async fn trap_has_sprung(&self) {
        let sprung = || self.trap.lock().expect("nobody panicked").is_none().then_some(());
        within(LONG, sprung).await.expect("a write commits");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut_connections();
    }
}

async fn accept(listener: TcpListener, to: String, control: watch::Sender<Control>, trap: Traps) {
    loop {
        let (client, _) = listener.accept().await.expect("a connection");
        let mut number = 0;
        control.send_modify(|control| {
            number = control.connections;
            control.connections += 1;
        });
        let line = Line { number, control: control.subscribe(), listens: Arc::default() };
        tokio::spawn(relay(client, to.clone(), line, trap.clone()));
    }
}

type Traps = Arc<Mutex<Option<Trap>>>;

/// One connection.
#[derive(Clone)]
struct Line {
    number: u64,
    control: watch::Receiver<Control>,
    listens: Arc<AtomicBool>,
}

impl Line {
    /// Waits until something that was read may be passed on.
    async fn may_pass(&mut self, is_held: fn(&Control) -> bool) {
        let number = self.number;
        let listens = self.listens.load(Ordering::Relaxed);
        let passes = |control: &Control| {
            let is_forgotten =
                number < control.forgotten_below || (listens && number < control.listeners_forgotten_below);
            !is_forgotten && !is_held(control)
        };
        let delay = self.control.borrow().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if self.control.wait_for(passes).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    async fn cut(mut self) {
        // If the proxy is gone, the connection ends as well.
        let _ = self.control.wait_for(|control| self.number < control.cut_below).await;
    }
}

/// What the two directions of a connection know of the trap that it ran into.
type Sprung = watch::Sender<Option<Trap>>;

async fn relay(client: TcpStream, to: String, line: Line, trap: Traps) {
    let Ok(server) = TcpStream::connect(to).await else { return };
    client.set_nodelay(true).expect("an option");
    server.set_nodelay(true).expect("an option");
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let sprung = Sprung::new(None);
    tokio::select! {
        () = requests(from_client, to_server, line.clone(), trap, &sprung) => {}
        () = answers(from_server, to_client, line.clone(), &sprung) => {}
        () = line.cut() => {}
    }
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut line: Line,
    trap: Traps,
    sprung: &Sprung,
) {
    let mut buffer = vec![0; 65_536];
    let mut is_writing = false;
    while let Some(count) = from.read(&mut buffer).await.ok().filter(|count| *count > 0) {
        line.may_pass(|control| control.requests_held).await;
        let bytes = &buffer[..count];
        // The engine sends these alone; reads begin otherwise.
        is_writing |= has(bytes, b"BEGIN\0");
        line.listens.fetch_or(has(bytes, b"LISTEN \""), Ordering::Relaxed);
        if has(bytes, b"COMMIT\0") && std::mem::take(&mut is_writing) {
            let met = trap.lock().expect("nobody panicked").take();
            sprung.send_replace(met);
            if met == Some(Trap::CommitLost) {
                std::future::pending::<()>().await;
            }
        }
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut line: Line, sprung: &Sprung) {
    let mut buffer = vec![0; 65_536];
    while let Some(count) = from.read(&mut buffer).await.ok().filter(|count| *count > 0) {
        line.may_pass(|control| control.answers_held).await;
        let met = *sprung.borrow();
        match met {
            Some(Trap::AnswerCut) => return,
            Some(_) => std::future::pending().await,
            None => {}
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
