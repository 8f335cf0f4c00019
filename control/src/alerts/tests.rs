//! Verdicts one by one.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::*;
use crate::actor::{Actor, ActorKind};
use crate::alert::{DataReason, Feedback, Severity, Status};
use crate::change::Change;
use crate::matcher::Matcher;
use crate::op::{
    AddNote, Assign, Cancel, DeletePolicy, DeleteRule, Document, EndSilence, GiveFeedback, Level,
    MAX_SILENCE_MS, PutPolicy, PutRule, PutSilence, SetLevel, TransitionKind, Upgrade,
};
use crate::stage::{MINUTE_MS, Stage, evaluator, handle, transition};
use crate::verdict::{Decided, Refusal, Unchanged};
use crate::{Command, Snapshot};

use Severity::{Critical, Warning};
use TransitionKind::{Improved, Raised, Resolved, Worsened};

fn ada() -> Actor {
    Actor::person("ada")
}

fn ben() -> Actor {
    Actor::person("ben")
}

fn steps(changes: &[Change]) -> Vec<Step> {
    let step = |change: &Change| match change {
        Change::Alert { step, .. } => Some(*step),
        _ => None,
    };
    changes.iter().filter_map(step).collect()
}

fn applied(version: u64) -> Verdict {
    Verdict::Applied { version }
}

fn refused(refusal: Refusal) -> Verdict {
    Verdict::Refused(refusal)
}

/// One alert, critical, raised at offset 0.
fn raised() -> Stage {
    let mut stage = Stage::new();
    assert_eq!(stage.report(1, Raised, Critical).verdict, applied(0));
    stage
}

#[test]
fn of_two_who_acknowledge_one_wins_and_the_other_is_told_who_and_since_when() {
    let mut stage = raised();
    let since_ms = stage.now_ms;
    assert_eq!(stage.verdict(&ada(), Op::Acknowledge(handle(1, Some(0)))), applied(1));
    stage.wait(1);
    for expected in [None, Some(0), Some(1)] {
        let Verdict::Conflict(conflict) = stage.verdict(&ben(), Op::Acknowledge(handle(1, expected))) else {
            panic!("no conflict with {expected:?}");
        };
        assert_eq!((conflict.by, conflict.since_ms), (ada(), since_ms));
        assert_eq!((conflict.what, conflict.version), (Decided::Acknowledged, 1));
    }
    // Who has it may say so again, whatever he saw.
    let again = stage.verdict(&ada(), Op::Acknowledge(handle(1, Some(0))));
    assert_eq!(again, Verdict::Unchanged(Unchanged::AlreadySo));
    assert_eq!(stage.alert(1).status, Status::Acknowledged);
    // Anybody may give it back, and then another one may take it.
    assert_eq!(stage.verdict(&ben(), Op::Unacknowledge(handle(1, Some(1)))), applied(6));
    assert_eq!(stage.verdict(&ben(), Op::Unacknowledge(handle(1, None))).reason(), "already_so");
    assert_eq!(stage.verdict(&ben(), Op::Acknowledge(handle(1, None))), applied(8));
    assert_eq!(stage.verdict(&ben(), Op::Acknowledge(handle(9, None))), refused(Refusal::UnknownAlert));
    for kind in [ActorKind::Evaluator, ActorKind::Worker] {
        let actor = Actor { kind, id: "x".into(), role: None };
        let verdict = stage.verdict(&actor, Op::Acknowledge(handle(1, None)));
        assert_eq!(verdict, refused(Refusal::OnlyPeople));
    }
}

#[test]
fn an_alert_is_raised_once_and_data_of_before_is_no_news() {
    let mut stage = raised();
    assert_eq!(stage.report(1, Raised, Critical).verdict, Verdict::Unchanged(Unchanged::AlreadyRaised));
    assert_eq!(stage.report(1, Worsened, Critical).verdict, Verdict::Unchanged(Unchanged::AlreadySo));
    assert_eq!(stage.report(2, Worsened, Critical).verdict, refused(Refusal::UnknownAlert));
    stage.wait(1);
    let improved = stage.report(1, Improved, Warning);
    // Nobody decides upon an improvement, so what he saw still counts.
    assert_eq!(improved.verdict, applied(0));
    assert_eq!((stage.alert(1).severity, stage.alert(1).worst), (Warning, Critical));
    let old = transition(1, Worsened, Critical, stage.now_ms - 1);
    let old = stage.verdict(&evaluator(), Op::Transition(Box::new(old)));
    assert_eq!(old, Verdict::Unchanged(Unchanged::OldNews));
    assert_eq!(stage.report(1, Worsened, Critical).verdict, applied(6));
    let person = Op::Transition(Box::new(transition(3, Raised, Warning, stage.now_ms)));
    assert_eq!(stage.verdict(&ada(), person), refused(Refusal::OnlyEvaluator));
    let resolved = stage.report(1, Resolved, Critical);
    assert_eq!(steps(&resolved.changes), [Step::DataResolved]);
    let alert = stage.alert(1);
    let resolution = alert.resolution.as_ref().unwrap();
    assert_eq!((alert.status, alert.holds, alert.version()), (Status::Resolved, false, 8));
    assert_eq!((resolution.reason, resolution.value), (Some(DataReason::Recovered), alert.value));
    assert_eq!(stage.report(1, Resolved, Critical).verdict, Verdict::Unchanged(Unchanged::AlreadyResolved));
    assert_eq!(stage.report(1, Raised, Critical).verdict, Verdict::Unchanged(Unchanged::AlreadyRaised));
    // Also after it is forgotten: nothing so old is raised.
    let at_ms = stage.now_ms;
    stage.now_ms += RESOLVED_KEPT_MS + MINUTE_MS;
    stage.verdict(&ada(), Op::Noop);
    assert!(stage.state.alerts().book().get(&Uuid::from_u128(1)).is_none());
    let late = Op::Transition(Box::new(transition(1, Raised, Critical, at_ms)));
    assert_eq!(stage.verdict(&evaluator(), late), refused(Refusal::TooOld));
}

#[test]
fn a_person_resolves_and_worse_data_open_it_again() {
    let mut stage = Stage::new();
    stage.report(1, Raised, Warning);
    assert_eq!(stage.verdict(&ada(), Op::Resolve(handle(1, Some(0)))), applied(1));
    assert_eq!(stage.verdict(&ada(), Op::Resolve(handle(1, Some(0)))).reason(), "already_so");
    let conflict = stage.verdict(&ben(), Op::Resolve(handle(1, None)));
    assert_eq!((conflict.code(), conflict.reason()), ("conflict", "resolved"));
    assert_eq!(stage.verdict(&ben(), Op::Acknowledge(handle(1, None))).code(), "conflict");
    assert_eq!(stage.verdict(&ben(), Op::Reopen(handle(1, Some(0)))).code(), "conflict");
    let worse = stage.report(1, Worsened, Critical);
    assert_eq!(steps(&worse.changes), [Step::Reopened, Step::Worsened]);
    assert_eq!(worse.verdict, applied(6));
    assert!(stage.alert(1).is_open() && stage.alert(1).climb.due_ms.is_some());
    assert_eq!(stage.verdict(&ben(), Op::Reopen(handle(1, None))), refused(Refusal::NotResolved));
    // Resolved by a person, then by the data: the end of the data is written down beside his.
    stage.verdict(&ada(), Op::Resolve(handle(1, None)));
    let version = stage.alert(1).version();
    assert_eq!(stage.report(1, Resolved, Critical).verdict, applied(version));
    let alert = stage.alert(1);
    let resolution = alert.resolution.as_ref().unwrap();
    assert_eq!((&resolution.by.actor, resolution.reason), (&ada(), Some(DataReason::Recovered)));
    assert_eq!(stage.verdict(&ben(), Op::Reopen(handle(1, Some(version)))), applied(10));
    assert_eq!(stage.alert(1).status, Status::Active);
}

#[test]
fn an_owner_is_not_taken_away_unseen() {
    let mut stage = raised();
    let assign = |to: Option<&str>, expected| {
        Op::Assign(Assign { alert: Uuid::from_u128(1), expected, to: to.map(str::to_owned), note: None })
    };
    assert_eq!(stage.verdict(&ada(), assign(Some("ada"), None)), applied(1));
    assert_eq!(stage.verdict(&ben(), assign(Some("ada"), None)).reason(), "already_so");
    assert_eq!(stage.verdict(&ben(), assign(Some("ben"), None)).code(), "conflict");
    assert_eq!(stage.verdict(&ben(), assign(Some("ben"), Some(0))).code(), "conflict");
    assert_eq!(stage.verdict(&ben(), assign(Some("ben"), Some(1))), applied(5));
    assert_eq!(steps(&stage.act(&ada(), assign(None, None)).changes), [Step::Unassigned]);
    assert_eq!(stage.alert(1).owner, None);
}

#[test]
fn what_nobody_acknowledges_climbs_by_log_time_at_the_same_record() {
    let mut stage = raised();
    stage.wait(9);
    assert!(steps(&stage.act(&ada(), Op::Tick).changes).is_empty());
    stage.wait(1);
    assert_eq!(stage.state.next_due_ms(), Some(stage.now_ms));
    // Any record does, also one that is refused.
    let climbed = stage.write(b"nonsense");
    assert_eq!(steps(&climbed.changes), [Step::Climbed]);
    assert_eq!(
        (stage.alert(1).climb.level, stage.alert(1).climb.notify.as_slice()),
        (1, ["supervisor".to_owned()].as_slice())
    );
    assert_eq!(stage.alert(1).version(), 0, "who was about to acknowledge it still may");
    // Days later it is one level, not all that were missed.
    stage.wait(5_000);
    assert_eq!(steps(&stage.act(&ada(), Op::Noop).changes), [Step::Climbed]);
    assert_eq!(stage.alert(1).climb.notify, ["admin"]);
    assert_eq!(stage.state.next_due_ms(), None, "there is no level above");

    let mut stage = raised();
    stage.verdict(&ada(), Op::Acknowledge(handle(1, None)));
    stage.report(2, Raised, Warning);
    stage.wait(60);
    assert!(steps(&stage.act(&ada(), Op::Tick).changes).is_empty(), "acknowledged, and a warning");
    stage.verdict(&ada(), Op::Unacknowledge(handle(1, None)));
    stage.wait(10);
    assert_eq!(steps(&stage.act(&ada(), Op::Tick).changes), [Step::Climbed]);
    stage.report(2, Worsened, Critical);
    assert!(stage.alert(2).climb.due_ms.is_some());
    stage.report(2, Improved, Warning);
    assert_eq!(stage.alert(2).climb.due_ms, None);
}

#[test]
fn people_move_an_alert_up_and_down() {
    let mut stage = raised();
    let to = |level, expected| SetLevel { alert: Uuid::from_u128(1), expected, level, note: None };
    stage.verdict(&ada(), Op::Acknowledge(handle(1, None)));
    assert_eq!(stage.verdict(&ada(), Op::Escalate(to(None, Some(0)))).code(), "conflict");
    assert_eq!(stage.verdict(&ada(), Op::Escalate(to(None, Some(1)))), applied(3));
    let alert = stage.alert(1);
    assert_eq!(
        (alert.climb.level, alert.status),
        (1, Status::Active),
        "who is told now has to acknowledge it"
    );
    assert_eq!(stage.verdict(&ada(), Op::Escalate(to(Some(1), None))).reason(), "already_so");
    assert_eq!(stage.verdict(&ada(), Op::Escalate(to(Some(0), None))), refused(Refusal::NoSuchLevel));
    assert_eq!(stage.verdict(&ada(), Op::Escalate(to(Some(17), None))), refused(Refusal::NoSuchLevel));
    assert_eq!(stage.verdict(&ada(), Op::Escalate(to(Some(3), None))), applied(7));
    assert_eq!(stage.verdict(&ada(), Op::Deescalate(to(None, None))), applied(8));
    assert_eq!(stage.alert(1).climb.level, 2);
    assert_eq!(stage.verdict(&ada(), Op::Deescalate(to(Some(0), None))), applied(9));
    assert_eq!(stage.verdict(&ada(), Op::Deescalate(to(None, None))), refused(Refusal::NoSuchLevel));
}

#[test]
fn policies_are_data_and_go_round() {
    let mut stage = raised();
    let policy = |name: &str, levels: Vec<Level>| PutPolicy {
        policy: name.into(),
        matcher: Matcher { rule: Some("rule-1".into()), ..Matcher::default() },
        severity: Warning,
        levels,
        repeat: 1,
    };
    let level =
        |minutes: i64| Level { after_ms: minutes * MINUTE_MS, notify: vec![format!("after-{minutes}")] };
    let put = Op::PutPolicy(policy("mine", vec![level(1), level(2)]));
    assert_eq!(stage.verdict(&ada(), put), applied(1));
    let mut levels = Vec::new();
    for _ in 0..12 {
        stage.wait(1);
        stage.act(&ada(), Op::Tick);
        levels.push(stage.alert(1).climb.level);
    }
    assert_eq!(levels, [1, 1, 2, 1, 1, 2, 2, 2, 2, 2, 2, 2]);
    // An empty policy: these alerts do not climb.
    stage.report(4, Raised, Critical);
    assert!(stage.alert(4).climb.due_ms.is_some());
    stage.verdict(&ada(), Op::PutPolicy(policy("a", Vec::new())));
    assert_eq!(stage.alert(4).climb.due_ms, None);
    assert!(stage.verdict(&ada(), Op::DeletePolicy(DeletePolicy { policy: "a".into() })).is_applied());
    assert!(stage.alert(4).climb.due_ms.is_some());
    let unknown = Op::DeletePolicy(DeletePolicy { policy: "a".into() });
    assert_eq!(stage.verdict(&ada(), unknown), refused(Refusal::UnknownPolicy));
    for number in 0..MAX_POLICIES - 2 {
        assert!(stage.verdict(&ada(), Op::PutPolicy(policy(&format!("p{number}"), vec![]))).is_applied());
    }
    assert_eq!(stage.verdict(&ada(), Op::PutPolicy(policy("q", vec![]))), refused(Refusal::TooManyPolicies));
    assert!(stage.verdict(&ada(), Op::PutPolicy(policy("p0", vec![]))).is_applied());
}

#[test]
fn a_silence_keeps_quiet_until_it_ends() {
    let mut stage = Stage::new();
    let silence = Uuid::from_u128(5);
    let matcher = Matcher { account_id: Some("account-1".into()), ..Matcher::default() };
    let put = |ends_ms: i64| {
        Op::PutSilence(PutSilence { silence, matcher: matcher.clone(), ends_ms, reason: "deploy".into() })
    };
    let now_ms = stage.now_ms;
    for ends_ms in [now_ms - 1, now_ms, now_ms + MAX_SILENCE_MS + 1] {
        assert_eq!(stage.verdict(&ada(), put(ends_ms)), refused(Refusal::BadEnd));
    }
    assert_eq!(stage.verdict(&ada(), put(now_ms + 15 * MINUTE_MS)), applied(3));
    stage.report(1, Raised, Critical);
    stage.report(2, Raised, Critical);
    let alerts = stage.state.alerts();
    assert!(!alerts.is_audible(stage.alert(1)) && alerts.is_audible(stage.alert(2)));
    assert_eq!(alerts.silences().get(&silence).unwrap().matched, 1);
    stage.wait(10);
    let ticked = stage.act(&ada(), Op::Tick);
    assert_eq!(ticked.changes, [Change::Alert { alert: Uuid::from_u128(2), step: Step::Climbed }]);
    stage.wait(5);
    assert_eq!(stage.act(&ada(), Op::Tick).changes, [Change::SilenceEnded { silence }]);
    assert!(stage.state.alerts().is_audible(stage.alert(1)));
    stage.wait(5);
    stage.act(&ada(), Op::Tick);
    assert_eq!(stage.alert(1).climb.level, 1, "the time under the silence does not count");
    let end = Op::EndSilence(EndSilence { silence });
    assert_eq!(stage.verdict(&ada(), end.clone()).reason(), "already_so");
    let now_ms = stage.now_ms;
    assert!(stage.verdict(&ada(), put(now_ms + MINUTE_MS)).is_applied());
    assert!(stage.verdict(&ben(), end).is_applied());
    let ended = stage.state.alerts().silences().ended().next().unwrap();
    assert_eq!(ended.ended_by.as_ref().map(|by| &by.actor), Some(&ben()));
    let unknown = Op::EndSilence(EndSilence { silence: Uuid::from_u128(6) });
    assert_eq!(stage.verdict(&ada(), unknown), refused(Refusal::UnknownSilence));
}

#[test]
fn bounds_refuse_or_forget_as_they_say() {
    let mut stage = raised();
    for number in 0..=MAX_SILENCES {
        let put = PutSilence {
            silence: Uuid::from_u128(number as u128),
            matcher: Matcher { rule: Some("r".into()), ..Matcher::default() },
            ends_ms: stage.now_ms + MINUTE_MS,
            reason: "x".into(),
        };
        let verdict = stage.verdict(&ada(), Op::PutSilence(put));
        assert_eq!(verdict.is_applied(), number < MAX_SILENCES, "{number}");
    }
    stage.wait(1);
    stage.verdict(&ada(), Op::Noop);
    assert_eq!(stage.state.alerts().silences().ended().count(), MAX_ENDED_SILENCES);
    assert_eq!(stage.state.alerts().silences().in_force().count(), 0);
    for number in 0..=MAX_NOTES {
        let note = AddNote { alert: Uuid::from_u128(1), text: format!("{number}") };
        assert_eq!(stage.verdict(&ada(), Op::Note(note)).is_applied(), number < MAX_NOTES);
    }
    for number in 0..=MAX_OPINIONS {
        let rate = GiveFeedback { alert: Uuid::from_u128(1), kind: Feedback::PoorDetails };
        let verdict = stage.verdict(&Actor::person(format!("p{number}")), Op::Feedback(rate));
        assert_eq!(verdict.is_applied(), number < MAX_OPINIONS);
    }
    let history = stage.state.alerts().book().history(&Uuid::from_u128(1)).count();
    assert_eq!(history, MAX_HISTORY);
}

/// The bound on open alerts refuses; that on resolved ones forgets, and remembers the ids.
#[test]
fn there_is_room_for_so_many_alerts() {
    let mut stage = Stage::new();
    let many = MAX_RESOLVED_ALERTS as u128 + 10;
    for alert in 0..many {
        assert!(stage.report(alert, Raised, Warning).verdict.is_applied());
        assert!(stage.report(alert, Resolved, Warning).verdict.is_applied());
    }
    stage.verdict(&ada(), Op::Noop);
    let book = stage.state.alerts().book();
    assert_eq!((book.iter().count(), book.open_count()), (MAX_RESOLVED_ALERTS, 0));
    assert!(book.get(&Uuid::from_u128(0)).is_none());
    assert_eq!(stage.report(0, Raised, Warning).verdict, Verdict::Unchanged(Unchanged::AlreadyRaised));
    for alert in 0..MAX_OPEN_ALERTS as u128 {
        assert!(stage.report(1_000_000 + alert, Raised, Warning).verdict.is_applied());
    }
    let refused_raise = stage.report(2_000_000, Raised, Critical);
    assert_eq!(refused_raise.verdict, refused(Refusal::TooManyAlerts));
    stage.report(1_000_000, Resolved, Warning);
    assert!(stage.report(2_000_000, Raised, Critical).verdict.is_applied(), "under a new id of the command");
    // All of it goes into a snapshot and comes back.
    let snapshot = Snapshot { topic_id: None, state: stage.state };
    let bytes = snapshot.to_bytes();
    assert_eq!(Snapshot::from_bytes(&bytes).unwrap(), snapshot);
}

#[test]
fn alerts_of_one_cause_make_an_incident() {
    let mut stage = Stage::new();
    let raise = |stage: &mut Stage, alert: u128, change: fn(&mut crate::op::Transition)| {
        let mut raised = transition(alert, Raised, Warning, stage.now_ms);
        raised.conversation_id = None;
        change(&mut raised);
        stage.act(&evaluator(), Op::Transition(Box::new(raised)))
    };
    let opened = raise(&mut stage, 1, |_| {});
    assert!(opened.changes.contains(&Change::IncidentOpened { incident: 0 }));
    raise(&mut stage, 3, |_| {});
    raise(&mut stage, 5, |alert| alert.conversation_id = Some("c".into()));
    raise(&mut stage, 7, |alert| drop(alert.labels.insert(CAUSE_LABEL.into(), "deploy".into())));
    let incident_of = |stage: &Stage, alert| stage.alert(alert).incident;
    assert_eq!([1, 3, 5, 7].map(|alert| incident_of(&stage, alert)), [0, 0, 2, 3]);
    stage.wait(14);
    raise(&mut stage, 9, |_| {});
    assert_eq!(incident_of(&stage, 9), 0, "the window begins with the newest alert");
    stage.wait(16);
    raise(&mut stage, 11, |_| {});
    assert_eq!(incident_of(&stage, 11), 5, "the window is over");
    for alert in [1, 3] {
        stage.report(alert, Resolved, Warning);
    }
    assert_eq!(stage.state.alerts().incidents().get(0).unwrap().closed_ms, None);
    let last = stage.act(&ada(), Op::Resolve(handle(9, None)));
    assert!(last.changes.contains(&Change::IncidentClosed { incident: 0 }));
    let reopened = stage.act(&ada(), Op::Reopen(handle(9, None)));
    assert!(reopened.changes.contains(&Change::IncidentOpened { incident: 0 }));
    let incident = stage.state.alerts().incidents().get(0).unwrap();
    assert_eq!((incident.count, incident.open, incident.cause.as_str()), (3, 1, "account:account-1"));
    let timeline: Vec<Step> = incident.timeline.iter().map(|entry| entry.step).collect();
    assert_eq!(
        timeline,
        [
            Step::Raised,
            Step::Raised,
            Step::Raised,
            Step::DataResolved,
            Step::DataResolved,
            Step::Resolved,
            Step::Reopened
        ]
    );
}

#[test]
fn opinions_are_counted_by_rule_and_can_be_changed() {
    let mut stage = raised();
    let rate = |kind| Op::Feedback(GiveFeedback { alert: Uuid::from_u128(1), kind });
    stage.verdict(&ada(), rate(Feedback::FalsePositive));
    assert_eq!(stage.verdict(&ada(), rate(Feedback::FalsePositive)).reason(), "already_so");
    stage.verdict(&ada(), rate(Feedback::NotActionable));
    stage.verdict(&ben(), rate(Feedback::NotActionable));
    assert_eq!(stage.verdict(&Actor::system(), rate(Feedback::PoorDetails)), refused(Refusal::OnlyPeople));
    stage.report(2, Raised, Critical);
    let noisiest = stage.state.alerts().noise().noisiest(5);
    let counted = RuleNoise { raised: 1, not_actionable: 2, ..RuleNoise::default() };
    let silent = RuleNoise { raised: 1, ..RuleNoise::default() };
    assert_eq!(noisiest, [("rule-1", counted), ("rule-2", silent)]);
}

#[test]
fn rules_are_documents_with_a_version() {
    let mut stage = raised();
    let put = |text: &str, expected| {
        Op::PutRule(PutRule { rule: "slow".into(), expected, document: Document(text.into()) })
    };
    let delete = |expected| Op::DeleteRule(DeleteRule { rule: "slow".into(), expected });
    assert_eq!(stage.verdict(&ada(), put("{}", Some(7))), refused(Refusal::UnknownRule));
    assert_eq!(stage.verdict(&ada(), put("{}", Some(0))), applied(2));
    assert_eq!(stage.verdict(&ada(), put("{}", Some(9))).reason(), "already_so");
    let Verdict::Conflict(conflict) = stage.verdict(&ben(), put("{\"a\":1}", Some(0))) else { panic!() };
    assert_eq!((conflict.by, conflict.version), (ada(), 2));
    assert_eq!(stage.verdict(&ben(), put("{\"a\":1}", Some(2))), applied(5));
    assert_eq!(stage.state.rules().get("slow").unwrap().document, "{\"a\":1}");
    assert_eq!(stage.verdict(&ada(), delete(Some(2))).code(), "conflict");
    assert_eq!(stage.verdict(&ada(), delete(Some(5))), applied(7));
    assert_eq!(stage.verdict(&ada(), delete(None)), refused(Refusal::UnknownRule));
    assert_eq!(stage.state.rules().changed(), Some(7));
}

#[test]
fn commands_count_once_and_can_be_taken_back_while_they_have_not_come() {
    let mut stage = raised();
    let command = Command::new(ada(), Op::Acknowledge(handle(1, None)));
    assert_eq!(stage.put(&command).verdict, applied(1));
    assert_eq!(stage.put(&command).verdict, Verdict::Duplicate { first: 1 });
    let other = Command { op: Op::Resolve(handle(1, None)), ..command.clone() };
    assert_eq!(stage.put(&other).verdict, refused(Refusal::IdReused));
    assert_eq!(stage.state.outcome(&command.id).unwrap().verdict, applied(1), "the first verdict stands");
    let cancel = |command: Uuid| Op::Cancel(Cancel { command });
    assert_eq!(stage.verdict(&ada(), cancel(command.id)), Verdict::Unchanged(Unchanged::TooLate));
    let late = Command::new(ada(), Op::Resolve(handle(1, None)));
    assert_eq!(stage.verdict(&ada(), cancel(late.id)), applied(5));
    assert_eq!(stage.state.outcome(&late.id).unwrap().verdict, Verdict::Cancelled { at: 5 });
    assert_eq!(stage.put(&late).verdict, Verdict::Cancelled { at: 5 });
    assert!(stage.alert(1).is_open());
}

#[test]
fn records_that_are_no_commands_are_judged_and_change_nothing() {
    let mut stage = raised();
    let hash = stage.state.alerts().clone();
    let id = "00000000-0000-0000-0000-000000000009";
    let actor = "{\"kind\":\"person\",\"id\":\"a\"}";
    let cases = [
        (String::from("?"), "record_unreadable"),
        (format!("{{\"v\":1,\"id\":\"{id}\",\"actor\":{actor},\"op\":\"fly\",\"args\":{{}}}}"), "unknown_op"),
        (
            format!("{{\"v\":2,\"id\":\"{}\",\"actor\":{actor},\"op\":\"noop\"}}", id.replace('9', "8")),
            "version_not_in_force",
        ),
    ];
    for (text, reason) in cases {
        let verdict = stage.write(text.as_bytes()).verdict;
        assert_eq!((verdict.code(), verdict.reason()), ("refused", reason), "{text}");
    }
    let recorded = stage.state.outcome(&id.parse().unwrap()).unwrap();
    assert_eq!(recorded.verdict.reason(), "unknown_op", "who waits for it is answered");
    assert_eq!(*stage.state.alerts(), hash);
    let upgrade = |version| Op::Upgrade(Upgrade { version });
    assert_eq!(stage.verdict(&ada(), upgrade(3)), refused(Refusal::VersionNotInForce));
    assert_eq!(stage.verdict(&ada(), upgrade(1)).reason(), "already_so");
    assert!(stage.verdict(&ada(), upgrade(2)).is_applied());
    assert_eq!(stage.state.version(), 2);
}

#[test]
fn a_damaged_snapshot_is_refused() {
    let snapshot = Snapshot { topic_id: Some(3), state: raised().state };
    let bytes = snapshot.to_bytes();
    assert_eq!(Snapshot::from_bytes(&bytes).unwrap().state.hash(), snapshot.state.hash());
    for place in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[place] ^= 1;
        assert!(Snapshot::from_bytes(&damaged).is_err(), "{place}");
        assert!(Snapshot::from_bytes(&bytes[..place]).is_err(), "{place}");
    }
}

#[test]
fn a_matcher_means_what_it_names() {
    let stage = raised();
    let alert = stage.alert(1);
    let some = |text: &str| Some(text.to_owned());
    let labels = BTreeMap::from([("team".to_owned(), "a".to_owned())]);
    let cases = [
        (Matcher::default(), false),
        (Matcher { rule: some("rule-1"), ..Matcher::default() }, true),
        (Matcher { rule: some("rule"), ..Matcher::default() }, false),
        (Matcher { rule: some("rule-1"), severity: Some(Warning), ..Matcher::default() }, false),
        (Matcher { severity: Some(Critical), metric: some("response_time"), ..Matcher::default() }, true),
        (Matcher { conversation_id: some("c"), ..Matcher::default() }, false),
        (Matcher { labels, ..Matcher::default() }, false),
    ];
    for (matcher, expected) in cases {
        assert_eq!(matcher.matches(alert), expected, "{matcher:?}");
    }
}
