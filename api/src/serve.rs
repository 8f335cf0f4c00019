//! Serving a router on a bound listener until told to stop, with bounded connections and a bounded end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::middleware::from_fn;
use axum::serve::{IncomingStream, Listener};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::connection::{Connection, ConnectionInfo, Patience, note_phase};
use crate::limits::{DRAIN_TIME, HEAD_TIME, IDLE_CONNECTION, MAX_CONNECTIONS};
use crate::peers::{PeerBounds, Peers};
use crate::tls::{TlsIdentity, Transport};

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every request in flight was answered.
    Complete,
    /// The drain time passed; so many connections were cut.
    Cut {
        /// Connections still open then.
        connections: usize,
    },
}

/// What is listened on, and what encrypts its connections where they are: the identity that is there when a connection is
/// accepted.
pub struct Listening {
    /// The bound socket.
    pub listener: TcpListener,
    /// `None` for plain HTTP.
    pub tls: Option<watch::Receiver<TlsIdentity>>,
    /// How many connections an address may have.
    pub peers: PeerBounds,
}

/// Serves until `shutdown` completes; then takes no new connection, lets requests in flight and WebSockets end
/// within [`DRAIN_TIME`] and cuts the rest, so that no handler runs on after this returns for good. As many connections
/// as there may be WebSockets are taken beside [`MAX_CONNECTIONS`].
pub async fn serve(
    listening: Listening,
    router: Router,
    max_sockets: usize,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Drained {
    let patience = Patience { idle: IDLE_CONNECTION, head: HEAD_TIME };
    let connections = MAX_CONNECTIONS + max_sockets;
    let bounds = Bounds { connections, patience, drain: DRAIN_TIME };
    serve_bounded(listening, router, shutdown, bounds).await
}

/// How long connections that were cut may take to end.
const CUT_TIME: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy)]
struct Bounds {
    connections: usize,
    patience: Patience,
    drain: Duration,
}

async fn serve_bounded(
    listening: Listening,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
    bounds: Bounds,
) -> Drained {
    let free = Arc::new(Semaphore::new(bounds.connections));
    let (cut, cut_seen) = watch::channel(false);
    let listener = BoundedListener {
        inner: listening.listener,
        tls: listening.tls,
        peers: Arc::new(Peers::new(listening.peers)),
        free: Arc::clone(&free),
        cut: cut_seen,
        patience: bounds.patience,
    };
    let (began, mut draining) = watch::channel(false);
    let announced = async move {
        shutdown.await;
        // A receiver is held below for as long as this can run.
        began.send_replace(true);
    };
    let service = router.layer(from_fn(note_phase)).into_make_service_with_connect_info::<ConnectionInfo>();
    let serving = axum::serve(listener, service).with_graceful_shutdown(announced);
    let mut serving = std::pin::pin!(serving.into_future());
    let overdue = async {
        // An error means that the sender is gone, after it said `true`.
        let _ = draining.wait_for(|begun| *begun).await;
        tokio::time::sleep(bounds.drain).await;
    };
    let mut all_closed = std::pin::pin!(async {
        // It never fails: accept errors are retried, connection errors end the connection.
        let _ = serving.as_mut().await;
        // What was upgraded is the library's no more, but has its permit still.
        all_closed(&free, bounds.connections).await;
    });
    tokio::select! {
        () = &mut all_closed => return Drained::Complete,
        () = overdue => {}
    }
    let connections = bounds.connections - free.available_permits();
    cut.send_replace(true);
    // Each connection sees the cut at its next poll, which the cut itself wakes. One that nobody polls any more is not
    // waited for.
    let _ = tokio::time::timeout(CUT_TIME, all_closed).await;
    Drained::Cut { connections }
}

/// Waits until every permit is back.
async fn all_closed(free: &Semaphore, connections: usize) {
    let all = u32::try_from(connections).unwrap_or(u32::MAX);
    // The semaphore is never closed.
    let _ = free.acquire_many(all).await;
}

/// Accepts no more connections than there are permits.
struct BoundedListener {
    inner: TcpListener,
    tls: Option<watch::Receiver<TlsIdentity>>,
    peers: Arc<Peers>,
    free: Arc<Semaphore>,
    cut: watch::Receiver<bool>,
    patience: Patience,
}

impl Listener for BoundedListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // The semaphore is never closed. Waiting before accepting leaves the next client in the
        // kernel's backlog.
        let permit = Arc::clone(&self.free).acquire_owned().await.ok();
        let (stream, address, peer) = loop {
            let (stream, address) = Listener::accept(&mut self.inner).await;
            match self.peers.take(address.ip()) {
                Some(peer) => break (stream, address, peer),
                None => {
                    tracing::debug!(%address, "an address has as many connections as it may; one was closed")
                }
            }
        };
        // Small answers must not wait for more bytes; a socket that refuses the option still works.
        let _ = stream.set_nodelay(true);
        let mut cut = self.cut.clone();
        let cut = async move {
            // The sender outlives every connection it could cut.
            let _ = cut.wait_for(|cut| *cut).await;
        };
        let identity = self.tls.as_ref().map(|tls| tls.borrow().clone());
        let stream = Transport::new(stream, identity);
        let connection = Connection::new((stream, address), self.patience, cut, (permit, peer));
        (connection, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

impl Connected<IncomingStream<'_, BoundedListener>> for ConnectionInfo {
    fn connect_info(stream: IncomingStream<'_, BoundedListener>) -> Self {
        stream.io().info()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::{Notify, oneshot};
    use tokio::task::JoinHandle;

    use super::*;

    const LONG: Duration = Duration::from_secs(3_600);
    const PATIENT: Patience = Patience { idle: LONG, head: LONG };
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

    struct Server {
        address: SocketAddr,
        stop: oneshot::Sender<()>,
        ended: JoinHandle<Drained>,
    }

    async fn start(router: Router, bounds: Bounds) -> Server {
        start_for(router, bounds, PeerBounds::new(1)).await
    }

    async fn start_for(router: Router, bounds: Bounds, peers: PeerBounds) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move {
            stopped.await.unwrap();
        };
        let listening = Listening { listener, tls: None, peers };
        let ended = tokio::spawn(serve_bounded(listening, router, shutdown, bounds));
        Server { address, stop, ended }
    }

    async fn request(address: SocketAddr) -> TcpStream {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(REQUEST).await.unwrap();
        client
    }

    /// Everything until the server closes, which it may do with a reset.
    async fn read_all(mut client: TcpStream) -> String {
        let mut text = String::new();
        let _ = client.read_to_string(&mut text).await;
        text
    }

    #[tokio::test]
    async fn a_request_in_flight_is_answered_after_the_stop() {
        let (entered, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (enter, wait) = (Arc::clone(&entered), Arc::clone(&go_on));
        let handler = move || async move {
            enter.notify_one();
            wait.notified().await;
            "done"
        };
        let bounds = Bounds { connections: 8, patience: PATIENT, drain: LONG };
        let server = start(Router::new().route("/", get(handler)), bounds).await;
        let client = request(server.address).await;
        entered.notified().await;
        server.stop.send(()).unwrap();
        go_on.notify_one();
        assert!(read_all(client).await.ends_with("done"));
        assert_eq!(server.ended.await.unwrap(), Drained::Complete);
        assert!(TcpStream::connect(server.address).await.is_err());
    }

    /// Tells when it is dropped.
    struct Dropped(Arc<AtomicBool>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[tokio::test]
    async fn what_outlasts_the_drain_is_cut() {
        let (entered, dropped) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
        let (enter, guard) = (Arc::clone(&entered), Dropped(Arc::clone(&dropped)));
        let guard = Arc::new(std::sync::Mutex::new(Some(guard)));
        let handler = move || async move {
            let _guard = guard.lock().unwrap().take();
            enter.notify_one();
            std::future::pending::<()>().await;
        };
        let bounds = Bounds { connections: 8, patience: PATIENT, drain: Duration::ZERO };
        let server = start(Router::new().route("/", get(handler)), bounds).await;
        let client = request(server.address).await;
        entered.notified().await;
        server.stop.send(()).unwrap();
        assert_eq!(server.ended.await.unwrap(), Drained::Cut { connections: 1 });
        assert!(dropped.load(Ordering::SeqCst), "the handler still runs");
        assert_eq!(read_all(client).await, "");
    }

    #[tokio::test]
    async fn an_idle_connection_is_closed() {
        let patience = Patience { idle: Duration::from_millis(1), ..PATIENT };
        let bounds = Bounds { connections: 8, patience, drain: LONG };
        let server = start(Router::new(), bounds).await;
        let client = TcpStream::connect(server.address).await.unwrap();
        assert_eq!(read_all(client).await, "");
        server.stop.send(()).unwrap();
        assert_eq!(server.ended.await.unwrap(), Drained::Complete);
    }

    #[tokio::test]
    async fn connections_beyond_the_bound_wait_for_their_turn() {
        let bounds = Bounds { connections: 1, patience: PATIENT, drain: LONG };
        let server = start(Router::new().route("/", get(async || "done")), bounds).await;
        let first = TcpStream::connect(server.address).await.unwrap();
        let second = tokio::spawn(read_all(request(server.address).await));
        // The first holds the only place and is served, while the second waits in the backlog.
        let mut first = first;
        first.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut byte = [0];
        first.read_exact(&mut byte).await.unwrap();
        assert!(!second.is_finished());
        drop(first);
        assert!(second.await.unwrap().ends_with("done"));
        server.stop.send(()).unwrap();
        assert_eq!(server.ended.await.unwrap(), Drained::Complete);
    }

    #[tokio::test]
    async fn one_address_does_not_hold_every_connection() {
        let bounds = Bounds { connections: 8, patience: PATIENT, drain: LONG };
        let peers = PeerBounds { most: 2, exempt: Vec::new() };
        let server = start_for(Router::new().route("/", get(async || "done")), bounds, peers).await;
        let idle = [
            TcpStream::connect(server.address).await.unwrap(),
            TcpStream::connect(server.address).await.unwrap(),
        ];
        // It is closed without an answer; the request may meet a reset.
        let mut refused = TcpStream::connect(server.address).await.unwrap();
        let _ = refused.write_all(REQUEST).await;
        assert_eq!(read_all(refused).await, "");
        let elsewhere = tokio::net::TcpSocket::new_v4().unwrap();
        elsewhere.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut other = elsewhere.connect(server.address).await.unwrap();
        other.write_all(REQUEST).await.unwrap();
        assert!(read_all(other).await.ends_with("done"));
        drop(idle);
        // The server sees a moment later that they are closed.
        let mut again = String::new();
        while again.is_empty() {
            let mut client = TcpStream::connect(server.address).await.unwrap();
            let _ = client.write_all(REQUEST).await;
            again = read_all(client).await;
        }
        assert!(again.ends_with("done"));
        server.stop.send(()).unwrap();
        assert_eq!(server.ended.await.unwrap(), Drained::Complete);
    }

    /// An upgraded connection has bounds of its own: it may be idle, and the stop waits for it.
    #[tokio::test]
    async fn a_web_socket_may_be_idle_and_is_waited_for() {
        let (end, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (wait, began) = (Arc::clone(&end), Arc::clone(&go_on));
        let handler = move |upgrade: axum::extract::ws::WebSocketUpgrade| async move {
            upgrade.on_upgrade(move |mut socket| async move {
                began.notify_one();
                wait.notified().await;
                drop(socket.send("bye".into()).await);
            })
        };
        let patience = Patience { idle: Duration::from_millis(20), head: Duration::from_millis(20) };
        let bounds = Bounds { connections: 8, patience, drain: LONG };
        let server = start(Router::new().route("/", get(handler)), bounds).await;
        let mut client = TcpStream::connect(server.address).await.unwrap();
        client
            .write_all(
                b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                  sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            )
            .await
            .unwrap();
        go_on.notified().await;
        tokio::time::sleep(3 * patience.idle).await;
        server.stop.send(()).unwrap();
        // The stop is under way once nobody gets in any more.
        while TcpStream::connect(server.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert!(!server.ended.is_finished());
        end.notify_one();
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 101") && answer.ends_with("bye"), "{answer:?}");
        assert_eq!(server.ended.await.unwrap(), Drained::Complete);
    }

    /// Each byte comes before the connection is idle, and the head never ends.
    #[tokio::test]
    async fn a_head_that_drips_is_ended() {
        let patience = Patience { head: Duration::from_millis(50), ..PATIENT };
        let bounds = Bounds { connections: 8, patience, drain: LONG };
        let server = start(Router::new().route("/", get(async || "done")), bounds).await;
        let mut client = TcpStream::connect(server.address).await.unwrap();
        // A whole request before it takes nothing from the bound on the next.
        client.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"done") {
            answer.push(client.read_u8().await.unwrap());
        }
        client.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
        let (mut reading, mut writing) = client.into_split();
        let mut end = std::pin::pin!(reading.read_u8());
        loop {
            tokio::select! {
                ended = &mut end => break assert!(ended.is_err(), "there is no answer"),
                () = tokio::time::sleep(Duration::from_millis(5)) => {}
            }
            // Once it is ended this fails.
            let _ = writing.write_all(b"x").await;
        }
        server.stop.send(()).unwrap();
        assert_eq!(server.ended.await.unwrap(), Drained::Complete);
    }

    /// The bound is on the head alone: a body and an answer may take longer, and so may the pause before the next request.
    #[tokio::test]
    async fn a_slow_answer_and_a_pause_are_no_slow_head() {
        let head = Duration::from_millis(20);
        let bounds = Bounds { connections: 8, patience: Patience { head, ..PATIENT }, drain: LONG };
        let handler = move |body: String| async move {
            tokio::time::sleep(2 * head).await;
            body
        };
        let server = start(Router::new().route("/", axum::routing::post(handler)), bounds).await;
        let mut client = TcpStream::connect(server.address).await.unwrap();
        for _ in 0..2 {
            client
                .write_all(b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\n\r\nbo")
                .await
                .unwrap();
            tokio::time::sleep(2 * head).await;
            client.write_all(b"dy").await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"body") {
                answer.push(client.read_u8().await.unwrap());
            }
            tokio::time::sleep(2 * head).await;
        }
        drop(client);
        server.stop.send(()).unwrap();
        assert_eq!(server.ended.await.unwrap(), Drained::Complete);
    }
}
