//! Queries: parameters in, questions to the port, answers and failures out.

use std::num::NonZeroUsize;
use std::time::Duration;

use kelly_api::Limits;
use kelly_query::limits::TooLarge;
use kelly_query::{QueryError, StoreError};

use crate::support::{Api, Failure, Fate, Setup, settle};

const DETAILED: &str = "/api/v1/kelly/monitoring/metrics/detailed";
const FEED: &str = "/api/v1/kelly/monitoring/activity/feed";

/// What the fake store holds.
pub(crate) mod answers {
    use chrono::{DateTime, Utc};
    use futures_util::StreamExt;
    use kelly_query::backtest::{
        BesideOutcome, JudgedPart, Preview, PreviewHistory, PreviewOutcome, PreviewedAlert, RulePreview,
        SuggestedThreshold, TriedThreshold,
    };
    use kelly_query::comparison::{Change, ComparedWindows, Comparison, Kept, PreviousPoint};
    use kelly_query::detailed::{
        Direction, Freshness, MetricDefinition, Percentiles, Point, Resolution, Thresholds, Tier,
        TrendAnalysis, Window,
    };
    use kelly_query::feed::FeedEvent;
    use kelly_query::groups::{
        GroupBy, GroupPoint, GroupTotal, MetricGroup, Order, OrderBy, Remainder, Share,
    };
    use kelly_query::health::{DeadLetters, TableStorage};
    use kelly_query::performance::TablePerformance;
    use kelly_query::{DatabaseHealth, Detailed, FeedPage, MetricGroups, Overview, StorePerformance};
    use kelly_query::{ExportStream, QueryError, ReadingVersion, StoreError, Unread, UnreadBySeverity};
    use uuid::Uuid;

    use crate::support::now;

    pub(crate) fn overview() -> Overview {
        Overview {
            conversations_active: Some(45),
            conversations_total_today: Some(234),
            messages_processed: Some(1_567),
            ai_confidence_avg: Some(0.85),
            safety_score_avg: None,
            human_interventions: Some(3),
            alert_count: Some(2),
            system_load: Some(67.5),
            response_time_avg: Some(145.2),
            claude_requests_today: Some(892),
            claude_cost_today: Some(12.45),
            timestamp: now(),
        }
    }

    /// Two pieces, the second of which may be a failure.
    pub(crate) fn export(fails: bool) -> ExportStream {
        let second = match fails {
            true => Err(QueryError::StoreUnavailable {
                question: "export",
                source: StoreError::TimedOut { action: "export".to_owned() },
            }),
            false => Ok("b\n".into()),
        };
        let bytes = futures_util::stream::iter([Ok("a\n".into()), second]).boxed();
        ExportStream { bytes, window: Window { from: now(), to: now() }, kept_from: None }
    }

    /// Bytes that never end.
    pub(crate) fn endless_export() -> ExportStream {
        let bytes = futures_util::stream::repeat_with(|| Ok(vec![b'x'; 1 << 16].into())).boxed();
        ExportStream { bytes, window: Window { from: now(), to: now() }, kept_from: None }
    }

    pub(crate) fn store_performance() -> StorePerformance {
        StorePerformance {
            round_trip_ms: 0.5,
            newest_metric: Some(now()),
            newest_metric_age_seconds: Some(1.5),
            newest_event: None,
            bytes_on_disk: 100,
            rows: 10,
            parts: 2,
            growth_bytes_a_day: Some(50.0),
            growth_bytes_a_month: Some(1_500.0),
            tables: vec![TablePerformance {
                table: "system_metrics".to_owned(),
                rows: 10,
                bytes_on_disk: 100,
                parts: 2,
                rows_a_day: Some(5.0),
                bytes_a_day: Some(50.0),
                growth_days: 2,
            }],
        }
    }

    pub(crate) fn detailed() -> Detailed {
        let window = Window { from: now(), to: now() };
        Detailed {
            metric_name: "ai_confidence".to_owned(),
            current_value: Some(0.85),
            historical_data: vec![Point {
                timestamp: now(),
                partial: false,
                value: 0.83,
                count: 6,
                min: 0.7,
                max: 0.9,
                p50: Some(0.84),
                p95: None,
                p99: None,
            }],
            percentile_data: Percentiles { p50: Some(0.82), p95: Some(0.94), p99: Some(0.98) },
            thresholds: Thresholds { warning: Some(0.6), critical: Some(0.4) },
            trend_analysis: TrendAnalysis {
                direction: Some(Direction::Up),
                percentage_change: Some(5.2),
                is_concerning: false,
                insufficient_data: false,
                samples_needed: 5,
                current: Some(0.85),
                previous: Some(0.8),
                current_samples: 6,
                previous_samples: 9,
                current_window: window,
                previous_window: window,
            },
            comparison: None,
            account_id: None,
            conversation_id: None,
            window,
            resolution: Resolution { seconds: 60, label: "1m".to_owned() },
            window_kept: Kept::Whole,
            tier: Tier::Minute,
            freshness: Freshness { newest_sample: Some(now()), age_seconds: Some(0.5), computed_at: now() },
            sample_count: 6,
            percentile_error_bound: Some(0.01),
            percentile_least_magnitude: Some(1e-130),
            definition: MetricDefinition {
                unit: String::new(),
                kind: "gauge".to_owned(),
                aggregate: "mean".to_owned(),
                bad_direction: "down".to_owned(),
                description: "How sure the AI is.".to_owned(),
            },
            notes: Vec::new(),
        }
    }

    /// The same data, asked for later.
    pub(crate) fn detailed_at(computed_at: DateTime<Utc>) -> Detailed {
        let age = (computed_at - now()).as_seconds_f64() + 0.5;
        let answer = detailed();
        let freshness = Freshness { age_seconds: Some(age), computed_at, ..answer.freshness };
        Detailed { freshness, ..answer }
    }

    pub(crate) fn compared() -> Detailed {
        let whole = detailed();
        let change = Change {
            current: Some(0.85),
            current_samples: 6,
            previous: Some(0.8),
            previous_samples: 9,
            absolute_change: Some(0.05),
            percentage_change: Some(6.25),
        };
        let comparison = Comparison {
            windows: windows(),
            change,
            previous_percentiles: Percentiles { p50: Some(0.8), p95: Some(0.9), p99: None },
            previous_series: vec![PreviousPoint {
                timestamp: now(),
                previous_timestamp: now(),
                partial: false,
                value: 0.8,
                count: 9,
            }],
        };
        Detailed { comparison: Some(comparison), ..whole }
    }

    fn windows() -> ComparedWindows {
        let window = detailed().window;
        ComparedWindows {
            current_window: window,
            previous_window: window,
            previous_kept: Kept::Partly,
            note: Some("Too little is still there.".to_owned()),
        }
    }

    pub(crate) fn groups() -> MetricGroups {
        let whole = detailed();
        let share = Share { count: 4, sum: 8.0, mean: 2.0, share_of_count: 0.4, share_of_sum: None };
        MetricGroups {
            metric_name: whole.metric_name,
            group_by: GroupBy::Account,
            order_by: OrderBy::P95,
            order: Order::Asc,
            top: 1,
            group_count: 3,
            groups: vec![MetricGroup {
                id: "account123".to_owned(),
                rank: 1,
                value: 0.5,
                count: 2,
                sum: 1.0,
                mean: 0.5,
                min: 0.4,
                max: 0.6,
                last: 0.6,
                newest_sample: Some(now()),
                percentiles: Percentiles { p50: Some(0.4), p95: Some(0.6), p99: Some(0.6) },
                share_of_count: 0.2,
                share_of_sum: None,
                comparison: Some(Change::default()),
                series: vec![GroupPoint {
                    timestamp: now(),
                    partial: true,
                    value: 0.5,
                    count: 2,
                    min: 0.4,
                    max: 0.6,
                }],
            }],
            remainder: Some(Remainder { groups: 2, share }),
            unassigned: Some(share),
            total: Some(GroupTotal {
                value: 1.7,
                count: 10,
                sum: 17.0,
                mean: 1.7,
                min: 0.4,
                max: 5.0,
                last: 0.6,
            }),
            compared: Some(windows()),
            account_id: None,
            thresholds: whole.thresholds,
            definition: whole.definition,
            window: whole.window,
            window_kept: whole.window_kept,
            resolution: whole.resolution,
            tier: Tier::AccountHour,
            freshness: whole.freshness,
            percentile_error_bound: Some(0.01),
            percentile_least_magnitude: Some(1e-130),
            notes: vec!["What is lacking and why.".to_owned()],
        }
    }

    pub(crate) fn page() -> FeedPage {
        let event = FeedEvent {
            id: Uuid::from_u128(7),
            event_type: "user_interaction".to_owned(),
            title: "User started conversation".to_owned(),
            description: None,
            account_id: Some("account123".to_owned()),
            conversation_id: None,
            user_id: None,
            severity: "low".to_owned(),
            category: "general".to_owned(),
            created_at: now(),
            is_vip: false,
            metadata: None,
            is_read: None,
        };
        FeedPage {
            events: vec![event],
            newest_cursor: Some("new".to_owned()),
            next_cursor: Some("abc".to_owned()),
            has_more: true,
        }
    }

    pub(crate) fn unread(version: ReadingVersion) -> Unread {
        Unread {
            unread: 7,
            more: false,
            by_severity: UnreadBySeverity { low: 3, medium: 1, high: 2, critical: 1 },
            vip: 3,
            epoch: version.epoch,
            offset: version.offset,
        }
    }

    pub(crate) fn preview() -> Preview {
        let outcome = PreviewOutcome {
            alerts: 1,
            worsened: 1,
            improved: 0,
            resolved: 0,
            still_firing: 1,
            notifications: 2,
            firing_seconds: 60.0,
            longest_seconds: 60.0,
        };
        let at = |minutes: i64| now() + chrono::TimeDelta::minutes(minutes);
        Preview {
            window: Window { from: at(-60), to: now() },
            computed_at: now(),
            history: PreviewHistory { samples_from: Some(at(-60)), samples: 12, rollups: 0 },
            rules: vec![RulePreview {
                rule: "busy_hosts".to_owned(),
                version: 2,
                judged: vec![JudgedPart {
                    from: at(-60),
                    to: now(),
                    tier: Tier::Raw,
                    means: "the samples".to_owned(),
                }],
                not_judged: None,
                outcome,
                beside: Some(BesideOutcome {
                    version: 1,
                    outcome,
                    not_judged: Some("it counts rows".to_owned()),
                }),
                alerts: vec![PreviewedAlert {
                    alert_id: Uuid::from_u128(7),
                    severity: "critical".to_owned(),
                    account_id: Some("account123".to_owned()),
                    conversation_id: None,
                    raised_at: at(-1),
                    resolved_at: None,
                    seconds: 60.0,
                    value: Some(91.0),
                    threshold: Some(90.0),
                    explanation: "system_load is 91 %".to_owned(),
                    end: None,
                }],
                more_alerts: 0,
                late_rows: 0,
                unwatched_rows: 0,
                suggestion: Some(SuggestedThreshold {
                    budget: "2/week".to_owned(),
                    allowed: Some(0),
                    threshold: Some(92.0),
                    alerts: Some(0),
                    tried: vec![TriedThreshold { threshold: 92.0, alerts: 0 }],
                    problem: None,
                }),
            }],
            notes: Vec::new(),
        }
    }

    pub(crate) fn database() -> DatabaseHealth {
        DatabaseHealth {
            version: "26.7.1".to_owned(),
            schema_current: true,
            schema_problem: None,
            round_trip_ms: 1.5,
            tables: Some(vec![TableStorage {
                table: "system_metrics".to_owned(),
                rows: 10,
                bytes_on_disk: 130,
                parts: 1,
            }]),
            bytes_on_disk: Some(130),
            dead_letters: Some(DeadLetters { total: 0, last_24_hours: 0, newest: None }),
            newest_metric: Some(now()),
            newest_event: None,
            timestamp: now(),
        }
    }
}

#[tokio::test]
async fn answers_are_what_the_query_says() {
    let api = Api::new(Setup::default());
    insta::assert_json_snapshot!("overview", api.get("/api/v1/kelly/monitoring/metrics").await.json());
    insta::assert_json_snapshot!("detailed", api.get(&format!("{DETAILED}/ai_confidence")).await.json());
    let groups = api.get(&format!("{DETAILED}/ai_confidence?group_by=account&top=1")).await;
    insta::assert_json_snapshot!("groups", groups.json());
    insta::assert_json_snapshot!(
        "several",
        api.get(&format!("{DETAILED}?metrics=a,b,ai_confidnce")).await.json()
    );
    insta::assert_json_snapshot!("feed", api.get(FEED).await.json());
    let database = api.get("/health/database").await;
    insta::assert_json_snapshot!("database", database.json());
    let same = api.get("/api/v1/kelly/monitoring/health/database").await;
    assert_eq!(same.body, database.body);
}

#[tokio::test]
async fn parameters_become_the_question() {
    let api = Api::new(Setup::default());
    for path in [
        format!("{DETAILED}/ai_confidence"),
        format!("{DETAILED}/a%2Fb?timeframe=30d&account_id=account%20123"),
        format!("{DETAILED}/m?from=2024-09-11T12:00:00Z&to=1726068645000&conversation_id=c%2F1"),
        format!("{DETAILED}/m?step=5m&compare=previous"),
        format!("{DETAILED}?metrics=a,b%2Fc&timeframe=7d&compare=previous&step=1h&account_id=a"),
        format!("{DETAILED}/m?group_by=account&compare=previous"),
        format!(
            "{DETAILED}/m?group_by=conversation&account_id=a&top=100&order_by=p95&order=asc&timeframe=24h"
        ),
        FEED.to_owned(),
        format!("{FEED}?limit=200&severity=critical&event_type=x&account_id=a&cursor=abc"),
        "/api/v1/kelly/monitoring/activity/vip?limit=1".to_owned(),
    ] {
        assert_eq!(api.get(&path).await.status, 200, "{path}");
    }
    let asked = api.queries.asked.lock().unwrap().join("\n");
    insta::assert_snapshot!("questions", asked);
}

#[tokio::test]
async fn wrong_parameters_are_refused_with_what_is_allowed() {
    let api = Api::new(Setup::default());
    let mut details = Vec::new();
    for path in [
        format!("{DETAILED}/m?timeframe=2h"),
        format!("{DETAILED}/m?timeframe=1h&from=2024-09-11T12:00:00Z"),
        format!("{DETAILED}/m?to=2024-09-11T12:00:00Z"),
        format!("{DETAILED}/m?from=yesterday"),
        format!("{DETAILED}/m?time_frame=1h"),
        format!("{DETAILED}/m?step=2m&compare=last_year"),
        format!("{DETAILED}/m?group_by=account&step=1m"),
        DETAILED.to_owned(),
        format!("{DETAILED}?metrics=a,,b"),
        format!("{DETAILED}?metrics=a,b%20c&group_by=account"),
        format!("{DETAILED}/m?group_by=user"),
        format!("{DETAILED}/m?top=5&order_by=p95&order=asc"),
        format!("{DETAILED}/m?group_by=account&top=-1&order_by=worst&order=up&conversation_id=c"),
        format!("{DETAILED}/bad%20name"),
        format!("{DETAILED}/%FF"),
        format!("{DETAILED}/{}", "x".repeat(101)),
        format!("{FEED}?limit=0"),
        format!("{FEED}?limit=201"),
        format!("{FEED}?severity=HIGH&limit=&x=1"),
        format!("{FEED}?limit=1&limit=2"),
        "/api/v1/kelly/monitoring/metrics?timeframe=1h".to_owned(),
        "/api/v1/kelly/monitoring/health?verbose=1".to_owned(),
        "/health/database?verbose=1".to_owned(),
        "/readyz?verbose=1".to_owned(),
        "/livez?verbose=1".to_owned(),
        "/api/problems?verbose=1".to_owned(),
        "/api/v1/kelly/monitoring/activity/feed?account_id=%FF".to_owned(),
        "/api/v1/kelly/monitoring/metrics/detailed/%FF".to_owned(),
    ] {
        let answer = api.get(&path).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "invalid_parameter"), "{path}");
        let problem = answer.json();
        details.push(format!("{path}\n  {}\n  {}", problem["detail"], problem["errors"]));
    }
    assert_eq!(api.queries.asked.lock().unwrap().len(), 0);
    insta::assert_snapshot!("wrong_parameters", details.join("\n"));
}

#[tokio::test]
async fn failures_of_queries_say_whose_they_are() {
    let too_large = || {
        QueryError::TooLarge(TooLarge {
            parameter: "top",
            unit: "groups",
            asked: 500,
            allowed: 100,
            alternative: "ask with top=100".to_owned(),
        })
    };
    let took_too_long = || QueryError::TookTooLong {
        question: "metric groups",
        source: StoreError::Refused {
            action: "ask".to_owned(),
            code: 159,
            message: "secret-of-the-house".to_owned(),
        },
    };
    let cases: [Failure<QueryError>; 8] = [
        ("too_large", too_large, 400, "query_too_large"),
        ("took_too_long", took_too_long, 504, "query_timeout"),
        ("cursor", || QueryError::BadCursor, 400, "invalid_cursor"),
        ("filters", || QueryError::CursorOfOtherFilters, 400, "invalid_cursor"),
        (
            "range",
            || QueryError::RangeTooLong {
                from: crate::support::now(),
                to: crate::support::now(),
                limit_days: 90,
            },
            400,
            "range_too_long",
        ),
        (
            "samples",
            || QueryError::TooManySamples {
                question: "detailed metric",
                source: StoreError::Refused {
                    action: "ask".to_owned(),
                    code: 241,
                    message: "secret-of-the-house".to_owned(),
                },
            },
            400,
            "range_too_long",
        ),
        (
            "away",
            || QueryError::StoreUnavailable {
                question: "the feed",
                source: StoreError::TimedOut { action: "secret-of-the-house".to_owned() },
            },
            503,
            "store_unavailable",
        ),
        (
            "refused",
            || QueryError::StoreRefused {
                question: "the feed",
                source: StoreError::Refused {
                    action: "ask".to_owned(),
                    code: 47,
                    message: "secret-of-the-house".to_owned(),
                },
            },
            500,
            "internal",
        ),
    ];
    for (name, error, status, code) in cases {
        let api = Api::new(Setup { queries: Fate::Fail(error), ..Setup::default() });
        let answer = api.get(FEED).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code), "{name}");
        assert_eq!(answer.header("retry-after"), if status == 503 { "5" } else { "" });
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(!text.contains("secret-of-the-house"), "{text}");
        insta::assert_json_snapshot!(format!("query_failure_{name}"), answer.json());
    }
}

#[tokio::test]
async fn a_query_without_end_is_cut_off() {
    let limits = Limits { query_timeout: Duration::from_millis(1), ..Limits::default() };
    let api = Api::new(Setup { queries: Fate::Never, limits, ..Setup::default() });
    let answer = api.get(FEED).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (504, "query_timeout"));
}

#[tokio::test]
async fn queries_beyond_those_that_may_wait_are_refused_at_once() {
    let limits = Limits {
        parts_of_a_share: NonZeroUsize::MIN,
        max_running_queries: 1,
        max_waiting_queries: 1,
        ..Limits::default()
    };
    let api = Api::new(Setup { queries: Fate::Never, limits, ..Setup::default() });
    // Equal questions would share a turn.
    let (other, another) = (format!("{FEED}?limit=1"), format!("{FEED}?limit=2"));
    let (mut first, mut second) = (Box::pin(api.get(FEED)), Box::pin(api.get(&other)));
    let third = api.get(&another);
    tokio::select! {
        biased;
        _ = &mut first => panic!("it never ends"),
        _ = &mut second => panic!("it never ends"),
        answer = third => {
            assert_eq!(answer.code(), "server_busy");
            assert_eq!(answer.header("retry-after"), "1");
        }
    }
    settle().await;
    // Only the first of the two had its turn.
    assert_eq!(api.queries.asked.lock().unwrap().len(), 1);
}
