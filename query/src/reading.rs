//! What a user has read. Pure.
//!
//! An event is read when one of the user's marks that is not undone says so: it names the event, or it is a *watermark*, which covers everything up
//! to an event. Marks are only added, so to undo one is to leave it out, and what was before is what is left.

use std::collections::{BTreeSet, HashMap};

use kelly_sql::queries::{ActivityKey, WatermarkRow};
use serde::{Deserialize, Serialize};

use crate::whose::Whose;

/// Milliseconds in which it is looked whether an event came late. A watermark covers what had come when it was made, not what came
/// later and happened before. What comes later than this after it happened counts as if it had been there.
pub(crate) const LATE_MS: i64 = 2 * 86_400_000;

/// Watermarks of one user that are looked at. At it: those that reach least far are left out, and what only they cover is unread.
pub(crate) const MAX_WATERMARKS: u32 = 256;

/// Which events a watermark, or a question, is about. Everything that is set must match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scope {
    pub(crate) severity: Option<String>,
    pub(crate) event_type: Option<String>,
    /// Of these accounts; `None` for any, and for what belongs to none.
    pub(crate) accounts: Option<AccountNames>,
    pub(crate) vip_only: bool,
}

/// Names of accounts, of which there may be hundreds: they are compared last, and never one by one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct AccountNames(BTreeSet<String>);

/// Which events had come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Arrived {
    /// What happened before it, in milliseconds since 1970, counts as there.
    pub(crate) late_from_ms: i64,
    /// What happened later was there if it lies before these offsets of the log, by partition.
    pub(crate) ends: Vec<u64>,
}

/// A mark of everything up to an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Watermark {
    /// The event, itself included.
    pub(crate) until: ActivityKey,
    pub(crate) scope: Scope,
    pub(crate) arrived: Arrived,
}

/// What it takes of an event to say whether it is covered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) key: &'a ActivityKey,
    pub(crate) event_type: &'a str,
    pub(crate) severity: &'a str,
    pub(crate) is_vip: bool,
    /// Its place on the log: partition and offset.
    pub(crate) place: (u16, u64),
}

/// The watermarks of a user that say something beside the others, by the event type that they are about: anybody can name any number of
/// types, so only those of an event's own type, and of all types, are looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Watermarks(HashMap<String, Vec<Watermark>>);

/// Under it stand the watermarks about all event types; no type is empty.
const ALL_TYPES: &str = "";

impl Scope {
    /// Of a question about these accounts.
    pub(crate) fn of(
        severity: Option<&str>,
        event_type: Option<&str>,
        whose: &Whose<'_>,
        vip_only: bool,
    ) -> Self {
        let accounts = match whose {
            Whose::Everybodys => None,
            Whose::Of(accounts) => Some(accounts.iter().copied().collect()),
        };
        Self {
            severity: severity.map(str::to_owned),
            event_type: event_type.map(str::to_owned),
            accounts,
            vip_only,
        }
    }

    fn holds(&self, event: &Asked<'_>) -> bool {
        let is = |wanted: &Option<String>, text: &str| wanted.as_deref().is_none_or(|wanted| wanted == text);
        is(&self.event_type, event.event_type)
            && is(&self.severity, event.severity)
            && (!self.vip_only || event.is_vip)
            && self.accounts.as_ref().is_none_or(|accounts| accounts.contain(&event.key.account_id))
    }

    /// Whether everything that the other holds is in it.
    fn includes(&self, other: &Self) -> bool {
        let is = |own: &Option<String>, other: &Option<String>| own.is_none() || own == other;
        is(&self.event_type, &other.event_type)
            && is(&self.severity, &other.severity)
            && (!self.vip_only || other.vip_only)
            && match (&self.accounts, &other.accounts) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(own), Some(other)) => own.include(other),
            }
    }

    fn type_or_all(&self) -> &str {
        self.event_type.as_deref().unwrap_or(ALL_TYPES)
    }
}

impl AccountNames {
    fn contain(&self, account: &str) -> bool {
        #[cfg(test)]
        tests::COMPARED.with(|compared| compared.set(compared.get() + 1));
        self.0.contains(account)
    }

    fn include(&self, other: &Self) -> bool {
        #[cfg(test)]
        tests::COMPARED.with(|compared| compared.set(compared.get() + other.0.len() as u64));
        other.0.is_subset(&self.0)
    }
}

impl<'a> FromIterator<&'a str> for AccountNames {
    fn from_iter<I: IntoIterator<Item = &'a str>>(names: I) -> Self {
        Self(names.into_iter().map(str::to_owned).collect())
    }
}

impl Arrived {
    fn had(&self, event: &Asked<'_>) -> bool {
        let (partition, offset) = event.place;
        event.key.created_at_ms < self.late_from_ms
            || self.ends.get(usize::from(partition)).is_some_and(|end| offset < *end)
    }

    /// Whether everything that the other had is in it.
    fn includes(&self, other: &Self) -> bool {
        let end = |number: usize| self.ends.get(number).copied().unwrap_or_default();
        self.late_from_ms >= other.late_from_ms
            && other.ends.iter().enumerate().all(|(number, other)| end(number) >= *other)
    }
}

impl Watermark {
    fn covers(&self, event: &Asked<'_>) -> bool {
        in_feed(event.key) >= in_feed(&self.until) && self.arrived.had(event) && self.scope.holds(event)
    }

    /// Whether everything that the other covers is in it.
    fn includes(&self, other: &Self) -> bool {
        in_feed(&self.until) <= in_feed(&other.until)
            && self.scope.includes(&other.scope)
            && self.arrived.includes(&other.arrived)
    }

    /// As it is kept; `None` of one that another version of Kelly wrote in a way that is not known.
    pub(crate) fn of_row(row: WatermarkRow) -> Option<Self> {
        let scope = serde_json::from_str(&row.scope).ok()?;
        let arrived = serde_json::from_str(&row.arrived).ok()?;
        Some(Self { until: row.until, scope, arrived })
    }
}

/// Grows along the feed: newest first, then by id as ClickHouse orders them (by their second half, then by the first), then by account.
fn in_feed(key: &ActivityKey) -> (std::cmp::Reverse<(i64, u64, u64)>, &str) {
    let (high, low) = key.id.as_u64_pair();
    (std::cmp::Reverse((key.created_at_ms, low, high)), &key.account_id)
}

impl Watermarks {
    /// Those of a user, without the ones that say nothing beside others.
    pub(crate) fn of(all: Vec<Watermark>) -> Self {
        let mut kept = Self::default();
        for watermark in all {
            if kept.about_type(watermark.scope.type_or_all()).any(|other| other.includes(&watermark)) {
                continue;
            }
            match &watermark.scope.event_type {
                None => {
                    kept.0.values_mut().for_each(|of_type| of_type.retain(|other| !watermark.includes(other)))
                }
                Some(event_type) => {
                    if let Some(of_type) = kept.0.get_mut(event_type) {
                        of_type.retain(|other| !watermark.includes(other));
                    }
                }
            }
            kept.0.entry(watermark.scope.type_or_all().to_owned()).or_default().push(watermark);
        }
        kept
    }

    /// Whether one of them covers an event.
    pub(crate) fn cover(&self, event: &Asked<'_>) -> bool {
        self.about_type(event.event_type).any(|watermark| watermark.covers(event))
    }

    /// Of those about everything that is asked for, the one that reaches furthest.
    pub(crate) fn furthest(&self, asked: &Scope) -> Option<&Watermark> {
        self.about(asked).min_by_key(|watermark| in_feed(&watermark.until))
    }

    /// Everything that is asked for and happened before, in milliseconds since 1970, is covered.
    pub(crate) fn covered_before_ms(&self, asked: &Scope) -> i64 {
        let of = |watermark: &Watermark| watermark.until.created_at_ms.min(watermark.arrived.late_from_ms);
        self.about(asked).map(of).max().unwrap_or_default()
    }

    fn about(&self, asked: &Scope) -> impl Iterator<Item = &Watermark> {
        self.about_type(asked.type_or_all()).filter(move |watermark| watermark.scope.includes(asked))
    }

    /// Those about all types and about this one; for [`ALL_TYPES`] only the former.
    fn about_type(&self, event_type: &str) -> impl Iterator<Item = &Watermark> {
        let own = (event_type != ALL_TYPES).then(|| self.0.get(event_type)).flatten();
        self.0.get(ALL_TYPES).into_iter().chain(own).flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    const NOW_MS: i64 = 1_790_000_000_000;

    thread_local! {
        /// Names of accounts that were compared with others.
        pub(super) static COMPARED: Cell<u64> = const { Cell::new(0) };
    }

    /// An event; where it stands among the others is its place on the log.
    #[derive(Debug, Clone)]
    struct Event {
        key: ActivityKey,
        severity: &'static str,
        event_type: &'static str,
        is_vip: bool,
        partition: u16,
    }

    #[derive(Debug, Clone)]
    enum Step {
        Arrives(Event),
        MarksEvents(Vec<prop::sample::Index>),
        MarksUpTo(prop::sample::Index, Scope),
        Undoes(prop::sample::Index),
    }

    #[derive(Debug)]
    enum Mark {
        Events(BTreeSet<usize>),
        UpTo(Watermark),
    }

    fn event() -> impl Strategy<Value = Event> {
        let ids = prop_oneof![any::<u128>(), (0_u128..3), (0_u128..3).prop_map(|half| half << 64)];
        let texts = (0..2_usize, 0..2_usize, 0..3_usize, any::<bool>());
        // Few instants, so that many events share one.
        (0..4_i64, ids, texts, 0..3_u16).prop_map(|(at, id, (severity, kind, account, is_vip), partition)| {
            Event {
                key: ActivityKey {
                    created_at_ms: NOW_MS + at,
                    id: Uuid::from_u128(id),
                    account_id: ["", "a", "b"][account].to_owned(),
                },
                severity: ["low", "high"][severity],
                event_type: ["x", "y"][kind],
                is_vip,
                partition,
            }
        })
    }

    fn scope() -> impl Strategy<Value = Scope> {
        let some = |texts: [&'static str; 2]| prop::option::of(prop::sample::select(texts.to_vec()));
        let accounts = prop::option::of(prop::sample::subsequence(vec!["a", "b"], 0..=2));
        (some(["low", "high"]), some(["x", "y"]), accounts, any::<bool>()).prop_map(
            |(severity, event_type, accounts, vip_only)| Scope {
                severity: severity.map(str::to_owned),
                event_type: event_type.map(str::to_owned),
                accounts: accounts.map(|accounts| accounts.into_iter().collect()),
                vip_only,
            },
        )
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => event().prop_map(Step::Arrives),
            1 => prop::collection::vec(any::<prop::sample::Index>(), 1..4).prop_map(Step::MarksEvents),
            3 => (any::<prop::sample::Index>(), scope()).prop_map(|(at, scope)| Step::MarksUpTo(at, scope)),
            2 => any::<prop::sample::Index>().prop_map(Step::Undoes),
        ]
    }

    fn asked(event: &Event, offset: usize) -> Asked<'_> {
        Asked {
            key: &event.key,
            event_type: event.event_type,
            severity: event.severity,
            is_vip: event.is_vip,
            place: (event.partition, offset as u64),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

        /// Whatever is marked, arrives and is undone in whatever order: read is what the marks that stand named when they were made.
        #[test]
        fn what_is_read_is_what_marks_named(steps in prop::collection::vec(step(), 1..40), asks in scope()) {
            let (mut events, mut marks, mut named): (Vec<Event>, Vec<Option<Mark>>, Vec<BTreeSet<usize>>) = Default::default();
            for step in steps {
                match step {
                    Step::Arrives(event) => events.push(event),
                    Step::Undoes(which) if !marks.is_empty() => {
                        let which = which.index(marks.len());
                        (marks[which], named[which]) = (None, BTreeSet::new());
                    }
                    Step::MarksEvents(which) if !events.is_empty() => {
                        let which: BTreeSet<usize> = which.iter().map(|which| which.index(events.len())).collect();
                        named.push(which.clone());
                        marks.push(Some(Mark::Events(which)));
                    }
                    Step::MarksUpTo(which, scope) if !events.is_empty() => {
                        let until = events[which.index(events.len())].key.clone();
                        // By the feed as it stands: what is listed from that event on, of those that the filters choose.
                        let mut listed: Vec<usize> = (0..events.len()).collect();
                        listed.sort_by(|one, other| in_feed(&events[*one].key).cmp(&in_feed(&events[*other].key)));
                        let from = listed.iter().position(|number| events[*number].key == until).unwrap();
                        named.push(listed[from..].iter().copied().filter(|number| {
                            let Event { key, severity, event_type, is_vip, .. } = &events[*number];
                            scope.severity.as_deref().is_none_or(|wanted| wanted == *severity)
                                && scope.event_type.as_deref().is_none_or(|wanted| wanted == *event_type)
                                && scope.accounts.as_ref().is_none_or(|accounts| accounts.0.contains(&key.account_id))
                                && (!scope.vip_only || *is_vip)
                        }).collect());
                        let ends = (0..3_u16).map(|partition| {
                            let last = events.iter().rposition(|event| event.partition == partition);
                            last.map_or(0, |last| last as u64 + 1)
                        });
                        let arrived = Arrived { late_from_ms: NOW_MS - LATE_MS, ends: ends.collect() };
                        marks.push(Some(Mark::UpTo(Watermark { until, scope, arrived })));
                    }
                    _ => {}
                }
            }
            let model: BTreeSet<usize> = named.into_iter().flatten().collect();
            let all: Vec<Watermark> = marks.iter().flatten().filter_map(|mark| match mark {
                Mark::UpTo(watermark) => Some(watermark.clone()),
                Mark::Events(_) => None,
            }).collect();
            let watermarks = Watermarks::of(all.clone());
            prop_assert!(watermarks.0.values().map(Vec::len).sum::<usize>() <= all.len());
            for (number, event) in events.iter().enumerate() {
                let event = asked(event, number);
                let is_marked = marks.iter().flatten().any(|mark| matches!(mark, Mark::Events(events) if events.contains(&number)));
                prop_assert_eq!(is_marked || watermarks.cover(&event), model.contains(&number), "event {}", number);
                // What is left out of a question before it is looked at was covered.
                if asks.holds(&event) {
                    if let Some(furthest) = watermarks.furthest(&asks) && furthest.covers(&event) {
                        prop_assert!(watermarks.cover(&event));
                    }
                    if event.key.created_at_ms < watermarks.covered_before_ms(&asks) {
                        prop_assert!(watermarks.cover(&event));
                    }
                }
            }
        }
    }

    #[test]
    fn what_came_very_late_counts_as_there_and_what_came_late_does_not() {
        let key = |created_at_ms| ActivityKey { created_at_ms, id: Uuid::nil(), account_id: String::new() };
        let arrived = Arrived { late_from_ms: NOW_MS - LATE_MS, ends: vec![10] };
        let watermarks =
            Watermarks::of(vec![Watermark { until: key(NOW_MS), scope: Scope::default(), arrived }]);
        for (ms_ago, place, is_covered) in [
            (1, (0, 9), true),
            (1, (0, 10), false),
            (1, (1, 0), false),
            (LATE_MS, (0, 10), false),
            (LATE_MS + 1, (0, 10), true),
            (-1, (0, 0), false),
        ] {
            let event =
                Asked { key: &key(NOW_MS - ms_ago), event_type: "x", severity: "low", is_vip: false, place };
            assert_eq!(watermarks.cover(&event), is_covered, "{ms_ago} ms ago at {place:?}");
        }
        assert_eq!(watermarks.covered_before_ms(&Scope::default()), NOW_MS - LATE_MS);
        assert_eq!(Watermarks::default().covered_before_ms(&Scope::default()), 0);
    }

    /// A user of many accounts has marked everything of many types: what that costs is not their product.
    #[test]
    fn marks_of_other_event_types_cost_no_look_at_their_accounts() {
        const MANY: u64 = MAX_WATERMARKS as u64;
        let names: Vec<String> = (0..MANY).map(|number| format!("account-{number:03}")).collect();
        let types: Vec<String> = (0..MANY).map(|number| format!("type-{number}")).collect();
        let key = |account: &str, ms| ActivityKey {
            created_at_ms: ms,
            id: Uuid::nil(),
            account_id: account.to_owned(),
        };
        let arrived = Arrived { late_from_ms: NOW_MS - LATE_MS, ends: vec![MANY] };
        let scope = |event_type: Option<&String>| Scope {
            event_type: event_type.cloned(),
            accounts: Some(names.iter().map(String::as_str).collect()),
            ..Scope::default()
        };
        let watermark = |event_type| Watermark {
            until: key("", NOW_MS),
            scope: scope(Some(event_type)),
            arrived: arrived.clone(),
        };
        COMPARED.set(0);
        let watermarks = Watermarks::of(types.iter().map(watermark).collect());
        assert_eq!(COMPARED.get(), 0);
        for (event_type, account) in types.iter().zip(&names) {
            let key = key(account, NOW_MS - 1);
            let event = Asked { key: &key, event_type, severity: "low", is_vip: false, place: (0, 0) };
            assert!(watermarks.cover(&event));
        }
        assert_eq!(COMPARED.get(), MANY, "an event is held to its own type's accounts");
        assert!(watermarks.furthest(&scope(None)).is_none());
        assert!(watermarks.furthest(&scope(Some(&types[7]))).is_some());
        assert!(COMPARED.get() <= 2 * MANY);
    }

    #[test]
    fn a_watermark_is_read_as_it_is_written() {
        let scope = Scope {
            severity: Some("high".to_owned()),
            accounts: Some(["a"].into_iter().collect()),
            vip_only: true,
            ..Scope::default()
        };
        let arrived = Arrived { late_from_ms: 7, ends: vec![1, 0, u64::MAX] };
        let until = ActivityKey { created_at_ms: 1, id: Uuid::max(), account_id: "a".to_owned() };
        let row = WatermarkRow {
            until: until.clone(),
            scope: serde_json::to_string(&scope).unwrap(),
            arrived: serde_json::to_string(&arrived).unwrap(),
        };
        assert_eq!(Watermark::of_row(row.clone()), Some(Watermark { until, scope, arrived }));
        assert_eq!(Watermark::of_row(WatermarkRow { scope: "{}x".to_owned(), ..row }), None);
    }
}
