//! The embedded log whose files are taken away while it is open: nothing more is acknowledged, what was read can still be
//! saved, and the end says so.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kelly_stream::{
    Assignment, Commit, ConsumerSpec, EmbeddedConfig, EmbeddedLog, Log, LogError, NewRecord, Record, Sink,
    Start, TopicPartition,
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

/// Under load, while the store begins new journals and removes old ones: everything that was acknowledged is in a journal
/// that was there when it was acknowledged, and nothing is refused before the loss.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn journals_that_come_and_go_are_no_loss() {
    let directory = tempfile::tempdir().unwrap();
    let config = EmbeddedConfig {
        min_free_bytes: 0,
        memtable_bytes: 1 << 20,
        ..EmbeddedConfig::new(directory.path().join("log"))
    };
    let log = EmbeddedLog::open(config).unwrap();
    log.ensure_topics(&[spec(TOPIC, 1)]).await.unwrap();
    let newest = || {
        let names = fs::read_dir(directory.path().join("log")).unwrap();
        names
            .filter_map(|entry| {
                entry.unwrap().file_name().to_str()?.strip_suffix(".jnl")?.parse::<u64>().ok()
            })
            .max()
            .unwrap()
    };
    let payload: Vec<u8> =
        (0..4_000_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut appended = 0;
    while newest() < 1 {
        let records = vec![record(&TOPIC.into(), Some(0), payload.clone())];
        log.append(records).await.unwrap();
        log.check().await.unwrap();
        appended += 1;
        assert!(appended < 10_000, "no new journal was begun");
    }
    log.close().await.unwrap();
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
