//! Alerts, answers and times in, messages out.

use std::collections::BTreeMap;

use kelly_control::alert::{Climb, Resolution, Severity};
use kelly_control::{Actor, actor::By};

use super::*;
use crate::notice::ThreadStatus;

const T0: i64 = 1_800_000_000_000;

#[derive(Default)]
struct Alerts(BTreeMap<Uuid, Alert>);

impl Book for Alerts {
    fn alert(&self, id: &Uuid) -> Option<&Alert> {
        self.0.get(id)
    }

    fn open(&self) -> Box<dyn Iterator<Item = &Alert> + '_> {
        Box::new(self.0.values().filter(|alert| alert.is_open()))
    }
}

fn alert(number: u128, severity: Severity) -> Alert {
    let by = By { actor: Actor::system(), at_ms: T0, offset: 10 };
    Alert {
        id: Uuid::from_u128(number),
        rule: "slow_answers".into(),
        rule_version: 1,
        account_id: Some("acme".into()),
        conversation_id: None,
        metric: Some("response_time".into()),
        severity,
        worst: severity,
        raised_ms: T0,
        since_ms: T0 - 60_000,
        raised: by.clone(),
        value: Some(93.2),
        threshold: Some(85.0),
        explanation: "above 85 for a minute".into(),
        labels: BTreeMap::from([("team".into(), "voice".into())]),
        runbook: None,
        quiet: false,
        cause: None,
        status: Status::Active,
        holds: true,
        data_ms: T0,
        acknowledged: None,
        owner: None,
        climb: Climb::default(),
        resolution: None,
        // Each of its own, where a test does not say otherwise.
        incident: u64::try_from(number).unwrap(),
        changed: by,
        notes: Vec::new(),
        feedback: BTreeMap::new(),
    }
}

/// A notifier with its alerts, its clock, and everything that was kept.
struct Stage {
    notifier: Notifier,
    settings: Arc<Settings>,
    alerts: Alerts,
    now_ms: i64,
    kept: BTreeMap<String, Value>,
    version: u64,
}

const FILE: &str = r#"
[[destination]]
id = "pd"
kind = "pagerduty"
secret_variable = "X"

[[destination]]
id = "slack"
kind = "slack"
secret_variable = "X"
channel = "C1"

[[destination]]
id = "mail"
kind = "email"
server = "localhost:25"
from = "kelly@example.com"
to = ["ops@example.com"]

[[route]]
id = "critical"
severity = ["critical"]
destinations = ["pd"]
renotify_minutes = 60
group_by = ["alert"]

[[route]]
id = "voice"
labels = { team = "voice" }
destinations = ["slack"]
more_seconds = 30
renotify_minutes = 0

[[route]]
id = "up"
escalated_to = "admin"
destinations = ["mail"]
"#;

impl Stage {
    fn new(file: &str) -> Self {
        let settings = Arc::new(Settings::parse_toml(file).unwrap());
        Self {
            notifier: Notifier::new(settings.clone(), None),
            settings,
            alerts: Alerts::default(),
            now_ms: T0,
            kept: BTreeMap::new(),
            version: 10,
        }
    }

    fn show_as(&mut self, alert: Alert, is_audible: bool) {
        self.alerts.0.insert(alert.id, alert.clone());
        self.notifier.observe(Seen { alert: &alert, is_audible }, &self.alerts, self.now_ms);
    }

    fn show(&mut self, alert: Alert) {
        self.show_as(alert, true);
    }

    fn change(&mut self, number: u128, change: impl FnOnce(&mut Alert)) {
        let mut alert = self.alerts.0[&Uuid::from_u128(number)].clone();
        self.version += 1;
        alert.changed.offset = self.version;
        change(&mut alert);
        self.show(alert);
    }

    fn resolve(&mut self, number: u128) {
        self.change(number, |alert| {
            alert.status = Status::Resolved;
            let by = alert.changed.clone();
            alert.resolution = Some(Resolution { by, reason: None, value: Some(80.0), note: None });
        });
    }

    fn later(&mut self, seconds: i64) {
        self.now_ms += seconds * 1_000;
        self.notifier.run_due(&self.alerts, self.now_ms);
    }

    /// Sends what is due, each with this answer, until nothing is left for now. What was sent, as `destination reason act`.
    fn send(&mut self, answer: &Answer) -> Vec<String> {
        let mut sent = Vec::new();
        loop {
            self.keep();
            let jobs = self.notifier.take_due(self.now_ms);
            if jobs.is_empty() {
                return sent;
            }
            for job in jobs {
                let delivery = &job.delivery;
                let act = format!("{:?}", delivery.acts[0]).to_lowercase();
                sent.push(format!("{} {} {act}", job.destination, delivery.notice.reason.code()));
                let place = Place { channel: "C1".into(), message: "1.2".into() };
                let answer = match answer {
                    Answer::Accepted(_) if job.destination == "slack" => Answer::Accepted(Some(place)),
                    other => other.clone(),
                };
                self.notifier.settle(&job, answer, &self.alerts, self.now_ms);
            }
        }
    }

    fn sent(&mut self) -> Vec<String> {
        self.send(&Answer::Accepted(None))
    }

    fn keep(&mut self) {
        for (key, value) in self.notifier.take_changes() {
            match value {
                Some(value) => self.kept.insert(key.to_string(), value),
                None => self.kept.remove(&key.to_string()),
            };
        }
    }

    /// As after a kill: what was kept is all there is.
    fn restart(&mut self) {
        let parts = self.kept.iter().map(|(name, value)| (name.as_str(), value));
        self.notifier = Notifier::restore(self.settings.clone(), None, parts, self.now_ms).unwrap();
        self.notifier.run_due(&self.alerts, self.now_ms);
    }
}

fn retry(problem: &str) -> Answer {
    Answer::Retry { after_ms: None, problem: problem.into(), is_unsure: true }
}

#[test]
fn an_alert_is_told_of_from_its_raise_to_its_end() {
    let mut stage = Stage::new(FILE);
    stage.show(alert(1, Severity::Warning));
    assert_eq!(stage.sent(), ["slack firing send"]);
    // Nothing changed: nothing is said.
    stage.show(alert(1, Severity::Warning));
    stage.later(3_600);
    assert_eq!(stage.sent(), [""; 0]);
    stage.change(1, |alert| alert.severity = Severity::Critical);
    let mut sent = stage.sent();
    sent.sort();
    assert_eq!(sent, ["pd firing send", "slack worse edit", "slack worse reply"]);
    stage.change(1, |alert| {
        alert.status = Status::Acknowledged;
        alert.acknowledged = Some(alert.changed.clone());
    });
    let mut sent = stage.sent();
    sent.sort();
    assert_eq!(sent, ["pd acknowledged send", "slack acknowledged edit", "slack acknowledged reply"]);
    stage.resolve(1);
    let mut sent = stage.sent();
    sent.sort();
    assert_eq!(sent, ["pd resolved send", "slack resolved edit", "slack resolved reply"]);
    assert_eq!(stage.notifier.threads().count(), 0);
    stage.keep();
    assert!(!stage.kept.keys().any(|key| key.starts_with("thread/")));
}

#[test]
fn a_group_waits_for_more() {
    let mut stage = Stage::new(FILE);
    let of_incident = |number| Alert { incident: 7, ..alert(number, Severity::Warning) };
    stage.show(of_incident(1));
    assert_eq!(stage.sent(), ["slack firing send"]);
    for number in 2..=9 {
        stage.later(2);
        stage.show(of_incident(number));
        assert_eq!(stage.sent(), [""; 0]);
    }
    stage.later(13);
    assert_eq!(stage.sent(), [""; 0]);
    stage.later(1);
    assert_eq!(stage.sent(), ["slack more_alerts edit", "slack more_alerts reply"]);
    let thread = stage.notifier.threads().next().unwrap();
    assert_eq!((thread.members.len(), thread.told.unwrap().open), (9, 9));
    // A critical does not wait.
    stage.show(Alert { incident: 7, ..alert(10, Severity::Critical) });
    let mut sent = stage.sent();
    sent.sort();
    assert_eq!(sent, ["pd firing send", "slack worse edit", "slack worse reply"]);
    // What ends one by one is said together, the last end at once.
    for number in 1..=8 {
        stage.resolve(number);
    }
    stage.later(30);
    assert_eq!(stage.sent(), ["slack better edit", "slack better reply"]);
    stage.resolve(9);
    stage.resolve(10);
    let sent = stage.sent();
    assert!(
        sent.contains(&"slack resolved edit".to_owned()) && sent.contains(&"pd resolved send".to_owned())
    );
    assert_eq!(stage.notifier.threads().count(), 0);
}

#[test]
fn what_ends_within_the_wait_is_not_told() {
    let mut stage = Stage::new(&FILE.replace("more_seconds", "wait_seconds = 20\nmore_seconds"));
    stage.show(alert(1, Severity::Warning));
    stage.show(alert(2, Severity::Warning));
    stage.later(10);
    stage.resolve(1);
    stage.later(10);
    assert_eq!(stage.sent(), ["slack firing send"]);
    stage.resolve(2);
    assert_eq!(stage.sent(), ["slack resolved edit", "slack resolved reply"]);
}

#[test]
fn nobody_is_told_what_is_silenced_but_its_end() {
    let mut stage = Stage::new(FILE);
    stage.show_as(alert(1, Severity::Critical), false);
    assert_eq!(stage.sent(), [""; 0]);
    // The silence ends.
    stage.show(alert(1, Severity::Critical));
    let mut sent = stage.sent();
    sent.sort();
    assert_eq!(sent, ["pd firing send", "slack firing send"]);
    // Another begins: no reminder.
    stage.show_as(alert(1, Severity::Critical), false);
    stage.later(7_200);
    assert_eq!(stage.sent(), [""; 0]);
    let mut gone = alert(1, Severity::Critical);
    gone.status = Status::Resolved;
    stage.show_as(gone, false);
    let sent = stage.sent();
    assert!(sent.contains(&"pd resolved send".to_owned()), "{sent:?}");
}

#[test]
fn whom_nobody_answers_is_reminded_and_escalates() {
    let mut stage = Stage::new(FILE);
    stage.show(alert(1, Severity::Critical));
    stage.sent();
    stage.later(3_599);
    assert_eq!(stage.sent(), [""; 0]);
    stage.later(1);
    assert_eq!(stage.sent(), ["pd reminder send"]);
    stage.change(1, |alert| {
        alert.climb = Climb { level: 2, notify: vec!["admin".into()], ..Climb::default() }
    });
    let mut sent = stage.sent();
    sent.sort();
    assert_eq!(
        sent,
        ["mail firing send", "pd escalated send", "slack escalated edit", "slack escalated reply"]
    );
    stage.change(1, |alert| alert.status = Status::Acknowledged);
    let mut sent = stage.sent();
    sent.sort();
    // An email would only be read.
    assert_eq!(sent, ["pd acknowledged send", "slack acknowledged edit", "slack acknowledged reply"]);
    stage.later(36_000);
    assert_eq!(stage.sent(), [""; 0]);
    stage.resolve(1);
    assert!(stage.sent().contains(&"mail resolved send".to_owned()));
}

#[test]
fn an_older_state_of_an_alert_is_no_news() {
    let mut stage = Stage::new(FILE);
    stage.show(alert(1, Severity::Warning));
    stage.sent();
    let before = alert(1, Severity::Warning);
    stage.change(1, |alert| alert.status = Status::Acknowledged);
    stage.sent();
    stage.notifier.observe(Seen { alert: &before, is_audible: true }, &stage.alerts, stage.now_ms);
    assert_eq!(stage.sent(), [""; 0]);
}

#[test]
fn too_much_comes_in_a_digest_and_criticals_pass_it() {
    let mut stage =
        Stage::new(&format!("{FILE}\n[digest]\nover = 5\nwindow_seconds = 600\nevery_seconds = 60\n"));
    for number in 1..=40 {
        stage.show(alert(number, Severity::Warning));
    }
    assert_eq!(stage.sent().len(), 5);
    stage.show(alert(41, Severity::Critical));
    let mut sent = stage.sent();
    sent.sort();
    assert_eq!(sent, ["pd firing send", "slack firing send"]);
    stage.later(30);
    let jobs = stage.sent();
    assert_eq!(jobs, ["slack firing send"]);
    let digest = stage.notifier.threads().find(|thread| thread.is_digest).unwrap();
    assert_eq!((digest.members.len(), digest.told.unwrap().open), (35, 35));
    // One of it becomes critical: it is told by itself.
    stage.change(20, |alert| alert.severity = Severity::Critical);
    let mut sent = stage.sent();
    sent.sort();
    assert_eq!(sent, ["pd firing send", "slack firing send"]);
    for number in 6..=40 {
        stage.resolve(number);
    }
    let sent = stage.sent();
    assert!(!sent.contains(&"slack resolved reply".to_owned()) || sent.len() <= 3, "{sent:?}");
    stage.later(60);
    assert_eq!(stage.sent(), ["slack resolved edit", "slack resolved reply"]);
    assert!(!stage.notifier.threads().any(|thread| thread.is_digest));
    // After the window alerts are told one by one again.
    stage.later(600);
    stage.show(alert(50, Severity::Warning));
    assert_eq!(stage.sent(), ["slack firing send"]);
}

#[test]
fn a_message_is_tried_until_it_is_taken_and_its_end_comes_after_it() {
    let mut stage = Stage::new(FILE);
    stage.show(alert(1, Severity::Warning));
    assert_eq!(stage.send(&retry("500")), ["slack firing send"]);
    stage.resolve(1);
    assert_eq!(stage.send(&retry("500")), [""; 0], "it waits");
    stage.later(1);
    assert_eq!(stage.send(&retry("500")), ["slack firing send"]);
    stage.restart();
    stage.later(300);
    let id = stage.notifier.threads().next().unwrap().queue[0].id.clone();
    assert!(stage.notifier.threads().next().unwrap().queue[0].is_unsure);
    let jobs = stage.notifier.take_due(stage.now_ms);
    assert_eq!((jobs.len(), &jobs[0].delivery.id), (1, &id), "the same message");
    stage.notifier.settle(&jobs[0], Answer::Accepted(None), &stage.alerts, stage.now_ms);
    assert_eq!(stage.sent(), ["slack resolved send"]);
}

#[test]
fn a_destination_that_says_wait_is_left_alone_with_everything() {
    let mut stage = Stage::new(FILE);
    for number in 1..=3 {
        stage.show(alert(number, Severity::Warning));
    }
    let jobs = stage.notifier.take_due(stage.now_ms);
    assert_eq!(jobs.len(), 3);
    let busy = Answer::Busy { after_ms: Some(7_000) };
    jobs.iter().for_each(|job| stage.notifier.settle(job, busy.clone(), &stage.alerts, stage.now_ms));
    stage.show(alert(4, Severity::Warning));
    stage.later(6);
    assert_eq!(stage.sent(), [""; 0]);
    assert_eq!(stage.notifier.next_due_ms(), Some(T0 + 7_000));
    stage.later(1);
    assert_eq!(stage.sent().len(), 4);
}

#[test]
fn a_destination_that_knows_us_not_is_asked_now_and_then_by_one_message() {
    let mut stage = Stage::new(FILE);
    for number in 1..=3 {
        stage.show(alert(number, Severity::Warning));
    }
    let jobs = stage.notifier.take_due(stage.now_ms);
    let ill = Answer::Ill("401".into());
    jobs.iter().for_each(|job| stage.notifier.settle(job, ill.clone(), &stage.alerts, stage.now_ms));
    let told = |notifier: &mut Notifier| {
        notifier
            .take_news()
            .iter()
            .filter(|news| matches!(news, News::Ill { .. } | News::Well { .. }))
            .count()
    };
    assert_eq!(told(&mut stage.notifier), 1, "it is said once");
    stage.later(899);
    assert_eq!(stage.sent(), [""; 0]);
    stage.restart();
    stage.later(1);
    assert_eq!(stage.send(&ill).len(), 1);
    assert_eq!(told(&mut stage.notifier), 0);
    stage.later(900);
    assert_eq!(stage.send(&Answer::Accepted(None)).len(), 3, "it is well again, and gets everything");
    assert_eq!(told(&mut stage.notifier), 1);
    // One that is gone waits for a person.
    stage.show(alert(4, Severity::Warning));
    stage.send(&Answer::Gone("410".into()));
    stage.later(80_000);
    assert_eq!(stage.sent(), [""; 0]);
    stage.notifier.heal("slack", &stage.alerts, stage.now_ms);
    assert_eq!(stage.sent(), ["slack firing send"]);
}

#[test]
fn what_is_refused_or_too_old_becomes_a_dead_letter_that_can_be_sent_again() {
    let mut stage = Stage::new(FILE);
    stage.show(alert(1, Severity::Warning));
    assert_eq!(stage.send(&Answer::Refused("400".into())), ["slack firing send"]);
    let dead: Vec<String> = stage.notifier.dead_letters().map(|(id, _)| id.to_owned()).collect();
    assert_eq!(dead.len(), 1);
    stage.restart();
    assert!(stage.notifier.replay(&dead[0], &stage.alerts, stage.now_ms));
    assert!(!stage.notifier.replay(&dead[0], &stage.alerts, stage.now_ms));
    assert_eq!(stage.sent(), ["slack firing send"]);
    stage.resolve(1);
    assert_eq!(stage.sent(), ["slack resolved edit", "slack resolved reply"]);
    // A day without an answer.
    stage.show(alert(2, Severity::Warning));
    for _ in 0..400 {
        stage.send(&retry("hung up"));
        stage.later(300);
    }
    let letters: Vec<_> = stage.notifier.dead_letters().map(|(_, letter)| letter.problem.clone()).collect();
    assert_eq!(letters, ["given up after a day: hung up"]);
    // Its thread has ended long since: it goes out all the same.
    stage.resolve(2);
    stage.sent();
    assert_eq!(stage.notifier.threads().count(), 0);
    let id = stage.notifier.dead_letters().next().unwrap().0.to_owned();
    assert!(stage.notifier.replay(&id, &stage.alerts, stage.now_ms));
    assert_eq!(stage.sent(), ["slack firing send"]);
    assert_eq!(stage.notifier.threads().count(), 0);
    stage.keep();
    assert!(!stage.kept.keys().any(|key| key.starts_with("thread/") || key.starts_with("dead/")));
}

#[test]
fn a_message_that_was_deleted_is_posted_anew() {
    let mut stage = Stage::new(FILE);
    stage.show(alert(1, Severity::Warning));
    stage.sent();
    stage.resolve(1);
    let jobs = stage.notifier.take_due(stage.now_ms);
    stage.notifier.settle(&jobs[0], Answer::Lost, &stage.alerts, stage.now_ms);
    assert_eq!(stage.sent(), ["slack resolved send"]);
}

#[test]
fn messages_of_a_destination_that_is_gone_from_the_settings_are_dead_letters() {
    let mut stage = Stage::new(FILE);
    stage.show(alert(1, Severity::Warning));
    stage.keep();
    let mut settings = (*stage.settings).clone();
    settings.destinations.retain(|destination| destination.id != "slack");
    settings.routes.retain(|route| route.id != "voice");
    stage.settings = Arc::new(settings);
    stage.restart();
    assert_eq!(stage.notifier.threads().count(), 0);
    assert_eq!(stage.notifier.dead_letters().count(), 1);
    stage.keep();
    stage.restart();
    assert_eq!((stage.notifier.threads().count(), stage.notifier.dead_letters().count()), (0, 1));
}

#[test]
fn an_alert_is_told_once_a_destination_and_again_when_it_is_open_again() {
    let mut stage = Stage::new(&FILE.replace(
        "id = \"up\"\nescalated_to = \"admin\"\ndestinations = [\"mail\"]",
        "id = \"more\"\ndestinations = [\"slack\"]",
    ));
    stage.show(alert(1, Severity::Warning));
    assert_eq!(stage.sent(), ["slack firing send"]);
    let first = stage.notifier.threads().next().unwrap().id.clone();
    stage.resolve(1);
    stage.sent();
    stage.change(1, |alert| {
        alert.status = Status::Active;
        alert.resolution = None;
    });
    assert_eq!(stage.sent(), ["slack firing send"]);
    assert_ne!(stage.notifier.threads().next().unwrap().id, first);
}

#[test]
fn alerts_that_nobody_knows_any_more_are_over() {
    let mut stage = Stage::new(FILE);
    stage.show(alert(1, Severity::Critical));
    stage.sent();
    stage.alerts.0.clear();
    stage.notifier.forget_unknown(&stage.alerts, stage.now_ms);
    let mut sent = stage.sent();
    sent.sort();
    assert_eq!(sent, ["pd resolved send", "slack resolved edit", "slack resolved reply"]);
}

mod always {
    use proptest::prelude::*;

    use super::*;

    /// One thing that happens.
    #[derive(Debug, Clone)]
    enum Event {
        Change(u128, u8),
        Later(i64),
        Send(u8),
        Restart,
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let event = prop_oneof![
            5 => (1u128..8, 0u8..5).prop_map(|(number, what)| Event::Change(number, what)),
            2 => (1i64..400).prop_map(Event::Later),
            4 => (0u8..7).prop_map(Event::Send),
            1 => Just(Event::Restart),
        ];
        proptest::collection::vec(event, 1..80)
    }

    fn apply(stage: &mut Stage, number: u128, what: u8) {
        if !stage.alerts.0.contains_key(&Uuid::from_u128(number)) {
            let severity = if number.is_multiple_of(2) { Severity::Critical } else { Severity::Warning };
            return stage
                .show(Alert { incident: u64::try_from(number / 3).unwrap(), ..alert(number, severity) });
        }
        match what {
            0 => stage.change(number, |alert| {
                alert.status = Status::Active;
                alert.resolution = None;
            }),
            1 => stage.change(number, |alert| alert.severity = Severity::Critical),
            2 => stage.change(number, |alert| alert.severity = Severity::Warning),
            3 if stage.alerts.0[&Uuid::from_u128(number)].is_open() => {
                stage.change(number, |alert| alert.status = Status::Acknowledged);
            }
            _ => stage.resolve(number),
        }
    }

    fn answer(number: u8) -> Answer {
        match number {
            0..=2 => Answer::Accepted(None),
            3 => Answer::Busy { after_ms: Some(5_000) },
            4 => retry("500"),
            5 => Answer::Ill("401".into()),
            _ => Answer::Lost,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        /// Whatever happens in between: each message is taken once, a thread is told of before its end is, and in the end there
        /// is nothing left that somebody believes to be open.
        #[test]
        fn everything_is_told_to_its_end(events in events()) {
            let mut stage = Stage::new(&format!("{FILE}\n[digest]\nover = 4\n"));
            let mut taken: Vec<(String, String, Act)> = Vec::new();
            let mut last: BTreeMap<String, ThreadStatus> = BTreeMap::new();
            let mut send = |stage: &mut Stage, answer: &Answer| {
                stage.keep();
                for job in stage.notifier.take_due(stage.now_ms) {
                    let act = job.delivery.acts[0];
                    let answer = match answer {
                        Answer::Lost if act == Act::Send => retry("500"),
                        Answer::Accepted(_) if job.destination == "slack" && act == Act::Send => {
                            Answer::Accepted(Some(Place { channel: "C1".into(), message: "1.2".into() }))
                        }
                        other => other.clone(),
                    };
                    if matches!(answer, Answer::Accepted(_)) {
                        let done = (job.thread.clone(), job.delivery.id.clone(), act);
                        prop_assert!(!taken.contains(&done), "twice: {done:?}");
                        taken.push(done);
                        if !last.contains_key(&job.thread) {
                            prop_assert_ne!(job.delivery.notice.status, ThreadStatus::Resolved);
                        }
                        last.insert(job.thread.clone(), job.delivery.notice.status);
                    }
                    stage.notifier.settle(&job, answer, &stage.alerts, stage.now_ms);
                    stage.keep();
                }
                Ok(())
            };
            for event in events {
                match event {
                    Event::Change(number, what) => apply(&mut stage, number, what),
                    Event::Later(seconds) => stage.later(seconds),
                    Event::Send(number) => send(&mut stage, &answer(number))?,
                    Event::Restart => {
                        stage.keep();
                        stage.restart();
                    }
                }
            }
            // Everything ends, and every provider is well again.
            let numbers: Vec<u128> = stage.alerts.0.values().filter(|alert| alert.is_open()).map(|alert| alert.id.as_u128()).collect();
            for number in numbers {
                stage.resolve(number);
            }
            for _ in 0..60 {
                send(&mut stage, &Answer::Accepted(None))?;
                stage.later(400);
            }
            prop_assert_eq!(stage.notifier.threads().count(), 0);
            prop_assert_eq!(stage.notifier.dead_letters().count(), 0);
            prop_assert!(last.values().all(|status| *status == ThreadStatus::Resolved), "{:?}", last);
        }
    }
}
