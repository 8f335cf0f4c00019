//! The trace of a request: the id under which it is found again in the log, and its span.

use std::fmt;

use axum::http::HeaderMap;
use uuid::Uuid;

/// The response header that repeats the trace id.
pub const TRACE_HEADER: &str = "x-trace-id";

/// A trace id of W3C Trace Context: 16 bytes, not all zero, written as 32 lower-case hex digits.
/// Of our own making it is a UUIDv7, so ids sort by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId(u128);

/// A span id of W3C Trace Context: 8 bytes, not all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanId(u64);

/// The span of a request, and where it belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace: the caller's if it named a valid one.
    pub trace_id: TraceId,
    /// The request's own span.
    pub span_id: SpanId,
    /// What the caller said of its own.
    pub parent: Option<Parent>,
}

/// The caller's span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    /// Its id.
    pub span_id: SpanId,
    /// Whether the caller records it.
    pub is_sampled: bool,
}

impl TraceContext {
    /// A trace of its own.
    #[must_use]
    pub fn new() -> Self {
        Self { trace_id: TraceId(Uuid::now_v7().as_u128()), span_id: SpanId::random(), parent: None }
    }

    /// Below the caller's `traceparent` if it sent a valid one, else a trace of its own.
    pub fn of(headers: &HeaderMap) -> Self {
        let sent = headers.get("traceparent").and_then(|value| value.to_str().ok());
        match sent.and_then(parse_traceparent) {
            Some((trace_id, parent)) => Self { trace_id, span_id: SpanId::random(), parent: Some(parent) },
            None => Self::new(),
        }
    }
}

impl Default for TraceContext {
    fn default() -> Self {
        Self::new()
    }
}

impl TraceId {
    /// Its bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl SpanId {
    /// The lower half of a random UUID; its variant bits are never all zero.
    fn random() -> Self {
        Self(Uuid::new_v4().as_u64_pair().1)
    }

    /// Its bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

/// `version "-" trace-id "-" parent-id "-" flags`, lower-case hex. Versions after 00 may append
/// more fields; version ff is forbidden.
fn parse_traceparent(value: &str) -> Option<(TraceId, Parent)> {
    let mut fields = value.split('-');
    let version = hex(fields.next()?, 2)?;
    let trace = hex(fields.next()?, 32)?;
    let parent = u64::try_from(hex(fields.next()?, 16)?).ok()?;
    let is_sampled = hex(fields.next()?, 2)? & 1 == 1;
    let surplus = fields.next().is_some();
    let valid = version != 0xff && trace != 0 && parent != 0 && !(version == 0 && surplus);
    valid.then_some((TraceId(trace), Parent { span_id: SpanId(parent), is_sampled }))
}

fn hex(field: &str, digits: usize) -> Option<u128> {
    let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (field.len() == digits && field.bytes().all(lower_hex))
        .then(|| u128::from_str_radix(field, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn takes_only_a_valid_traceparent() {
        let cases = [
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", true),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", false),
            ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false),
            ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false),
            ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01", false),
            ("00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false),
            ("", false),
        ];
        for (value, valid) in cases {
            let taken = parse_traceparent(value).map(|(trace_id, _)| trace_id.to_string());
            assert_eq!(taken, valid.then(|| GOOD.to_owned()), "{value}");
        }
    }

    #[test]
    fn the_callers_span_is_the_parent() {
        for (flags, is_sampled) in [("00", false), ("01", true), ("02", false), ("03", true)] {
            let sent = format!("00-{GOOD}-00f067aa0ba902b7-{flags}");
            let headers = HeaderMap::from_iter([(
                axum::http::HeaderName::from_static("traceparent"),
                sent.parse().unwrap(),
            )]);
            let context = TraceContext::of(&headers);
            let parent = context.parent.unwrap();
            assert_eq!(context.trace_id.to_string(), GOOD);
            assert_eq!(
                (parent.span_id.to_string().as_str(), parent.is_sampled),
                ("00f067aa0ba902b7", is_sampled)
            );
            assert_ne!(context.span_id, parent.span_id);
        }
    }

    #[test]
    fn makes_its_own_without_one() {
        let context = TraceContext::of(&HeaderMap::new());
        let id = context.trace_id.to_string();
        assert_eq!((id.len(), &id[12..13], context.parent), (32, "7", None));
    }
}
