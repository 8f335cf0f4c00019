//! Every metric of Kelly itself: its name, its labels with the bound of each, and what it tells. Nothing is exposed that is not
//! here; docs/metrics-of-kelly.md is held to this list.

use prometheus_client::registry::Unit;

/// One metric.
#[derive(Debug, PartialEq, Eq)]
pub struct Definition {
    /// Its name, which ends with its unit where it has one. Of a counter without the `_total` that formats append.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [Label],
    /// What it tells, in a sentence.
    pub help: &'static str,
}

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the process runs.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts how large things were, in classes.
    Histogram,
}

/// A label of a metric. None ever carries what a client made up: no account, user, conversation or path.
#[derive(Debug, PartialEq, Eq)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// How many values it has at most.
    pub most: usize,
    /// What they are.
    pub values: &'static str,
}

impl Definition {
    /// Its name without the unit, and the unit.
    pub fn parts(&self) -> (&'static str, Option<Unit>) {
        let of = |ending, unit| self.name.strip_suffix(ending).map(|stem| (stem, Some(unit)));
        of("_seconds", Unit::Seconds).or_else(|| of("_bytes", Unit::Bytes)).unwrap_or((self.name, None))
    }
}

const ROUTE: Label =
    Label { name: "route", most: 100, values: "the template of the route; `unmatched` when there is none" };
const METHOD: Label = Label {
    name: "method",
    most: 10,
    values: "the method; `OTHER` for one that HTTP does not define or the route does not take",
};
const STATUS_CLASS: Label = Label { name: "status_class", most: 5, values: "`1xx` to `5xx`" };
const CODE: Label = Label { name: "code", most: 100, values: "the codes of `/api/problems`" };
const STATUS: Label = Label { name: "status", most: 100, values: "the status that belongs to the code" };
const BUDGET: Label = Label {
    name: "budget",
    most: 5,
    values: "`requests`, `emergency`, `recorded-rows`, `recorded-kib`, `failed-sign-ins`",
};
const KIND: Label = Label { name: "kind", most: 2, values: "`metrics`, `activity`" };
const TOPIC: Label = Label { name: "topic", most: 8, values: "the topics of the log" };
const TRANSPORT: Label = Label { name: "transport", most: 2, values: "`websocket`, `event_stream`" };
const CLOSE: Label = Label {
    name: "reason",
    most: 12,
    values: "the names of docs/live.md; `gone` when the client was gone first",
};
const PART: Label = Label { name: "part", most: 8, values: "the parts of the health report" };
const STATE: Label = Label {
    name: "state",
    most: 4,
    values: "`healthy`, `degraded`, `starting`, `down`: 1 for the one it is in",
};
const OUTCOME: Label = Label {
    name: "outcome",
    most: 3,
    values: "`sent`; `dropped` because 2,048 waited already; `failed` when the collector did not take them",
};
const VERDICT: Label = Label {
    name: "verdict",
    most: 6,
    values: "`applied`, `unchanged`, `conflict`, `refused`, `cancelled`, `duplicate`",
};
const SEVERITY: Label = Label { name: "severity", most: 3, values: "`info`, `warning`, `critical`" };
const VERSION: Label = Label { name: "version", most: 1, values: "the version that runs" };

macro_rules! catalogue {
    ($($constant:ident = $kind:ident $name:literal [$($label:ident),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $constant: Definition =
                Definition { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };
        )*

        /// Every metric.
        #[cfg(test)]
        const ALL: &[&Definition] = &[$(&$constant),*];
    };
}

catalogue! {
    BUILD = Gauge "kelly_build_info" [VERSION] "Always 1; the label says which Kelly runs.";
    PROCESS_CPU = Counter "process_cpu_seconds" [] "Processor time of this process.";
    PROCESS_MEMORY = Gauge "process_resident_memory_bytes" [] "Resident memory of this process.";
    PROCESS_OPEN_FILES = Gauge "process_open_fds" [] "Files and connections that this process has open.";
    PROCESS_MAX_FILES = Gauge "process_max_fds" [] "Files and connections that this process may have open.";
    PROCESS_STARTED = Gauge "process_start_time_seconds" [] "When this process started, in seconds since 1970.";
    ENGINE_CPU = Counter "kelly_engine_cpu_seconds" [] "Processor time of the embedded engine that runs now.";
    ENGINE_MEMORY = Gauge "kelly_engine_resident_memory_bytes" [] "Resident memory of the embedded engine.";
    PART_STATE = Gauge "kelly_part_state" [PART, STATE] "How the parts of this process are.";
    PART_SINCE = Gauge "kelly_part_since_timestamp_seconds" [PART] "Since when the part is in its state, in seconds since 1970.";
    HTTP_DURATION = Histogram "kelly_http_request_duration_seconds" [ROUTE, METHOD, STATUS_CLASS]
        "From a request's head to its answer's head; its count is that of the requests. Exemplars carry trace ids.";
    HTTP_PROBLEMS = Counter "kelly_http_problems" [CODE, STATUS]
        "Answers that were problems. Those of status 401 are refused sign-ins.";
    LIMITS_REFUSED = Counter "kelly_limits_refused" [BUDGET] "Uses that did not fit into the budget of a caller.";
    RECORDED_ROWS = Counter "kelly_recorded_rows" [KIND] "Rows that were recorded over HTTP and are durable on the log.";
    RECORDED_BYTES = Counter "kelly_recorded_bytes" [KIND] "Bytes of the bodies in which they came.";
    INGEST_RECORDS = Counter "kelly_ingest_records" [] "Messages of the log that were written to the store.";
    INGEST_ROWS = Counter "kelly_ingest_rows" [] "Metrics and events that were written to the store.";
    INGEST_DEAD_LETTERS = Counter "kelly_ingest_dead_letters" [] "Rows and messages that were refused and kept as dead letters.";
    INGEST_RETRIES = Counter "kelly_ingest_retries" [] "Reads, inserts and commits that had to be tried again.";
    INGEST_LOST = Counter "kelly_ingest_lost_records" [] "Offsets that the log's retention removed before they were read.";
    INGEST_BATCH_ROWS = Histogram "kelly_ingest_batch_rows" [] "Rows of the batches that were confirmed; its count is that of the batches.";
    INGEST_BATCH_BYTES = Histogram "kelly_ingest_batch_bytes" [] "Bytes of the batches that were confirmed.";
    INGEST_BUFFERED = Gauge "kelly_ingest_buffered_bytes" [] "Batches that are closed and not written yet.";
    INGEST_PARTITIONS = Gauge "kelly_ingest_partitions" [] "Partitions of the log that this process reads.";
    INGEST_LAG = Gauge "kelly_ingest_lag_records" [TOPIC] "Messages on the log that are not confirmed yet, by any process.";
    INGEST_WRITTEN = Gauge "kelly_ingest_last_write_timestamp_seconds" [] "When the last batch was confirmed, in seconds since 1970.";
    LIVE_CONNECTIONS = Gauge "kelly_live_connections" [TRANSPORT] "WebSockets and streams that are open.";
    LIVE_MESSAGES = Counter "kelly_live_messages" [TRANSPORT] "Messages that were handed to them.";
    LIVE_BYTES = Counter "kelly_live_sent_bytes" [TRANSPORT] "Bytes of these messages.";
    LIVE_CLOSES = Counter "kelly_live_closes" [TRANSPORT, CLOSE] "WebSockets and streams that ended, and why.";
    LIVE_SKIPPED = Counter "kelly_live_skipped_updates"
        [] "Updates of figures that a slow connection was not sent because a newer one was there first.";
    LIVE_RESETS = Counter "kelly_live_resets" [] "Rooms that could not go on where their client was, and began anew.";
    LIVE_FEED_LAG = Gauge "kelly_live_feed_lag_records" [] "Events on the log that live push has not read yet.";
    CONTROL_RECORDS = Counter "kelly_control_records" [VERDICT] "Records of the control log that were applied here, by what they came to.";
    CONTROL_NEXT_OFFSET = Gauge "kelly_control_next_offset" [] "The offset of the control log up to which everything is applied here.";
    EVALUATE_ROWS = Counter "kelly_evaluate_rows" [] "Metrics that were judged by the alert rules.";
    EVALUATE_SKIPPED = Counter "kelly_evaluate_skipped" [] "Messages and rows that could not be judged because they are none.";
    EVALUATE_PASSED_ON = Counter "kelly_evaluate_passed_on_rows"
        [] "Metrics that were passed on to rules that count those of several partitions.";
    EVALUATE_LOST = Counter "kelly_evaluate_lost_records" [] "Offsets that the log's retention removed before they were judged.";
    EVALUATE_LAG = Gauge "kelly_evaluate_lag_records" [] "Messages on the log that are not judged yet, of this process's partitions.";
    EVALUATE_PARTITIONS = Gauge "kelly_evaluate_partitions" [] "Partitions that this process judges.";
    EVALUATE_STARTING = Gauge "kelly_evaluate_starting_partitions" [] "Those of them whose states are still being read.";
    EVALUATE_STATES = Gauge "kelly_evaluate_states" [] "States of rules and entities in memory.";
    EVALUATE_LATE = Gauge "kelly_evaluate_late_rows" [] "Metrics that came too late to count, of the entities in memory.";
    EVALUATE_OVER_CAP = Gauge "kelly_evaluate_over_cap_rows"
        [] "Metrics that this process's partitions did not judge because their rule watches as many entities as it may.";
    EVALUATE_TRANSITIONS = Counter "kelly_evaluate_transitions" [] "Changes of alerts that the control log decided about.";
    EVALUATE_REFUSED = Counter "kelly_evaluate_refused_transitions" [] "Changes of alerts that it refused for good.";
    EVALUATE_WAITING = Gauge "kelly_evaluate_put_off_alerts" [] "Alerts that wait because as many are open as can be.";
    EVALUATE_UNKNOWN = Counter "kelly_evaluate_unknown_outcomes"
        [] "Answers of the control log that did not come in time, and were asked for again.";
    EVALUATE_RETRIES = Counter "kelly_evaluate_retries" [] "Reads, appends and commits that had to be tried again.";
    EVALUATE_COMMITTED = Gauge "kelly_evaluate_last_commit_timestamp_seconds"
        [] "When what is judged was committed last, in seconds since 1970.";
    ALERT_RULES = Gauge "kelly_alert_rules" [] "Alert rules in force.";
    ALERT_RULE_PROBLEMS = Gauge "kelly_alert_rule_problems" [] "Files of rules, thresholds and rules that are wrong.";
    ALERTS_FIRING = Gauge "kelly_alerts_firing" [] "Alerts whose condition holds, of this process's partitions.";
    ALERTS_OPEN = Gauge "kelly_alerts_open" [SEVERITY] "Alerts that are not resolved.";
    TRACE_SPANS = Counter "kelly_trace_spans" [OUTCOME] "Spans of requests that were to be exported, and what became of them.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write as _;

    use kelly_api::rates::Budget;
    use kelly_api::{Code, route_access};
    use kelly_live::Close;
    use kelly_schemas::Stream;

    use super::*;

    #[test]
    fn names_are_unique_and_say_their_unit() {
        let names: BTreeSet<&str> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), ALL.len());
        for metric in ALL {
            assert!(metric.help.ends_with('.'), "{}", metric.name);
            assert!(!metric.name.ends_with("_total"), "{}: formats append it", metric.name);
            assert!(
                metric.name.starts_with("kelly_") || metric.name.starts_with("process_"),
                "{}",
                metric.name
            );
        }
    }

    /// The bounds are more than there is.
    #[test]
    fn labels_have_fewer_values_than_their_bounds() {
        let routes: BTreeSet<String> = route_access().into_iter().map(|route| route.path).collect();
        assert!(routes.len() < ROUTE.most, "{} routes", routes.len());
        assert!(Code::ALL.len() <= CODE.most && Close::ALL.len() < CLOSE.most);
        assert!(Budget::ALL.len() <= BUDGET.most && Stream::ALL.len() <= TOPIC.most);
    }

    /// The table of the document.
    fn table() -> String {
        let mut rows = String::from("| metric | kind | labels | what it tells |\n|---|---|---|---|\n");
        for Definition { name, kind, labels, help } in ALL {
            let (ending, kind) = match kind {
                Kind::Counter => ("_total", "counter"),
                Kind::Gauge => ("", "gauge"),
                Kind::Histogram => ("", "histogram"),
            };
            let labels: Vec<&str> = labels.iter().map(|label| label.name).collect();
            writeln!(rows, "| `{name}{ending}` | {kind} | {} | {help} |", labels.join(", ")).unwrap();
        }
        let mut labels: Vec<&Label> = ALL.iter().flat_map(|metric| metric.labels).collect();
        labels.sort_by_key(|label| label.name);
        labels.dedup_by_key(|label| label.name);
        rows.push_str("\n| label | values at most | what they are |\n|---|---|---|\n");
        for Label { name, most, values } in labels {
            writeln!(rows, "| `{name}` | {most} | {values} |").unwrap();
        }
        rows
    }

    /// `KELLY_RENEW_DOCS=1` writes the table anew.
    #[test]
    fn the_document_lists_every_metric_and_no_other() {
        const END: &str = "\n## ";
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics-of-kelly.md");
        let text = std::fs::read_to_string(&path).unwrap();
        let begin = text.find("| metric |").unwrap();
        let end = begin + text[begin..].find(END).unwrap();
        if std::env::var_os("KELLY_RENEW_DOCS").is_some() {
            let renewed = format!("{}{}{}", &text[..begin], table(), &text[end..]);
            std::fs::write(&path, renewed).unwrap();
            return;
        }
        assert_eq!(text[begin..end], table(), "KELLY_RENEW_DOCS=1 with this test writes the table anew");
    }
}
