//! The log: whether it answers, its topics, and how far ingest is behind.

use kelly_ingest::PartitionPosition;

use super::super::facts::{Facts, Log, Topic};
use super::{Finding, span};
use crate::output;
use crate::output::grouped;

/// Records behind that are gone within a few seconds.
const LAG_OF_A_BURST: u64 = 1_000_000;

/// How far the newest record may lie ahead of this machine's clock, ms.
const CLOCK_SLACK_MS: i64 = 5_000;

/// Retention of the log below which an outage over a weekend loses records, ms.
const SHORT_RETENTION_MS: u64 = 72 * 3_600_000;

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let (place, topics, later, newest_ms) = match &facts.log {
        Log::NotAsked { place } => {
            return vec![
                Finding::warning(
                    "log",
                    format!("{place} is opened by the process that runs it, and none answers"),
                )
                .means("topics, positions and lag are not known")
                .fix("start `kelly up` and ask again"),
            ];
        }
        Log::Away { place, why } => {
            return vec![
                Finding::problem("log", format!("{place} does not answer: {why}"))
                    .means("nothing can be recorded, and ingest waits")
                    .fix(
                        "check that the brokers run and are reachable from here (their advertised.listeners too), \
                         and KELLY_LOG and KELLY_KAFKA_PROPERTIES",
                    ),
            ];
        }
        Log::Answers { place, topics, later, newest_ms } => (place, topics, later.as_deref(), *newest_ms),
    };
    let mut findings = vec![Finding::ok("log", format!("{place} answers"))];
    for topic in topics {
        findings.extend(judge_topic(topic, facts));
    }
    findings.extend(lag(topics, later));
    findings.extend(newest_ms.map(|newest| clock(newest, facts.now_ms)));
    findings
}

fn judge_topic(topic: &Topic, facts: &Facts) -> Vec<Finding> {
    const AREA: &str = "topic";
    let name = topic.stream;
    if topic.positions.is_empty() {
        return vec![
            Finding::problem(AREA, format!("there is no topic {name}"))
                .means("nothing can be recorded to it, and nothing is read from it")
                .fix(
                    "start `kelly ingest` or `kelly serve`, which make it, or create it with kafka-topics.sh",
                ),
        ];
    }
    let mut findings = Vec::new();
    for lost in
        topic.positions.iter().filter(|position| position.committed.is_some_and(|at| at < position.low))
    {
        let committed = lost.committed.unwrap_or_default();
        findings.push(
            Finding::problem(
                AREA,
                format!(
                    "{name}/{}: retention removed {} records before they were read",
                    lost.partition,
                    grouped(lost.low - committed)
                ),
            )
            .means("they are lost; a dead letter lost_to_retention will name their offsets")
            .fix("let ingest run, and keep the log longer: KELLY_LOG_RETENTION_HOURS, or retention.ms of the topic"),
        );
    }
    let configs = |setting: &str| {
        format!("kafka-configs.sh --alter --entity-type topics --entity-name {name} --add-config {setting}")
    };
    let mut kept = String::new();
    if let Some(settings) = &topic.settings {
        if settings.timestamp_type.as_deref().is_some_and(|kind| kind != "LogAppendTime") {
            findings.push(
                Finding::problem(AREA, format!("{name} keeps its producers' time instead of its own"))
                    .means("Kelly refuses to start on it: a producer's clock would decide what is too old")
                    .fix(configs("message.timestamp.type=LogAppendTime")),
            );
        }
        if settings.cleanup_policy.as_deref().is_some_and(|policy| policy.contains("compact")) {
            findings.push(
                Finding::problem(AREA, format!("{name} is compacted"))
                    .means("records of one key are removed before they are read")
                    .fix(configs("cleanup.policy=delete")),
            );
        }
        if let Some(retention) = settings.retention_ms {
            kept = format!(", kept {}", span(retention));
            if retention < SHORT_RETENTION_MS.min(facts.configuration.log_retention_ms) {
                findings.push(
                    Finding::warning(AREA, format!("{name} keeps records for {} only", span(retention)))
                        .means("a store that is away for longer loses what came meanwhile")
                        .fix(configs(&format!("retention.ms={}", facts.configuration.log_retention_ms))),
                );
            }
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok(AREA, format!("{name}: {} partitions{kept}", topic.positions.len())));
    }
    findings
}

fn lag(topics: &[Topic], later: Option<&[PartitionPosition]>) -> Option<Finding> {
    const AREA: &str = "lag";
    let positions: Vec<&PartitionPosition> = topics.iter().flat_map(|topic| &topic.positions).collect();
    if positions.is_empty() {
        return None;
    }
    let behind: u64 = positions.iter().map(|position| position.behind()).sum();
    let by_partition = || {
        let mut worst: Vec<&&PartitionPosition> =
            positions.iter().filter(|position| position.behind() > 0).collect();
        worst.sort_by_key(|position| std::cmp::Reverse(position.behind()));
        let summary: Vec<String> = worst
            .iter()
            .take(4)
            .map(|position| {
                format!("{}/{} {}", position.stream, position.partition, grouped(position.behind()))
            })
            .collect();
        summary.join(", ")
    };
    let held_back: u64 = topics.iter().map(|topic| topic.held_back).sum();
    let open = match held_back {
        0 => String::new(),
        _ => format!(
            "; {} more from the first open transaction on can be read by nobody before it ends",
            grouped(held_back)
        ),
    };
    if behind == 0 {
        return Some(Finding::ok(AREA, format!("ingest has confirmed every record{open}")));
    }
    let moved = |before: &PartitionPosition| {
        later.unwrap_or_default().iter().any(|after| {
            after.stream == before.stream
                && after.partition == before.partition
                && after.committed > before.committed
        })
    };
    let stuck = positions.iter().filter(|position| position.behind() > 0 && !moved(position)).count();
    let found = format!("{} records behind: {}{open}", grouped(behind), by_partition());
    if later.is_some() && stuck > 0 {
        let found = format!("{found}; {stuck} of these partitions did not move within seconds");
        return Some(
            Finding::problem(AREA, found)
                .means("nobody reads them, or the store does not take what is read")
                .fix("start `kelly ingest` (or `kelly up`); if it runs, repair the store first, then see its diagnostics"),
        );
    }
    Some(if behind > LAG_OF_A_BURST {
        Finding::warning(AREA, format!("{found}; it is moving"))
            .means("answers are that much older than what is recorded")
            .fix("wait, or add instances of `kelly ingest` up to the number of partitions")
    } else {
        Finding::ok(AREA, format!("{found}; it is moving"))
    })
}

fn clock(newest_ms: i64, now_ms: i64) -> Finding {
    let ahead = newest_ms - now_ms;
    let summary = format!("the newest record of the log is of {}", output::time(newest_ms));
    if ahead <= CLOCK_SLACK_MS {
        return Finding::ok("clock", summary);
    }
    Finding::warning("clock", format!("{summary}, {} ahead of this machine", span(ahead.unsigned_abs())))
        .means(
            "the clock here or at the log is wrong: rows may be refused as too old or too far in the future",
        )
        .fix("set both clocks by NTP: timedatectl set-ntp true, or chronyc makestep")
}

#[cfg(test)]
mod tests {
    use kelly_schemas::Stream;
    use kelly_stream::kafka::TopicSettings;

    use super::super::tests::{NOW_MS, complaints, healthy, position};
    use super::*;

    fn with(topics: Vec<Topic>, later: Option<Vec<PartitionPosition>>) -> Vec<String> {
        let mut facts = healthy();
        facts.log = Log::Answers { place: "kafka://k:1".into(), topics, later, newest_ms: None };
        complaints(&facts)
    }

    fn topic(positions: Vec<PartitionPosition>) -> Topic {
        Topic { stream: Stream::Metrics, positions, settings: None, held_back: 0 }
    }

    #[test]
    fn a_log_that_is_away_or_not_asked() {
        let mut facts = healthy();
        facts.log = Log::Away { place: "kafka://k:1".into(), why: "refused".into() };
        assert_eq!(complaints(&facts), ["log Problem: kafka://k:1 does not answer: refused"]);
        facts.log = Log::NotAsked { place: "embedded:/d/log".into() };
        assert!(complaints(&facts)[0].starts_with("log Warning: embedded:/d/log is opened by"));
    }

    #[test]
    fn lag_is_judged_by_whether_it_moves() {
        let behind = || {
            vec![topic(vec![
                position(Stream::Metrics, 0, Some(5), 105),
                position(Stream::Metrics, 1, None, 7),
            ])]
        };
        let stuck = with(
            behind(),
            Some(vec![position(Stream::Metrics, 0, Some(5), 105), position(Stream::Metrics, 1, None, 7)]),
        );
        assert_eq!(
            stuck,
            [
                "lag Problem: 107 records behind: kelly.metrics/0 100, kelly.metrics/1 7; 2 of these partitions did not move within seconds"
            ]
        );
        let moving = with(
            behind(),
            Some(vec![position(Stream::Metrics, 0, Some(60), 200), position(Stream::Metrics, 1, Some(7), 7)]),
        );
        assert_eq!(moving, Vec::<String>::new());
        let far = || vec![topic(vec![position(Stream::Metrics, 0, Some(0), 2_000_000)])];
        let moving = with(far(), Some(vec![position(Stream::Metrics, 0, Some(1), 2_000_000)]));
        assert_eq!(
            moving,
            ["lag Warning: 2,000,000 records behind: kelly.metrics/0 2,000,000; it is moving"]
        );
    }

    #[test]
    fn topics_are_judged() {
        assert_eq!(with(vec![topic(Vec::new())], None), ["topic Problem: there is no topic kelly.metrics"]);
        let lost = PartitionPosition { low: 50, ..position(Stream::Metrics, 0, Some(20), 60) };
        let found = with(vec![topic(vec![lost])], Some(vec![position(Stream::Metrics, 0, Some(60), 60)]));
        assert_eq!(
            found,
            ["topic Problem: kelly.metrics/0: retention removed 30 records before they were read"]
        );
        let settings = TopicSettings {
            retention_ms: Some(3_600_000),
            timestamp_type: Some("CreateTime".into()),
            cleanup_policy: Some("compact,delete".into()),
            ..TopicSettings::default()
        };
        let bad = Topic { settings: Some(settings), ..topic(vec![position(Stream::Metrics, 0, Some(1), 1)]) };
        assert_eq!(
            with(vec![bad], None),
            [
                "topic Problem: kelly.metrics keeps its producers' time instead of its own",
                "topic Problem: kelly.metrics is compacted",
                "topic Warning: kelly.metrics keeps records for 60 minutes only",
            ]
        );
    }

    #[test]
    fn a_record_of_the_future_is_a_wrong_clock() {
        let mut facts = healthy();
        if let Log::Answers { newest_ms, .. } = &mut facts.log {
            *newest_ms = Some(NOW_MS + 90_000);
        }
        let found = complaints(&facts);
        assert_eq!(found.len(), 1);
        assert!(
            found[0].starts_with("clock Warning: ") && found[0].ends_with("90 s ahead of this machine"),
            "{found:?}"
        );
    }
}
