//! Where the value of a rule comes from: windows, changes, service levels, other rules.

use kelly_schemas::catalogue::Catalogue;
use kelly_schemas::{check as bounds, limits};

use super::compiled::{Burn, Errors, Judge, Pair, Source, WindowShape};
use super::data::{Aggregation, BurnPair, Kind, Rule, Scope};
use super::fault::Faults;
use super::{Direction, Expression, Level, Span};

/// A window moves by a part of its length, so that its rows need not be kept.
const PANES: i64 = 20;
/// Of percentiles: a pane has a histogram.
const PERCENTILE_PANES: i64 = 10;
/// Of the windows that a change compares, which may lie far apart.
const CHANGE_PANES: i64 = 5;
/// So many windows apart at most: it bounds the panes that are kept.
const CHANGE_WINDOWS: i64 = 60;

/// Nothing is judged or missed over less.
pub(super) const SHORTEST_WINDOW: Span = Span::from_ms(1_000);
const LONGEST_WINDOW: Span = Span::minutes(90 * 24 * 60);

/// Where its value comes from.
pub(super) fn source(rule: &Rule, judge: &Judge, faults: &mut Faults) -> Option<Source> {
    match rule.kind {
        Kind::Threshold => window(rule, judge, faults).map(Source::Window),
        Kind::Change => change(rule, faults),
        Kind::NoData => Some(Source::Silence),
        Kind::BurnRate => burn(rule, faults).map(Source::Burn),
        Kind::Anomaly => Some(Source::Anomaly),
        Kind::Composite => match rule.when.as_deref().map(Expression::parse) {
            None => {
                faults.wrong("when", "it is missing", "write rules joined by and, or, not and brackets");
                None
            }
            Some(Err(problem)) => {
                faults.wrong("when", problem, "write rules joined by and, or, not and brackets");
                None
            }
            Some(Ok(expression)) => Some(Source::Composite(expression)),
        },
    }
}

fn shape(aggregation: Aggregation, length: Span, panes: i64) -> WindowShape {
    let pane_ms = (length.ms() + panes - 1) / panes;
    WindowShape {
        aggregation,
        pane_ms: pane_ms.max(1),
        panes: whole_panes(length.ms(), pane_ms.max(1)),
        settled: false,
    }
}

/// How many panes it takes to cover a length.
const fn whole_panes(length_ms: i64, pane_ms: i64) -> i64 {
    (length_ms + pane_ms - 1) / pane_ms
}

fn window_length(rule: &Rule, faults: &mut Faults) -> Option<Span> {
    let window = rule.window?;
    if window < SHORTEST_WINDOW || window > LONGEST_WINDOW {
        faults.wrong(
            "window",
            format!("{window} is out of bounds"),
            format!("take between {SHORTEST_WINDOW} and {LONGEST_WINDOW}"),
        );
        return None;
    }
    Some(window)
}

fn window(rule: &Rule, judge: &Judge, faults: &mut Faults) -> Option<WindowShape> {
    let aggregation = rule.aggregation.unwrap_or_default();
    if rule.window.is_none() {
        if aggregation == Aggregation::Last {
            return Some(WindowShape { aggregation, pane_ms: 1, panes: 0, settled: false });
        }
        faults.wrong("window", "this aggregation needs one", "say how far back rows count, such as 5m");
        return None;
    }
    let length = window_length(rule, faults)?;
    let panes = match aggregation {
        Aggregation::P50 | Aggregation::P95 | Aggregation::P99 => PERCENTILE_PANES,
        _ => PANES,
    };
    // A window that is not over has too little of what is added up: only a whole one says that it was too little.
    let settled = matches!(aggregation, Aggregation::Sum | Aggregation::Rate | Aggregation::Count)
        && judge.direction.is_some_and(|direction| !direction.more_is_worse());
    Some(WindowShape { settled, ..shape(aggregation, length, panes) })
}

fn change(rule: &Rule, faults: &mut Faults) -> Option<Source> {
    let aggregation = rule.aggregation.unwrap_or(Aggregation::Avg);
    if matches!(aggregation, Aggregation::P50 | Aggregation::P95 | Aggregation::P99) {
        faults.wrong(
            "aggregation",
            "changes of percentiles are not watched",
            "use avg, min, max, last, sum, rate or count",
        );
        return None;
    }
    let Some(over) = rule.over else {
        faults.wrong("over", "it is missing", "say how much older the value to compare with is, such as 1h");
        return None;
    };
    if rule.window.is_none() {
        faults.wrong("window", "it is missing", "say how far back rows count, such as 5m");
    }
    let window = window_length(rule, faults)?;
    if over < window || over.ms() > CHANGE_WINDOWS * window.ms() {
        faults.wrong(
            "over",
            format!("{over} does not fit a window of {window}"),
            format!("take between one window and {CHANGE_WINDOWS} of them"),
        );
        return None;
    }
    let shape = shape(aggregation, window, CHANGE_PANES);
    let over_panes = whole_panes(over.ms(), shape.pane_ms);
    Some(Source::Change { shape, over_panes, unit: rule.change.unwrap_or_default() })
}

/// The pairs of usual practice for an objective over thirty days.
const USUAL_PAIRS: [BurnPair; 3] = [
    BurnPair { long: Span::minutes(60), short: Span::minutes(5), factor: 14.4, severity: Level::Critical },
    BurnPair { long: Span::minutes(360), short: Span::minutes(30), factor: 6.0, severity: Level::Critical },
    BurnPair { long: Span::minutes(4_320), short: Span::minutes(360), factor: 1.0, severity: Level::Warning },
];

/// Pairs at most: each has two windows to keep.
const MOST_PAIRS: usize = 8;

fn burn(rule: &Rule, faults: &mut Faults) -> Option<Burn> {
    let Some(slo) = &rule.slo else {
        faults.wrong("slo", "it is missing", "write slo = { objective = 0.999, total = \"METRIC\" }");
        return None;
    };
    if !(slo.objective > 0.0 && slo.objective < 1.0) {
        let fix = "take a part of everything between 0 and 1, such as 0.999";
        faults.wrong("slo.objective", format!("{} leaves nothing to burn", slo.objective), fix);
    }
    let errors = match (&slo.total, slo.bad_above, slo.bad_below) {
        (Some(total), None, None) => {
            if bounds::name("total", total, limits::METRIC_NAME_CHARACTERS).is_err() {
                faults.wrong(
                    "slo.total",
                    "no metric can have this name",
                    "name the metric that counts everything",
                );
            }
            if rule.metric.as_ref() == Some(total) {
                faults.wrong(
                    "slo.total",
                    "it is the metric that counts what failed",
                    "name the one that counts everything",
                );
            }
            Some(Errors::Counted { total: total.clone() })
        }
        (None, Some(boundary), None) => Some(Errors::Beyond(Direction::Above, boundary)),
        (None, None, Some(boundary)) => Some(Errors::Beyond(Direction::Below, boundary)),
        _ => {
            faults.wrong(
                "slo",
                "nobody knows what failed",
                "give exactly one of `total`, `bad_above` and `bad_below`",
            );
            None
        }
    };
    let given: &[BurnPair] = if slo.pairs.is_empty() { &USUAL_PAIRS } else { &slo.pairs };
    if given.len() > MOST_PAIRS {
        faults.wrong("slo.pairs", format!("there are {}", given.len()), format!("{MOST_PAIRS} are allowed"));
    }
    for (pair, number) in given.iter().zip(1..) {
        let field = format!("slo.pairs.{number}");
        if pair.short < SHORTEST_WINDOW || pair.long > LONGEST_WINDOW || pair.short >= pair.long {
            faults.wrong(
                &field,
                format!("{} within {} makes no pair", pair.short, pair.long),
                "take a short window within a longer one",
            );
        }
        let most = 1.0 / (1.0 - slo.objective);
        if !(pair.factor > 0.0 && pair.factor <= most) {
            faults.wrong(
                &field,
                format!("it can never burn {} times too fast", pair.factor),
                format!("if everything fails it is {most:.4} times"),
            );
        }
    }
    let mut lengths: Vec<Span> = given.iter().flat_map(|pair| [pair.long, pair.short]).collect();
    lengths.sort_unstable();
    lengths.dedup();
    let place = |length: Span| lengths.binary_search(&length).unwrap_or_default();
    let pairs = given
        .iter()
        .map(|pair| Pair {
            long: place(pair.long),
            short: place(pair.short),
            factor: pair.factor,
            level: pair.severity,
        })
        .collect();
    let windows = lengths.iter().map(|length| shape(Aggregation::Sum, *length, PANES)).collect();
    Some(Burn { budget: 1.0 - slo.objective, errors: errors?, windows, pairs })
}

/// What cannot be meant although each field by itself is right.
pub(super) fn contradictions(rule: &Rule, judge: &Judge, source: &Source, faults: &mut Faults) {
    let Source::Window(shape) = source else { return };
    let Some(direction) = judge.direction else { return };
    let thresholds = ["warning", "critical"].into_iter().zip(judge.thresholds);
    if shape.settled && rule.scope == Scope::Conversation {
        faults.wrong(
            "scope",
            "every conversation ends, and then nothing is added up any more",
            "watch accounts, or everything",
        );
    }
    if shape.aggregation == Aggregation::Count {
        for (field, threshold) in thresholds.clone().filter_map(|(field, given)| Some((field, given?))) {
            if direction.more_is_worse() && direction.is_bad(0.0, threshold) {
                faults.wrong(field, "a count is never less, so it would always fire", "take a greater one");
            } else if !direction.more_is_worse() && !direction.is_bad(0.0, threshold) {
                faults.wrong(field, "a count is never less, so it would never fire", "take a greater one");
            }
        }
        if rule.min_samples.is_some() {
            faults.doubtful("min_samples", "the count of samples is what is judged", "leave it out");
        }
    }
    if shape.panes == 0 && judge.min_samples > 1 {
        faults.wrong("min_samples", "the newest value is one sample", "give a `window`, or leave it out");
    }
    let keeps_unit = matches!(
        shape.aggregation,
        Aggregation::Last
            | Aggregation::Avg
            | Aggregation::Min
            | Aggregation::Max
            | Aggregation::P50
            | Aggregation::P95
            | Aggregation::P99
    );
    let unit = rule
        .metric
        .as_deref()
        .and_then(|metric| Catalogue::builtin().known(metric))
        .map(|known| known.unit.as_str());
    let range = match unit {
        Some("ratio") if keeps_unit => 0.0..=1.0,
        Some("percent") if keeps_unit && rule.metric.as_deref() != Some("kelly.cpu") => 0.0..=100.0,
        _ => return,
    };
    for (field, threshold) in thresholds.filter_map(|(field, given)| Some((field, given?))) {
        if !range.contains(&threshold) {
            faults.doubtful(
                field,
                format!(
                    "values of this metric run from {} to {}, and {threshold} does not lie between",
                    range.start(),
                    range.end()
                ),
                "is it in another unit?",
            );
        }
    }
}
