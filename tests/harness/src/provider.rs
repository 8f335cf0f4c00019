//! A provider of notifications over real HTTP that does what it is told to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What a provider does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    /// Takes it and says so.
    Take,
    /// Takes it and hangs up.
    TakeAndReset,
    /// Answers with this status.
    Answer(u16),
    /// Answers 429 with a wait of so many seconds.
    Busy(u32),
    /// Hangs up.
    Reset,
    /// Never answers.
    Hang,
}

impl Does {
    /// Whether the provider has it.
    pub fn takes(self) -> bool {
        matches!(self, Self::Take | Self::TakeAndReset)
    }
}

/// A request.
#[derive(Debug, Clone)]
pub struct Got {
    /// Its path.
    pub path: String,
    /// Its headers, by their names in small letters.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub text: String,
    /// The same as JSON.
    pub body: Value,
    /// What was done with it.
    pub did: Does,
}

impl Got {
    /// Of a webhook: why it was sent.
    pub fn reason(&self) -> &str {
        self.body["data"]["reason"].as_str().unwrap_or_default()
    }

    /// Of a webhook: the key of its thread.
    pub fn key(&self) -> &str {
        self.body["data"]["key"].as_str().unwrap_or_default()
    }

    /// Of a webhook: its id.
    pub fn id(&self) -> &str {
        self.headers.get("webhook-id").map_or("", String::as_str)
    }
}

type Choose = Box<dyn FnMut(&str) -> Does + Send>;

struct Inside {
    got: Vec<Got>,
    choose: Choose,
    /// Slack's messages: time stamp and body.
    messages: Vec<(String, Value)>,
}

/// A provider.
pub struct Provider {
    /// Where it listens.
    pub address: SocketAddr,
    inside: Arc<Mutex<Inside>>,
    task: JoinHandle<()>,
}

impl Provider {
    /// Takes everything.
    pub async fn willing() -> Self {
        Self::start(|_| Does::Take).await
    }

    /// Does with each request what is said for its path.
    ///
    /// # Panics
    /// When there is no port for it.
    pub async fn start(choose: impl FnMut(&str) -> Does + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port of 127.0.0.1");
        let address = listener.local_addr().expect("the address of a bound listener");
        let inside =
            Arc::new(Mutex::new(Inside { got: Vec::new(), choose: Box::new(choose), messages: Vec::new() }));
        let shared = inside.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, shared.clone()));
            }
        });
        Self { address, inside, task }
    }

    /// Its address as one for HTTP.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        locked(&self.inside)
    }

    /// What it does from now on.
    pub fn choose(&self, choose: impl FnMut(&str) -> Does + Send + 'static) {
        self.inside().choose = Box::new(choose);
    }

    /// Everything it got.
    pub fn got(&self) -> Vec<Got> {
        self.inside().got.clone()
    }

    /// What it has of that.
    pub fn taken(&self) -> Vec<Got> {
        self.got().into_iter().filter(|got| got.did.takes()).collect()
    }

    /// Slack's messages as they are: time stamp and body.
    pub fn messages(&self) -> Vec<(String, Value)> {
        self.inside().messages.clone()
    }
}

fn locked(inside: &Mutex<Inside>) -> MutexGuard<'_, Inside> {
    inside.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(stream: &mut TcpStream) -> Option<(String, BTreeMap<String, String>, String)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let mut lines = head.lines();
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap_or(0));
    while bytes.len() < end + 4 + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some((path, headers, String::from_utf8(bytes[end + 4..].to_vec()).ok()?))
}

async fn serve(mut stream: TcpStream, inside: Arc<Mutex<Inside>>) {
    let Some((path, headers, text)) = read(&mut stream).await else { return };
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    let (did, answer) = {
        let mut inside = locked(&inside);
        let did = (inside.choose)(&path);
        let answer = if did.takes() { inside.take(&path, &body) } else { Value::Null };
        inside.got.push(Got { path, headers, text, body, did });
        (did, answer)
    };
    let (status, header) = match did {
        Does::Take => (200, String::new()),
        Does::Answer(status @ 300..=399) => (status, "location: http://127.0.0.1:1/\r\n".to_owned()),
        Does::Answer(status) => (status, String::new()),
        Does::Busy(seconds) => (429, format!("retry-after: {seconds}\r\n")),
        Does::TakeAndReset | Does::Reset => {
            // Closing with something unread, or without a wait for it, makes the system send a reset.
            drop(stream);
            return;
        }
        Does::Hang => {
            // Until the other side has had enough.
            let _ = stream.read(&mut [0; 1]).await;
            return;
        }
    };
    let answer = answer.to_string();
    let length = answer.len();
    let text = format!(
        "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{header}connection: close\r\n\r\n{answer}"
    );
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
}

impl Inside {
    /// What Slack does; for everybody else it means nothing.
    fn take(&mut self, path: &str, body: &Value) -> Value {
        match path.split('?').next().unwrap_or_default() {
            "/chat.postMessage" => {
                let ts = format!("1800000000.{:06}", self.messages.len());
                self.messages.push((ts.clone(), body.clone()));
                json!({ "ok": true, "channel": "C1", "ts": ts })
            }
            "/chat.update" => {
                let Some((_, message)) = self.messages.iter_mut().find(|(ts, _)| body["ts"] == ts.as_str())
                else {
                    return json!({ "ok": false, "error": "message_not_found" });
                };
                message["blocks"] = body["blocks"].clone();
                message["text"] = body["text"].clone();
                json!({ "ok": true, "channel": "C1", "ts": body["ts"] })
            }
            "/conversations.history" | "/conversations.replies" => {
                let messages =
                    self.messages.iter().map(|(ts, body)| json!({ "ts": ts, "metadata": body["metadata"] }));
                json!({ "ok": true, "messages": messages.collect::<Vec<_>>() })
            }
            _ => json!({ "ok": true }),
        }
    }
}
