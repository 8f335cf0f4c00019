//! A transition as a sentence: what was measured, against what, since when.

use chrono::DateTime;
use kelly_schemas::catalogue::Catalogue;

use super::state::Open;
use super::told::Told;
use crate::number::number;
use crate::rule::{Aggregation, ChangeUnit, Compiled, Direction, Source, Span, WindowShape};
use crate::transition::{Cause, Change, End};

/// The sentence of a transition.
pub(crate) fn explain(told: &Told<'_>) -> String {
    let metric = told.metric();
    let about = match (&told.rule.source, &told.entity.subject) {
        (Source::OwnThresholds | Source::Told, crate::entity::Subject::Global) => String::new(),
        _ => format!(" ({})", told.entity),
    };
    match told.change {
        Change::Resolved(End::Recovered) if told.alert.cause == Cause::NoData => {
            format!("{metric}{about}: there are rows again")
        }
        Change::Resolved(End::NoData) => format!("{metric}{about}: there were no more rows"),
        Change::Resolved(End::Vanished) => format!("{metric}{about}: nothing was heard of it any more"),
        Change::Resolved(End::RuleChanged) => format!("the rule `{}` was changed", told.rule.rule.id),
        Change::Resolved(End::RuleRemoved) => format!("the rule `{}` was removed", told.rule.rule.id),
        Change::Resolved(End::ScheduleEnded) => {
            format!("the hours of the rule `{}` ended", told.rule.rule.id)
        }
        _ if told.alert.cause == Cause::NoData => {
            let silent = Span::from_ms(told.at_ms - told.alert.since_ms);
            format!("{metric}{about}: no row for {silent}, since {}", time(told.alert.since_ms))
        }
        _ => format!("{}{about}{}", finding(told), since(told)),
    }
}

impl Told<'_> {
    /// The metric it is about.
    pub(crate) fn metric(&self) -> &str {
        match &self.rule.source {
            Source::OwnThresholds => &self.entity.part,
            _ => self.rule.rule.metric.as_deref().unwrap_or_default(),
        }
    }
}

fn since(told: &Told<'_>) -> String {
    let Open { since_ms, .. } = told.alert;
    match told.change {
        Change::Raised if *since_ms == told.at_ms => String::new(),
        Change::Raised | Change::Worsened => format!(", since {}", time(*since_ms)),
        Change::Improved | Change::Resolved(_) => {
            format!(", after {}", Span::from_ms(told.at_ms - told.alert.raised_ms))
        }
    }
}

fn finding(told: &Told<'_>) -> String {
    let (rule, reading) = (told.rule, &told.reading);
    let metric = told.metric();
    let unit = unit(rule, metric);
    let Some(value) = reading.value else { return without_value(told) };
    let shown = number(value);
    let against = |sign: &str, unit: &str| match reading.threshold(Some(told.alert.level)) {
        Some(threshold) if matches!(told.change, Change::Resolved(_)) => {
            format!(", no longer {sign} {}{unit}", number(threshold))
        }
        Some(threshold) => format!(", {sign} {}{unit}", number(threshold)),
        None => String::new(),
    };
    let sign = rule.judge.direction.map_or("≥", Direction::sign);
    match &rule.source {
        Source::Window(shape) => {
            format!("{}{metric} is {shown}{unit}{}", of_window(shape, rule), against(sign, unit))
        }
        Source::Change { unit: in_unit, .. } => {
            let unit = if *in_unit == ChangeUnit::Percent { " %" } else { unit };
            let over = rule.rule.over.unwrap_or_default();
            let plus = if value > 0.0 { "+" } else { "" };
            format!("{metric} changed by {plus}{shown}{unit} against {over} before{}", against(sign, unit))
        }
        Source::Burn(burn) => {
            let budget = number(burn.budget * 100.0);
            format!(
                "{metric} uses up the {budget} % that may fail {shown} times too fast{}",
                against("≥", "")
            )
        }
        Source::Anomaly => match reading.surprise {
            Some(surprise) => format!("{metric} is {shown}{unit}, {}", surprise.explain(value, told.at_ms)),
            None => format!("{metric} is {shown}{unit}"),
        },
        Source::OwnThresholds => {
            let more = told.own_more_is_worse();
            let (sign, side) = if more { ("≥", "more") } else { ("≤", "less") };
            format!(
                "{metric} is {shown}{unit}{} from its own metadata, by which {side} is worse",
                against(sign, unit)
            )
        }
        _ => without_value(told),
    }
}

fn without_value(told: &Told<'_>) -> String {
    match &told.rule.source {
        Source::Composite(_) => {
            let when = told.rule.rule.when.as_deref().unwrap_or_default();
            if matches!(told.change, Change::Resolved(_)) {
                format!("`{when}` no longer holds")
            } else {
                format!("`{when}` holds")
            }
        }
        Source::Told => match told.change {
            Change::Resolved(_) => format!("{}: mended", told.entity.part),
            _ => format!("{}: {}", told.entity.part, told.why()),
        },
        _ => told.metric().to_owned(),
    }
}

/// The unit after a number, with its space.
fn unit(rule: &Compiled, metric: &str) -> &'static str {
    let known = Catalogue::builtin().known(metric).map_or("", |known| known.unit.as_str());
    let aggregation = match &rule.source {
        Source::Window(shape) => Some(shape.aggregation),
        _ => None,
    };
    match (aggregation, known) {
        (Some(Aggregation::Count), _) => " rows",
        (Some(Aggregation::Rate), _) => " a second",
        (_, "percent") => " %",
        (_, "ms") => " ms",
        (_, "bytes") => " bytes",
        (_, "USD") => " USD",
        _ => "",
    }
}

fn of_window(shape: &WindowShape, rule: &Compiled) -> String {
    let name = match shape.aggregation {
        Aggregation::Last => return String::new(),
        Aggregation::Avg => "mean",
        Aggregation::Min => "least",
        Aggregation::Max => "largest",
        Aggregation::Sum => "sum",
        Aggregation::Rate => "rate",
        Aggregation::Count => "number of rows",
        Aggregation::P50 => "median",
        Aggregation::P95 => "95th percentile",
        Aggregation::P99 => "99th percentile",
    };
    format!("{name} over {} of ", rule.rule.window.unwrap_or_default())
}

/// A time of day, in UTC.
fn time(at_ms: i64) -> String {
    match DateTime::from_timestamp_millis(at_ms) {
        Some(time) => time.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
        None => format!("{at_ms} ms after 1970"),
    }
}
