//! The span of one request: whether it is exported, and what is told of it. Pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kelly_api::{Code, Observation, TraceContext};

use super::message::{Span, SpanKind, Status, StatusCode, number, text};

/// The low bits of a trace id that are random whoever made it: by W3C Trace Context level 2, and in a UUIDv7 of our own, which counts
/// in the bits above them.
const RANDOM_BITS: u32 = 32;
/// W3C's flag of a trace that is recorded.
const SAMPLED: u32 = 0x01;
/// OTLP: it is known whether the parent is of another process; and it is.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// Which share of the traces that begin here is exported.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio(f64);

impl Ratio {
    /// None.
    pub const NOTHING: Self = Self(0.0);

    /// From 0 to 1.
    pub fn new(share: f64) -> Option<Self> {
        (0.0..=1.0).contains(&share).then_some(Self(share))
    }

    /// Whether a span is exported: as its caller decided for its own, else by the trace id, so that every instance decides alike.
    pub fn takes(self, trace: &TraceContext) -> bool {
        if let Some(parent) = trace.parent {
            return parent.is_sampled;
        }
        let [.., a, b, c, d] = trace.trace_id.to_bytes();
        let random = u32::from_be_bytes([a, b, c, d]);
        f64::from(random) < self.0 * (1_u64 << RANDOM_BITS) as f64
    }
}

/// What is kept of a request until its span is sent. Nothing of it comes from the client but the ids of the trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    trace: TraceContext,
    began: SystemTime,
    duration: Duration,
    method: &'static str,
    route: String,
    status: u16,
    code: Option<Code>,
}

impl From<&Observation<'_>> for Finished {
    fn from(request: &Observation<'_>) -> Self {
        Self {
            trace: request.trace,
            began: request.began,
            duration: request.duration,
            method: request.method,
            route: request.route.to_owned(),
            status: request.status,
            code: request.code,
        }
    }
}

impl Finished {
    /// The span, with the names of OpenTelemetry's conventions for HTTP servers.
    pub fn span(&self) -> Span {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let began = self.began.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut attributes = vec![
            text("http.request.method", self.method),
            text("http.route", &*self.route),
            number("http.response.status_code", i64::from(self.status)),
        ];
        if let Some(code) = self.code {
            attributes.push(text("kelly.problem.code", code.name()));
        }
        let failed = self.status >= 500;
        if failed {
            attributes.push(text("error.type", self.code.map_or("internal", Code::name)));
        }
        let remote = if self.trace.parent.is_some() { IS_REMOTE } else { 0 };
        Span {
            trace_id: self.trace.trace_id.to_bytes().to_vec(),
            span_id: self.trace.span_id.to_bytes().to_vec(),
            parent_span_id: self.trace.parent.map(|it| it.span_id.to_bytes().to_vec()).unwrap_or_default(),
            name: format!("{} {}", self.method, self.route),
            kind: SpanKind::Server.into(),
            start_time_unix_nano: nanoseconds(began),
            end_time_unix_nano: nanoseconds(began.saturating_add(self.duration)),
            attributes,
            status: failed.then(|| Status { code: StatusCode::Error.into() }),
            flags: SAMPLED | HAS_IS_REMOTE | remote,
        }
    }
}

#[cfg(test)]
mod tests {
    use kelly_api::Parent;

    use super::*;

    fn ratio(share: f64) -> Ratio {
        Ratio::new(share).unwrap()
    }

    #[test]
    fn a_share_of_the_traces_is_taken_and_all_or_none_at_the_ends() {
        let traces: Vec<TraceContext> = (0..4_000).map(|_| TraceContext::new()).collect();
        let taken = |share| traces.iter().filter(|trace| ratio(share).takes(trace)).count();
        assert_eq!((taken(0.0), taken(1.0)), (0, 4_000));
        // Far beyond what chance does to a quarter of four thousand.
        assert!((800..1_200).contains(&taken(0.25)), "{}", taken(0.25));
        assert!(traces.iter().all(|trace| !ratio(0.25).takes(trace) || ratio(0.5).takes(trace)));
        assert_eq!((Ratio::new(-0.1), Ratio::new(1.1), Ratio::new(f64::NAN)), (None, None, None));
    }

    #[test]
    fn the_callers_decision_comes_first() {
        let span_id = TraceContext::new().span_id;
        for is_sampled in [true, false] {
            let trace = TraceContext { parent: Some(Parent { span_id, is_sampled }), ..TraceContext::new() };
            assert_eq!(ratio(0.0).takes(&trace), is_sampled);
            assert_eq!(ratio(1.0).takes(&trace), is_sampled);
        }
    }

    #[test]
    fn only_what_failed_here_is_an_error() {
        let request = |status| Observation::of(("GET", "/livez"), status, Duration::from_millis(2));
        let fine = Finished::from(&request(200)).span();
        assert_eq!((fine.status.clone(), fine.name.as_str()), (None, "GET /livez"));
        assert_eq!(fine.end_time_unix_nano - fine.start_time_unix_nano, 2_000_000);
        assert!(fine.parent_span_id.is_empty() && fine.flags == SAMPLED | HAS_IS_REMOTE);
        let refused = Observation { code: Some(Code::NotSignedIn), ..request(401) };
        assert_eq!(Finished::from(&refused).span().status, None);
        let failed = Observation { code: Some(Code::StoreUnavailable), ..request(503) };
        let failed = Finished::from(&failed).span();
        assert_eq!(failed.status, Some(Status { code: StatusCode::Error.into() }));
        let names: Vec<&str> = failed.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
        let expected = [
            "http.request.method",
            "http.route",
            "http.response.status_code",
            "kelly.problem.code",
            "error.type",
        ];
        assert_eq!(names, expected);
    }
}
