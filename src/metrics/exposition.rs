//! Metrics with their values, and how they are written down.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use kelly_api::MetricsForm;
use kelly_ingest::SizeCounts;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet, prometheus_text, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::{Exemplar, HistogramWithExemplars};
use prometheus_client::registry::Registry;

use super::catalogue::{Definition, Kind};

/// The label of an exemplar.
pub type TraceLabel = [(&'static str, String); 1];

/// A histogram of times, with the trace of one request in each class.
pub type Times = HistogramWithExemplars<TraceLabel>;

/// One value.
#[derive(Debug)]
pub enum Value {
    /// A whole number.
    Count(u64),
    /// A number.
    Number(f64),
    /// How large things were.
    Sizes(SizeCounts),
    /// How long things took.
    Times(Times),
}

type Labels = Vec<(&'static str, Cow<'static, str>)>;

/// Metrics with what they are at one moment, in the order in which they came.
#[derive(Debug, Default)]
pub struct Gathered {
    families: Vec<(&'static Definition, Vec<(Labels, Value)>)>,
}

impl Gathered {
    /// Adds a value under these values of the metric's labels, in their order.
    pub fn add<const N: usize>(
        &mut self,
        metric: &'static Definition,
        labels: [Cow<'static, str>; N],
        value: Value,
    ) {
        debug_assert_eq!(metric.labels.len(), N, "{}", metric.name);
        let labels = metric.labels.iter().map(|label| label.name).zip(labels).collect();
        match self.families.iter_mut().find(|(known, _)| *known == metric) {
            Some((_, values)) => values.push((labels, value)),
            None => self.families.push((metric, vec![(labels, value)])),
        }
    }

    /// Adds a whole number.
    pub fn count<const N: usize>(
        &mut self,
        metric: &'static Definition,
        labels: [Cow<'static, str>; N],
        value: u64,
    ) {
        self.add(metric, labels, Value::Count(value));
    }

    /// All of it as text.
    pub fn write(self, form: MetricsForm) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut written = String::new();
        let outcome = match form {
            MetricsForm::OpenMetrics => text::encode(&mut written, &registry),
            MetricsForm::Prometheus => prometheus_text::encode(&mut written, &registry),
        };
        // A text takes whatever is written to it.
        debug_assert!(outcome.is_ok());
        written
    }
}

impl Collector for Gathered {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (metric, values) in &self.families {
            let (stem, unit) = metric.parts();
            let kind = match metric.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
            };
            let mut described = encoder.encode_descriptor(stem, metric.help, unit.as_ref(), kind)?;
            for (labels, value) in values {
                if labels.is_empty() {
                    write_value(described, metric.kind, value)?;
                    break;
                }
                write_value(described.encode_family(labels)?, metric.kind, value)?;
            }
        }
        Ok(())
    }
}

fn write_value(mut encoder: MetricEncoder<'_>, kind: Kind, value: &Value) -> fmt::Result {
    const NO_EXEMPLAR: Option<&Exemplar<NoLabelSet, f64>> = None;
    match (kind, value) {
        (Kind::Counter, Value::Count(count)) => encoder.encode_counter(count, NO_EXEMPLAR),
        (Kind::Counter, Value::Number(number)) => encoder.encode_counter(number, NO_EXEMPLAR),
        (Kind::Gauge, Value::Count(count)) => encoder.encode_gauge(&(*count as f64)),
        (Kind::Gauge, Value::Number(number)) => encoder.encode_gauge(number),
        (Kind::Histogram, Value::Times(times)) => times.encode(encoder),
        (Kind::Histogram, Value::Sizes(sizes)) => {
            let bound = |bound: u64| if bound == u64::MAX { f64::INFINITY } else { bound as f64 };
            let classes: Vec<(f64, u64)> =
                sizes.classes.iter().map(|(most, count)| (bound(*most), *count)).collect();
            let count = classes.iter().map(|(_, count)| count).sum();
            let no_exemplars: Option<&HashMap<usize, Exemplar<NoLabelSet, f64>>> = None;
            encoder.encode_histogram(sizes.sum as f64, count, &classes, no_exemplars)
        }
        // A value of another kind than its metric is a defect; nothing is written of it.
        _ => {
            debug_assert!(false, "{kind:?} {value:?}");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::catalogue::{
        HTTP_DURATION, INGEST_BATCH_BYTES, INGEST_LAG, PROCESS_CPU, PROCESS_OPEN_FILES,
    };

    fn gathered() -> Gathered {
        let mut gathered = Gathered::default();
        gathered.add(&PROCESS_CPU, [], Value::Number(1.5));
        gathered.count(&INGEST_LAG, ["kelly.metrics".into()], 7);
        gathered.count(&INGEST_LAG, ["a \"quoted\" one".into()], 8);
        let sizes = SizeCounts { classes: vec![(10, 2), (u64::MAX, 1)], sum: 25 };
        gathered.add(&INGEST_BATCH_BYTES, [], Value::Sizes(sizes));
        let times = Times::new([0.5, 1.0].into_iter());
        times.observe(0.75, Some([("trace_id", "4bf9".to_owned())]), None);
        gathered.add(&HTTP_DURATION, ["/livez".into(), "GET".into(), "2xx".into()], Value::Times(times));
        gathered.count(&PROCESS_OPEN_FILES, [], 12);
        gathered
    }

    #[test]
    fn both_forms_are_written() {
        let (open, prometheus) =
            (gathered().write(MetricsForm::OpenMetrics), gathered().write(MetricsForm::Prometheus));
        for (text, ten) in [(&open, "10.0"), (&prometheus, "10")] {
            let class = format!("kelly_ingest_batch_bytes_bucket{{le=\"{ten}\"}} 2");
            for line in [
                "process_cpu_seconds_total 1.5",
                "kelly_ingest_lag_records{topic=\"kelly.metrics\"} 7.0",
                "kelly_ingest_lag_records{topic=\"a \\\"quoted\\\" one\"} 8.0",
                class.as_str(),
                "kelly_ingest_batch_bytes_bucket{le=\"+Inf\"} 3",
                "kelly_ingest_batch_bytes_count 3",
                "kelly_ingest_batch_bytes_sum 25.0",
                "process_open_fds 12.0",
            ] {
                assert!(text.lines().any(|written| written == line), "{line}\n{text}");
            }
        }
        let exemplar = "kelly_http_request_duration_seconds_bucket{le=\"1.0\",route=\"/livez\",method=\"GET\",\
                        status_class=\"2xx\"} 1 # {trace_id=\"4bf9\"} 0.75";
        assert!(open.lines().any(|line| line == exemplar), "{open}");
        assert!(open.contains("# UNIT process_cpu_seconds seconds\n") && open.ends_with("# EOF\n"), "{open}");
        assert!(!prometheus.contains("trace_id") && !prometheus.contains("# EOF"), "{prometheus}");
        assert!(prometheus.contains("# TYPE process_cpu_seconds_total counter\n"), "{prometheus}");
    }
}
