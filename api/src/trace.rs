//! The id under which a request is found again in the log.

use std::fmt;

use axum::http::HeaderMap;
use uuid::Uuid;

/// The response header that repeats the trace id.
pub const TRACE_HEADER: &str = "x-trace-id";

/// A trace id of W3C Trace Context: 16 bytes, not all zero, written as 32 lower-case hex digits.
/// Of our own making it is a UUIDv7, so ids sort by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId(u128);

impl TraceId {
    /// The id of the caller's `traceparent` if it sent a valid one, else a new one.
    pub fn of(headers: &HeaderMap) -> Self {
        headers
            .get("traceparent")
            .and_then(|value| value.to_str().ok())
            .and_then(parse_traceparent)
            .unwrap_or_else(|| Self(Uuid::now_v7().as_u128()))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

/// `version "-" trace-id "-" parent-id "-" flags`, lower-case hex. Versions after 00 may append
/// more fields; version ff is forbidden.
fn parse_traceparent(value: &str) -> Option<TraceId> {
    let mut fields = value.split('-');
    let version = hex(fields.next()?, 2)?;
    let trace = hex(fields.next()?, 32)?;
    let parent = hex(fields.next()?, 16)?;
    hex(fields.next()?, 2)?;
    let surplus = fields.next().is_some();
    let valid = version != 0xff && trace != 0 && parent != 0 && !(version == 0 && surplus);
    valid.then_some(TraceId(trace))
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
            let taken = parse_traceparent(value).map(|id| id.to_string());
            assert_eq!(taken, valid.then(|| GOOD.to_owned()), "{value}");
        }
    }

    #[test]
    fn makes_its_own_without_one() {
        let id = TraceId::of(&HeaderMap::new()).to_string();
        assert_eq!((id.len(), &id[12..13]), (32, "7"));
    }
}
