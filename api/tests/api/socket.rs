//! What only shows over a real connection: bodies that come slowly or are announced too large, answers that are read slowly,
//! callers at different addresses, old versions of HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use kelly_api::{BadTls, Drained, Limits, Listening, PeerBounds, ReadingPace, TlsIdentity, serve};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use crate::support::{Api, OTHER_TOKEN, Setup, TOKEN};

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Drained>,
}

impl Server {
    async fn start(api: &Api) -> Self {
        Self::start_with(api, None).await
    }

    async fn start_with(api: &Api, tls: Option<watch::Receiver<TlsIdentity>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move { stopped.await.unwrap() };
        Self {
            address,
            stop,
            ended: tokio::spawn(serve(
                Listening { listener, tls, peers: PeerBounds::new(1) },
                api.router(),
                0,
                shutdown,
            )),
        }
    }

    /// Sends the head of a record request and the beginning of its body; answers with all that comes back.
    async fn record(&self, headers: &str, body: &str) -> String {
        let mut client = TcpStream::connect(self.address).await.unwrap();
        let request = format!(
            "POST /api/v1/kelly/monitoring/metrics/record HTTP/1.1\r\nhost: {}\r\n\
             authorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\nconnection: close\r\n{headers}\r\n\r\n{body}",
            self.address
        );
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// Sends a request as it stands from an address of loopback; gives the connection and the first line of the answer.
    async fn send(&self, from: &str, request: &str) -> (TcpStream, String) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        let mut client = socket.connect(self.address).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(client.read_u8().await.unwrap());
        }
        (client, String::from_utf8(line).unwrap())
    }

    /// Asks for an export without end, and reads nothing of it.
    async fn slow_export(&self, token: &str) -> (TcpStream, String) {
        let request = format!(
            "GET /api/v1/kelly/monitoring/activity/export?event_type=endless HTTP/1.1\r\n\
             host: localhost\r\nauthorization: Bearer {token}\r\n\r\n"
        );
        self.send("127.0.0.1", &request).await
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

#[tokio::test]
async fn http_1_0_needs_no_host_and_http_1_1_does() {
    let api = Api::new(Setup::default());
    let server = Server::start(&api).await;
    let (_, old) = server.send("127.0.0.1", "GET /livez HTTP/1.0\r\n\r\n").await;
    assert!(old.contains(" 200 "), "{old}");
    let (_, new) = server.send("127.0.0.1", "GET /livez HTTP/1.1\r\n\r\n").await;
    assert!(new.contains(" 400 "), "{new}");
    let foreign = "GET /livez HTTP/1.0\r\nhost: evil.example\r\n\r\n";
    let (_, foreign) = server.send("127.0.0.1", foreign).await;
    assert!(foreign.contains(" 403 "), "{foreign}");
    assert_eq!(server.stop().await, Drained::Complete);
}

#[tokio::test]
async fn one_caller_does_not_hold_every_export() {
    let api = Api::new(Setup::default());
    let server = Server::start(&api).await;
    let mut held = Vec::new();
    for _ in 0..Limits::default().max_exports_of_a_caller {
        let (connection, line) = server.slow_export(TOKEN).await;
        assert!(line.contains(" 200 "), "{line}");
        held.push(connection);
    }
    let (mut refused, line) = server.slow_export(TOKEN).await;
    assert!(line.contains(" 429 "), "{line}");
    let mut answer = vec![0; 2_048];
    let length = refused.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    assert!(answer.contains("Too many exports of yours"), "{answer}");
    let (other, line) = server.slow_export(OTHER_TOKEN).await;
    assert!(line.contains(" 200 "), "another caller has a place: {line}");
    drop((held, other, refused));
    assert_eq!(server.stop().await, Drained::Complete);
}

#[tokio::test]
async fn readers_that_fall_behind_give_their_places_back() {
    let limits = Limits {
        max_exports: 4,
        max_exports_of_a_caller: 4,
        export_pace: ReadingPace { bytes_per_second: 1e8, leeway_bytes: 1e6 },
        ..Limits::default()
    };
    let api = Api::new(Setup { limits, ..Setup::default() });
    let server = Server::start(&api).await;
    let mut slow = Vec::new();
    for _ in 0..4 {
        let (connection, line) = server.slow_export(TOKEN).await;
        assert!(line.contains(" 200 "), "{line}");
        slow.push(connection);
    }
    // The four stay connected and read nothing.
    loop {
        let (connection, line) = server.slow_export(TOKEN).await;
        slow.push(connection);
        if line.contains(" 200 ") {
            break;
        }
        assert!(line.contains(" 503 "), "{line}");
    }
    // Who goes on reading meets a connection that breaks off, not an end.
    let mut read = Vec::new();
    let end = slow[0].read_to_end(&mut read).await;
    assert!(end.is_err() || !read.ends_with(b"0\r\n\r\n"), "a part was taken for the whole");
    drop(slow);
    assert_eq!(server.stop().await, Drained::Complete);
}

/// A certificate for `localhost`, fresh each time, and what serves it.
fn certificate() -> (CertificateDer<'static>, TlsIdentity) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    (made.cert.der().clone(), TlsIdentity::of_pem(certificate.as_bytes(), key.as_bytes()).unwrap())
}

/// Asks over TLS, trusting this certificate only.
async fn ask_encrypted(server: &Server, trusted: &CertificateDer<'static>) -> std::io::Result<String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(server.address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = TlsConnector::from(std::sync::Arc::new(config)).connect(name, stream).await?;
    client.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    client.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn connections_are_encrypted_with_the_newest_certificate() {
    let api = Api::new(Setup::default());
    let (first, identity) = certificate();
    let (tls, seen) = watch::channel(identity);
    let server = Server::start_with(&api, Some(seen)).await;
    // Who connects and says nothing holds nobody up.
    let silent = TcpStream::connect(server.address).await.unwrap();
    assert!(ask_encrypted(&server, &first).await.unwrap().starts_with("HTTP/1.1 200 "));
    // Plain HTTP is not answered.
    let mut plain = TcpStream::connect(server.address).await.unwrap();
    plain.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    let (second, identity) = certificate();
    tls.send_replace(identity);
    assert!(ask_encrypted(&server, &first).await.is_err(), "the old one is not shown any more");
    assert!(ask_encrypted(&server, &second).await.unwrap().starts_with("HTTP/1.1 200 "));
    drop(silent);
    assert_eq!(server.stop().await, Drained::Complete);
}

#[test]
fn what_is_no_certificate_or_not_its_key_is_refused() {
    let made = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (one, other) = (made(), made());
    let (certificate, key) = (one.cert.pem(), one.signing_key.serialize_pem());
    let of = |certificate: &str, key: &str| TlsIdentity::of_pem(certificate.as_bytes(), key.as_bytes());
    assert!(of(&certificate, &key).is_ok());
    assert!(matches!(of("", &key), Err(BadTls::Certificate)));
    assert!(matches!(of(&key, &key), Err(BadTls::Certificate)));
    assert!(matches!(of(&certificate, ""), Err(BadTls::Key)));
    let wrong = of(&certificate, &other.signing_key.serialize_pem()).unwrap_err();
    assert!(matches!(wrong, BadTls::Pair(_)));
    assert!(!format!("{wrong} {wrong:?}").contains(&key));
}
