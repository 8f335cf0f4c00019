//! The embedded log whose files are taken away while it is open: nothing more is acknowledged, what was read can still be
//! saved, and the end says so.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kelly_stream::{
    Assignment, Commit, ConsumerSpec, EmbeddedConfig, EmbeddedLog, Log, LogError, NewRecord, Record,
    RecordSink, Sink, Start, TopicPartition,
};

use crate::support::{place, record, spec};

const TOPIC: &str = "kelly.metrics";

#[derive(Default)]
struct Reading {
    epoch: u64,
    payloads: Vec<Vec<u8>>,
}

impl Sink for Reading {
    fn assigned(&mut self, assignments: Vec<Assignment>) {
        self.epoch = assignments[0].epoch;
    }
    fn revoked(&mut self, _partitions: &[TopicPartition]) {}
}

impl RecordSink for Reading {
    fn gap(&mut self, _partition: &TopicPartition, _expected: u64, _found: u64) {}
    fn record(&mut self, record: Record<'_>) {
        self.payloads.push(record.payload.to_vec());
    }
}

async fn open(dir: &Path) -> EmbeddedLog {
    let log = EmbeddedLog::open(EmbeddedConfig { min_free_bytes: 0, ..EmbeddedConfig::new(dir) }).unwrap();
    log.ensure_topics(&[spec(TOPIC, 1)]).await.unwrap();
    log
}

fn one(payload: &'static str) -> Vec<NewRecord> {
    vec![record(&TOPIC.into(), Some(0), payload)]
}

fn remove(path: &Path) {
    if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
}

type Loss = fn(&Path);

/// What a person can do to a directory, by name.
const LOSSES: [(&str, Loss); 7] = [
    ("the directory above it", |dir| remove(dir.parent().unwrap())),
    ("the directory", remove),
    ("its newest journal", |dir| remove(&dir.join("0.jnl"))),
    ("its tables", |dir| remove(&dir.join("keyspaces"))),
    ("its version", |dir| remove(&dir.join("version"))),
    ("moved", |dir| fs::rename(dir, dir.with_extension("aside")).unwrap()),
    ("replaced", |dir| {
        fs::rename(dir, dir.with_extension("aside")).unwrap();
        fs::create_dir(dir).unwrap();
    }),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_and_what_is_there_can_be_saved() {
    for (name, lose) in LOSSES {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path().join("data/log");
        let log = open(&dir).await;
        log.append(one("before")).await.unwrap();
        log.check().await.unwrap();
        lose(&dir);

        let refused = log.append(one("after")).await;
        assert!(matches!(refused, Err(LogError::Removed { .. })), "{name}: {refused:?}");
        let check = log.check().await.unwrap_err();
        assert!(matches!(check, LogError::Removed { .. }), "{name}: {check:?}");
        assert!(!check.is_retryable(), "{name}: time alone does not bring it back");

        // A consumer reads what was acknowledged, and its commits go through, so that ingest can write it to the store.
        let log = Arc::new(log);
        let reading = log.clone();
        let payloads = tokio::task::spawn_blocking(move || {
            let spec = ConsumerSpec { group: "g".into(), topics: vec![TOPIC.into()], start: Start::Earliest };
            let mut consumer = reading.consumer(spec).unwrap();
            let mut read = Reading::default();
            while read.payloads.is_empty() {
                consumer.poll(Duration::from_millis(10), 10, &mut read).unwrap();
            }
            let commit = Commit {
                partition: place(&TOPIC.into(), 0),
                epoch: read.epoch,
                offset: 1,
                metadata: String::new(),
            };
            consumer.committer().commit(&[commit]).unwrap();
            read.payloads
        })
        .await
        .unwrap();
        assert_eq!(payloads, [b"before"], "{name}");

        let end = log.close().await.unwrap_err();
        assert!(matches!(end, LogError::Removed { .. }), "{name}: {end:?}");
        let words = end.to_string();
        assert!(words.contains("was deleted, moved or replaced"), "{name}: {words}");
    }
}

/// Under load, until the store has begun a new journal and removed the old one: nothing is refused, and everything that was
/// acknowledged is there at the next start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn journals_that_come_and_go_are_no_loss() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("log");
    let config = EmbeddedConfig {
        min_free_bytes: 0,
        memtable_bytes: 1 << 20,
        journal_bytes: 64 << 20,
        ..EmbeddedConfig::new(&dir)
    };
    let log = EmbeddedLog::open(config.clone()).unwrap();
    log.ensure_topics(&[spec(TOPIC, 1)]).await.unwrap();
    let payload: Vec<u8> =
        (0..4_000_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut appended = 0;
    while dir.join("0.jnl").exists() {
        let records = vec![record(&TOPIC.into(), Some(0), payload.clone())];
        log.append(records).await.unwrap();
        log.check().await.unwrap();
        appended += 1;
        assert!(appended < 1_000, "the first journal stays");
    }
    log.close().await.unwrap();
    let log = EmbeddedLog::open(config).unwrap();
    let ends = log.watermarks(&place(&TOPIC.into(), 0)).await.unwrap();
    assert_eq!((ends.low, ends.high), (0, appended));
}

#[tokio::test]
async fn a_directory_that_comes_back_is_the_log_again() {
    let directory = tempfile::tempdir().unwrap();
    let (dir, aside) = (directory.path().join("log"), directory.path().join("aside"));
    let log = open(&dir).await;
    fs::rename(&dir, &aside).unwrap();
    assert!(log.append(one("lost")).await.is_err());
    fs::rename(&aside, &dir).unwrap();
    log.append(one("kept")).await.unwrap();
    log.check().await.unwrap();
    log.close().await.unwrap();
}

/// The store fails when it is to write another file than its open journal. No commit is answered that is not with the records.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moved_log_that_is_put_back_has_every_position_that_was_answered() {
    for (name, lose) in LOSSES.into_iter().filter(|(name, _)| ["moved", "replaced"].contains(name)) {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path().join("data/log");
        let log = Arc::new(open(&dir).await);
        log.append(vec![record(&TOPIC.into(), Some(0), "x".repeat(1 << 20))]).await.unwrap();
        let (reading, moved) = (log.clone(), dir.clone());
        let last = tokio::task::spawn_blocking(move || {
            let spec = ConsumerSpec { group: "g".into(), topics: vec![TOPIC.into()], start: Start::Earliest };
            let mut consumer = reading.consumer(spec).unwrap();
            let mut read = Reading::default();
            while read.payloads.is_empty() {
                consumer.poll(Duration::from_millis(10), 10, &mut read).unwrap();
            }
            lose(&moved);
            let text = |number: u32| format!("{number:04000}");
            let commit = |number: u32| {
                let (partition, epoch) = (place(&TOPIC.into(), 0), read.epoch);
                let commit = Commit { partition, epoch, offset: 1, metadata: text(number) };
                consumer.committer().commit(&vec![commit; 50])
            };
            let refused =
                (0..1_000).map(|number| (number, commit(number))).find(|(_, answer)| answer.is_err());
            let (number, answer) = refused.expect("the log takes every commit");
            let error = answer.unwrap_err();
            assert!(matches!(error, LogError::Unavailable { .. }), "{name}: {error:?}");
            assert!(error.is_retryable() && error.to_string().contains("put them back"), "{name}: {error}");
            assert!(commit(number).is_err(), "{name}: it stays so while they are away");
            number.checked_sub(1).map(text)
        })
        .await
        .unwrap();
        log.close().await.unwrap_err();
        drop(log);

        let _ = fs::remove_dir_all(&dir);
        fs::rename(dir.with_extension("aside"), &dir).unwrap();
        let log = open(&dir).await;
        let committed = log.committed("g", TOPIC).await.unwrap().remove(0);
        assert_eq!(committed.map(|committed| committed.metadata), last, "{name}");
    }
}

/// As above, and it goes on by itself where it is put back in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_go_on_when_a_moved_log_is_put_back() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("log");
    let log = open(&dir).await;
    log.append(one("before")).await.unwrap();
    let log = tokio::task::spawn_blocking(move || {
        let spec = ConsumerSpec { group: "g".into(), topics: vec![TOPIC.into()], start: Start::Earliest };
        let mut consumer = log.consumer(spec).unwrap();
        let mut read = Reading::default();
        while read.payloads.is_empty() {
            consumer.poll(Duration::from_millis(10), 10, &mut read).unwrap();
        }
        let commit = |metadata: String| {
            let commit =
                Commit { partition: place(&TOPIC.into(), 0), epoch: read.epoch, offset: 1, metadata };
            consumer.committer().commit(&vec![commit; 50])
        };
        fs::rename(&dir, dir.with_extension("aside")).unwrap();
        assert!((0..1_000).any(|_| commit("x".repeat(4_000)).is_err()), "the log takes every commit");
        fs::rename(dir.with_extension("aside"), &dir).unwrap();
        // The first one finds out that the store is to be opened anew.
        let refused = (0..1_000).take_while(|_| commit("kept".into()).is_err()).count();
        assert!(refused < 1_000, "commits are never taken again");
        drop(consumer);
        log
    })
    .await
    .unwrap();
    let committed = log.committed("g", TOPIC).await.unwrap().remove(0).unwrap();
    assert_eq!(committed.metadata, "kept");
    log.append(one("after")).await.unwrap();
    log.close().await.unwrap();
}

/// A write that fails has the log opened anew, which must not make an empty one.
#[tokio::test]
async fn a_deleted_directory_is_not_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("log");
    let log = open(&dir).await;
    remove(&dir);
    for _ in 0..3 {
        assert!(log.append(one("lost")).await.is_err());
        assert!(!dir.exists());
    }
    assert!(log.close().await.is_err());
    assert!(!dir.exists());
}
