//! What a clock that jumps between two questions does to plans and to kept answers: nothing but what the time it then
//! tells would do. (Cursors know no clock: `tests/store/events.rs` follows them across jumps.)

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

use crate::cache::{AnswerCache, Bucket, CacheBounds, LONG_LIFETIME, SHORT_LIFETIME};
use crate::error::QueryError;
use crate::plan::{Asked, Plan, Scope, plan};
use crate::range::RangeRequest;
use crate::retention::Retention;
use crate::tier::Tier;
use crate::timeframe::Timeframe;

const HOUR_MS: i64 = 3_600_000;
const MONTH_MS: i64 = 31 * 24 * HOUR_MS;

fn planned(range: RangeRequest, scope: Scope, now: DateTime<Utc>) -> Result<Plan, QueryError> {
    plan(&Asked { range, scope, step_seconds: None }, &Retention::of(72, 90), now)
}

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

/// What a reader of a page sees of a plan.
fn outcome(range: RangeRequest, scope: Scope, now: DateTime<Utc>) -> String {
    planned(range, scope, now).map_or_else(
        |error| format!("{} {}", error.code(), error.parameter().unwrap_or("-")),
        |plan| format!("{:?} {} {}", plan.tier, plan.window.from.to_rfc3339(), plan.window.to.to_rfc3339()),
    )
}

#[test]
fn the_same_question_an_hour_earlier_and_a_month_later() {
    let now = at("2026-03-10T12:34:56Z");
    let (back, ahead) = (now - TimeDelta::hours(1), now + TimeDelta::days(31));
    let last_half_hour = RangeRequest::Between { from: now - TimeDelta::minutes(30), to: None };
    let with_end =
        RangeRequest::Between { from: now - TimeDelta::minutes(30), to: Some(now - TimeDelta::minutes(10)) };
    let half = "2026-03-10T12:04:56+00:00";
    let cases = [
        // What has not begun yet by the clock is refused by name.
        (last_half_hour, Scope::Everything, back, "bad_parameter from".to_owned()),
        (last_half_hour, Scope::Conversation, back, "bad_parameter from".to_owned()),
        // A range with both ends may lie in the time to come: the samples are where they were.
        (
            with_end,
            Scope::Everything,
            back,
            "Minute 2026-03-10T12:04:00+00:00 2026-03-10T12:25:00+00:00".to_owned(),
        ),
        (with_end, Scope::Conversation, back, format!("Raw {half} 2026-03-10T12:24:56+00:00")),
        // A month later raw is gone, and the tier that is kept answers.
        (
            with_end,
            Scope::Everything,
            ahead,
            "Minute 2026-03-10T12:04:00+00:00 2026-03-10T12:25:00+00:00".to_owned(),
        ),
        (
            with_end,
            Scope::Account,
            ahead,
            "AccountHour 2026-03-10T12:00:00+00:00 2026-03-10T13:00:00+00:00".to_owned(),
        ),
        (
            with_end,
            Scope::Conversation,
            ahead,
            "ConversationDay 2026-03-10T00:00:00+00:00 2026-03-11T00:00:00+00:00".to_owned(),
        ),
        (
            last_half_hour,
            Scope::Everything,
            ahead,
            "Hour 2026-03-10T12:00:00+00:00 2026-04-10T13:00:00+00:00".to_owned(),
        ),
        (last_half_hour, Scope::Everything, now + TimeDelta::days(91), "range_too_long from".to_owned()),
    ];
    for (range, scope, now, expected) in cases {
        assert_eq!(outcome(range, scope, now), expected, "{range:?} {scope:?} at {now}");
    }
}

proptest! {
    /// A range that is over by both clocks has the same window, steps and comparison: a page of it goes on where the one
    /// before ended.
    #[test]
    fn what_is_over_is_planned_alike_before_and_after_a_jump(
        now_ms in 1_600_000_000_000_i64..4_000_000_000_000,
        jump_ms in -HOUR_MS..=MONTH_MS,
        age_ms in 2 * HOUR_MS..40 * 24 * HOUR_MS,
        length_ms in 1_i64..7 * 24 * HOUR_MS,
    ) {
        let now = DateTime::from_timestamp_millis(now_ms).unwrap();
        let to = now - TimeDelta::milliseconds(age_ms);
        let range = RangeRequest::Between { from: to - TimeDelta::milliseconds(length_ms), to: Some(to) };
        let before = planned(range, Scope::Everything, now).unwrap();
        let after = planned(range, Scope::Everything, now + TimeDelta::milliseconds(jump_ms)).unwrap();
        prop_assert_eq!(Plan { previous_is_kept: true, ..before }, Plan { previous_is_kept: true, ..after });
    }

    /// Whatever the clock says, a question has an answer by that clock or a refusal that names what is wrong.
    #[test]
    fn every_question_is_answered_by_the_clock_it_meets_or_refused_by_name(
        now_ms in 1_600_000_000_000_i64..4_000_000_000_000,
        jump_ms in prop::sample::select(vec![-MONTH_MS, -HOUR_MS, -1, 1, HOUR_MS, MONTH_MS, 20 * MONTH_MS]),
        age_ms in -HOUR_MS..60 * 24 * HOUR_MS,
        length_ms in prop::option::of(1_i64..24 * HOUR_MS),
        timeframe in prop::sample::select(Timeframe::ALL.to_vec()),
        scope in prop::sample::select(vec![Scope::Everything, Scope::Account, Scope::Conversation]),
    ) {
        let now = DateTime::from_timestamp_millis(now_ms).unwrap();
        let from = now - TimeDelta::milliseconds(age_ms);
        let to = length_ms.map(|length| from + TimeDelta::milliseconds(length));
        let now = now + TimeDelta::milliseconds(jump_ms);
        for range in [RangeRequest::Between { from, to }, RangeRequest::Last(timeframe)] {
            match planned(range, scope, now) {
                Ok(plan) => {
                    prop_assert!(plan.compared.to <= now || plan.compared.from == plan.compared.to);
                    prop_assert!(!plan.previous_is_kept || plan.previous.from >= Retention::of(72, 90).kept_from(plan.tier, now));
                    if let RangeRequest::Last(timeframe) = range {
                        prop_assert!(plan.window.to > now && plan.window.from <= now - timeframe.length());
                    }
                    if plan.tier == Tier::Raw {
                        prop_assert!(plan.window.from + TimeDelta::minutes(1) > Retention::of(72, 90).kept_from(Tier::Raw, now));
                    }
                }
                Err(error) => {
                    let refusal = (error.code(), error.parameter());
                    prop_assert!([("bad_parameter", Some("from")), ("range_too_long", Some("from"))].contains(&refusal), "{refusal:?}");
                    prop_assert!(matches!(range, RangeRequest::Between { to: None, .. }), "{range:?} at {now}");
                }
            }
        }
    }

    /// A kept answer is given in its own bucket only, and one of a time to come holds no place.
    #[test]
    fn the_cache_is_right_and_useful_after_any_jump(
        steps in prop::collection::vec((0_u8..12, 0_i64..3_000, prop::option::weighted(0.1, -MONTH_MS..MONTH_MS)), 1..200),
    ) {
        const ANSWERS: usize = 5;
        let mut cache = AnswerCache::new(CacheBounds { answers: ANSWERS, bytes: 1_000 });
        let mut now_ms = 1_773_146_096_000;
        for (question, later, jump) in steps {
            now_ms += jump.unwrap_or(later);
            let now = DateTime::from_timestamp_millis(now_ms).unwrap();
            let lifetime = if question % 2 == 0 { SHORT_LIFETIME } else { LONG_LIFETIME };
            let bucket = Bucket::of(now, lifetime);
            if let Some(kept) = cache.get(&question, now) {
                prop_assert_eq!(kept, bucket);
            }
            cache.keep(question, bucket, 1, bucket, now);
            prop_assert_eq!(cache.get(&question, now), Some(bucket));
        }
        // As many as there is room for are kept, whatever was kept before.
        let now = DateTime::from_timestamp_millis(now_ms - MONTH_MS).unwrap();
        let bucket = Bucket::of(now, LONG_LIFETIME);
        for question in 100..100 + ANSWERS as u8 {
            cache.keep(question, bucket, 1, bucket, now);
        }
        for question in 100..100 + ANSWERS as u8 {
            prop_assert_eq!(cache.get(&question, now), Some(bucket));
        }
    }
}
