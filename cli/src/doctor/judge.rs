//! From facts to findings: what is well, what is not, what it means, and what fixes it. Pure.

mod kelly;
mod log;
mod store;

use serde::Serialize;

use super::facts::{Configuration, Facts};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// All is well.
    Ok,
    /// It works, and should be seen to before it does not.
    Warning,
    /// It does not work, or loses something.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub area: &'static str,
    /// How it is.
    pub status: Status,
    /// What was found.
    pub found: String,
    /// What that means; nothing when all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub means: Option<String>,
    /// The command or setting that fixes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Finding {
    fn ok(area: &'static str, found: impl Into<String>) -> Self {
        Self { area, status: Status::Ok, found: found.into(), means: None, fix: None }
    }

    fn warning(area: &'static str, found: impl Into<String>) -> Self {
        Self { status: Status::Warning, ..Self::ok(area, found) }
    }

    fn problem(area: &'static str, found: impl Into<String>) -> Self {
        Self { status: Status::Problem, ..Self::ok(area, found) }
    }

    fn means(self, words: impl Into<String>) -> Self {
        Self { means: Some(words.into()), ..self }
    }

    fn fix(self, words: impl Into<String>) -> Self {
        Self { fix: Some(words.into()), ..self }
    }
}

/// Judges everything, in the order in which a person would look.
pub fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = kelly::judge(facts);
    findings.extend(log::judge(facts));
    findings.extend(store::judge(facts));
    findings
}

/// Judges what is known when the configuration cannot be used.
pub fn of_configuration(found: &Configuration, open_files: Option<(u64, u64)>) -> Vec<Finding> {
    let mut findings = kelly::of_configuration(found, open_files);
    findings.push(
        Finding::warning(
            "the rest",
            "log, store and Kelly were not looked at: where they are is not certain",
        )
        .fix("correct the configuration, then run `kelly doctor` again"),
    );
    findings
}

/// The worst of them.
pub fn worst(findings: &[Finding]) -> Status {
    findings.iter().map(|finding| finding.status).max().unwrap_or(Status::Ok)
}

/// Bytes for people.
fn bytes(bytes: f64) -> String {
    const UNITS: [(&str, f64); 4] = [("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    for (unit, size) in UNITS {
        if bytes >= size {
            return format!("{:.1} {unit}", bytes / size);
        }
    }
    format!("{bytes:.0} bytes")
}

/// A length of time for people, in the largest unit that leaves a whole number of at least two, or about.
fn span(ms: u64) -> String {
    for (unit, length) in [("days", 86_400_000), ("hours", 3_600_000), ("minutes", 60_000), ("s", 1_000)] {
        if ms >= 2 * length {
            return format!("{} {unit}", ms / length);
        }
    }
    format!("{ms} ms")
}

#[cfg(test)]
pub(super) mod tests {
    use kelly_ingest::PartitionPosition;
    use kelly_schemas::Stream;
    use kelly_sql::queries::{BackgroundState, DiskState, LetterReason, StoreRight, TableState};

    use super::super::facts::*;
    use super::*;

    pub const NOW_MS: i64 = 1_790_000_000_000;

    pub fn position(stream: Stream, partition: u32, committed: Option<u64>, high: u64) -> PartitionPosition {
        PartitionPosition { stream, partition, low: 0, high, committed }
    }

    pub fn table(name: &str) -> TableState {
        TableState {
            name: name.into(),
            engine: "MergeTree PARTITION BY toDate(timestamp) TTL toDateTime(timestamp) + toIntervalHour(72) SETTINGS \
                     non_replicated_deduplication_window = 10000, fsync_after_insert = 1"
                .into(),
            parts: 12,
            parts_of_a_partition: 8,
            rows: 1_000_000,
            bytes_on_disk: 12_000_000,
            bytes_a_day: 4_000_000.0,
        }
    }

    /// Everything as it should be, over Kafka and a server.
    pub fn healthy() -> Facts {
        let topic = |stream| Topic {
            stream,
            positions: vec![position(stream, 0, Some(10), 10), position(stream, 1, Some(7), 7)],
            settings: None,
            held_back: 0,
        };
        Facts {
            now_ms: NOW_MS,
            version: "0.1.0",
            configuration: Configuration {
                retention_days: 90,
                audit_retention_days: 400,
                metrics_retention_hours: 72,
                log_retention_ms: 7 * 86_400_000,
                listen: "127.0.0.1:8000".into(),
                ..Configuration::default()
            },
            open_files: Some((65_536, 1_048_576)),
            data: None,
            library: None,
            kelly: Running::Answers {
                version: "0.1.0".into(),
                parts: vec![Part {
                    name: "log".into(),
                    status: "healthy".into(),
                    summary: "Apache Kafka answers".into(),
                }],
            },
            log: Log::Answers {
                place: "kafka://k:9092".into(),
                topics: Stream::ALL.map(topic).into(),
                later: None,
                newest_ms: Some(NOW_MS - 1_000),
            },
            store: Store {
                place: "http://kelly@ch:8123/kelly".into(),
                is_embedded: false,
                state: Ok(Answers {
                    version: "26.7.2.1".into(),
                    user: ("kelly".into(), "kelly".into()),
                    round_trip_ms: 1.2,
                    ahead_ms: 3,
                    schema: Some(Ok(())),
                    rights: StoreRight::ALL.map(|right| (right, true)).to_vec(),
                    tables: vec![table("system_metrics")],
                    disks: vec![DiskState {
                        name: "default".into(),
                        free: 500_000_000_000,
                        total: 1_000_000_000_000,
                    }],
                    background: Some(BackgroundState {
                        merges: 1,
                        longest_merge_s: 2.0,
                        mutations: 0,
                        failing_mutations: 0,
                        parts_to_delay: 1_000,
                        parts_to_throw: 3_000,
                    }),
                    letters: Vec::new(),
                }),
            },
        }
    }

    /// What is not well, as `area status: found`.
    pub fn complaints(facts: &Facts) -> Vec<String> {
        let findings = judge(facts);
        for finding in &findings {
            let is_ok = finding.status == Status::Ok;
            assert_eq!(finding.fix.is_none(), is_ok, "what is not well can be fixed: {finding:?}");
        }
        let summary = |finding: &Finding| format!("{} {:?}: {}", finding.area, finding.status, finding.found);
        findings.iter().filter(|finding| finding.status != Status::Ok).map(summary).collect()
    }

    /// The facts with the store's answers changed.
    pub fn with_answers(change: impl FnOnce(&mut Answers)) -> Facts {
        let mut facts = healthy();
        change(facts.store.state.as_mut().unwrap());
        facts
    }

    pub fn letters(count: u64) -> Vec<LetterReason> {
        vec![LetterReason {
            topic: "kelly.metrics".into(),
            reason_code: "too_old".into(),
            count,
            oldest: NOW_MS - 10,
            newest: NOW_MS,
            newest_reason: "old".into(),
        }]
    }

    #[test]
    fn what_is_well_is_reported_as_well() {
        assert_eq!(complaints(&healthy()), Vec::<String>::new());
        assert_eq!(worst(&judge(&healthy())), Status::Ok);
        let areas: Vec<&str> = judge(&healthy()).iter().map(|finding| finding.area).collect();
        let expected = [
            "version",
            "configuration",
            "open files",
            "kelly",
            "log",
            "topic",
            "topic",
            "lag",
            "clock",
            "store",
            "schema",
            "rights",
            "tables",
            "parts",
            "disk",
            "dead letters",
            "clock",
        ];
        assert_eq!(areas, expected);
    }

    #[test]
    fn quantities_are_written_in_words() {
        assert_eq!([512.0, 1_500.0, 2.5e9].map(bytes), ["512 bytes", "1.5 kB", "2.5 GB"]);
        let spans = [900, 2_000, 119_000, 120_000, 172_800_000].map(span);
        assert_eq!(spans, ["900 ms", "2 s", "119 s", "2 minutes", "2 days"]);
    }
}
