//! From a rule as it is written to the one the engine uses, or to everything that is wrong with it.

use kelly_schemas::catalogue::{Bad, Catalogue};
use kelly_schemas::{check as bounds, limits};

use super::compiled::{Compiled, Judge, Silence, Timing};
use super::data::{Aggregation, Kind, NoDataPolicy, Rule, Scope};
use super::fault::{Fault, Faults};
use super::filter::Filter;
use super::schedule::Hours;
use super::source::{SHORTEST_WINDOW, contradictions, source};
use super::{Direction, Level, Span};

const LONGEST_WAIT: Span = Span::minutes(30 * 24 * 60);
/// Rows that come later than this are for analysts, not for alerts.
const LONGEST_LATE: Span = Span::minutes(24 * 60);
const USUAL_LATE: Span = Span::minutes(1);
const USUAL_SILENCE: Span = Span::minutes(10);
/// How many entities a rule watches if it does not say.
const USUAL_ENTITIES: u32 = 100_000;
const MOST_ENTITIES: u32 = 1_000_000;

/// Surprises from which an anomaly is a warning and critical, if the rule does not say. See [`crate::anomaly`].
pub const USUAL_SURPRISES: [f64; 2] = [crate::anomaly::WARNING, crate::anomaly::CRITICAL];

/// Settles every default of one rule. Rules it names are not looked at here.
pub(super) fn compile(rule: &Rule, name: &str) -> (Option<Compiled>, Vec<Fault>) {
    let mut faults = Faults::of(name.to_owned());
    names(rule, &mut faults);
    foreign_fields(rule, &mut faults);
    let silence = silence(rule, &mut faults);
    let timing = timing(rule, &mut faults);
    let filter = Filter::of(&rule.filter, &rule.exclude)
        .map_err(|(field, problem, fix)| faults.wrong(&field, problem, fix))
        .unwrap_or_default();
    let hours = rule.schedule.as_ref().and_then(|schedule| {
        Hours::of(schedule).map_err(|(field, problem)| faults.wrong(field, problem, "mend or remove it")).ok()
    });
    let judge = judge(rule, &mut faults);
    let source = source(rule, &judge, &mut faults);
    if let Some(source) = &source {
        contradictions(rule, &judge, source, &mut faults);
    }
    let found = faults.into_found();
    let compiled =
        source.filter(|_| found.iter().all(|fault| fault.gravity < super::Gravity::Wrong)).map(|source| {
            Compiled {
                rule: rule.clone(),
                scope: rule.scope,
                filter,
                source,
                judge,
                timing,
                silence,
                hours,
                max_entities: rule.max_entities.unwrap_or(USUAL_ENTITIES) as usize,
                shape: 0,
            }
        });
    let compiled = compiled.map(Compiled::with_shape);
    (compiled, found)
}

fn names(rule: &Rule, faults: &mut Faults) {
    if bounds::name("id", &rule.id, limits::METRIC_NAME_CHARACTERS).is_err() {
        faults.wrong(
            "id",
            if rule.id.is_empty() { "it has none".to_owned() } else { format!("`{}` is no name", rule.id) },
            "use letters, digits and _ . : / -, at most 100",
        );
    }
    if ["and", "or", "not"].contains(&rule.id.as_str()) {
        faults.wrong("id", "composite rules use this word", "take another name");
    }
    if rule.version == 0 {
        faults.wrong("version", "versions count from 1", "write 1, or leave it out");
    }
    match (&rule.metric, rule.kind) {
        (Some(_), Kind::Composite) => {
            faults.wrong("metric", "a composite watches rules, not a metric", "remove it");
        }
        (None, Kind::Composite) => {}
        (None, _) => faults.wrong("metric", "it is missing", "name the metric to watch"),
        (Some(metric), _) if bounds::name("metric", metric, limits::METRIC_NAME_CHARACTERS).is_err() => {
            faults.wrong(
                "metric",
                format!("no metric can be called `{metric}`"),
                "use letters, digits and _ . : / -, at most 100",
            );
        }
        _ => {}
    }
    if rule.labels.len() > 32 {
        faults.wrong("labels", format!("there are {}", rule.labels.len()), "32 are allowed");
    }
    for (label, value) in &rule.labels {
        let field = format!("labels.{label}");
        if bounds::name("label", label, 100).is_err() {
            faults.wrong(&field, "this is no name", "use letters, digits and _ . : / -, at most 100");
        }
        if value.chars().count() > 200 || value.chars().any(char::is_control) {
            faults.wrong(&field, "its value is no label", "use at most 200 characters on one line");
        }
    }
    if let Some(runbook) = &rule.runbook {
        let is_link = ["https://", "http://"]
            .iter()
            .any(|scheme| runbook.len() > scheme.len() && runbook.starts_with(scheme));
        if !is_link
            || runbook.chars().any(|character| character.is_whitespace() || character.is_control())
            || runbook.len() > 2_000
        {
            faults.wrong("runbook", "it is no link", "write an address that begins with https://");
        }
    }
    if rule.max_entities.is_some_and(|most| most == 0 || most > MOST_ENTITIES) {
        faults.wrong("max_entities", "it is out of bounds", "take a number between 1 and 1000000");
    }
    if rule.description.chars().count() > 2_000 {
        faults.wrong(
            "description",
            "it is too long",
            "use at most 2000 characters, and a runbook for the rest",
        );
    }
}

/// Fields that the kind of rule does not know.
fn foreign_fields(rule: &Rule, faults: &mut Faults) {
    use Kind::{Anomaly, BurnRate, Change, Composite, NoData, Threshold};
    let fields: [(&str, bool, &[Kind]); 15] = [
        ("aggregation", rule.aggregation.is_some(), &[Threshold, Change]),
        ("window", rule.window.is_some(), &[Threshold, Change]),
        ("direction", rule.direction.is_some(), &[Threshold, Change, Anomaly]),
        ("warning", rule.warning.is_some(), &[Threshold, Change, Anomaly]),
        ("critical", rule.critical.is_some(), &[Threshold, Change, Anomaly]),
        ("hysteresis", rule.hysteresis.is_some(), &[Threshold, Change, Anomaly]),
        ("min_samples", rule.min_samples.is_some(), &[Threshold, Change, BurnRate]),
        ("no_data", rule.no_data.is_some(), &[Threshold, Change, BurnRate, Anomaly]),
        ("late", rule.late.is_some(), &[Threshold, Change, BurnRate, Anomaly]),
        ("over", rule.over.is_some(), &[Change]),
        ("change", rule.change.is_some(), &[Change]),
        ("slo", rule.slo.is_some(), &[BurnRate]),
        ("when", rule.when.is_some(), &[Composite]),
        ("severity", rule.severity.is_some(), &[NoData, Composite]),
        (
            "filter",
            !rule.filter.is_empty() || !rule.exclude.is_empty(),
            &[Threshold, Change, BurnRate, Anomaly, NoData],
        ),
    ];
    for (field, is_set, kinds) in fields {
        if is_set && !kinds.contains(&rule.kind) {
            faults.wrong(
                field,
                format!("a rule of the kind `{}` does not know it", kind_name(rule.kind)),
                "remove it",
            );
        }
    }
}

/// As it is written.
pub(super) const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Threshold => "threshold",
        Kind::Change => "change",
        Kind::NoData => "no_data",
        Kind::BurnRate => "burn_rate",
        Kind::Anomaly => "anomaly",
        Kind::Composite => "composite",
    }
}

fn within(field: &str, span: Option<Span>, usual: Span, most: Span, faults: &mut Faults) -> Span {
    let span = span.unwrap_or(usual);
    if span > most {
        faults.wrong(field, format!("{span} is too long"), format!("take at most {most}"));
    }
    span
}

fn timing(rule: &Rule, faults: &mut Faults) -> Timing {
    let span = |field, span, faults: &mut Faults| within(field, span, Span::ZERO, LONGEST_WAIT, faults).ms();
    let is_silence = rule.kind == Kind::NoData;
    Timing {
        // How long silence must last is that of the silence.
        hold_ms: if is_silence { 0 } else { span("for", rule.hold, faults) },
        keep_ms: span("keep_firing_for", rule.keep_firing_for, faults),
        mute_ms: span("mute_for", rule.mute_for, faults),
        late_ms: match rule.kind {
            Kind::Composite | Kind::NoData => 0,
            _ => within("late", rule.late, USUAL_LATE, LONGEST_LATE, faults).ms(),
        },
    }
}

fn silence(rule: &Rule, faults: &mut Faults) -> Silence {
    if rule.kind == Kind::NoData {
        let after = rule.hold.unwrap_or_else(|| {
            faults.wrong("for", "it is missing", "say how long there may be no row");
            USUAL_SILENCE
        });
        if after < SHORTEST_WINDOW || after > LONGEST_WAIT {
            faults.wrong(
                "for",
                format!("{after} is out of bounds"),
                format!("take between {SHORTEST_WINDOW} and {LONGEST_WAIT}"),
            );
        }
        if matches!(rule.scope, Scope::Conversation | Scope::Series) {
            faults.wrong(
                "scope",
                "a conversation that ended is silent, and that is no fault",
                "watch each `account`, or everything: `global`",
            );
        }
        let level = rule.severity.unwrap_or(Level::Warning);
        return Silence { policy: NoDataPolicy::Alert, after_ms: after.ms(), level };
    }
    let usual = USUAL_SILENCE.max(Span::from_ms(2 * rule.window.unwrap_or_default().ms()));
    let Some(no_data) = &rule.no_data else {
        // Of what is added up, nothing is a value too: too little of it does not end by becoming nothing.
        let adds_up =
            matches!(rule.aggregation, Some(Aggregation::Sum | Aggregation::Rate | Aggregation::Count));
        let policy = if adds_up { NoDataPolicy::Keep } else { NoDataPolicy::Resolve };
        return Silence { policy, after_ms: usual.ms(), level: Level::Warning };
    };
    let after = within("no_data.for", no_data.hold, usual, LONGEST_WAIT, faults);
    if after < SHORTEST_WINDOW {
        faults.wrong(
            "no_data.for",
            format!("{after} is too short"),
            format!("take at least {SHORTEST_WINDOW}"),
        );
    }
    if no_data.policy == NoDataPolicy::Alert && rule.scope == Scope::Conversation {
        faults.wrong(
            "no_data.policy",
            "a conversation that ended is silent, and that is no fault",
            "use resolve or keep",
        );
    }
    if no_data.policy != NoDataPolicy::Alert && no_data.severity.is_some() {
        faults.wrong(
            "no_data.severity",
            "only the policy `alert` raises anything",
            "remove it, or use that policy",
        );
    }
    if no_data.policy == NoDataPolicy::Keep && no_data.hold.is_some() {
        faults.wrong(
            "no_data.for",
            "with the policy `keep` nothing happens after it",
            "remove it, or use another policy",
        );
    }
    Silence {
        policy: no_data.policy,
        after_ms: after.ms(),
        level: no_data.severity.unwrap_or(Level::Warning),
    }
}

fn judge(rule: &Rule, faults: &mut Faults) -> Judge {
    let mut thresholds = [rule.warning, rule.critical];
    let has_thresholds = matches!(rule.kind, Kind::Threshold | Kind::Change | Kind::Anomaly);
    if rule.kind == Kind::Anomaly && thresholds == [None, None] {
        thresholds = USUAL_SURPRISES.map(Some);
    }
    for (field, threshold) in ["warning", "critical"].into_iter().zip(thresholds) {
        if threshold.is_some_and(|threshold| bounds::value(threshold).is_err()) {
            faults.wrong(field, "no value can reach it", "take a finite number between -1e130 and 1e130");
        }
    }
    let mut direction = rule.direction;
    if has_thresholds && thresholds == [None, None] {
        faults.wrong("warning", "neither `warning` nor `critical` is given", "give one of them or both");
    } else if rule.kind == Kind::Anomaly {
        if thresholds.iter().flatten().any(|threshold| *threshold <= 0.0) {
            faults.wrong("warning", "every value surprises that much", "take a surprise above 0");
        }
        if let [Some(warning), Some(critical)] = thresholds
            && critical < warning
        {
            faults.wrong(
                "critical",
                "it comes before the warning",
                "take a greater surprise than that of the warning",
            );
        }
    } else if has_thresholds {
        direction = direction.or_else(|| stated_direction(rule, thresholds));
        match (direction, thresholds) {
            (None, _) => faults.wrong(
                "direction",
                "nobody knows which side of the threshold is bad",
                "write above, at_least, below or at_most, or give `warning` and `critical`, different from each other",
            ),
            (Some(direction), [Some(warning), Some(critical)]) => {
                let eased = if direction.more_is_worse() { critical - warning } else { warning - critical };
                if eased < 0.0 {
                    let worse = if direction.more_is_worse() { "more" } else { "less" };
                    faults.wrong(
                        "critical",
                        format!("{worse} is worse, and {critical} lies on the better side of the warning's {warning}"),
                        "swap them, or change the direction",
                    );
                } else if eased == 0.0 {
                    faults.doubtful("warning", "it equals `critical`, so nothing is ever a warning", "leave `warning` out");
                }
            }
            _ => {}
        }
    }
    let hysteresis = rule.hysteresis.unwrap_or(0.0);
    if !(0.0..=limits::VALUE_MAGNITUDE).contains(&hysteresis) {
        faults.wrong(
            "hysteresis",
            "it is no distance",
            "take a number of 0 or more, in the unit of the thresholds",
        );
    }
    if rule.min_samples == Some(0) {
        faults.wrong("min_samples", "nothing cannot be judged", "take 1 or more, or leave it out");
    }
    Judge {
        direction,
        thresholds,
        hysteresis,
        level: rule.severity.unwrap_or(Level::Warning),
        min_samples: rule.min_samples.unwrap_or(1),
    }
}

/// The direction that follows from the order of the thresholds, else from the catalogue.
fn stated_direction(rule: &Rule, thresholds: [Option<f64>; 2]) -> Option<Direction> {
    if let [Some(warning), Some(critical)] = thresholds
        && warning != critical
    {
        return Some(if warning < critical { Direction::AtLeast } else { Direction::AtMost });
    }
    if rule.kind == Kind::Change {
        return None;
    }
    match Catalogue::builtin().known(rule.metric.as_deref()?)?.bad {
        Bad::Up => Some(Direction::AtLeast),
        Bad::Down => Some(Direction::AtMost),
        Bad::Neither => None,
    }
}
