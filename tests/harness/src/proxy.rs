//! A TCP proxy that can take a request and swallow its answer: what a network does when it fails at
//! the worst moment. Nobody behind it can tell it from a server that was reached and never answered.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What is done to answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// They pass.
    Pass,
    /// They are read and thrown away; the client hears nothing, however long it waits.
    Swallow,
    /// The connection breaks as soon as there is one.
    Cut,
}

/// A listener on a port of its own that leads to one server. Dropping it ends all connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    server: watch::Sender<Option<String>>,
    answers: watch::Sender<Answers>,
    withheld: Arc<AtomicU64>,
    /// Ends with this value, and its connections with it.
    _accepting: JoinSet<()>,
}

impl Proxy {
    /// Listens. Who connects waits until [`Proxy::lead_to`] says where to: a server may have to know
    /// the proxy's address before it starts.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (answers, mode) = watch::channel(Answers::Pass);
        let withheld = Arc::new(AtomicU64::new(0));
        let count = withheld.clone();
        let (server, where_to) = watch::channel(None::<String>);
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                let (mut where_to, mode, count) = (where_to.clone(), mode.clone(), count.clone());
                connections.spawn(async move {
                    let Ok(server) = where_to.wait_for(Option::is_some).await.map(|to| to.clone()) else {
                        return;
                    };
                    // An end that breaks is what this is for.
                    let _ = lead(client, &server.unwrap_or_default(), mode, &count).await;
                });
            }
        });
        Ok(Self { address, server, answers, withheld, _accepting: accepting })
    }

    /// Leads to `host:port` from now on.
    pub fn lead_to(&self, server: &str) {
        self.server.send_replace(Some(server.to_owned()));
    }

    /// `host:port` for clients.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// From now on, also for connections that are open.
    pub fn set(&self, answers: Answers) {
        self.answers.send_replace(answers);
    }

    /// Answers that did not pass: each to a request the server has done.
    pub fn withheld(&self) -> u64 {
        self.withheld.load(Ordering::SeqCst)
    }
}

async fn lead(
    client: TcpStream,
    server: &str,
    answers: watch::Receiver<Answers>,
    withheld: &AtomicU64,
) -> io::Result<()> {
    let server = TcpStream::connect(server).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asking = async {
        tokio::io::copy(&mut from_client, &mut to_server).await?;
        to_server.shutdown().await
    };
    let answering = async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = from_server.read(&mut buffer).await?;
            let now = *answers.borrow();
            match now {
                _ if read == 0 => return to_client.shutdown().await,
                Answers::Pass => to_client.write_all(&buffer[..read]).await?,
                Answers::Swallow => {
                    withheld.fetch_add(1, Ordering::SeqCst);
                }
                Answers::Cut => {
                    withheld.fetch_add(1, Ordering::SeqCst);
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
            }
        }
    };
    tokio::try_join!(asking, answering).map(drop)
}
