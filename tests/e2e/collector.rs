//! A collector of traces: takes OTLP over HTTP and reads it with OpenTelemetry's own types.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::kelly_process::PATIENCE;

/// A collector, which ends with the test.
pub struct Collector {
    /// Its address, for OTEL_EXPORTER_OTLP_ENDPOINT.
    pub url: String,
    taken: Arc<Taken>,
    listening: JoinHandle<()>,
}

/// What it was sent.
#[derive(Default)]
struct Taken {
    posts: Mutex<Vec<Post>>,
    more: Notify,
}

/// One message as it came.
#[derive(Clone)]
pub struct Post {
    /// The request's first line and headers.
    pub head: String,
    /// Its body.
    pub body: Vec<u8>,
}

impl Post {
    fn message(&self) -> ExportTraceServiceRequest {
        ExportTraceServiceRequest::decode(&*self.body).expect("a message of OTLP")
    }
}

impl Collector {
    /// Listens at this address.
    pub async fn start(listen: &str) -> Self {
        let listener = TcpListener::bind(listen).await.expect("the address is free");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let taken = Arc::<Taken>::default();
        let listening = tokio::spawn({
            let taken = taken.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(take(stream, taken.clone()));
                }
            }
        });
        Self { url, taken, listening }
    }

    /// Every message so far.
    pub fn posts(&self) -> Vec<Post> {
        lock(&self.taken.posts).clone()
    }

    /// Every span so far.
    pub fn spans(&self) -> Vec<Span> {
        let messages = self.posts().into_iter().map(|post| post.message());
        let resources = messages.flat_map(|message| message.resource_spans);
        resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
    }

    /// Attributes of the process that sent.
    pub fn resource(&self, name: &str) -> Option<String> {
        let message = self.posts().first()?.message();
        let resource = message.resource_spans.first()?.resource.clone()?;
        let attribute = resource.attributes.into_iter().find(|attribute| attribute.key == name)?;
        as_text(attribute.value?.value?)
    }

    /// Waits for the span of this trace.
    pub async fn span(&self, trace_id: &str) -> Span {
        let begun = Instant::now();
        loop {
            // Before the look, so that what comes meanwhile is noticed.
            let more = self.taken.more.notified();
            if let Some(span) = self.spans().into_iter().find(|span| hex(&span.trace_id) == trace_id) {
                return span;
            }
            let left = PATIENCE.saturating_sub(begun.elapsed());
            assert!(tokio::time::timeout(left, more).await.is_ok(), "the span of {trace_id} never came");
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// An attribute of a span as a text.
pub fn attribute(span: &Span, name: &str) -> Option<String> {
    let attribute = span.attributes.iter().find(|attribute| attribute.key == name)?;
    as_text(attribute.value.clone()?.value?)
}

fn as_text(value: Value) -> Option<String> {
    match value {
        Value::StringValue(text) => Some(text),
        Value::IntValue(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Bytes as ids are written.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the messages of a connection until it ends.
async fn take(stream: TcpStream, taken: Arc<Taken>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            match stream.read_line(&mut head).await {
                Ok(1..) => {}
                _ => return,
            }
        }
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        let mut body = vec![0; length.expect("a message says how long it is")];
        if stream.read_exact(&mut body).await.is_err() {
            return;
        }
        lock(&taken.posts).push(Post { head, body });
        taken.more.notify_waiters();
        let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
        if stream.write_all(answer).await.is_err() {
            return;
        }
    }
}
