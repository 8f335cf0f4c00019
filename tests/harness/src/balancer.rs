//! A TCP balancer: each connection goes to the next server that takes it. What stands in front of several instances.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A listener on a port of its own in front of several servers. Dropping it ends all connections.
#[derive(Debug)]
pub struct Balancer {
    address: SocketAddr,
    /// Ends with this value, and its connections with it.
    _accepting: JoinSet<()>,
}

impl Balancer {
    /// Listens, in front of these (`host:port`).
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start(servers: Vec<String>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let servers: Arc<[String]> = servers.into();
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            for turn in 0_usize.. {
                let Ok((client, _)) = listener.accept().await else { return };
                while connections.try_join_next().is_some() {}
                let servers = servers.clone();
                connections.spawn(async move {
                    // An end that breaks is what this is for, and where no server lives the client's line ends.
                    let _ = lead(client, &servers, turn).await;
                });
            }
        });
        Ok(Self { address, _accepting: accepting })
    }

    /// `host:port` for clients.
    pub fn address(&self) -> String {
        self.address.to_string()
    }
}

async fn lead(mut client: TcpStream, servers: &[String], turn: usize) -> io::Result<()> {
    for step in 0..servers.len() {
        let Some(server) = servers.get((turn + step) % servers.len()) else { break };
        if let Ok(mut server) = TcpStream::connect(server).await {
            // Both ends go when one of them is gone.
            return tokio::io::copy_bidirectional(&mut client, &mut server).await.map(drop);
        }
    }
    Err(io::ErrorKind::ConnectionRefused.into())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn server(name: u8) -> (String, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                client.write_all(&[name]).await.unwrap();
            }
        });
        (address, serving)
    }

    async fn answer(balancer: &Balancer) -> Option<u8> {
        let mut client = TcpStream::connect(balancer.address()).await.unwrap();
        client.read_u8().await.ok()
    }

    #[tokio::test]
    async fn each_connection_goes_to_the_next_server_that_lives() {
        let ((first, one), (second, mut two)) = (server(1).await, server(2).await);
        let balancer = Balancer::start(vec![first, second]).await.unwrap();
        let mut answers = Vec::new();
        for _ in 0..4 {
            answers.push(answer(&balancer).await);
        }
        assert_eq!(answers, [Some(1), Some(2), Some(1), Some(2)]);
        two.shutdown().await;
        assert_eq!([answer(&balancer).await, answer(&balancer).await], [Some(1); 2]);
        drop(one);
        // Its listener goes with its task, which the runtime ends.
        while answer(&balancer).await.is_some() {
            tokio::task::yield_now().await;
        }
    }
}
