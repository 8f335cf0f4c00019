//! What an answer lacks and why, in words. Pure. The words are the same from one second to the next, so that an answer whose data has
//! not changed has not changed.

use chrono::{DateTime, Utc};

use crate::plan::{self, Plan};
use crate::retention::{Kept, Retention, readable};
use crate::tier::Tier;

/// The notes of an answer by this plan.
pub(crate) fn of_plan(plan: &Plan, retention: &Retention, now: DateTime<Utc>) -> Vec<String> {
    let notes = [window(plan, retention, now), future(plan), percentiles(plan, retention, now)];
    notes.into_iter().flatten().collect()
}

/// That of the window itself not everything is kept.
fn window(plan: &Plan, retention: &Retention, now: DateTime<Utc>) -> Option<String> {
    let kept = retention.describe(plan.tier, now);
    match plan.window_kept {
        Kept::Whole => None,
        Kept::Partly => Some(format!(
            "The window begins earlier than what is kept ({kept}): its first samples may be missing."
        )),
        Kept::None => Some(format!(
            "The window ends earlier than what is kept ({kept}): all its samples may be missing."
        )),
    }
}

/// That a part of what is asked for has not happened yet.
fn future(plan: &Plan) -> Option<String> {
    let end = readable(plan.window.to);
    plan.ends_in_future.then(|| {
        format!("The window ends in the future, at {end}: the answer is of what has happened so far.")
    })
}

/// That there are no percentiles where the samples themselves would have some.
fn percentiles(plan: &Plan, retention: &Retention, now: DateTime<Utc>) -> Option<String> {
    if plan::percentile_error_bound(plan).is_some() {
        return None;
    }
    let kept = retention.describe(Tier::Raw, now);
    Some(match plan.tier {
        Tier::ConversationDay => format!(
            "There are no percentiles: {kept}; a longer range is answered from days of conversations, which keep none. A \
             range within that time has them."
        ),
        _ => format!(
            "There are no percentiles: {kept}; a longer range is answered from histograms of whole days (UTC). A range of \
             whole days has them."
        ),
    })
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::plan::{Asked, Scope, plan};
    use crate::range::RangeRequest;
    use crate::timeframe::Timeframe;

    fn notes(range: RangeRequest, scope: Scope, now: DateTime<Utc>) -> Vec<String> {
        let retention = Retention::of(72, 30);
        let plan = plan(&Asked { range, scope, step_seconds: None }, &retention, now).unwrap();
        of_plan(&plan, &retention, now)
    }

    #[test]
    fn what_an_answer_lacks_is_said_and_nothing_else() {
        let now = DateTime::parse_from_rfc3339("2026-03-10T12:34:56Z").unwrap().to_utc();
        let between = |from, to| RangeRequest::Between {
            from: now - TimeDelta::hours(from),
            to: Some(now - TimeDelta::hours(to)),
        };
        for scope in [Scope::Everything, Scope::Account, Scope::Conversation] {
            assert_eq!(notes(RangeRequest::Last(Timeframe::OneDay), scope, now), [] as [&str; 0]);
        }
        insta::assert_snapshot!(
            [
                notes(between(31 * 24, 24), Scope::Everything, now),
                notes(between(40 * 24, 31 * 24), Scope::Everything, now),
                notes(between(1, -1), Scope::Everything, now),
                notes(between(100, 90), Scope::Account, now),
                notes(between(100, 90), Scope::Conversation, now),
                notes(between(31 * 24, 30 * 24), Scope::Conversation, now),
            ]
            .map(|notes| notes.join("\n"))
            .join("\n\n")
        );
        // A second later they are the same.
        let range = RangeRequest::Last(Timeframe::SevenDays);
        let later = now + TimeDelta::seconds(1);
        assert_eq!(notes(range, Scope::Conversation, now), notes(range, Scope::Conversation, later));
    }
}
