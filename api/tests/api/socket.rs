//! What only shows over a real connection: bodies that come slowly or are announced too large.

use std::net::SocketAddr;
use std::time::Duration;

use kelly_api::{Drained, Limits, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::support::{Api, Setup};

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Drained>,
}

impl Server {
    async fn start(api: &Api) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move { stopped.await.unwrap() };
        Self { address, stop, ended: tokio::spawn(serve(listener, api.router(), shutdown)) }
    }

    /// Sends the head of a record request and the beginning of its body; answers with all that comes back.
    async fn record(&self, headers: &str, body: &str) -> String {
        let mut client = TcpStream::connect(self.address).await.unwrap();
        let request = format!(
            "POST /api/v1/kelly/monitoring/metrics/record HTTP/1.1\r\nhost: {}\r\n\
             content-type: application/json\r\nconnection: close\r\n{headers}\r\n\r\n{body}",
            self.address
        );
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn stop(self) -> Drained {
        self.stop.send(()).unwrap();
        self.ended.await.unwrap()
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let limits = Limits { body_timeout: Duration::from_millis(1), ..Limits::default() };
    let api = Api::new(Setup { limits, ..Setup::default() });
    let server = Server::start(&api).await;
    let answer = server.record("content-length: 10", "[1").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("\"code\":\"body_timeout\""), "{answer}");
    assert_eq!(server.stop().await, Drained::Complete);
}

#[tokio::test]
async fn an_announced_body_beyond_the_limit_is_refused_before_it_is_sent() {
    let api = Api::new(Setup::default());
    let server = Server::start(&api).await;
    let answer = server.record("content-length: 99999999\r\nexpect: 100-continue", "").await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let taken = server.record("content-length: 2", "{}").await;
    assert!(taken.starts_with("HTTP/1.1 202 "), "{taken}");
    assert_eq!(server.stop().await, Drained::Complete);
}
