//! The export of traces as a part of a role; none where no collector is configured.

use std::sync::Arc;

use super::parts::Part;
use crate::config::Tracing;
use crate::traces::{self, Collector, SpanCounts, Spans};

/// What takes the spans of requests, and what became of them.
#[derive(Clone, Default)]
pub struct Export {
    /// Takes them.
    pub spans: Option<Arc<Spans>>,
    /// Counts them.
    pub counts: Arc<SpanCounts>,
}

/// Exports from now on. Its stop sends what waits, within a bound.
pub async fn start(config: &Tracing) -> anyhow::Result<(Export, Option<Part>)> {
    let Some(endpoint) = &config.endpoint else { return Ok((Export::default(), None)) };
    let collector = Collector {
        url: endpoint.traces(),
        headers: config.headers.as_ref().map(|headers| headers.reveal().clone()).unwrap_or_default(),
        ratio: config.ratio,
    };
    let counts = Arc::<SpanCounts>::default();
    let (spans, exporter) = traces::open(collector, counts.clone())?;
    let part = Part::task("export of traces", |stop| exporter.run(stop));
    Ok((Export { spans: Some(Arc::new(spans)), counts }, Some(part)))
}
