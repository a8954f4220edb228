//! A TCP proxy before any server, which a test can cut or stall, as when the server or the network is down for one client,
//! without stopping what others use.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Forwarding,
    Cut,
    Stalled,
}

/// A port on 127.0.0.1 that leads to another one, for as long as the runtime of the test lives.
pub(crate) struct TcpProxy {
    from: u16,
    to: u16,
    state: Arc<watch::Sender<State>>,
    limit: Arc<AtomicUsize>,
}

impl TcpProxy {
    /// A proxy to a port on 127.0.0.1.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("there is a free port");
        let from = listener.local_addr().expect("a bound socket has an address").port();
        let state = Arc::new(watch::Sender::new(State::Forwarding));
        let watched = state.clone();
        let limit = Arc::new(AtomicUsize::new(usize::MAX));
        let limited = limit.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connect(client, port, watched.subscribe(), limited.clone()));
            }
        });
        Self { from, to: port, state, limit }
    }

    /// The port of this end.
    pub(crate) fn port(&self) -> u16 {
        self.from
    }

    /// A URL of the server behind it, turned into one that goes through it.
    pub(crate) fn reroute(&self, url: &str) -> String {
        let rerouted = url.replacen(&format!("127.0.0.1:{}", self.to), &format!("127.0.0.1:{}", self.from), 1);
        assert_ne!(rerouted, url, "this proxy leads to port {}", self.to);
        rerouted
    }

    /// Ends every connection, and every new one at once, until it is restored.
    pub(crate) fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// Keeps connections open and passes nothing on, in neither direction, until it is restored.
    pub(crate) fn stall(&self) {
        self.state.send_replace(State::Stalled);
    }

    /// Passes on so many bytes of the server's on each connection, and nothing after that, as a server that freezes then.
    pub(crate) fn freeze_after(&self, bytes: usize) {
        self.limit.store(bytes, Ordering::Relaxed);
    }

    /// Passes on what comes, and what came while it was stalled.
    pub(crate) fn restore(&self) {
        self.state.send_replace(State::Forwarding);
    }
}

async fn connect(client: TcpStream, port: u16, state: watch::Receiver<State>, limit: Arc<AtomicUsize>) {
    if *state.borrow() == State::Cut {
        return;
    }
    // Where there is no server, the client sees its connection end.
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
    let (client_reads, client_writes) = client.into_split();
    let (server_reads, server_writes) = server.into_split();
    let unlimited = Arc::new(AtomicUsize::new(usize::MAX));
    tokio::join!(
        pass_on(client_reads, server_writes, state.clone(), unlimited),
        pass_on(server_reads, client_writes, state, limit)
    );
}

/// Copies until one side closes or the proxy is cut.
async fn pass_on(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    limit: Arc<AtomicUsize>,
) {
    let mut passed = 0;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            cut = state.wait_for(|state| *state == State::Cut) => { drop(cut); return }
        };
        let Ok(count @ 1..) = read else { return };
        match state.wait_for(|state| *state != State::Stalled).await.map(|state| *state) {
            Ok(State::Forwarding) => {}
            _ => return,
        }
        let left = limit.load(Ordering::Relaxed).saturating_sub(passed).min(count);
        if to.write_all(&buffer[..left]).await.is_err() {
            return;
        }
        passed += left;
        if left < count {
            let _ = state.wait_for(|state| *state == State::Cut).await;
            return;
        }
    }
}
