//! What holds for any history of the control log: commands of several people and of the data, written late, written
//! again, taken back, over snapshots taken anywhere. And that the checks notice when a rule is broken.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};
use uuid::Uuid;

use crate::actor::Actor;
use crate::alert::{Feedback, Severity};
use crate::broken::{self, Rule};
use crate::change::{Change, Step};
use crate::command::{Command, Entry};
use crate::matcher::Matcher;
use crate::op::{
    Assign, Cancel, Document, EndSilence, GiveFeedback, Op, PutRule, PutSilence, SetLevel, TransitionKind,
};
use crate::position::Position;
use crate::snapshot::Snapshot;
use crate::stage::{MINUTE_MS, Stage, evaluator, handle, transition};
use crate::state::{Applied, State};
use crate::verdict::{Decided, Refusal, Unchanged, Verdict};

const ALERTS: u128 = 3;
const PEOPLE: [&str; 3] = ["ada", "ben", "cleo"];
const RULES: [&str; 2] = ["slow", "costly"];

/// What somebody wants to do. Which version he saw is looked up when he does.
#[derive(Debug, Clone)]
struct Wish {
    who: usize,
    what: usize,
    alert: u128,
    /// How many versions ago he looked; `None`: he did not.
    looked: Option<usize>,
}

#[derive(Debug, Clone)]
enum Event {
    /// The log gets the command, for the first time or again.
    Write(usize),
    /// Somebody takes it back: before it came, or after.
    TakeBack(usize),
    /// Time goes by.
    Wait(i64),
    /// A record that is no command.
    Garbage(u8),
    /// An instance is started anew from a snapshot.
    Restart,
}

#[derive(Debug, Clone)]
struct Plan {
    wishes: Vec<Wish>,
    events: Vec<Event>,
}

fn plans() -> impl Strategy<Value = Plan> {
    let wish = (0..PEOPLE.len(), 0..18_usize, 0..ALERTS, prop::option::weighted(0.6, 0..3_usize))
        .prop_map(|(who, what, alert, looked)| Wish { who, what, alert, looked });
    prop::collection::vec(wish, 5..40).prop_flat_map(|wishes| {
        let count = wishes.len();
        let event = prop_oneof![
            8 => (0..count).prop_map(Event::Write),
            2 => (0..count).prop_map(Event::TakeBack),
            1 => prop_oneof![Just(1), Just(1_000), Just(7 * MINUTE_MS), Just(-5_000)].prop_map(Event::Wait),
            1 => any::<u8>().prop_map(Event::Garbage),
            1 => Just(Event::Restart),
        ];
        let events = prop::collection::vec(event, 10..120);
        (Just(wishes), events).prop_map(|(wishes, events)| Plan { wishes, events })
    })
}

/// A record and what it came to.
struct Judged {
    command: Option<Command>,
    applied: Applied,
}

struct History {
    judged: Vec<Judged>,
    /// Equal when the instance that was started anew again and again agrees with the one that ran on.
    hashes: Vec<([u8; 32], [u8; 32])>,
}

fn play(plan: &Plan) -> History {
    let mut stage = Stage::new();
    let mut other = State::default();
    let mut written: BTreeMap<usize, Command> = BTreeMap::new();
    let mut versions: BTreeMap<u128, Vec<u64>> = BTreeMap::new();
    let mut history = History { judged: Vec::new(), hashes: Vec::new() };
    for event in &plan.events {
        let command = match event {
            Event::Wait(ms) => {
                stage.now_ms += ms;
                continue;
            }
            Event::Restart => {
                let state = other.clone();
                let bytes = Snapshot { topic_id: Some(1), state }.to_bytes();
                other = Snapshot::from_bytes(&bytes).expect("a snapshot can be read").state;
                continue;
            }
            Event::Garbage(byte) => {
                let bytes = vec![b'{', *byte];
                record(&mut stage, &mut other, &mut history, None, &bytes);
                continue;
            }
            Event::Write(index) => author(&mut written, &versions, plan, *index, stage.now_ms),
            Event::TakeBack(index) => {
                let command = author(&mut written, &versions, plan, *index, stage.now_ms);
                Command::new(Actor::system(), Op::Cancel(Cancel { command: command.id }))
            }
        };
        let bytes = command.encode().expect("it is within its bounds");
        record(&mut stage, &mut other, &mut history, Some(command), &bytes);
        for alert in 0..ALERTS {
            if let Some(alert_now) = stage.state.alerts().book().get(&Uuid::from_u128(alert)) {
                let seen = versions.entry(alert).or_default();
                if seen.last() != Some(&alert_now.version()) {
                    seen.push(alert_now.version());
                }
            }
        }
    }
    history
}

fn record(
    stage: &mut Stage,
    other: &mut State,
    history: &mut History,
    command: Option<Command>,
    bytes: &[u8],
) {
    let at = Position { offset: stage.offset, log_time_ms: stage.now_ms };
    let applied = stage.write(bytes);
    let again = other.apply(&Entry::decode(bytes), at);
    // The verdicts first: they are cheap, and what the whole state is compared for shows in it later.
    history.hashes.push((applied.chain, again.chain));
    if history.judged.len().is_multiple_of(8) {
        history.hashes.push((stage.state.hash(), other.hash()));
    }
    // Kafka leaves offsets out.
    stage.offset += u64::from(bytes.len().is_multiple_of(7));
    history.judged.push(Judged { command, applied });
}

fn author(
    written: &mut BTreeMap<usize, Command>,
    versions: &BTreeMap<u128, Vec<u64>>,
    plan: &Plan,
    index: usize,
    now_ms: i64,
) -> Command {
    let wish = &plan.wishes[index];
    let command = || {
        let seen = versions.get(&wish.alert).map(Vec::as_slice).unwrap_or_default();
        let expected = wish.looked.and_then(|ago| seen.iter().rev().nth(ago)).copied();
        let (actor, op) = op_of(wish, expected, now_ms);
        // The same at every play.
        Command { id: Uuid::from_u128(1_000 + index as u128), actor, op }
    };
    written.entry(index).or_insert_with(command).clone()
}

fn op_of(wish: &Wish, expected: Option<u64>, now_ms: i64) -> (Actor, Op) {
    let person = Actor::person(PEOPLE[wish.who]);
    let alert = Uuid::from_u128(wish.alert);
    let data = |kind, severity| {
        (evaluator(), Op::Transition(Box::new(transition(wish.alert, kind, severity, now_ms))))
    };
    let rule = || RULES[wish.alert as usize % RULES.len()].to_owned();
    let op = match wish.what {
        0 | 1 => return data(TransitionKind::Raised, Severity::Critical),
        2 => return data(TransitionKind::Raised, Severity::Warning),
        3 => return data(TransitionKind::Worsened, Severity::Critical),
        4 => return data(TransitionKind::Improved, Severity::Warning),
        5 => return data(TransitionKind::Resolved, Severity::Warning),
        6..=8 => Op::Acknowledge(handle(wish.alert, expected)),
        9 => Op::Unacknowledge(handle(wish.alert, expected)),
        10 => Op::Assign(Assign { alert, expected, to: Some(PEOPLE[wish.who].into()), note: None }),
        11 => Op::Escalate(SetLevel { alert, expected, level: None, note: None }),
        12 => Op::Resolve(handle(wish.alert, expected)),
        13 => Op::Reopen(handle(wish.alert, expected)),
        14 => Op::Feedback(GiveFeedback { alert, kind: Feedback::FalsePositive }),
        15 => Op::PutSilence(PutSilence {
            silence: Uuid::from_u128(77 + wish.who as u128),
            matcher: Matcher { account_id: Some("account-0".into()), ..Matcher::default() },
            ends_ms: now_ms + 5 * MINUTE_MS,
            reason: "known".into(),
        }),
        16 => Op::EndSilence(EndSilence { silence: Uuid::from_u128(77 + wish.who as u128) }),
        _ => Op::PutRule(PutRule {
            rule: rule(),
            expected,
            document: Document(format!("{{\"by\":{},\"of\":{}}}", wish.who, now_ms)),
        }),
    };
    (person, op)
}

/// What is known of an alert from verdicts and changes alone.
#[derive(Default)]
struct Watched {
    raised: usize,
    version: u64,
    holder: Option<Actor>,
}

/// Looks at a history from outside, without the state.
fn check(history: &History) -> Result<(), String> {
    let mut applied_ids: BTreeSet<Uuid> = BTreeSet::new();
    let mut seen_ids: BTreeSet<Uuid> = BTreeSet::new();
    let mut taken_back: BTreeSet<Uuid> = BTreeSet::new();
    let mut alerts: BTreeMap<Uuid, Watched> = BTreeMap::new();
    let mut rules: BTreeMap<String, u64> = BTreeMap::new();
    let mut last: Option<Position> = None;
    for judged in &history.judged {
        let Judged { command, applied } = judged;
        if last.is_some_and(|last| last.log_time_ms > applied.at.log_time_ms) {
            return Err("log time went back".into());
        }
        last = Some(applied.at);
        let Some(command) = command else {
            if !matches!(applied.verdict, Verdict::Refused(Refusal::Record(_))) {
                return Err(format!("no command, but {:?}", applied.verdict));
            }
            continue;
        };
        let told = |text: &str| {
            Err(format!("{text}: {:?} at {:?} came to {:?}", command.op, applied.at, applied.verdict))
        };
        let is_applied = applied.verdict.is_applied();
        if is_applied && !applied_ids.insert(command.id) {
            return told("applied twice");
        }
        if is_applied && taken_back.contains(&command.id) {
            return told("applied though it was taken back before");
        }
        let is_first = seen_ids.insert(command.id);
        match &applied.verdict {
            Verdict::Duplicate { .. } if is_first => return told("seen first, but called a duplicate"),
            Verdict::Duplicate { .. } => {}
            Verdict::Cancelled { .. } if !taken_back.contains(&command.id) => {
                return told("cancelled, but nobody took it back");
            }
            _ => {}
        }
        if let Op::Cancel(cancel) = &command.op {
            let was_decided = seen_ids.contains(&cancel.command) && !taken_back.contains(&cancel.command);
            let is_again = taken_back.contains(&cancel.command);
            match &applied.verdict {
                Verdict::Applied { .. } if was_decided || is_again => return told("taken back too late"),
                Verdict::Applied { .. } => drop(taken_back.insert(cancel.command)),
                Verdict::Unchanged(Unchanged::TooLate) if was_decided || is_again => {}
                _ => return told("a cancel of what was not decided"),
            }
        }
        if let (Op::PutRule(args), true) = (&command.op, is_applied) {
            let before = rules.insert(args.rule.clone(), applied.at.offset);
            if args.expected.is_some_and(|expected| expected != before.unwrap_or_default()) {
                return told("a rule was changed that its author had not seen");
            }
        }
        if let Verdict::Conflict(conflict) = &applied.verdict
            && conflict.since_ms > applied.at.log_time_ms
        {
            return told("a conflict with the future");
        }
        if let Some(alert) = command.op.alert() {
            let watched = alerts.entry(alert).or_default();
            let expected = match &command.op {
                Op::Acknowledge(args) | Op::Unacknowledge(args) | Op::Resolve(args) | Op::Reopen(args) => {
                    args.expected
                }
                Op::Assign(args) => args.expected,
                Op::Escalate(args) | Op::Deescalate(args) => args.expected,
                _ => None,
            };
            if is_applied && expected.is_some_and(|expected| expected != watched.version) {
                return told("decided upon something that its author had not seen");
            }
            if let Verdict::Conflict(conflict) = &applied.verdict {
                let is_named = watched.holder.as_ref().is_some_and(|holder| holder.is_same(&conflict.by));
                if conflict.what == Decided::Acknowledged && !is_named {
                    return told("a conflict that names somebody else than the holder");
                }
                if conflict.version != watched.version {
                    return told("a conflict that names another version");
                }
            }
        }
        for change in &applied.changes {
            if let Change::Alert { alert, step } = change {
                let watched = alerts.entry(*alert).or_default();
                follow(watched, *step, &command.actor)
                    .map_err(|text| format!("{text}: {:?} at {:?}", command.op, applied.at))?;
            }
        }
        if let (Some(alert), Verdict::Applied { version }) = (command.op.alert(), &applied.verdict) {
            let watched = alerts.entry(alert).or_default();
            if *version != watched.version && *version != applied.at.offset {
                return told("a version from nowhere");
            }
            watched.version = *version;
        }
    }
    match history.hashes.iter().position(|(one, other)| one != other) {
        Some(place) => Err(format!("two instances differ, at comparison {place}")),
        None => Ok(()),
    }
}

fn follow(watched: &mut Watched, step: Step, actor: &Actor) -> Result<(), String> {
    match step {
        Step::Raised => {
            watched.raised += 1;
            if watched.raised > 1 {
                return Err("raised twice".into());
            }
        }
        Step::Acknowledged => {
            if let Some(holder) = &watched.holder {
                return Err(format!("two have it: {} and {}", holder.id, actor.id));
            }
            watched.holder = Some(actor.clone());
        }
        Step::Unacknowledged | Step::Escalated | Step::Reopened | Step::Resolved | Step::DataResolved => {
            watched.holder = None;
        }
        Step::Climbed if watched.holder.is_some() => return Err("climbed though somebody has it".into()),
        _ => {}
    }
    Ok(())
}

fn run(cases: u32) -> Result<(), TestError<Plan>> {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let rng = proptest::test_runner::TestRng::deterministic_rng(config.rng_algorithm);
    TestRunner::new_with_rng(config, rng)
        .run(&plans(), |plan| check(&play(&plan)).map_err(TestCaseError::fail))
}

#[test]
fn every_history_is_decided_once_and_the_same_everywhere() {
    run(600).unwrap();
}

/// Each rule in turn is switched off, and the same check has to notice.
#[test]
fn a_rule_that_is_broken_is_noticed() {
    let broken = [
        (Rule::IdOnce, "applied twice"),
        (Rule::Expected, "had not seen"),
        (Rule::Cancel, "taken back before"),
        (Rule::RaisedOnce, "raised twice"),
        (Rule::FirstHolds, "two have it"),
        (Rule::SnapshotWhole, "two instances differ"),
    ];
    for (rule, expected) in broken {
        match broken::with(rule, || run(600)) {
            Err(TestError::Fail(reason, _)) => {
                assert!(reason.message().contains(expected), "{rule:?}: {reason}");
            }
            other => panic!("{rule:?} is not noticed: {other:?}"),
        }
    }
}
