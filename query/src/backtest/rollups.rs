//! What rollups say to a rule where the samples are gone: one row a minute or an account's hour, whose value depends on what the rule makes
//! of its rows; and which rules they say nothing to.

use std::collections::BTreeMap;

use kelly_alerts::rule::{
    Aggregation, Compiled, Errors, NoDataPolicy, RAISED_METRIC, Scope, Source, Span, WindowShape,
};
use kelly_sql::queries::{RuleBucket, RuleRollup, RuleSubjects};

use super::rules::Tried;

/// What the samples of a metric are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// Neither conversations nor accounts.
    Nothing,
    /// Accounts, or nothing.
    Accounts,
    /// Conversations too.
    Conversations,
}

/// Which figure of a rollup stands for its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Figure {
    Mean,
    Least,
    Largest,
    Sum,
    Newest,
    /// The least or the largest, whichever is bad.
    Worst {
        more_is_worse: bool,
    },
    /// The other one of these.
    Mildest {
        more_is_worse: bool,
    },
    /// That there was a row.
    Any,
}

/// How rollups are given to a rule and to those it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Coarse {
    pub(super) rollup: RuleRollup,
    figures: BTreeMap<String, Figure>,
}

/// What rollups can be asked for a preview.
#[derive(Debug, Clone)]
pub(super) struct Available<'a> {
    /// What the metrics are about; those without samples are not in it.
    pub(super) about: &'a BTreeMap<String, About>,
    /// Whether the rollups of all accounts together may be used.
    pub(super) of_all_accounts: bool,
}

impl About {
    pub(super) const fn of(subjects: &RuleSubjects) -> Self {
        if subjects.of_no_conversation < subjects.samples {
            Self::Conversations
        } else if subjects.of_nothing < subjects.samples {
            Self::Accounts
        } else {
            Self::Nothing
        }
    }
}

/// The length of a rollup.
pub(super) const fn bucket_ms(rollup: RuleRollup) -> i64 {
    match rollup {
        RuleRollup::Minute => 60_000,
        RuleRollup::AccountHour => 3_600_000,
    }
}

const fn bucket_name(rollup: RuleRollup) -> &'static str {
    match rollup {
        RuleRollup::Minute => "minute",
        RuleRollup::AccountHour => "account's hour",
    }
}

/// How a rule is judged by rollups, or why it cannot be.
pub(super) fn coarse(tried: &Tried, available: &Available<'_>) -> Result<Coarse, String> {
    let mut rollup = RuleRollup::Minute;
    for rule in tried.heard() {
        rollup = rollup.max(rollup_of(rule, available)?);
    }
    let mut figures = BTreeMap::new();
    for rule in tried.heard() {
        let figure = figure(rule, rollup).map_err(|why| match rule.rule.id == tried.rule.id {
            true => format!("it {why}"),
            false => format!("`{}`, which it needs, {why}", rule.rule.id),
        })?;
        for metric in rule.metrics().filter(|metric| *metric != RAISED_METRIC) {
            let known = figures.insert(metric.to_owned(), figure);
            if known.is_some_and(|known| known != figure) {
                return Err(format!(
                    "the rules it needs want different figures of `{metric}`, and a rollup is given as one row"
                ));
            }
        }
    }
    Ok(Coarse { rollup, figures })
}

/// The rollups that keep apart what the rule keeps apart.
fn rollup_of(rule: &Compiled, available: &Available<'_>) -> Result<RuleRollup, String> {
    let of_all = if available.of_all_accounts { RuleRollup::Minute } else { RuleRollup::AccountHour };
    let names = rule.rule.filter.keys().chain(rule.rule.exclude.keys());
    let mut rollup = match rule.scope {
        Scope::Global => of_all,
        Scope::Account => RuleRollup::AccountHour,
        Scope::Conversation => {
            return Err("it is about conversations, of which only days are left".to_owned());
        }
        Scope::Series => {
            let mut rollup = of_all;
            for metric in rule.metrics() {
                match available.about.get(metric) {
                    None | Some(About::Nothing) => {}
                    Some(About::Accounts) => rollup = RuleRollup::AccountHour,
                    Some(About::Conversations) => {
                        return Err(format!(
                            "`{metric}` is of single conversations, of which only days are left"
                        ));
                    }
                }
            }
            rollup
        }
    };
    for name in names {
        if name != "account_id" {
            return Err(format!("it chooses rows by `{name}`, which rollups do not keep"));
        }
        rollup = RuleRollup::AccountHour;
    }
    Ok(rollup)
}

/// Which figure stands for the rows, or why none can.
fn figure(rule: &Compiled, rollup: RuleRollup) -> Result<Figure, String> {
    let (bucket_ms, bucket) = (bucket_ms(rollup), bucket_name(rollup));
    if rule.judge.min_samples > 1 {
        return Err(format!("counts samples (`min_samples`), and of each {bucket} one row is left"));
    }
    if rule.silence.policy != NoDataPolicy::Keep && rule.silence.after_ms < 2 * bucket_ms {
        let after = Span::from_ms(rule.silence.after_ms);
        return Err(format!("notices silence after {after}, and of each {bucket} one row is left"));
    }
    let fits = |shape: &WindowShape| {
        let length = Span::from_ms(shape.length_ms());
        let fits = shape.length_ms() >= bucket_ms;
        fits.then_some(())
            .ok_or_else(|| format!("has a window of {length}, and of each {bucket} one row is left"))
    };
    match &rule.source {
        Source::Window(shape) if shape.panes == 0 => {
            let more_is_worse = rule.judge.direction.is_none_or(|direction| direction.more_is_worse());
            match rule.timing.hold_ms {
                0 => Ok(Figure::Worst { more_is_worse }),
                hold_ms if hold_ms >= bucket_ms => Ok(Figure::Mildest { more_is_worse }),
                hold_ms => {
                    let hold = Span::from_ms(hold_ms);
                    Err(format!("wants what is bad for {hold}, and of each {bucket} one row is left"))
                }
            }
        }
        Source::Window(shape) | Source::Change { shape, .. } => {
            fits(shape)?;
            match shape.aggregation {
                Aggregation::Avg => Ok(Figure::Mean),
                Aggregation::Min => Ok(Figure::Least),
                Aggregation::Max => Ok(Figure::Largest),
                Aggregation::Sum | Aggregation::Rate => Ok(Figure::Sum),
                Aggregation::Last => Ok(Figure::Newest),
                Aggregation::Count => Err(format!("counts rows, and of each {bucket} one is left")),
                Aggregation::P50 | Aggregation::P95 | Aggregation::P99 => {
                    Err(format!("asks for percentiles of rows, and of each {bucket} one is left"))
                }
            }
        }
        Source::Silence => Ok(Figure::Any),
        Source::Burn(burn) => match &burn.errors {
            Errors::Counted { .. } => {
                burn.windows.iter().try_for_each(fits)?;
                Ok(Figure::Sum)
            }
            Errors::Beyond(..) => {
                Err(format!("counts rows beyond a value, and of each {bucket} one row is left"))
            }
        },
        Source::Anomaly => Err("learns from single values, which are gone".to_owned()),
        Source::Composite(_) | Source::OwnThresholds | Source::Told => Ok(Figure::Any),
    }
}

impl Coarse {
    /// The value that stands for the rows of a rollup; `None` for a metric that the rule does not need.
    pub(super) fn value(&self, bucket: &RuleBucket) -> Option<f64> {
        let figure = self.figures.get(&bucket.metric_name)?;
        Some(match figure {
            Figure::Mean => bucket.total / bucket.samples.max(1) as f64,
            Figure::Least
            | Figure::Worst { more_is_worse: false }
            | Figure::Mildest { more_is_worse: true } => bucket.least,
            Figure::Largest
            | Figure::Worst { more_is_worse: true }
            | Figure::Mildest { more_is_worse: false } => bucket.largest,
            Figure::Sum => bucket.total,
            Figure::Newest | Figure::Any => bucket.newest,
        })
    }

    /// When the row stands that a rollup is given as: at its end, when all of it had come.
    pub(super) const fn row_ms(&self, bucket: &RuleBucket) -> i64 {
        bucket.at_ms + bucket_ms(self.rollup) - 1
    }

    /// What it means for the rule, as a sentence.
    pub(super) fn means(&self) -> String {
        let bucket = bucket_name(self.rollup);
        let mut figures: Vec<&str> = self
            .figures
            .values()
            .map(|figure| match figure {
                Figure::Mean => "its mean, so that the mean of a window is one of means",
                Figure::Least => "its least value",
                Figure::Largest => "its largest value",
                Figure::Sum => "its sum",
                Figure::Newest => "its newest value",
                Figure::Worst { .. } => "its worst value, as if all of it had been so",
                Figure::Mildest { .. } => "its mildest value, for `for` wants what is bad without a break",
                Figure::Any => "that there was something",
            })
            .collect();
        figures.sort_unstable();
        figures.dedup();
        format!("of each {bucket} one row at its end: {}; times are exact to it", figures.join(", or "))
    }
}

#[cfg(test)]
mod tests {
    use kelly_alerts::rule::{RuleSet, parse_toml};

    use super::*;

    fn judged(fields: &str, about: About, of_all_accounts: bool) -> Result<Coarse, String> {
        let rule =
            parse_toml(&format!("[[rule]]\nid = 'r'\nmetric = 'm'\n{fields}")).unwrap().rules.remove(0);
        let set =
            RuleSet::new(std::slice::from_ref(&rule)).unwrap_or_else(|faults| panic!("{fields}: {faults:?}"));
        let about = BTreeMap::from([("m".to_owned(), about)]);
        coarse(&Tried { rule, set }, &Available { about: &about, of_all_accounts })
    }

    fn bucket() -> RuleBucket {
        RuleBucket {
            at_ms: 60_000,
            metric_name: "m".into(),
            account_id: "".into(),
            samples: 4,
            total: 20.0,
            least: 1.0,
            largest: 9.0,
            newest: 7.0,
        }
    }

    #[test]
    fn a_rollup_is_given_as_the_figure_that_the_rule_is_about() {
        const ABOVE: &str = "direction = 'above'\nwarning = 5\n";
        for (fields, about, expected) in [
            ("aggregation = 'avg'\nwindow = '5m'\n", About::Nothing, Some((RuleRollup::Minute, 5.0))),
            ("aggregation = 'min'\nwindow = '1m'\n", About::Nothing, Some((RuleRollup::Minute, 1.0))),
            ("aggregation = 'max'\nwindow = '1m'\n", About::Nothing, Some((RuleRollup::Minute, 9.0))),
            ("aggregation = 'rate'\nwindow = '1m'\n", About::Nothing, Some((RuleRollup::Minute, 20.0))),
            ("", About::Nothing, Some((RuleRollup::Minute, 9.0))),
            ("for = '5m'\n", About::Nothing, Some((RuleRollup::Minute, 1.0))),
            ("scope = 'global'\n", About::Conversations, Some((RuleRollup::Minute, 9.0))),
            ("aggregation = 'avg'\nwindow = '2h'\n", About::Accounts, Some((RuleRollup::AccountHour, 5.0))),
            (
                "scope = 'account'\naggregation = 'sum'\nwindow = '1h'\n",
                About::Conversations,
                Some((RuleRollup::AccountHour, 20.0)),
            ),
            (
                "scope = 'global'\naggregation = 'sum'\nwindow = '1h'\nfilter = { account_id = 'a' }\n",
                About::Nothing,
                Some((RuleRollup::AccountHour, 20.0)),
            ),
            ("", About::Conversations, None),
            ("", About::Accounts, None),
            ("for = '30s'\n", About::Nothing, None),
            ("aggregation = 'avg'\nwindow = '30s'\n", About::Nothing, None),
            ("aggregation = 'avg'\nwindow = '5m'\n", About::Accounts, None),
            ("aggregation = 'count'\nwindow = '5m'\n", About::Nothing, None),
            ("aggregation = 'p95'\nwindow = '5m'\n", About::Nothing, None),
            ("aggregation = 'avg'\nwindow = '5m'\nmin_samples = 3\n", About::Nothing, None),
            ("scope = 'conversation'\n", About::Conversations, None),
            ("filter = { user_id = 'u' }\n", About::Nothing, None),
            ("kind = 'anomaly'\n", About::Nothing, None),
        ] {
            let text =
                if fields.contains("anomaly") { fields.to_owned() } else { format!("{fields}{ABOVE}") };
            let found = judged(&text, about, true);
            let value = found.as_ref().ok().map(|coarse| (coarse.rollup, coarse.value(&bucket()).unwrap()));
            assert_eq!(value, expected, "{fields}: {found:?}");
            if let Err(why) = found {
                assert!(why.len() > 20 && !why.ends_with('.'), "{why}");
            }
        }
    }

    #[test]
    fn who_sees_some_accounts_is_given_their_hours() {
        let global =
            "scope = 'global'\naggregation = 'max'\nwindow = '1h'\ndirection = 'above'\nwarning = 1\n";
        let coarse = judged(global, About::Nothing, false).unwrap();
        assert_eq!((coarse.rollup, coarse.row_ms(&bucket())), (RuleRollup::AccountHour, 60_000 + 3_599_999));
        assert!(coarse.means().contains("account's hour"));
        assert_eq!(coarse.value(&RuleBucket { metric_name: "n".into(), ..bucket() }), None);
        let silent = "kind = 'no_data'\nscope = 'global'\nfor = '90s'\n";
        assert!(judged(silent, About::Nothing, true).unwrap_err().contains("silence after 1m30s"));
        assert!(judged("kind = 'no_data'\nscope = 'global'\nfor = '10m'\n", About::Nothing, true).is_ok());
    }

    #[test]
    fn what_a_metric_is_about_follows_from_its_counts() {
        let of = |of_no_conversation, of_nothing| {
            About::of(&RuleSubjects { metric_name: "m".into(), samples: 10, of_no_conversation, of_nothing })
        };
        assert_eq!(
            [of(10, 10), of(10, 3), of(9, 9)],
            [About::Nothing, About::Accounts, About::Conversations]
        );
    }
}
