//! Live push, followed by a client of another make over real connections.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use kelly_harness::balancer::Balancer;
use kelly_harness::chance::{Chance, SEED_VARIABLE};
use kelly_harness::proxy::{Answers, Proxy};
use kelly_schemas::Stream;
use kelly_stream::{KafkaConfig, KafkaLog, Log, NewRecord};
use serde_json::{Value, json};

use crate::apart::{Apart, Changes};
use crate::browser;
use crate::kelly_process::{Kelly, Start, free_address};
use crate::python;
use crate::tools::QUIET;

const RECORD: &str = "/api/v1/kelly/monitoring/activity/record";

/// A client that runs.
struct Client {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Client {
    /// Starts it and waits until it follows.
    fn follow(script: &str, arguments: &[&str]) -> Self {
        Self::start(python::command(script, arguments))
    }

    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("scripts/setup python browser was run");
        let mut output = BufReader::new(child.stdout.take().expect("its output is piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        assert_eq!(line.trim(), "following", "the client did not get in");
        Self { child, output }
    }

    /// What it prints at its end.
    fn end(mut self) -> Value {
        let mut text = String::new();
        self.output.read_to_string(&mut text).expect("its output");
        assert!(self.child.wait().expect("its end").success(), "the client failed: {text}");
        let last = text.lines().last().expect("a result");
        serde_json::from_str(last).expect("the result is JSON")
    }
}

async fn end(client: Client) -> Value {
    tokio::task::spawn_blocking(move || client.end()).await.expect("the client's end is awaited")
}

fn chance() -> Chance {
    let chance = Chance::from_environment();
    eprintln!("play this again with {SEED_VARIABLE}={}", chance.seed());
    chance
}

/// Records batches of one to nine events until told to stop; the ids of all that were taken, in no order.
async fn produce(kelly: &Kelly, number: u64, rounds: u64) -> Vec<String> {
    let mut ids = Vec::new();
    for round in 0..rounds {
        let rows: Vec<Value> = (0..=(round + number) % 9)
            .map(|row| {
                json!({
                    "event_type": "live", "title": format!("{number}/{round}/{row}"),
                    "account_id": format!("a{}", round % 3), "conversation_id": format!("c{}", round % 11),
                })
            })
            .collect();
        let (status, answer) = kelly.post(RECORD, &json!(rows)).await.expect("an answer");
        assert_eq!(status, 202, "{answer}");
        ids.extend(
            answer["ids"].as_array().expect("ids").iter().map(|id| id.as_str().expect("an id").to_owned()),
        );
    }
    ids
}

/// The ends of the activity topic's partitions, as ingest sees them.
async fn ends(kelly: &Kelly) -> Vec<u64> {
    let part = kelly.part("ingest").await.expect("ingest runs");
    let positions = part["details"]["positions"].as_array().expect("positions").clone();
    let mut ends: Vec<(u64, u64)> = positions
        .iter()
        .filter(|position| position["topic"] == "kelly.activity")
        .map(|position| {
            let number = |field: &str| position[field].as_u64().expect("a number");
            (number("partition"), number("high"))
        })
        .collect();
    ends.sort_unstable();
    ends.into_iter().map(|(_, high)| high).collect()
}

fn socket(kelly: &Kelly) -> String {
    format!("{}/ws/kelly/monitoring", kelly.url.replace("http://", "ws://"))
}

fn plan(urls: &[String], token: &str, cuts: u32, seed: u64, until: &Path) -> String {
    json!({"urls": urls, "token": token, "cuts": cuts, "seed": seed, "until": until}).to_string()
}

/// The events of a client in the order of each partition.
fn by_partition(result: &Value) -> Vec<Value> {
    let mut events = result["events"].as_array().expect("events").clone();
    events.sort_by_key(|event| {
        let place = event[0].as_array().expect("a place");
        place.iter().map(|part| part.as_u64().expect("a number")).collect::<Vec<_>>()
    });
    events
}

/// Whether the events of each partition came in its order.
fn is_in_order(result: &Value) -> bool {
    let mut last: std::collections::BTreeMap<u64, Vec<u64>> = std::collections::BTreeMap::new();
    result["events"].as_array().expect("events").iter().all(|event| {
        let place: Vec<u64> = event[0]
            .as_array()
            .expect("a place")
            .iter()
            .map(|part| part.as_u64().expect("a number"))
            .collect();
        let before = last.insert(place[0], place[1..].to_vec());
        before.is_none_or(|before| before < place[1..].to_vec())
    })
}

fn assert_same(cut: &Value, uncut: &Value, mut ids: Vec<String>) {
    assert_eq!(cut["resets"], json!([]), "whoever comes back at once goes on where it was");
    assert!(is_in_order(cut) && is_in_order(uncut));
    let (cut_events, uncut_events) = (by_partition(cut), by_partition(uncut));
    assert_eq!(cut_events.len(), uncut_events.len());
    assert!(cut_events == uncut_events, "the two have other events");
    let mut shown: Vec<String> =
        uncut_events.iter().map(|event| event[1].as_str().expect("an id").to_owned()).collect();
    shown.sort_unstable();
    ids.sort_unstable();
    assert!(shown == ids, "{} were recorded, {} shown", ids.len(), shown.len());
}

/// Records events while one client is cut so many times and another never, and holds what they were sent against each other.
async fn compare(kelly: Arc<Kelly>, until: &Path, (cut, cuts): (Client, u32), uncut: Client) {
    let producers: Vec<_> = (0..3)
        .map(|number| {
            let kelly = kelly.clone();
            tokio::spawn(async move { produce(&kelly, number, 400).await })
        })
        .collect();
    let mut ids = Vec::new();
    for producer in producers {
        ids.extend(producer.await.expect("a producer"));
    }
    // The end is named while the cuts may still go on.
    std::fs::write(until, json!(ends(&kelly).await).to_string()).expect("the directory is ours");
    let (cut, uncut) = (end(cut).await, end(uncut).await);
    assert!(cut["resumed"].as_u64().expect("a number") >= u64::from(cuts) / 2, "{}", cut["resumed"]);
    assert_same(&cut, &uncut, ids);
    let kelly = Arc::into_inner(kelly).expect("nobody else uses it");
    assert_eq!(kelly.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_cut_a_hundred_times_ends_with_every_event() {
    const CUTS: u32 = 100;
    let mut chance = chance();
    let directory = tempfile::tempdir().expect("a directory");
    let kelly = Arc::new(
        Kelly::start(Start { arguments: &["up"], environment: &QUIET, data: directory.path() }).await,
    );
    let (urls, token) = ([socket(&kelly)], kelly.token());
    let until = directory.path().join("until.json");
    let uncut = Client::follow("tests/e2e/live_client.py", &[&plan(&urls, &token, 0, 0, &until)]);
    let cut = Client::follow(
        "tests/e2e/live_client.py",
        &[&plan(&urls, &token, CUTS, chance.below(1 << 30), &until)],
    );
    compare(kelly, &until, (cut, CUTS), uncut).await;
}

/// The page's own script, in Node: no close frame comes, and nothing else either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_whose_line_is_dead_connects_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let environment = [("KELLY_AUTH", "off"), ("WEBSOCKET_PING_INTERVAL", "1"), QUIET[0]];
    let start = Start { arguments: &["up"], environment: &environment, data: directory.path() };
    let kelly = Kelly::start(start).await;
    let proxy = Proxy::start().await.expect("a port");
    proxy.lead_to(kelly.url.trim_start_matches("http://"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/live_page.mjs");
    let mut page = tokio::process::Command::new("node")
        .arg("--experimental-websocket")
        .arg(script)
        .arg(proxy.address())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("Node starts: install nodejs");
    let output = tokio::io::BufReader::new(page.stdout.take().expect("its output is piped"));
    let mut lines = tokio::io::AsyncBufReadExt::lines(output);
    let mut line = async || lines.next_line().await.expect("a line").expect("the page goes on");
    assert_eq!(line().await, "[1000,1003,1009,4500,4503]", "the codes after which it does not come again");
    assert_eq!(line().await, "live");
    proxy.set(Answers::Swallow);
    assert_eq!(line().await, "away");
    proxy.set(Answers::Pass);
    // It may have tried once more before.
    while line().await != "live" {}
    assert_eq!(kelly.terminate(), Some(0));
}

/// A page that is cut before its snapshot goes on from nothing, so that it gets one.
#[tokio::test]
async fn a_page_has_no_position_before_its_snapshot() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/live_resume.mjs");
    let output = tokio::process::Command::new("node").arg(script).output().await;
    let output = output.expect("Node starts: install nodejs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let resumed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let at = |epoch: &str, offset: u64| json!({"activity_feed": {"epoch": epoch, "offsets": [offset]}});
    let expected = json!([{}, {}, at("e", 8), at("e", 9), {}, at("f", 3)]);
    assert_eq!(resumed, expected);
}

/// The same for a page in a real browser, with Kelly's own client, over a line that also stands still now and then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_is_cut_a_hundred_times_shows_every_event() {
    const CUTS: u32 = 100;
    const STALLS: u32 = 1;
    let mut chance = chance();
    let directory = tempfile::tempdir().expect("a directory");
    // A line that stands still is noticed the sooner.
    let environment = [QUIET.as_slice(), &[("WEBSOCKET_PING_INTERVAL", "1")]].concat();
    let kelly = Arc::new(
        Kelly::start(Start { arguments: &["up"], environment: &environment, data: directory.path() }).await,
    );
    let (urls, token) = ([socket(&kelly)], kelly.token());
    let until = directory.path().join("until.json");
    let uncut = Client::follow("tests/e2e/live_client.py", &[&plan(&urls, &token, 0, 0, &until)]);
    let cuts = json!({
        "url": kelly.url, "token": token, "cuts": CUTS, "stalls": STALLS, "seed": chance.below(1 << 30),
        "until": until,
    });
    let cut = Client::start(browser::command("live.mjs", &cuts));
    compare(kelly, &until, (cut, CUTS), uncut).await;
}

/// Appends events to Kafka until told to stop; their ids.
async fn append(log: Arc<KafkaLog>, stop: Arc<AtomicBool>) -> Vec<String> {
    let mut ids = Vec::new();
    for round in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let records = (0..10).map(|number| {
            let id = uuid::Uuid::now_v7().to_string();
            let row = json!({"id": id, "event_type": "live", "title": format!("{round}/{number}")});
            ids.push(id);
            NewRecord {
                topic: Stream::Activity.topic().into(),
                partition: None,
                key: Some(Bytes::from(format!("c{}", (round + number) % 29))),
                payload: Bytes::from(row.to_string()),
                content_type: None,
            }
        });
        log.append(records.collect()).await.expect("every event is acknowledged");
    }
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_cut_resumes_on_any_of_two_instances_that_are_killed() {
    const KILLS: usize = 4;
    const CUTS: u32 = 100;
    let mut chance = chance();
    let stage = Apart::set(Changes::default()).await;
    let addresses = [free_address(), free_address()];
    let mut instances: Vec<Kelly> =
        addresses.iter().map(|address| stage.spawn_at(address, &["serve"])).collect();
    for instance in &mut instances {
        instance.until_ready().await;
    }
    // They share the secret, so one token is good for both.
    let (urls, token): (Vec<String>, String) = (instances.iter().map(socket).collect(), instances[0].token());
    // One knows both and is cut only where an instance is killed; the other knows what stands in front of them.
    let balancer = Balancer::start(addresses.to_vec()).await.expect("a port");
    let in_front = [format!("ws://{}/ws/kelly/monitoring", balancer.address())];
    let until = stage.file("until.json");
    let script = "tests/e2e/live_client.py";
    let followers = [
        Client::follow(script, &[&plan(&urls, &token, 0, chance.below(1 << 30), &until)]),
        Client::follow(script, &[&plan(&in_front, &token, CUTS, chance.below(1 << 30), &until)]),
    ];
    let log = Arc::new(KafkaLog::connect(KafkaConfig::new(stage.broker.bootstrap())).expect("the broker"));
    let stop = Arc::new(AtomicBool::new(false));
    let producer = tokio::spawn(append(log.clone(), stop.clone()));
    for _ in 0..KILLS {
        tokio::time::sleep(chance.milliseconds(500)).await;
        let victim = chance.below(2) as usize;
        instances.remove(victim).kill();
        instances.insert(victim, stage.spawn_at(&addresses[victim], &["serve"]));
        instances[victim].until_ready().await;
    }
    stop.store(true, Ordering::Relaxed);
    let ids = producer.await.expect("the producer");
    let ends = log.ends(Stream::Activity.topic()).await.expect("the ends");
    let ends: Vec<u64> = ends.into_iter().map(|ends| ends.high).collect();
    std::fs::write(&until, json!(ends).to_string()).expect("the directory is ours");
    let [killed, cut] = followers;
    let (killed, cut) = (end(killed).await, end(cut).await);
    assert!(cut["resumed"].as_u64().expect("a number") >= u64::from(CUTS) / 2, "{}", cut["resumed"]);
    assert_same(&cut, &killed, ids);
    for instance in instances {
        assert_eq!(instance.terminate(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_is_closed_with_the_named_code() {
    let directory = tempfile::tempdir().expect("a directory");
    let kelly = Kelly::start(Start { arguments: &["up"], environment: &QUIET, data: directory.path() }).await;
    let url = socket(&kelly);
    let until = directory.path().join("until.json");
    let slow = Client::follow(
        "tests/e2e/live_slow.py",
        &[&url, until.to_str().expect("a plain path"), &kelly.token()],
    );
    // More than the bound and all that systems keep on the way.
    let description = "x".repeat(9_000);
    let mut sent = 0;
    while sent < 16 << 20 {
        let rows: Vec<Value> = (0..50)
            .map(|_| json!({"event_type": "live", "title": "long", "description": description}))
            .collect();
        let (status, answer) = kelly.post(RECORD, &json!(rows)).await.expect("an answer");
        assert_eq!(status, 202, "{answer}");
        sent += 50 * description.len();
    }
    std::fs::write(&until, "").expect("the directory is ours");
    let result = end(slow).await;
    assert_eq!((&result["code"], &result["reason"]), (&json!(4008), &json!("slow_consumer")), "{result}");
    // Others are not disturbed, and it may come again.
    let ended = directory.path().join("ended.json");
    std::fs::write(&ended, json!(ends(&kelly).await).to_string()).expect("the directory is ours");
    let plan = plan(&[url], &kelly.token(), 0, 0, &ended);
    let again = end(Client::follow("tests/e2e/live_client.py", &[&plan])).await;
    assert_eq!(again["events"], json!([]), "a snapshot comes first, and nothing after it");
    assert_eq!(kelly.terminate(), Some(0));
}
