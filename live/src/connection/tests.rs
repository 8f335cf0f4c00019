//! Connections over hubs: whatever is cut and resumed ends with what an uncut one has, or is told to begin anew.

use std::collections::BTreeMap;

use futures_util::FutureExt;
use kelly_schemas::Limits;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::bounds::Bounds;
use crate::event::events_of;
use crate::ring::Beginning;

/// Small enough for a few events to be too many.
pub(super) const NARROW: Bounds = Bounds {
    ring_events: 8,
    ring_bytes: 1 << 20,
    behind_bytes: 2_000,
    snapshot_events: 3,
    snapshot_alerts: 100,
    snapshot_bytes: 1 << 20,
};

fn hub(bounds: Bounds, partitions: usize) -> Arc<Hub> {
    let hub = Arc::new(Hub::new(bounds, "p"));
    hub.begin("e", &vec![0; partitions], ResetReason::OtherEpoch);
    hub
}

/// A row of a record: whose it is; `None` is a bad one.
type Row = Option<(&'static str, &'static str)>;

fn payload(rows: &[Row]) -> Vec<u8> {
    let row = |row: &Row| match row {
        Some((account, conversation)) => {
            json!({"event_type": "e", "title": "t", "account_id": account, "conversation_id": conversation})
        }
        None => json!({"event_type": "e"}),
    };
    serde_json::to_vec(&rows.iter().map(row).collect::<Vec<_>>()).unwrap()
}

fn publish(hub: &Hub, partition: u32, offset: u64, rows: &[Row]) {
    hub.publish([events_of(&payload(rows), (partition, offset), 1_790_000_000_000, &Limits::default())]);
}

pub(super) fn parsed(message: &Bytes) -> Value {
    serde_json::from_slice(message).unwrap()
}

pub(super) fn all_of(connection: &mut Connection) -> Vec<Value> {
    let mut messages = Vec::new();
    loop {
        match connection.next(Instant::now(), usize::MAX, &mut |message| messages.push(parsed(&message))) {
            Progress::Done => return messages,
            Progress::More => {}
            Progress::Close(close) => panic!("{close:?} after {messages:?}"),
        }
    }
}

pub(super) fn enter(connection: &mut Connection, rooms: &[Room]) -> Vec<Value> {
    let rooms = rooms.iter().map(|room| Resume { room: room.clone(), at: None }).collect();
    connection.subscribe(None, rooms, Instant::now()).iter().map(parsed).collect()
}

#[test]
fn a_position_comes_first_then_a_snapshot_then_what_is_new() {
    let hub = hub(NARROW, 2);
    publish(&hub, 0, 0, &[Some(("a", "1")), None, Some(("b", "2"))]);
    publish(&hub, 1, 0, &[Some(("a", "1"))]);
    let mut connection = Connection::new(&hub, Accounts::All);
    let messages = enter(&mut connection, &[Room::ActivityFeed]);
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0]["type"], "subscribed");
    assert_eq!(messages[0]["rooms"][0]["offsets"], json!([1, 1]));
    assert_eq!(messages[1]["type"], "activity_snapshot");
    assert_eq!(messages[1]["offsets"], json!([1, 1]));
    let shown: Vec<&Value> = messages[1]["data"]["events"].as_array().unwrap().iter().collect();
    assert_eq!(shown.iter().map(|event| &event["account_id"]).collect::<Vec<_>>(), ["a", "b", "a"]);
    assert!(all_of(&mut connection).is_empty());
    publish(&hub, 1, 1, &[Some(("c", "3")), Some(("c", "4"))]);
    let messages = all_of(&mut connection);
    let places: Vec<Value> =
        messages.iter().map(|m| json!([m["partition"], m["offset"], m["row"], m["next"]])).collect();
    assert_eq!(places, [json!([1, 1, 0, {"offset": 1, "row": 1}]), json!([1, 1, 1, 2])]);
    assert_eq!((&messages[0]["room"], &messages[0]["epoch"]), (&"activity_feed".into(), &"e".into()));
    assert_eq!(connection.position_text().as_deref(), Some("activity_feed=e:1,2"));
}

#[test]
fn a_conversation_has_its_events_only_and_an_account_its_own() {
    let hub = hub(Bounds::default(), 1);
    let mut one = Connection::new(&hub, Accounts::All);
    let mut limited = Connection::new(&hub, Accounts::only(["b"]).unwrap());
    enter(&mut one, &[Room::Conversation("1".into())]);
    enter(&mut limited, &[Room::ActivityFeed, Room::Conversation("1".into())]);
    for offset in 0..3 {
        publish(&hub, 0, offset, &[Some(("a", "1")), Some(("b", "2")), Some(("", "3"))]);
    }
    let messages = all_of(&mut one);
    assert_eq!(messages.len(), 3);
    assert!(messages.iter().all(|message| message["room"] == "conversation:1"), "{messages:?}");
    let seen = all_of(&mut limited);
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|m| m["room"] == "activity_feed" && m["data"]["account_id"] == "b"), "{seen:?}");
    // Its rights may change while events wait.
    publish(&hub, 0, 3, &[Some(("a", "1")), Some(("b", "2"))]);
    limited.see(Accounts::only(["c"]).unwrap());
    assert!(all_of(&mut limited).is_empty());
}

#[test]
fn rooms_that_nothing_feeds_are_entered_and_say_so() {
    let hub = hub(NARROW, 1);
    let mut connection = Connection::new(&hub, Accounts::All);
    let rooms = [Room::Interventions, Room::Emergency];
    let messages = enter(&mut connection, &rooms);
    assert_eq!(messages.len(), 1);
    for (state, room) in messages[0]["rooms"].as_array().unwrap().iter().zip(&rooms) {
        assert_eq!((&state["room"], &state["kind"]), (&Value::from(room.name()), &"every_one".into()));
        assert!(state["note"].as_str().unwrap().contains("yet"), "{state}");
    }
    assert_eq!(connection.rooms().count(), 2);
    connection.unsubscribe(None, &rooms, LeaveReason::Asked);
    assert_eq!(connection.rooms().count(), 0);
}

#[test]
fn figures_are_of_the_accounts_that_are_seen() {
    let hub = hub(NARROW, 1);
    let figures = |value: u32| json!({"alert_count": value, "system_load": 1.0}).as_object().unwrap().clone();
    let mine = Accounts::only(["a"]).unwrap();
    let mut all = Connection::new(&hub, Accounts::All);
    let mut limited = Connection::new(&hub, mine.clone());
    enter(&mut all, &[Room::Dashboard]);
    enter(&mut limited, &[Room::Dashboard]);
    assert_eq!(hub.audiences().len(), 2);
    hub.publish_figures(&Accounts::All, figures(1));
    hub.publish_figures(&mine, figures(7));
    assert_eq!(all_of(&mut all)[0]["data"], json!({"alert_count": 1, "system_load": 1.0}));
    assert_eq!(all_of(&mut limited)[0]["data"]["alert_count"], 7);
    hub.publish_figures(&Accounts::All, figures(2));
    let message = &all_of(&mut all)[0];
    assert_eq!((&message["data"], &message["partial"]), (&json!({"alert_count": 2}), &true.into()));
    limited.see(Accounts::All);
    assert_eq!(all_of(&mut limited)[0]["data"]["alert_count"], 2, "whole, of the new accounts");
    drop((all, limited));
    assert!(hub.audiences().is_empty(), "what nobody looks at is not computed");
}

#[test]
fn who_does_not_keep_up_is_closed_and_resumes() {
    let hub = hub(Bounds { ring_events: 100, ..NARROW }, 1);
    let mut slow = Connection::new(&hub, Accounts::All);
    enter(&mut slow, &[Room::ActivityFeed]);
    for offset in 0..10 {
        publish(&hub, 0, offset, &[Some(("a", "1"))]);
    }
    assert!(slow.is_too_far_behind());
    let progress = slow.next(Instant::now(), usize::MAX, &mut |_| panic!("nothing comes before the close"));
    assert_eq!(progress, Progress::Close(Close::SlowConsumer));
    let position = Position::read_all(&slow.position_text().unwrap()).unwrap();
    let mut again = Connection::new(&hub, Accounts::All);
    let at = position.get(&Room::ActivityFeed).cloned();
    again.subscribe(None, vec![Resume { room: Room::ActivityFeed, at }], Instant::now());
    let offsets: Vec<Value> = all_of(&mut again).iter().map(|message| message["offset"].clone()).collect();
    assert_eq!(offsets, (0..10).map(Value::from).collect::<Vec<_>>());
}

/// A replay brings many events at once; who had taken everything before has had no time to take these.
#[test]
fn much_at_once_closes_nobody_who_kept_up() {
    let hub = hub(Bounds { ring_events: 100, ..NARROW }, 1);
    let mut prompt = Connection::new(&hub, Accounts::All);
    enter(&mut prompt, &[Room::ActivityFeed]);
    let record =
        |offset| events_of(&payload(&[Some(("a", "1"))]), (0, offset), 1_790_000_000_000, &Limits::default());
    for round in 0..3 {
        hub.publish((round * 20..round * 20 + 20).map(record));
        assert!(!prompt.is_too_far_behind());
        assert_eq!(all_of(&mut prompt).len(), 20);
    }
    hub.publish((60..80).map(record));
    hub.publish([record(80)]);
    assert!(prompt.is_too_far_behind(), "this time it has not kept up");
}

#[test]
fn a_quiet_conversation_is_not_behind_however_much_others_say() {
    let hub = hub(NARROW, 1);
    let mut quiet = Connection::new(&hub, Accounts::All);
    enter(&mut quiet, &[Room::Conversation("1".into())]);
    for offset in 0..50 {
        publish(&hub, 0, offset, &[Some(("a", "2"))]);
    }
    assert!(!quiet.is_too_far_behind());
    publish(&hub, 0, 50, &[Some(("a", "1"))]);
    assert_eq!(all_of(&mut quiet)[0]["offset"], 50);
    publish(&hub, 0, 51, &[Some(("a", "1"))]);
    for offset in 52..70 {
        publish(&hub, 0, offset, &[Some(("a", "2"))]);
    }
    assert!(quiet.is_too_far_behind(), "its own event is gone before it was sent");
}

#[test]
fn a_position_that_is_not_reached_in_time_is_reset() {
    let hub = hub(NARROW, 1);
    let began = Instant::now();
    let at = |offset| Some(Position { epoch: "e".into(), offsets: vec![Place::at(offset)] });
    let mut connection = Connection::new(&hub, Accounts::All);
    let resume = vec![Resume { room: Room::ActivityFeed, at: at(2) }];
    let messages: Vec<Value> = connection.subscribe(None, resume.clone(), began).iter().map(parsed).collect();
    assert_eq!((messages.len(), &messages[0]["rooms"][0]["resumed"]), (1, &true.into()));
    let deadline = connection.look_again_at().unwrap();
    // The other instance was ahead: what it had sent is not sent again.
    (0..3).for_each(|offset| publish(&hub, 0, offset, &[Some(("a", "1"))]));
    assert_eq!(all_of(&mut connection)[0]["offset"], 2);
    assert_eq!(connection.look_again_at(), None);

    let mut connection = Connection::new(&hub, Accounts::All);
    connection.subscribe(None, vec![Resume { room: Room::ActivityFeed, at: at(9) }], began);
    let mut types = Vec::new();
    connection.next(deadline, usize::MAX, &mut |message| types.push(parsed(&message)["type"].clone()));
    assert_eq!(types, ["reset", "position", "activity_snapshot"]);
}

/// The wait for a position that another instance had reached begins when this one has read what was there.
#[test]
fn reading_the_backlog_is_no_part_of_the_wait() {
    let hub = Arc::new(Hub::new(NARROW, "p"));
    hub.begin_with_backlog("e", &[Beginning { read_from: 0, live_from: 2 }], ResetReason::OtherEpoch);
    let began = Instant::now();
    let mut connection = Connection::new(&hub, Accounts::All);
    let at = Some(Position { epoch: "e".into(), offsets: vec![Place::at(3)] });
    connection.subscribe(None, vec![Resume { room: Room::ActivityFeed, at }], began);
    let mut look = |now: Instant| {
        let mut types = Vec::new();
        connection.next(now, usize::MAX, &mut |message| types.push(parsed(&message)["type"].clone()));
        (types, connection.look_again_at())
    };
    let late = began + 10 * AHEAD;
    assert_eq!(look(late), (Vec::new(), Some(late + AHEAD)));
    (0..2).for_each(|offset| publish(&hub, 0, offset, &[Some(("a", "1"))]));
    assert_eq!(look(late).0, Vec::<Value>::new());
    assert_eq!(look(late + AHEAD).0, ["reset", "position", "activity_snapshot"]);
}

/// Two partitions are read one after the other: a snapshot of half of them would lack events that nothing else brings.
#[test]
fn a_snapshot_waits_for_the_whole_backlog() {
    let hub = Arc::new(Hub::new(NARROW, "p"));
    let beginnings = [0, 0].map(|read_from| Beginning { read_from, live_from: 2 });
    hub.begin_with_backlog("e", &beginnings, ResetReason::OtherEpoch);
    let mut one = Connection::new(&hub, Accounts::All);
    let mut all = Connection::new(&hub, Accounts::All);
    let room = Room::Conversation("2".into());
    assert_eq!(enter(&mut one, std::slice::from_ref(&room)).len(), 1);
    assert_eq!(enter(&mut all, &[Room::ActivityFeed])[0]["rooms"][0]["offsets"], json!([2, 2]));
    assert_eq!(one.position_text().as_deref(), Some(""), "who comes back gets its snapshot");
    assert!(one.tell_positions().is_empty() && all.tell_positions().is_empty(), "also over a WebSocket");
    // News of one partition, before the other's backlog.
    (0..3).for_each(|offset| publish(&hub, 0, offset, &[Some(("a", "1"))]));
    assert!(all_of(&mut all).is_empty() && all_of(&mut one).is_empty());
    let woken = one.woken();
    while woken.notified().now_or_never().is_some() {}
    (0..2).for_each(|offset| publish(&hub, 1, offset, &[Some(("b", "1"))]));
    assert!(woken.notified().now_or_never().is_some(), "also where nothing is of its room");
    let snapshot = &all_of(&mut one)[0];
    assert_eq!((&snapshot["room"], &snapshot["data"]["events"]), (&room.name().into(), &json!([])));
    assert_eq!((&snapshot["epoch"], &snapshot["offsets"]), (&"e".into(), &json!([2, 2])));
    let messages = all_of(&mut all);
    let places: Vec<Value> =
        messages.iter().map(|m| json!([m["type"], m["partition"], m["offset"]])).collect();
    assert_eq!(places, [json!(["activity_snapshot", null, null]), json!(["activity_event", 0, 2])]);
    assert_eq!(parsed(&all.tell_positions()[0])["offsets"], json!([3, 2]));
    let accounts: Vec<&Value> =
        messages[0]["data"]["events"].as_array().unwrap().iter().map(|event| &event["account_id"]).collect();
    assert_eq!(accounts, ["b", "b", "a"], "the newest three before its position");
}

/// A room that begins anew while the backlog is read has no position before its snapshot, which brings one.
#[test]
fn a_reset_before_the_backlog_is_read_is_followed_by_the_snapshot() {
    let hub = hub(NARROW, 1);
    let mut connection = Connection::new(&hub, Accounts::All);
    enter(&mut connection, &[Room::ActivityFeed]);
    let beginnings = [Beginning { read_from: 0, live_from: 2 }];
    hub.begin_with_backlog("f", &beginnings, ResetReason::OtherEpoch);
    let types = |messages: Vec<Value>| messages.iter().map(|m| m["type"].clone()).collect::<Vec<_>>();
    assert_eq!(types(all_of(&mut connection)), ["reset"]);
    assert!(connection.tell_positions().is_empty());
    (0..3).for_each(|offset| publish(&hub, 0, offset, &[Some(("a", "1"))]));
    let messages = all_of(&mut connection);
    assert_eq!((&messages[0]["epoch"], &messages[0]["offsets"]), (&"f".into(), &json!([2])));
    assert_eq!(types(messages), ["activity_snapshot", "activity_event"]);
}

/// The backlog may be more than the ring holds, and than may wait for who is slow.
#[test]
fn a_backlog_closes_nobody() {
    let hub = Arc::new(Hub::new(NARROW, "p"));
    hub.begin_with_backlog("e", &[Beginning { read_from: 0, live_from: 30 }], ResetReason::OtherEpoch);
    let mut connection = Connection::new(&hub, Accounts::All);
    enter(&mut connection, &[Room::ActivityFeed]);
    for offset in 0..29 {
        publish(&hub, 0, offset, &[Some(("a", "1"))]);
        assert!(!connection.is_too_far_behind());
    }
    publish(&hub, 0, 29, &[Some(("a", "1"))]);
    publish(&hub, 0, 30, &[Some(("a", "1"))]);
    let messages = all_of(&mut connection);
    assert_eq!((messages.len(), &messages[1]["offset"]), (2, &30.into()));
}

#[test]
fn figures_asked_for_beside_the_updates_are_overtaken_by_the_next() {
    let hub = hub(NARROW, 1);
    let figures = |value: u32| json!({"alert_count": value, "system_load": 1.0}).as_object().unwrap().clone();
    let mut connection = Connection::new(&hub, Accounts::All);
    enter(&mut connection, &[Room::Dashboard]);
    hub.publish_figures(&Accounts::All, figures(1));
    assert_eq!(all_of(&mut connection)[0]["data"]["alert_count"], 1);
    let asked = serde_json::value::to_raw_value(&figures(2)).unwrap();
    let answer = parsed(&connection.figures_answer(None, asked));
    assert_eq!((&answer["data"]["alert_count"], &answer["partial"]), (&2.into(), &false.into()));
    assert!(all_of(&mut connection).is_empty(), "nothing newer yet");
    // As the update before; the client shows something else.
    hub.publish_figures(&Accounts::All, figures(1));
    let message = &all_of(&mut connection)[0];
    assert_eq!((&message["data"]["alert_count"], &message["partial"]), (&1.into(), &false.into()));
    // Nothing has changed: nothing is sent, and the position says that this is the newest.
    hub.publish_figures(&Accounts::All, figures(1));
    assert!(all_of(&mut connection).is_empty());
    let told = parsed(&connection.tell_positions()[0]);
    assert_eq!(
        told,
        json!({"type": "position", "room": "monitoring_dashboard", "epoch": "p", "offsets": [1]})
    );
}

/// Records of the log, by partition.
type Records = Vec<Vec<Vec<Row>>>;

/// A client, with what it has been sent since it last began anew.
struct Client {
    accounts: Accounts,
    room: Room,
    connection: Option<Connection>,
    position: Option<Position>,
    base: Vec<Place>,
    got: BTreeMap<u32, Vec<Place>>,
}

impl Client {
    fn begin(&mut self, epoch: &Value, offsets: &Value) {
        self.base = serde_json::from_value(offsets.clone()).unwrap();
        self.got.clear();
        self.position = Some(Position { epoch: epoch.as_str().unwrap().into(), offsets: self.base.clone() });
    }

    fn take(&mut self, message: &Value) {
        match message["type"].as_str().unwrap() {
            "subscribed" => {}
            // The snapshot that follows says where to begin.
            "reset" => self.position = None,
            "position" if self.position.is_none() => {}
            "position" => {
                let offsets = serde_json::from_value(message["offsets"].clone()).unwrap();
                self.position.as_mut().unwrap().offsets = offsets;
            }
            "activity_event" => {
                let partition = message["partition"].as_u64().unwrap() as usize;
                let place = Place {
                    offset: message["offset"].as_u64().unwrap(),
                    row: message["row"].as_u64().unwrap() as u32,
                };
                self.got.entry(partition as u32).or_default().push(place);
                let next = serde_json::from_value(message["next"].clone()).unwrap();
                self.position.as_mut().unwrap().offsets[partition] = next;
            }
            "activity_snapshot" => self.begin(&message["epoch"], &message["offsets"]),
            other => panic!("{other}"),
        }
    }

    fn connect(&mut self, hub: &Arc<Hub>) {
        let mut connection = Connection::new(hub, self.accounts.clone());
        let resume = Resume { room: self.room.clone(), at: self.position.clone() };
        for message in connection.subscribe(None, vec![resume], Instant::now()) {
            self.take(&parsed(&message));
        }
        self.connection = Some(connection);
    }

    fn read(&mut self, max_bytes: usize) -> Progress {
        let Some(mut connection) = self.connection.take() else { return Progress::Done };
        let mut messages = Vec::new();
        let progress = connection.next(Instant::now(), max_bytes, &mut |message| messages.push(message));
        if !matches!(progress, Progress::Close(_)) {
            messages.extend(connection.tell_positions());
            self.connection = Some(connection);
        }
        messages.iter().for_each(|message| self.take(&parsed(message)));
        progress
    }

    /// What an uncut connection has been sent since this one last began anew.
    fn expected(&self, log: &Records) -> BTreeMap<u32, Vec<Place>> {
        let mut expected: BTreeMap<u32, Vec<Place>> = BTreeMap::new();
        for (partition, records) in log.iter().enumerate() {
            for (offset, rows) in records.iter().enumerate() {
                for (row, whose) in rows.iter().enumerate() {
                    let place = Place { offset: offset as u64, row: row as u32 };
                    let Some((account, conversation)) = whose else { continue };
                    let is_seen = self.accounts.sees(Some(account))
                        && self.room.conversation_id().is_none_or(|id| **id == **conversation);
                    if is_seen && place >= self.base.get(partition).copied().unwrap_or_default() {
                        expected.entry(partition as u32).or_default().push(place);
                    }
                }
            }
        }
        expected
    }
}

#[derive(Debug, Clone)]
enum Step {
    Append(usize, Vec<Row>),
    /// An instance reads so many records of a partition.
    Follow(usize, usize, usize),
    Connect(usize, usize),
    Cut(usize),
    Read(usize, usize),
}

fn row() -> impl Strategy<Value = Row> {
    prop_oneof![
        1 => Just(None),
        6 => (prop::sample::select(vec!["a", "b"]), prop::sample::select(vec!["1", "2"])).prop_map(Some),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..2usize, prop::collection::vec(row(), 1..4)).prop_map(|(partition, rows)| Step::Append(partition, rows)),
        4 => (0..2usize, 0..2usize, 1..4usize).prop_map(|(instance, partition, count)| Step::Follow(instance, partition, count)),
        2 => (0..3usize, 0..2usize).prop_map(|(client, instance)| Step::Connect(client, instance)),
        1 => (0..3usize).prop_map(Step::Cut),
        4 => (0..3usize, 1..2_000usize).prop_map(|(client, bytes)| Step::Read(client, bytes)),
    ]
}

struct Instance {
    hub: Arc<Hub>,
    read: Vec<usize>,
}

impl Instance {
    fn follow(&mut self, log: &Records, partition: usize, count: usize) {
        for rows in log[partition].iter().skip(self.read[partition]).take(count) {
            publish(&self.hub, partition as u32, self.read[partition] as u64, rows);
            self.read[partition] += 1;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    /// On two instances, one of which may be behind the other, whatever is published, cut and resumed meanwhile.
    #[test]
    fn who_is_cut_and_resumes_ends_with_what_an_uncut_one_has(steps in prop::collection::vec(step(), 1..80)) {
        let mut log: Records = vec![Vec::new(); 2];
        let mut instances = [(); 2].map(|()| Instance { hub: hub(NARROW, 2), read: vec![0; 2] });
        let client = |accounts, room| Client {
            accounts, room, connection: None, position: None, base: Vec::new(), got: BTreeMap::new(),
        };
        let mut clients = [
            client(Accounts::All, Room::ActivityFeed),
            client(Accounts::only(["a"]).unwrap(), Room::ActivityFeed),
            client(Accounts::only(["b"]).unwrap(), Room::Conversation("1".into())),
        ];
        for step in steps {
            match step {
                Step::Append(partition, rows) => log[partition].push(rows),
                Step::Follow(instance, partition, count) => instances[instance].follow(&log, partition, count),
                Step::Connect(number, instance) => clients[number].connect(&instances[instance].hub),
                Step::Cut(number) => clients[number].connection = None,
                Step::Read(number, bytes) => drop(clients[number].read(bytes)),
            }
        }
        for instance in &mut instances {
            (0..2).for_each(|partition| instance.follow(&log, partition, usize::MAX));
        }
        for client in &mut clients {
            // At most one reset each: nothing is published any more.
            for _ in 0..1_000 {
                if client.connection.is_none() {
                    client.connect(&instances[0].hub);
                }
                if client.read(usize::MAX) == Progress::Done {
                    break;
                }
            }
            prop_assert_eq!(&client.got, &client.expected(&log));
        }
    }
}
