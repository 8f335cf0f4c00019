//! Reading a log that does what real ones do seldom.

use std::sync::Mutex;
use std::sync::mpsc;

use async_trait::async_trait;
use kelly_auth::Accounts;
use kelly_stream::{
    Committed, Consumer, ConsumerSpec, LogKind, NewRecord, Position, SetTo, TopicId, TopicSpec,
};
use serde_json::{Value, json};
use tokio::sync::mpsc as asynchronous;

use super::*;
use crate::bounds::Bounds;
use crate::command::Resume;
use crate::connection::{Connection, Progress};
use crate::position::{Place, Position as LivePosition};
use crate::room::Room;

/// More than a test has; one that is too many is left out.
const NOTICES: usize = 1_000;

type Result<T> = std::result::Result<T, LogError>;

/// What the next poll reports.
enum Step {
    Records(u32, std::ops::Range<u64>),
    Gap(u32, u64, u64),
    Passed(u32, u64),
}

/// A log of one topic that reports what a test says, poll by poll.
struct Script {
    ends: Mutex<Vec<Watermarks>>,
    steps: Arc<Mutex<mpsc::Receiver<Step>>>,
    /// The offsets of each reader that was opened, and a notice for each poll: the one before is done.
    opened: asynchronous::Sender<Vec<u64>>,
    polled: asynchronous::Sender<()>,
}

struct ScriptReader {
    steps: Arc<Mutex<mpsc::Receiver<Step>>>,
    polled: asynchronous::Sender<()>,
}

impl Reader for ScriptReader {
    fn poll(&mut self, max_wait: Duration, _: usize, sink: &mut dyn RecordSink) -> Result<usize> {
        let _ = self.polled.try_send(());
        let partition = |number| TopicPartition { topic: Stream::Activity.topic().into(), partition: number };
        match self.steps.lock().unwrap().recv_timeout(max_wait) {
            Ok(Step::Records(number, offsets)) => {
                for offset in offsets {
                    let row = json!({"event_type": "e", "title": offset.to_string(), "account_id": "a"});
                    sink.record(Record {
                        topic: Stream::Activity.topic(),
                        partition: number,
                        offset,
                        timestamp_ms: 1_790_000_000_000,
                        key: None,
                        payload: row.to_string().as_bytes(),
                        content_type: None,
                    });
                }
            }
            Ok(Step::Gap(number, expected, found)) => sink.gap(&partition(number), expected, found),
            Ok(Step::Passed(number, next)) => sink.passed(&partition(number), next),
            Err(_) => {}
        }
        Ok(0)
    }
}

#[async_trait]
impl Log for Script {
    async fn ensure_topics(&self, _: &[TopicSpec]) -> Result<()> {
        Err(LogError::Closed)
    }

    async fn ensure_kept_topic(&self, _: &str) -> Result<()> {
        Err(LogError::Closed)
    }

    async fn ensure_compacted_topic(&self, _: &str, _: u32) -> Result<()> {
        Err(LogError::Closed)
    }

    async fn partitions(&self, _: &str) -> Result<u32> {
        Err(LogError::Closed)
    }

    async fn append(&self, _: Vec<NewRecord>) -> Result<Vec<Position>> {
        Err(LogError::Closed)
    }

    async fn watermarks(&self, _: &TopicPartition) -> Result<Watermarks> {
        Err(LogError::Closed)
    }

    async fn ends(&self, _: &str) -> Result<Vec<Watermarks>> {
        Ok(self.ends.lock().unwrap().clone())
    }

    async fn committed(&self, _: &str, _: &str) -> Result<Vec<Option<Committed>>> {
        Err(LogError::Closed)
    }

    async fn topic_id(&self, _: &str) -> Result<Option<TopicId>> {
        Ok(Some(TopicId(7)))
    }

    fn consumer(&self, _: ConsumerSpec) -> Result<Box<dyn Consumer>> {
        Err(LogError::Closed)
    }

    fn reader(&self, spec: ReaderSpec) -> Result<Box<dyn Reader>> {
        let _ = self.opened.try_send(spec.offsets);
        Ok(Box::new(ScriptReader { steps: self.steps.clone(), polled: self.polled.clone() }))
    }

    async fn check(&self) -> Result<()> {
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }

    fn kind(&self) -> LogKind {
        LogKind::Embedded
    }

    fn describe(&self) -> String {
        "a script".to_owned()
    }

    fn how_to_set_position(&self, _: &str, _: &TopicPartition, _: SetTo) -> String {
        String::new()
    }
}

/// A feed that reads a script.
struct Stage {
    hub: Arc<Hub>,
    script: Arc<Script>,
    steps: mpsc::SyncSender<Step>,
    opened: asynchronous::Receiver<Vec<u64>>,
    polled: asynchronous::Receiver<()>,
    _feed: Feed,
}

impl Stage {
    async fn start(ends: &[(u64, u64)], backlog: u64) -> Self {
        Self::start_with(ends, FeedConfig { backlog, ..FeedConfig::new(Limits::default()) }).await
    }

    async fn start_with(ends: &[(u64, u64)], config: FeedConfig) -> Self {
        let (steps, told) = mpsc::sync_channel(NOTICES);
        let (opened_to, opened) = asynchronous::channel(NOTICES);
        let (polled_to, polled) = asynchronous::channel(NOTICES);
        let script = Arc::new(Script {
            ends: Mutex::default(),
            steps: Arc::new(Mutex::new(told)),
            opened: opened_to,
            polled: polled_to,
        });
        Self::say_ends(&script, ends);
        let hub = Arc::new(Hub::new(Bounds::default(), "p"));
        let feed = Feed::start(script.clone(), hub.clone(), config).await.unwrap();
        Self { hub, script, steps, opened, polled, _feed: feed }
    }

    fn say_ends(script: &Script, ends: &[(u64, u64)]) {
        *script.ends.lock().unwrap() =
            ends.iter().map(|(low, high)| Watermarks { low: *low, high: *high }).collect();
    }

    /// Has it reported, and waits until what comes of it has been done.
    async fn report(&mut self, step: Step) {
        while self.polled.try_recv().is_ok() {}
        self.steps.send(step).unwrap();
        // The poll that is under way may have begun before or after; the second one from here began behind it.
        for _ in 0..2 {
            self.polled.recv().await.unwrap();
        }
    }

    fn enter(&self, at: Option<u64>) -> (Connection, Vec<Value>) {
        let mut connection = Connection::new(&self.hub, Accounts::All);
        let epoch = format!("{:016x}", 7);
        let at = at.map(|offset| LivePosition { epoch, offsets: vec![Place::at(offset)] });
        let messages =
            connection.subscribe(None, vec![Resume { room: Room::ActivityFeed, at }], Instant::now());
        let messages = messages.iter().map(|message| serde_json::from_slice(message).unwrap()).collect();
        (connection, messages)
    }
}

fn all_of(connection: &mut Connection) -> Vec<Value> {
    let mut messages = Vec::new();
    loop {
        let mut give = |message: bytes::Bytes| messages.push(serde_json::from_slice(&message).unwrap());
        match connection.next(Instant::now(), usize::MAX, &mut give) {
            Progress::Done => return messages,
            Progress::More => {}
            Progress::Close(close) => panic!("{close:?}"),
        }
    }
}

fn types(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["type"].as_str().unwrap()).collect()
}

fn offsets(messages: &[Value]) -> Vec<u64> {
    messages.iter().filter_map(|message| message["offset"].as_u64()).collect()
}

/// Records were removed, or lost, before they were read: reading goes on behind them, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hole_in_the_log_is_left_behind() {
    let mut stage = Stage::start(&[(0, 5)], 1_000).await;
    assert_eq!(stage.opened.recv().await, Some(vec![0]));
    stage.report(Step::Records(0, 0..5)).await;
    let (mut connection, _) = stage.enter(None);
    Stage::say_ends(&stage.script, &[(0, 10)]);
    stage.steps.send(Step::Gap(0, 5, 10)).unwrap();
    assert_eq!(stage.opened.recv().await, Some(vec![10]), "behind the hole");
    let messages = all_of(&mut connection);
    assert_eq!(types(&messages), ["reset", "position", "activity_snapshot"]);
    assert_eq!((&messages[0]["reason"], &messages[1]["offsets"]), (&"lost".into(), &json!([10])));
    stage.report(Step::Records(0, 10..11)).await;
    assert_eq!(stage.hub.feed_state(), FeedState::Following);
    assert_eq!(offsets(&all_of(&mut connection)), [10]);
    assert!(stage.opened.try_recv().is_err(), "it was opened anew once");
}

/// What was there before reading began is for who resumes; nobody else is shown it as new.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_backlog_is_no_news() {
    let mut stage = Stage::start(&[(0, 2_500)], 1_000).await;
    assert_eq!(stage.opened.recv().await, Some(vec![1_500]), "so many records before the end");
    // While none of it has been read.
    let (mut new, subscribed) = stage.enter(None);
    assert_eq!(types(&subscribed), ["subscribed"]);
    assert_eq!(subscribed[0]["rooms"][0]["offsets"], json!([2_500]));
    let (mut back, resumed) = stage.enter(Some(2_400));
    assert_eq!(resumed[0]["rooms"][0]["resumed"], true);
    assert_eq!(back.look_again_at(), None, "it is there, so it is waited for, however long that takes");
    let (_, too_old) = stage.enter(Some(1_499));
    assert_eq!(too_old[0]["reason"], "too_old");
    stage.report(Step::Records(0, 1_500..2_000)).await;
    assert!(all_of(&mut new).is_empty() && all_of(&mut back).is_empty());
    stage.report(Step::Records(0, 2_000..2_500)).await;
    let snapshot = all_of(&mut new);
    assert_eq!(types(&snapshot), ["activity_snapshot"]);
    assert_eq!(snapshot[0]["data"]["events"][0]["title"], "2499");
    assert_eq!(offsets(&all_of(&mut back)), (2_400..2_500).collect::<Vec<_>>());
    stage.report(Step::Records(0, 2_500..2_501)).await;
    assert_eq!(
        [offsets(&all_of(&mut new)), offsets(&all_of(&mut back))],
        [[2_500], [2_500]].map(|offsets| offsets.to_vec())
    );
}

/// Behind the last record lie the markers of transactions: positions go on behind them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_without_records_are_passed() {
    let mut stage = Stage::start(&[(0, 10)], 1_000).await;
    let (mut connection, _) = stage.enter(None);
    stage.report(Step::Records(0, 0..8)).await;
    assert!(all_of(&mut connection).is_empty(), "the snapshot waits for the end that was seen");
    stage.report(Step::Passed(0, 12)).await;
    assert_eq!(types(&all_of(&mut connection)), ["activity_snapshot"]);
    assert_eq!(connection.position_text().unwrap(), format!("activity_feed={:016x}:12", 7));
}

/// A log that may have lost what it showed before: the same offsets may be other events.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_is_not_good_under_something_else() {
    let config = FeedConfig { under: 1 << 40, ..FeedConfig::new(Limits::default()) };
    let stage = Stage::start_with(&[(0, 10)], config).await;
    let (_, messages) = stage.enter(Some(5));
    assert_eq!(messages[0]["reason"], "other_epoch");
}

#[test]
fn a_log_that_is_followed_for_moments_only_is_told() {
    let mut failures = Failures::default();
    let moment = Duration::from_secs(6);
    assert_eq!([(); 5].map(|()| failures.note(moment)), [false, false, true, false, false]);
    // It was followed for long: this is another row.
    assert!(!failures.note(STEADY));
    assert_eq!([(); 2].map(|()| failures.note(Duration::ZERO)), [false, true]);
}
