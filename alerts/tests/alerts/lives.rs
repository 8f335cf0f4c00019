//! How long things last: `for`, `keep_firing_for`, mute, hours, late rows, and what a restart must not change.

use kelly_alerts::Decision;

use crate::history::{BEGIN_MS, Evaluations, History, ROW, Values, rule};

#[test]
fn it_must_be_bad_for_long_enough_without_a_break() {
    let mut history = History::of(rule("metric = 'm'\ndirection = 'above'\nwarning = 10\nfor = '10s'"));
    history.rows(&[(1.0, 11.0), (6.0, 9.0), (8.0, 11.0), (17.9, 11.0)]);
    assert_eq!(history.take(), [""; 0]);
    history.rows(&[(18.0, 11.0)]);
    assert_eq!(history.said[0].since_ms - BEGIN_MS, 8_000);
    assert_eq!(history.take(), ["18 raised warning"]);
}

#[test]
fn time_alone_ends_for_when_no_row_comes() {
    let mut history =
        History::of(rule("metric = 'm'\ndirection = 'above'\nwarning = 10\nfor = '10s'\nlate = '5s'"));
    history.rows(&[(1.0, 11.0)]);
    history.tick(15.9);
    assert_eq!(history.take(), [""; 0]);
    history.tick(100.0);
    assert_eq!(history.take(), ["11 raised warning"], "at its own time, however coarse the ticks are");
}

#[test]
fn an_alert_goes_on_until_it_was_good_for_long_enough() {
    let mut history =
        History::of(rule("metric = 'm'\ndirection = 'above'\nwarning = 10\nkeep_firing_for = '10s'"));
    history.rows(&[(1.0, 11.0), (2.0, 9.0), (8.0, 11.0), (9.0, 9.0), (18.9, 9.0), (19.0, 9.0)]);
    assert_eq!(history.take(), ["1 raised warning", "19 resolved warning"]);
}

#[test]
fn a_value_must_come_back_across_the_easier_threshold() {
    let mut history =
        History::of(rule("metric = 'm'\ndirection = 'below'\nwarning = 10\ncritical = 5\nhysteresis = 2"));
    history.rows(&[(1.0, 4.0), (2.0, 6.9), (3.0, 7.0), (4.0, 11.9), (5.0, 12.0), (6.0, 11.0)]);
    assert_eq!(history.take(), ["1 raised critical", "3 improved warning", "5 resolved warning"]);
}

#[test]
fn after_an_alert_ended_it_is_muted() {
    let mut history =
        History::of(rule("metric = 'm'\ndirection = 'above'\nwarning = 10\nmute_for = '30s'\nlate = '0s'"));
    history.rows(&[(1.0, 11.0), (2.0, 9.0), (10.0, 11.0), (12.0, 9.0), (20.0, 11.0)]);
    assert_eq!(history.take(), ["1 raised warning", "2 resolved warning"]);
    history.tick(40.0);
    assert_eq!(history.take(), ["32 raised warning"], "what is bad when the mute ends is told then");
}

#[test]
fn a_rule_raises_in_its_hours_only() {
    // The history begins at midnight of a Monday.
    let mut history = History::of(rule(
        "metric = 'm'\ndirection = 'above'\nwarning = 10\nlate = '0s'\nno_data = { policy = 'keep' }\n\
         schedule = { days = ['mon'], from = '01:00', until = '02:00' }",
    ));
    history.rows(&[(60.0, 11.0)]);
    history.tick(3_599.0);
    assert_eq!(history.take(), [""; 0]);
    history.tick(3.0 * 3_600.0);
    assert_eq!(history.take(), ["3600 raised warning", "7200 ended ScheduleEnded warning"]);
    history.tick(30.0 * 3_600.0);
    assert_eq!(history.take(), [""; 0], "Tuesday is not one of its days");
}

#[test]
fn too_few_samples_are_not_judged() {
    let mut history = History::of(rule(
        "metric = 'm'\naggregation = 'avg'\nwindow = '1m'\nmin_samples = 3\ndirection = 'above'\nwarning = 10",
    ));
    history.rows(&[(1.0, 50.0), (2.0, 50.0)]);
    assert_eq!(history.take(), [""; 0]);
    history.rows(&[(3.0, 50.0)]);
    assert_eq!(history.take(), ["3 raised warning"]);
}

#[test]
fn a_late_row_counts_where_it_belongs_or_not_at_all() {
    let fields =
        "metric = 'm'\naggregation = 'sum'\nwindow = '1m'\ndirection = 'above'\nwarning = 15\nlate = '10s'";
    let mut history = History::of(rule(fields));
    history.rows(&[(100.0, 10.0)]);
    history.row(101.0, 10.0, Values { delay_s: 10.0, ..ROW });
    assert_eq!(history.take(), ["100 raised warning"]);
    let mut history = History::of(rule(fields));
    history.rows(&[(100.0, 10.0)]);
    history.row(101.0, 10.0, Values { delay_s: 11.5, ..ROW });
    assert_eq!(history.take(), [""; 0]);
    assert_eq!(history.engine.late_rows().get("r"), Some(&1), "and it is counted as late");
}

#[test]
fn a_producer_that_is_behind_is_judged_as_one_that_is_not() {
    let mut history =
        History::of(rule("metric = 'm'\ndirection = 'above'\nwarning = 10\nfor = '10s'\nlate = '5m'"));
    for second in 0..12 {
        history.row(f64::from(second) + 300.0, 11.0, Values { delay_s: 300.0, ..ROW });
    }
    assert_eq!(history.take(), ["10 raised warning"]);
}

#[test]
fn a_clock_that_is_ahead_brings_no_window_to_its_end() {
    let mut history = History::of(rule(
        "metric = 'm'\naggregation = 'sum'\nwindow = '1m'\ndirection = 'above'\nwarning = 15",
    ));
    history.rows(&[(100.0, 10.0)]);
    history.row(101.0, 1.0, Values { delay_s: -500.0, ..ROW });
    history.rows(&[(102.0, 10.0)]);
    assert_eq!(history.take(), ["102 raised warning"]);
}

#[test]
fn a_restart_at_any_point_changes_nothing() {
    let fields = "metric = 'm'\naggregation = 'avg'\nwindow = '5s'\ndirection = 'above'\nwarning = 10\ncritical = 20\n\
        hysteresis = 1\nfor = '3s'\nkeep_firing_for = '3s'\nmute_for = '5s'\nlate = '2s'";
    let rows: Vec<(f64, f64)> =
        (0..120).map(|second| (f64::from(second), f64::from(second / 12 % 2 * 20 + second % 7))).collect();
    let mut whole = History::of(rule(fields));
    whole.rows(&rows);
    let expected: Vec<_> = std::mem::take(&mut whole.said);
    assert!(expected.len() > 4, "{expected:?}");
    for every in [1, 7, 30] {
        let mut history = History::of(rule(fields));
        for (number, row) in rows.iter().enumerate() {
            history.rows(&[*row]);
            // The states of before are stored with those that did not change since.
            if number % every == 0 {
                history.restart();
            }
        }
        assert_eq!(history.said, expected, "restarted every {every}");
    }
}

#[test]
fn each_step_near_an_alert_can_be_seen() {
    let mut history = History::of(rule(
        "metric = 'm'\ndirection = 'above'\nwarning = 10\nfor = '2s'\nkeep_firing_for = '2s'",
    ));
    let mut seen = Evaluations::default();
    for (at_s, value) in [(1, 5.0), (2, 11.0), (4, 12.0), (5, 9.0), (7, 9.0)] {
        let metric = kelly_schemas::Metric {
            metric_name: "m".into(),
            metric_type: "gauge".into(),
            value,
            timestamp_ms: BEGIN_MS + at_s * 1_000,
            account_id: "".into(),
            conversation_id: "".into(),
            user_id: "".into(),
            metadata: "".into(),
        };
        let record = kelly_alerts::Record { place: None, log_time_ms: metric.timestamp_ms, metric: &metric };
        history.engine.record(&record, &mut seen);
    }
    assert_eq!(
        seen.0,
        [
            (2_000, Some(11.0), Some(10.0), Decision::Pending),
            (4_000, Some(12.0), Some(10.0), Decision::Firing),
            (5_000, Some(9.0), Some(10.0), Decision::Recovering),
        ]
    );
}
