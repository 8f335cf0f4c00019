//! Traces: the span of each request goes to an OpenTelemetry collector, where one is configured (OTLP over HTTP).

mod export;
mod message;
mod span;

pub use export::{Collector, SpanCounts, Spans, open};
pub use span::Ratio;
