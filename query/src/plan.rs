//! From a question to the cheapest tier that answers it: pure, the clock is a parameter.
//!
//! | asked | tier | percentiles | unit the window is widened to |
//! |---|---|---|---|
//! | a metric, up to 24 h, or in steps shorter than an hour | minutes | 1 % | minute |
//! | a metric, longer | hours | 1 % | hour |
//! | an account, up to 24 h and not older than raw is kept | raw | exact | none (a timeframe: minute) |
//! | an account, longer | account hours, percentiles by the day | 1 % | day (UTC) |
//! | an account, up to 24 h but older | account hours | 1 %, none unless of whole days (UTC) | hour |
//! | a conversation, not older than raw is kept | raw | exact | none (a timeframe: minute) |
//! | a conversation, older | conversation days | none | day (UTC) |
//! | a conversation, older, all of whose samples are still raw | raw | exact | day (UTC) |
//!
//! Who may see some accounts only asks for these together where others ask for a metric: as of an account.

use chrono::{DateTime, TimeDelta, Utc};

use crate::error::QueryError;
use crate::range::RangeRequest;
use crate::retention::{Kept, Retention};
use crate::step::{MAX_POINTS, step, step_asked};
use crate::tier::{DAY, HOUR, Tier, counting_unit};
use crate::window::Window;

/// Which samples of a metric are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All of them.
    Everything,
    /// One account's, or together those of the accounts that the asker may see.
    Account,
    /// One conversation's, whether or not an account is named too.
    Conversation,
}

/// How a question will be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) tier: Tier,
    pub(crate) window: Window,
    /// How much of it the tier still keeps.
    pub(crate) window_kept: Kept,
    /// The window's part that is compared: its whole units that are over. A unit that has only begun would make every
    /// sum look as if it fell. It may be empty.
    pub(crate) compared: Window,
    /// `compared`, moved back by its own length.
    pub(crate) previous: Window,
    /// Whether the tier still keeps all of `previous`. What has partly expired is no fair comparison.
    pub(crate) previous_is_kept: bool,
    pub(crate) step_seconds: u32,
    /// Whether the range that is asked for ends in the future.
    pub(crate) ends_in_future: bool,
}

/// The longest range answered from minutes, and for an account from raw.
const FINE_LIMIT: TimeDelta = TimeDelta::hours(24);
/// `DateTime` of ClickHouse ends in 2106; nothing is asked beyond.
const LAST_SECOND: i64 = u32::MAX as i64 - 2 * DAY as i64;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) range: RangeRequest,
    pub(crate) scope: Scope,
    /// The length of a point; `None` for what suits the range.
    pub(crate) step_seconds: Option<u32>,
}

/// Plans a question asked at `now`.
pub(crate) fn plan(asked: &Asked, retention: &Retention, now: DateTime<Utc>) -> Result<Plan, QueryError> {
    let Asked { range, scope, step_seconds } = asked;
    let asked = window_asked(range, retention, now)?;
    let length = asked.to - asked.from;
    let raw_is_kept = asked.from >= retention.kept_from(Tier::Raw, now);
    let is_finer_than_hours = step_seconds.is_some_and(|step| step < HOUR);
    let tier = match scope {
        Scope::Everything if length <= FINE_LIMIT || is_finer_than_hours => Tier::Minute,
        Scope::Everything => Tier::Hour,
        Scope::Account if length <= FINE_LIMIT && raw_is_kept => Tier::Raw,
        Scope::Account => Tier::AccountHour,
        Scope::Conversation if raw_is_kept => Tier::Raw,
        Scope::Conversation => Tier::ConversationDay,
    };
    let unit = window_unit(tier, length);
    let window = match (range, tier) {
        (RangeRequest::Between { .. }, Tier::Raw) => asked,
        (RangeRequest::Last(_), _) => Window {
            from: floor(asked.from, unit),
            // A sample of this very instant is part of the timeframe.
            to: floor(asked.to, unit) + seconds(unit),
        },
        (RangeRequest::Between { .. }, _) => {
            Window { from: floor(asked.from, unit), to: ceil(asked.to, unit) }
        }
    };
    let over = match (range, tier) {
        (RangeRequest::Between { .. }, Tier::Raw) => now,
        _ => floor(now, counting_unit(tier)),
    };
    let compared = Window { from: window.from, to: window.to.min(over).max(window.from) };
    let previous = previous(compared);
    let kept_from = retention.kept_from(tier, now);
    // Of samples, what the window was widened by was not asked for. A rollup goes as a whole.
    let needed_from = if tier == Tier::Raw { asked.from } else { window.from };
    let step_seconds = match step_seconds {
        Some(step_seconds) => step_asked(*step_seconds, tier, length)?,
        None => step(tier, length, MAX_POINTS),
    };
    Ok(Plan {
        tier,
        window,
        window_kept: Kept::of(needed_from, window.to, kept_from),
        compared,
        previous,
        previous_is_kept: previous.from >= kept_from,
        step_seconds,
        ends_in_future: asked.to > now,
    })
}

impl Plan {
    /// The same with a series of about so many points at most.
    pub(crate) fn with_points(self, most: i64) -> Self {
        let length = self.window.to - self.window.from;
        Self { step_seconds: step(self.tier, length, most).max(self.step_seconds), ..self }
    }

    /// The same question to the samples themselves, for a conversation whose days turned out to hold nothing before
    /// `oldest_day`: when that is as young as raw is kept, the samples tell more than the days do.
    pub(crate) fn of_samples(
        &self,
        oldest_day: DateTime<Utc>,
        retention: &Retention,
        now: DateTime<Utc>,
    ) -> Option<Self> {
        let is_kept = oldest_day >= retention.kept_from(Tier::Raw, now);
        // Where days are missing too, an older sample may be among them.
        let is_all = self.window_kept == Kept::Whole;
        (self.tier == Tier::ConversationDay && is_kept && is_all).then(|| Self {
            tier: Tier::Raw,
            step_seconds: step(Tier::Raw, self.window.to - self.window.from, MAX_POINTS),
            ..*self
        })
    }
}

/// The largest relative error of a plan's percentiles; `None` where it has none.
pub(crate) fn percentile_error_bound(plan: &Plan) -> Option<f64> {
    let whole_days = [plan.window.from, plan.window.to].into_iter().all(|edge| floor(edge, DAY) == edge);
    match plan.tier {
        Tier::Raw => Some(0.0),
        // The histograms of an account are of days.
        Tier::AccountHour if !whole_days => None,
        Tier::Minute | Tier::Hour | Tier::AccountHour => Some(kelly_schemas::histogram::RELATIVE_ERROR),
        Tier::ConversationDay => None,
    }
}

/// The magnitude from which on that bound holds; `None` where there are no percentiles.
pub(crate) fn percentile_least_magnitude(plan: &Plan) -> Option<f64> {
    percentile_error_bound(plan).map(|_| match plan.tier {
        Tier::Raw => 0.0,
        _ => kelly_schemas::histogram::SMALLEST_MAGNITUDE,
    })
}

/// Whether part of the interval that starts there lies outside a plan's window or in the time to come.
pub(crate) fn is_partial(start_ms: i64, plan: &Plan, now: DateTime<Utc>) -> bool {
    let step_ms = i64::from(plan.step_seconds) * 1_000;
    let into_step_ms = start_ms.rem_euclid(step_ms);
    let end_ms = start_ms - into_step_ms + step_ms;
    // Only the first is cut at its start.
    into_step_ms != 0 || end_ms > plan.window.to.min(now).timestamp_millis()
}

pub(crate) fn window_asked(
    range: &RangeRequest,
    retention: &Retention,
    now: DateTime<Utc>,
) -> Result<Window, QueryError> {
    let (from, to) = match *range {
        RangeRequest::Last(timeframe) => (now - timeframe.length(), now),
        RangeRequest::Between { from, to } => (from, to.unwrap_or(now)),
    };
    // Twice the length is looked at, so the first instant needs as much time before it.
    if from.timestamp() < i64::from(2 * DAY) {
        return Err(QueryError::bad("from", "lies before 1970-01-03, where no metric can be"));
    }
    if to.timestamp() > LAST_SECOND {
        return Err(QueryError::bad("to", "lies beyond 2106, where no metric can be"));
    }
    if from >= to {
        return Err(QueryError::bad("from", "is not before `to` (which is now when it is not given)"));
    }
    let limit_days = retention.days();
    if to - from > TimeDelta::days(i64::from(limit_days)) {
        return Err(match *range {
            RangeRequest::Last(timeframe) => QueryError::TimeframeTooLong { timeframe, limit_days },
            RangeRequest::Between { .. } => QueryError::RangeTooLong { from, to, limit_days },
        });
    }
    Ok(Window { from, to })
}

fn previous(compared: Window) -> Window {
    // Never before 1970: ClickHouse's times begin there.
    let from = (compared.from - (compared.to - compared.from)).max(DateTime::UNIX_EPOCH);
    Window { from, to: compared.from }
}

/// What the window is widened to: the interval below which the tier cannot answer everything it answers. An account's
/// short range would be swamped by the days around it, so it goes without percentiles instead.
fn window_unit(tier: Tier, length: TimeDelta) -> u32 {
    match tier {
        Tier::AccountHour if length > FINE_LIMIT => DAY,
        tier => counting_unit(tier),
    }
}

fn seconds(count: u32) -> TimeDelta {
    TimeDelta::seconds(i64::from(count))
}

fn floor(instant: DateTime<Utc>, unit_seconds: u32) -> DateTime<Utc> {
    let unit = i64::from(unit_seconds) * 1_000;
    let milliseconds = instant.timestamp_millis().div_euclid(unit) * unit;
    DateTime::from_timestamp_millis(milliseconds).expect("rounding down an instant after 1970 stays in range")
}

fn ceil(instant: DateTime<Utc>, unit_seconds: u32) -> DateTime<Utc> {
    let floor = floor(instant, unit_seconds);
    if floor == instant { floor } else { floor + seconds(unit_seconds) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tier::MINUTE;
    use crate::timeframe::Timeframe;
    use crate::window::Resolution;

    fn kept() -> Retention {
        Retention::of(72, 90)
    }

    fn planned(range: RangeRequest, scope: Scope, now: DateTime<Utc>) -> Result<Plan, QueryError> {
        plan(&Asked { range, scope, step_seconds: None }, &kept(), now)
    }

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    fn window(from: &str, to: &str) -> Window {
        Window { from: at(from), to: at(to) }
    }

    #[test]
    fn each_question_gets_the_cheapest_tier_that_answers_it() {
        use Scope::{Account, Conversation, Everything};
        use Timeframe::{OneDay, OneHour, SevenDays, SixHours, ThirtyDays};
        let cases = [
            (OneHour, Everything, Tier::Minute, 60),
            (SixHours, Everything, Tier::Minute, 300),
            (OneDay, Everything, Tier::Minute, 900),
            (SevenDays, Everything, Tier::Hour, 3_600),
            (ThirtyDays, Everything, Tier::Hour, 21_600),
            (OneHour, Account, Tier::Raw, 60),
            (OneDay, Account, Tier::Raw, 900),
            (SevenDays, Account, Tier::AccountHour, 3_600),
            (ThirtyDays, Account, Tier::AccountHour, 86_400),
            (OneDay, Conversation, Tier::Raw, 900),
            (SevenDays, Conversation, Tier::ConversationDay, 86_400),
        ];
        let now = at("2026-03-10T12:34:56.789Z");
        for (timeframe, scope, tier, step_seconds) in cases {
            let plan = planned(RangeRequest::Last(timeframe), scope, now).unwrap();
            assert_eq!((plan.tier, plan.step_seconds), (tier, step_seconds), "{timeframe} {scope:?}");
            assert!(plan.previous_is_kept, "{timeframe} {scope:?}");
        }
    }

    /// Every timeframe of every scope, young and expired, in the step that suits it and in those that can be asked for.
    #[test]
    fn the_table_of_all_questions() {
        let now = at("2026-03-10T12:34:56.789Z");
        let mut table = Vec::new();
        for scope in [Scope::Everything, Scope::Account, Scope::Conversation] {
            for (kept, retention) in [("raw 72 h", kept()), ("raw 6 h", Retention::of(6, 30))] {
                for timeframe in Timeframe::ALL {
                    for step_seconds in [None, Some(MINUTE), Some(HOUR), Some(DAY)] {
                        let asked = Asked { range: RangeRequest::Last(timeframe), scope, step_seconds };
                        let found = plan(&asked, &retention, now).map_or_else(
                            |error| format!("refused: {}", error.code()),
                            |plan| {
                                let bound = percentile_error_bound(&plan);
                                let label = Resolution::of_seconds(plan.step_seconds).label;
                                let bound =
                                    bound.map_or("none".to_owned(), |bound| format!("within {bound}"));
                                format!("{:?} by {label}, percentiles {bound}", plan.tier)
                            },
                        );
                        let step =
                            step_seconds.map_or("-".to_owned(), |step| Resolution::of_seconds(step).label);
                        table.push(format!("{scope:?}, {kept}, {timeframe}, step {step}: {found}"));
                    }
                }
            }
        }
        insta::assert_snapshot!(table.join("\n"));
    }

    #[test]
    fn windows_are_widened_to_whole_units_and_compared_with_as_much_past() {
        let now = at("2026-03-10T12:34:56.789Z");
        let last = |timeframe, scope| planned(RangeRequest::Last(timeframe), scope, now).unwrap();

        let hour = last(Timeframe::OneHour, Scope::Everything);
        assert_eq!(hour.window, window("2026-03-10T11:34:00Z", "2026-03-10T12:35:00Z"));
        assert_eq!(hour.compared, window("2026-03-10T11:34:00Z", "2026-03-10T12:34:00Z"));
        assert_eq!(hour.previous, window("2026-03-10T10:34:00Z", "2026-03-10T11:34:00Z"));

        let month = last(Timeframe::ThirtyDays, Scope::Everything);
        assert_eq!(month.window, window("2026-02-08T12:00:00Z", "2026-03-10T13:00:00Z"));
        assert_eq!(month.compared, window("2026-02-08T12:00:00Z", "2026-03-10T12:00:00Z"));
        assert_eq!(month.previous, window("2026-01-09T12:00:00Z", "2026-02-08T12:00:00Z"));

        // The day is not over: its hours that are, are compared with as many of the days before.
        let account = last(Timeframe::SevenDays, Scope::Account);
        assert_eq!(account.window, window("2026-03-03T00:00:00Z", "2026-03-11T00:00:00Z"));
        assert_eq!(account.compared, window("2026-03-03T00:00:00Z", "2026-03-10T12:00:00Z"));
        assert_eq!(account.previous, window("2026-02-23T12:00:00Z", "2026-03-03T00:00:00Z"));

        // A conversation's days are kept whole: the running one is left out.
        let conversation = last(Timeframe::SevenDays, Scope::Conversation);
        assert_eq!(conversation.window, window("2026-03-03T00:00:00Z", "2026-03-11T00:00:00Z"));
        assert_eq!(conversation.compared, window("2026-03-03T00:00:00Z", "2026-03-10T00:00:00Z"));
        assert_eq!(conversation.previous, window("2026-02-24T00:00:00Z", "2026-03-03T00:00:00Z"));

        let between = |from, to| RangeRequest::Between { from: at(from), to: Some(at(to)) };
        let range = between("2026-03-01T00:00:30Z", "2026-03-01T01:00:30Z");
        let minutes = planned(range, Scope::Everything, now).unwrap();
        assert_eq!(minutes.window, window("2026-03-01T00:00:00Z", "2026-03-01T01:01:00Z"));
        let old_account = planned(range, Scope::Account, now).unwrap();
        assert_eq!(old_account.tier, Tier::AccountHour);
        assert_eq!(old_account.window, window("2026-03-01T00:00:00Z", "2026-03-01T02:00:00Z"));
        assert_eq!(percentile_error_bound(&old_account), None);
        let whole_day = between("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z");
        let whole_day = planned(whole_day, Scope::Account, now).unwrap();
        assert_eq!((whole_day.tier, whole_day.step_seconds), (Tier::AccountHour, 3_600));
        assert_eq!(percentile_error_bound(&whole_day), Some(0.01));
        let longer = between("2026-03-01T00:00:30Z", "2026-03-02T00:00:31Z");
        let longer = planned(longer, Scope::Account, now).unwrap();
        assert_eq!(longer.window, window("2026-03-01T00:00:00Z", "2026-03-03T00:00:00Z"));

        let range = between("2026-03-10T00:00:00.250Z", "2026-03-10T00:05:00.750Z");
        let exact = planned(range, Scope::Conversation, now).unwrap();
        assert_eq!(exact.tier, Tier::Raw);
        assert_eq!(exact.window, window("2026-03-10T00:00:00.250Z", "2026-03-10T00:05:00.750Z"));
        assert_eq!(exact.step_seconds, 5);

        // Samples are compared up to this very instant.
        let running = RangeRequest::Between { from: at("2026-03-10T12:34:50Z"), to: None };
        let exact = planned(running, Scope::Conversation, now).unwrap();
        assert_eq!(exact.compared, Window { from: at("2026-03-10T12:34:50Z"), to: now });
        // Of a minute that is not over there is nothing to compare.
        let minute = planned(running, Scope::Everything, now).unwrap();
        assert_eq!(minute.compared, window("2026-03-10T12:34:00Z", "2026-03-10T12:34:00Z"));
    }

    #[test]
    fn a_young_conversation_is_asked_of_its_samples() {
        let now = at("2026-03-10T12:34:56.789Z");
        let days = planned(RangeRequest::Last(Timeframe::SevenDays), Scope::Conversation, now).unwrap();
        let samples = days.of_samples(at("2026-03-08T00:00:00Z"), &kept(), now).unwrap();
        assert_eq!((samples.tier, samples.step_seconds), (Tier::Raw, 10_800));
        assert_eq!((samples.window, samples.compared), (days.window, days.compared));
        assert_eq!(days.of_samples(at("2026-03-07T00:00:00Z"), &kept(), now), None);
        let hours = planned(RangeRequest::Last(Timeframe::SevenDays), Scope::Everything, now).unwrap();
        assert_eq!(hours.of_samples(at("2026-03-10T00:00:00Z"), &kept(), now), None);
    }

    #[test]
    fn a_previous_window_that_has_partly_expired_is_no_comparison() {
        let now = at("2026-03-10T12:00:00Z");
        let days = |days| RangeRequest::Between { from: now - TimeDelta::days(days), to: None };
        assert!(planned(days(44), Scope::Everything, now).unwrap().previous_is_kept);
        assert!(!planned(days(46), Scope::Everything, now).unwrap().previous_is_kept);
        assert!(!planned(days(2), Scope::Conversation, now).unwrap().previous_is_kept);
    }

    #[test]
    fn impossible_ranges_are_refused_by_name() {
        let now = at("2026-03-10T12:00:00Z");
        let cases = [
            (now, Some(now), "bad_parameter", "from"),
            (now, None, "bad_parameter", "from"),
            (now, Some(now - TimeDelta::hours(1)), "bad_parameter", "from"),
            (at("1970-01-01T00:00:00Z"), None, "bad_parameter", "from"),
            (now, Some(at("2222-01-01T00:00:00Z")), "bad_parameter", "to"),
            (now - TimeDelta::days(91), None, "range_too_long", "from"),
        ];
        for (from, to, code, parameter) in cases {
            let error = planned(RangeRequest::Between { from, to }, Scope::Everything, now).unwrap_err();
            assert_eq!((error.code(), error.parameter()), (code, Some(parameter)), "{from} {to:?}");
        }
        let message = planned(
            RangeRequest::Between { from: now - TimeDelta::days(91), to: None },
            Scope::Everything,
            now,
        )
        .unwrap_err()
        .to_string();
        assert_eq!(
            message,
            "the range from 2025-12-09T12:00:00.000Z to 2026-03-10T12:00:00.000Z is longer than the 90 days that are \
             kept; ask for a shorter one"
        );
    }

    #[test]
    fn a_timeframe_longer_than_what_is_kept_is_refused_by_its_name() {
        let kept = Retention::of(24, 5);
        let ask = |timeframe| {
            let asked =
                Asked { range: RangeRequest::Last(timeframe), scope: Scope::Everything, step_seconds: None };
            plan(&asked, &kept, at("2026-03-10T12:00:00Z"))
        };
        assert!(ask(Timeframe::OneDay).is_ok());
        let error = ask(Timeframe::SevenDays).unwrap_err();
        assert_eq!((error.code(), error.parameter()), ("range_too_long", Some("timeframe")));
        assert_eq!(
            error.to_string(),
            "`timeframe` 7d is longer than the 5 days that are kept (MONITORING_DB_RETENTION_DAYS); ask for a shorter one"
        );
    }

    proptest! {
        #[test]
        fn a_plan_covers_what_was_asked_and_stays_bounded(
            now_ms in 1_600_000_000_000_i64..4_000_000_000_000,
            age_ms in 0_i64..90 * 86_400_000,
            length_ms in 1_i64..90 * 86_400_000,
            scope in prop::sample::select(vec![Scope::Everything, Scope::Account, Scope::Conversation]),
        ) {
            let now = DateTime::from_timestamp_millis(now_ms).unwrap();
            let from = now - TimeDelta::milliseconds(age_ms);
            let to = from + TimeDelta::milliseconds(length_ms);
            let length = to - from;
            let plan = planned(RangeRequest::Between { from, to: Some(to) }, scope, now).unwrap();
            prop_assert!(plan.window.from <= from && plan.window.to >= to);
            let unit = seconds(window_unit(plan.tier, length));
            prop_assert!(from - plan.window.from < unit && plan.window.to - to < unit);
            prop_assert_eq!(plan.previous.to, plan.window.from);
            prop_assert_eq!(plan.compared.from, plan.window.from);
            prop_assert!(plan.compared.to <= plan.window.to && plan.compared.to >= plan.compared.from);
            prop_assert!(plan.compared.to <= now || plan.compared.from == plan.compared.to);
            prop_assert_eq!(plan.previous.to - plan.previous.from, plan.compared.to - plan.compared.from);
            let points = (plan.window.to - plan.window.from).num_seconds() / i64::from(plan.step_seconds);
            prop_assert!(points <= MAX_POINTS + 48, "{} points", points);
        }

        #[test]
        fn the_plan_of_a_timeframe_changes_once_a_unit(
            now_ms in 1_600_000_000_000_i64..4_000_000_000_000,
            timeframe in prop::sample::select(Timeframe::ALL.to_vec()),
        ) {
            let now = floor(DateTime::from_timestamp_millis(now_ms).unwrap(), MINUTE);
            let later = now + TimeDelta::milliseconds(59_999);
            let range = RangeRequest::Last(timeframe);
            for scope in [Scope::Everything, Scope::Account] {
                prop_assert_eq!(planned(range, scope, now).unwrap(), planned(range, scope, later).unwrap());
            }
        }
    }
}
