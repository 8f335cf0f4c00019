//! The rooms of alerts: what is open and what changed together are all there is, however often a connection is cut.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use uuid::Uuid;

use super::tests::{NARROW, all_of, enter, parsed};
use super::*;
use crate::alert::{AlertBy, AlertChange, PushedAlert, RecordAlerts};
use crate::bounds::Bounds;

fn hub(bounds: Bounds) -> Arc<Hub> {
    let hub = Arc::new(Hub::new(bounds, "p"));
    hub.begin_alerts("e", 0, [], ResetReason::OtherEpoch);
    hub
}

/// An alert: its number, how bad it is, whether it is open, how often it changed.
fn alert((number, severity, is_open): (u8, u8, bool), version: u64) -> PushedAlert {
    let account = ["a", "b"][usize::from(number) % 2];
    let data = json!({"id": number, "severity": severity, "open": is_open, "version": version, "account_id": account});
    PushedAlert {
        id: Uuid::from_u128(number.into()),
        account: Some(account.into()),
        conversation: Some(format!("{}", number % 3).into()),
        severity,
        raised_ms: number.into(),
        is_open,
        data: to_raw_value(&data).unwrap(),
    }
}

fn publish(hub: &Hub, offset: u64, alerts: &[(u8, u8, bool)]) {
    let change = |state: &(u8, u8, bool)| AlertChange {
        alert: alert(*state, offset),
        is_notification: state.2,
        steps: vec!["raised"],
        by: AlertBy { name: "ada".into(), kind: "person" },
    };
    hub.publish_alerts([RecordAlerts { offset, alerts: alerts.iter().map(change).collect() }]);
}

#[test]
fn the_open_alerts_come_first_then_what_changes() {
    let hub = hub(Bounds::default());
    publish(&hub, 0, &[(1, 1, true), (2, 2, true)]);
    publish(&hub, 1, &[]);
    publish(&hub, 2, &[(3, 2, true), (2, 2, false)]);
    let mut connection = Connection::new(&hub, Accounts::All);
    let messages = enter(&mut connection, &[Room::Alerts]);
    assert_eq!(messages[0]["rooms"][0]["offsets"], json!([3]));
    assert_eq!(messages[1]["type"], "alert_snapshot");
    let shown: Vec<&Value> =
        messages[1]["data"]["alerts"].as_array().unwrap().iter().map(|a| &a["id"]).collect();
    assert_eq!((shown, &messages[1]["data"]["open"]), (vec![&json!(3), &json!(1)], &json!(2)));
    publish(&hub, 3, &[(1, 2, true), (3, 2, false)]);
    let messages = all_of(&mut connection);
    let kinds: Vec<&Value> = messages.iter().map(|message| &message["type"]).collect();
    assert_eq!(kinds, ["alert_notification", "alert_update"]);
    assert_eq!(messages[0]["next"], json!({"offset": 3, "row": 1}));
    assert_eq!((&messages[1]["next"], &messages[1]["by"]["name"]), (&json!(4), &json!("ada")));
    assert_eq!(connection.position_text().as_deref(), Some("alerts_monitoring=e:4"));
}

#[test]
fn a_conversation_has_its_alerts_and_an_account_its_own() {
    let hub = hub(Bounds::default());
    publish(&hub, 0, &[(1, 1, true), (2, 1, true), (4, 1, true)]);
    let mut one = Connection::new(&hub, Accounts::All);
    let room = Room::ConversationAlerts("1".into());
    let messages = enter(&mut one, std::slice::from_ref(&room));
    assert_eq!(
        (&messages[1]["room"], &messages[1]["data"]["open"]),
        (&json!("conversation_alerts:1"), &json!(2))
    );
    let mut limited = Connection::new(&hub, Accounts::only(["a"]).unwrap());
    let messages = enter(&mut limited, &[room, Room::Alerts]);
    assert_eq!((&messages[1]["data"]["open"], &messages[2]["data"]["open"]), (&json!(1), &json!(2)));
    publish(&hub, 1, &[(1, 2, true), (2, 2, true), (4, 2, false)]);
    let ids = |messages: Vec<Value>| -> Vec<(Value, Value, Value)> {
        let of = |m: Value| (m["room"].clone(), m["type"].clone(), m["data"]["id"].clone());
        messages.into_iter().map(of).collect()
    };
    let one = ids(all_of(&mut one));
    let of_conversation = |kind: &str, id: u8| (json!("conversation_alerts:1"), json!(kind), json!(id));
    assert_eq!(one, [of_conversation("alert_notification", 1), of_conversation("alert_update", 4)]);
    let seen = ids(all_of(&mut limited));
    assert_eq!(seen.len(), 3, "{seen:?}");
    assert!(seen.iter().all(|(_, _, id)| *id == 2 || *id == 4), "{seen:?}");
}

#[test]
fn a_snapshot_is_bounded_and_says_how_many_there_are() {
    let bounds = Bounds { snapshot_alerts: 2, ..Bounds::default() };
    let hub = Arc::new(Hub::new(bounds, "p"));
    let open = (0..5).map(|number| alert((number, number % 3, true), 0));
    hub.begin_alerts("e", 7, open, ResetReason::OtherEpoch);
    let mut connection = Connection::new(&hub, Accounts::All);
    let messages = enter(&mut connection, &[Room::Alerts]);
    let alerts = messages[1]["data"]["alerts"].as_array().unwrap();
    let ids: Vec<&Value> = alerts.iter().map(|alert| &alert["id"]).collect();
    assert_eq!(
        (ids, &messages[1]["data"]["open"]),
        (vec![&json!(2), &json!(4)], &json!(5)),
        "the worst, the newest"
    );
    assert_eq!(messages[1]["offsets"], json!([7]));
}

/// What a client knows: the open alerts by their ids, and where it is.
#[derive(Default)]
struct Shown {
    open: BTreeMap<u64, Value>,
    position: Option<Position>,
}

impl Shown {
    fn take(&mut self, message: &Value) {
        let place = |value: &Value| serde_json::from_value::<Place>(value.clone()).unwrap();
        match message["type"].as_str().unwrap() {
            "reset" => *self = Self::default(),
            "alert_snapshot" => {
                let alerts = message["data"]["alerts"].as_array().unwrap();
                self.open =
                    alerts.iter().map(|alert| (alert["id"].as_u64().unwrap(), alert.clone())).collect();
                let offsets = vec![place(&message["offsets"][0])];
                self.position = Some(Position { epoch: "e".into(), offsets });
            }
            "alert_notification" | "alert_update" => {
                let (id, data) = (message["data"]["id"].as_u64().unwrap(), message["data"].clone());
                match data["open"] == true {
                    true => self.open.insert(id, data),
                    false => self.open.remove(&id),
                };
                self.position.as_mut().unwrap().offsets[0] = place(&message["next"]);
            }
            _ => {}
        }
    }
}

/// Connects, and goes on where the client is.
fn join(hub: &Arc<Hub>, shown: &mut Shown) -> Connection {
    let mut connection = Connection::new(hub, Accounts::All);
    let rooms = vec![Resume { room: Room::Alerts, at: shown.position.clone() }];
    let messages = connection.subscribe(None, rooms, Instant::now());
    messages.iter().map(parsed).for_each(|message| shown.take(&message));
    connection
}

/// Reads all there is. One that fell too far behind is closed, and comes again.
fn read(hub: &Arc<Hub>, connection: &mut Connection, shown: &mut Shown) {
    loop {
        let mut messages = Vec::new();
        let progress =
            connection.next(Instant::now(), usize::MAX, &mut |message| messages.push(parsed(&message)));
        messages.iter().for_each(|message| shown.take(message));
        match progress {
            Progress::Done => return,
            Progress::More => {}
            Progress::Close(_) => *connection = join(hub, shown),
        }
    }
}

/// What happens between two records.
#[derive(Debug, Clone, Copy)]
enum Event {
    Nothing,
    Read,
    Cut,
    CutAfterOneMessage,
}

proptest! {
    /// Cut and resumed as often as it is, also where the ring is too narrow to go on.
    #[test]
    fn who_is_cut_and_resumes_shows_what_is_open(
        records in prop::collection::vec((
            prop::collection::vec((0..6u8, 0..3u8, any::<bool>()), 0..3),
            prop_oneof![
                Just(Event::Nothing), Just(Event::Read), Just(Event::Cut), Just(Event::CutAfterOneMessage)
            ],
        ), 1..40),
        narrow in any::<bool>(),
    ) {
        let hub = hub(if narrow { NARROW } else { Bounds::default() });
        let mut truth: BTreeMap<u64, Value> = BTreeMap::new();
        let mut shown = Shown::default();
        let mut connection = join(&hub, &mut shown);
        for (offset, (alerts, event)) in (0..).zip(&records) {
            publish(&hub, offset, alerts);
            for state in alerts {
                let pushed = alert(*state, offset);
                let data: Value = serde_json::from_str(pushed.data.get()).unwrap();
                match state.2 {
                    true => truth.insert(state.0.into(), data),
                    false => truth.remove(&state.0.into()),
                };
            }
            match event {
                Event::Nothing => {}
                Event::Read => read(&hub, &mut connection, &mut shown),
                Event::Cut => connection = join(&hub, &mut shown),
                Event::CutAfterOneMessage => {
                    let mut one = Vec::new();
                    connection.next(Instant::now(), 1, &mut |message| one.push(parsed(&message)));
                    one.iter().for_each(|message| shown.take(message));
                    connection = join(&hub, &mut shown);
                }
            }
        }
        read(&hub, &mut connection, &mut shown);
        prop_assert_eq!(shown.open, truth);
    }
}
