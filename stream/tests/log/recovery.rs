//! The embedded log after the worst: a killed process, a torn or damaged journal, a full disk, a
//! second process.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use kelly_stream::{
    Committed, ConsumerSpec, EmbeddedConfig, EmbeddedLog, Log, LogError, NewRecord, Record, RecordSink,
    Retention, Sink, Start, TopicId, TopicPartition, TopicSpec, Watermarks,
};

const TOPIC: &str = "kelly.metrics";
const GROUP: &str = "kelly-ingest";
const PARTITIONS: u32 = 3;

/// Names the directory in which this executable, run again, plays the process that is killed.
const CHILD: &str = "KELLY_TEST_RECOVERY_CHILD";

/// Likewise, the process whose writes fail.
const LIMITED_CHILD: &str = "KELLY_TEST_LIMITED_CHILD";

pub(super) fn spec(retention: Retention) -> TopicSpec {
    TopicSpec { name: TOPIC.into(), partitions: PARTITIONS, retention }
}

pub(super) fn place(partition: u32) -> TopicPartition {
    TopicPartition { topic: TOPIC.into(), partition }
}

pub(super) fn record(partition: u32, payload: impl Into<Vec<u8>>) -> NewRecord {
    NewRecord {
        topic: TOPIC.into(),
        partition: Some(partition),
        key: None,
        payload: payload.into().into(),
        content_type: None,
    }
}

/// Small memory, so that tables are written and journals change while the test runs.
pub(super) fn config(dir: &Path) -> EmbeddedConfig {
    EmbeddedConfig { memtable_bytes: 1024 * 1024, min_free_bytes: 0, ..EmbeddedConfig::new(dir) }
}

#[derive(Default)]
pub(super) struct Reading {
    epochs: BTreeMap<u32, u64>,
    pub(super) records: BTreeMap<(u32, u64), Vec<u8>>,
    gaps: Vec<(u32, u64, u64)>,
    topic_id: Option<TopicId>,
}

impl Sink for Reading {
    fn assigned(&mut self, assignments: Vec<kelly_stream::Assignment>) {
        self.epochs
            .extend(assignments.iter().map(|assignment| (assignment.partition.partition, assignment.epoch)));
        self.topic_id = assignments[0].topic_id;
    }
    fn revoked(&mut self, _partitions: &[TopicPartition]) {}
}

impl RecordSink for Reading {
    fn gap(&mut self, partition: &TopicPartition, expected: u64, found: u64) {
        self.gaps.push((partition.partition, expected, found));
    }
    fn record(&mut self, record: Record<'_>) {
        let before = self.records.insert((record.partition, record.offset), record.payload.to_vec());
        assert!(before.is_none(), "read twice: {}/{}", record.partition, record.offset);
    }
}

pub(super) fn read_all(log: &EmbeddedLog) -> Reading {
    let group = format!("reader-{}", kelly_harness::unique("g"));
    let spec = ConsumerSpec { group, topics: vec![TOPIC.into()], start: Start::Earliest };
    let mut consumer = log.consumer(spec).unwrap();
    let mut reading = Reading::default();
    while reading.epochs.is_empty() || consumer.poll(Duration::ZERO, usize::MAX, &mut reading).unwrap() > 0 {
        consumer.poll(Duration::ZERO, usize::MAX, &mut reading).unwrap();
    }
    reading
}

/// Tells the parent, in whole lines.
fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).unwrap();
}

/// Not a test of its own: the process that `a_killed_process_loses_nothing_it_acknowledged` kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_appends() {
    let Some(dir) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    let log = Arc::new(EmbeddedLog::open(config(&dir)).unwrap());
    log.ensure_topics(&[spec(Retention::default())]).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for partition in 0..PARTITIONS {
        let log = log.clone();
        tasks.spawn(async move {
            for number in 0_u64.. {
                // From small to larger than a page, compressible and not.
                let size = (number * 37 % 9_000) as usize;
                let filler = (0..size).map(|index| (index as u64 * number % 251) as u8);
                let payload: Vec<u8> = number.to_le_bytes().into_iter().chain(filler).collect();
                let position = log.append(vec![record(partition, payload)]).await.unwrap()[0];
                tell(&format!("acked {partition} {} {number}", position.offset));
            }
        });
    }
    let log_of_commits = log.clone();
    tasks.spawn_blocking(move || {
        let spec = ConsumerSpec { group: GROUP.into(), topics: vec![TOPIC.into()], start: Start::Earliest };
        let mut consumer = log_of_commits.consumer(spec).unwrap();
        let committer = consumer.committer();
        let mut reading = Reading::default();
        for offset in 0_u64.. {
            consumer.poll(Duration::ZERO, 100, &mut reading).unwrap();
            reading.records.clear();
            if let Some(epoch) = reading.epochs.get(&0) {
                let metadata = format!("v1;end={}", offset + 1);
                let commit = kelly_stream::Commit { partition: place(0), epoch: *epoch, offset: 0, metadata };
                committer.commit(&[commit]).unwrap();
                tell(&format!("committed {}", offset + 1));
            }
        }
    });
    tasks.join_all().await;
}

#[tokio::test]
async fn a_killed_process_loses_nothing_it_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("log");
    let mut acknowledged: BTreeMap<(u32, u64), u64> = BTreeMap::new();
    let mut declared = 0;
    // At the very beginning, within the first journal, after tables were written.
    for lines in [1, 40, 500, 1_500] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "recovery::child_that_appends", "--nocapture"])
            .env(CHILD, &dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut seen = 0;
        for line in output.lines().map_while(Result::ok) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let number = |index: usize| words[index].parse::<u64>().unwrap();
            match words.as_slice() {
                // The pipe's last line may be cut by the kill.
                ["acked", _, _, _] if line.ends_with(|last: char| last.is_ascii_digit()) => {
                    if seen < lines {
                        acknowledged.insert((number(1) as u32, number(2)), number(3));
                    }
                    seen += 1;
                }
                ["committed", _] if seen < lines => declared = number(1),
                _ => {}
            }
            if seen == lines {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen >= lines, "the child ended by itself after {seen} lines");

        let log = EmbeddedLog::open(config(&dir)).unwrap();
        let reading = read_all(&log);
        assert!(reading.gaps.is_empty(), "{:?}", reading.gaps);
        for (place, number) in &acknowledged {
            let payload = reading.records.get(place).unwrap_or_else(|| panic!("{place:?} is lost"));
            assert_eq!(payload[..8], number.to_le_bytes(), "{place:?}");
        }
        for partition in 0..PARTITIONS {
            let ends = log.watermarks(&place(partition)).await.unwrap();
            let count = reading.records.range((partition, 0)..(partition + 1, 0)).count() as u64;
            assert_eq!(ends, Watermarks { low: 0, high: count }, "offsets are gapless");
        }
        if declared > 0 {
            let committed = log.committed(GROUP, TOPIC).await.unwrap()[0].clone().unwrap();
            let end: u64 = committed.metadata.strip_prefix("v1;end=").unwrap().parse().unwrap();
            assert!(end >= declared, "declared {declared}, found {end}");
        }
        // The next child counts on from here: its numbers begin again, its offsets do not.
        log.close().await.unwrap();
        declared = 0;
    }
}

fn newest_journal(dir: &Path) -> PathBuf {
    let journals = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let number = |path: &PathBuf| path.file_stem()?.to_str()?.parse::<u64>().ok();
    journals.filter(|path| path.extension().is_some_and(|name| name == "jnl")).max_by_key(number).unwrap()
}

/// Bytes of a journal before its unused space.
fn used(journal: &Path) -> u64 {
    let bytes = fs::read(journal).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
}

async fn with_records(dir: &Path, count: u64) {
    let log = EmbeddedLog::open(config(dir)).unwrap();
    log.ensure_topics(&[spec(Retention::default())]).await.unwrap();
    for number in 0..count {
        log.append(vec![record(0, format!("record {number} {}", "x".repeat(200)))]).await.unwrap();
    }
    log.close().await.unwrap();
}

#[tokio::test]
async fn a_torn_tail_costs_only_the_batch_that_was_never_confirmed() {
    type Tear = fn(&Path, u64);
    // What a crash can leave of the last batch: cut short, half unwritten, other bits.
    let tear: [(&str, Tear); 4] = [
        ("cut in the trailer", |journal, used| {
            OpenOptions::new().write(true).open(journal).unwrap().set_len(used - 2).unwrap();
        }),
        ("cut in the middle", |journal, used| {
            OpenOptions::new().write(true).open(journal).unwrap().set_len(used - 120).unwrap();
        }),
        ("a hole", |journal, used| overwrite(journal, used - 150, &[0; 64])),
        ("flipped bits", |journal, used| overwrite(journal, used - 100, b"\xff\xff\xff")),
    ];
    for (name, tear) in tear {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path().join("log");
        with_records(&dir, 50).await;
        let journal = newest_journal(&dir);
        tear(&journal, used(&journal));
        let log = EmbeddedLog::open(config(&dir)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let reading = read_all(&log);
        assert_eq!(reading.records.len(), 49, "{name}");
        assert!(reading.gaps.is_empty());
        // What comes now takes the place of the one that never was.
        let position = log.append(vec![record(0, "again")]).await.unwrap()[0];
        assert_eq!(position.offset, 49, "{name}");
        log.close().await.unwrap();
        let log = EmbeddedLog::open(config(&dir)).unwrap();
        assert_eq!(read_all(&log).records[&(0, 49)], b"again", "{name}");
    }
}

#[tokio::test]
async fn rubbish_behind_the_last_batch_is_cut_off() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("log");
    with_records(&dir, 20).await;
    let journal = newest_journal(&dir);
    let rubbish: Vec<u8> = (0..5_000_u32).map(|index| (index * 7 % 255) as u8).collect();
    overwrite(&journal, used(&journal), &rubbish);
    let log = EmbeddedLog::open(config(&dir)).unwrap();
    assert_eq!(read_all(&log).records.len(), 20);
}

#[tokio::test]
async fn damage_to_what_was_acknowledged_is_said_and_not_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("log");
    with_records(&dir, 50).await;
    let journal = newest_journal(&dir);
    overwrite(&journal, used(&journal) / 2, b"\xff\xff\xff\xff");
    let error = EmbeddedLog::open(config(&dir)).err().unwrap();
    assert!(matches!(error, LogError::Corrupt { .. }), "{error:?}");
    assert!(error.to_string().contains("backup"), "{error}");
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}

/// A topic is the same after a restart, and another one in another directory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_keeps_its_id() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut ids = Vec::new();
    for directory in [&one, &one, &one, &other] {
        let log = EmbeddedLog::open(config(directory.path())).unwrap();
        // The second time its retention is another one, which is written down anew.
        let retention = Retention { bytes: (ids.len() == 1).then_some(1 << 30), time: None };
        log.ensure_topics(&[spec(retention)]).await.unwrap();
        ids.push(read_all(&log).topic_id.expect("it has one"));
        log.close().await.unwrap();
    }
    assert!(ids[0] == ids[1] && ids[1] == ids[2] && ids[2] != ids[3], "{ids:?}");
}

#[tokio::test]
async fn a_second_process_gets_a_clear_error() {
    let directory = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(config(directory.path())).unwrap();
    let error = EmbeddedLog::open(config(directory.path())).err().unwrap();
    assert!(matches!(error, LogError::Locked { .. }), "{error:?}");
    assert!(error.to_string().contains("in use by another process"), "{error}");
    log.close().await.unwrap();
    EmbeddedLog::open(config(directory.path())).unwrap();
}

#[tokio::test]
async fn a_full_disk_is_reported_before_anything_is_written() {
    let directory = tempfile::tempdir().unwrap();
    with_records(directory.path(), 1).await;
    let full = EmbeddedConfig { min_free_bytes: u64::MAX, ..config(directory.path()) };
    let log = EmbeddedLog::open(full).unwrap();
    let refused = log.append(vec![record(0, "x")]).await;
    assert!(matches!(refused, Err(LogError::Full { .. })), "{refused:?}");
    assert!(matches!(log.check().await, Err(LogError::Full { .. })));
    // What empties the log goes on.
    let spec = ConsumerSpec { group: GROUP.into(), topics: vec![TOPIC.into()], start: Start::Earliest };
    let mut consumer = log.consumer(spec).unwrap();
    let mut reading = Reading::default();
    while reading.records.is_empty() {
        consumer.poll(Duration::from_millis(10), 10, &mut reading).unwrap();
    }
    let commit = kelly_stream::Commit {
        partition: place(0),
        epoch: reading.epochs[&0],
        offset: 1,
        metadata: "m".into(),
    };
    consumer.committer().commit(&[commit]).unwrap();
    let committed = log.committed(GROUP, TOPIC).await.unwrap();
    assert_eq!(committed[0], Some(Committed { offset: 1, metadata: "m".into() }));
}

/// Not a test of its own: its process may not write files beyond a size, which is how a disk that
/// fills up in the middle of a write looks.
#[tokio::test]
async fn child_whose_writes_fail() {
    let Some(dir) = std::env::var_os(LIMITED_CHILD).map(PathBuf::from) else { return };
    let log = EmbeddedLog::open(config(&dir)).unwrap();
    log.ensure_topics(&[spec(Retention::default())]).await.unwrap();
    let append = |number: u32| log.append(vec![record(0, format!("{number} {}", "x".repeat(3_000)))]);
    let consumer_spec =
        ConsumerSpec { group: GROUP.into(), topics: vec![TOPIC.into()], start: Start::Earliest };
    let mut consumer = log.consumer(consumer_spec).unwrap();
    let mut reading = Reading::default();
    let mut acknowledged = Vec::new();
    for number in 0..10 {
        acknowledged.push((append(number).await.unwrap()[0].offset, number));
    }
    limit_file_size(used(&newest_journal(&dir)) + 20_000);
    // Of these it was said that they are not on the log.
    let mut refused = Vec::new();
    let mut next = 10;
    let mut failures = 0;
    while failures < 3 {
        assert!(next < 100, "a write beyond the limit fails");
        match append(next).await {
            Ok(positions) => acknowledged.push((positions[0].offset, next)),
            Err(error) => {
                assert!(error.is_retryable(), "{error:?}");
                // The first met the limit while it was written.
                assert!(failures > 0 || matches!(error, LogError::Unknown { .. }), "{error:?}");
                if !matches!(error, LogError::Unknown { .. }) {
                    refused.push(next);
                }
                failures += 1;
            }
        }
        next += 1;
    }
    limit_file_size(u64::MAX);
    // There is room again: nobody has to start anything anew.
    for _ in 0..10 {
        loop {
            next += 1;
            match append(next).await {
                Ok(positions) => break acknowledged.push((positions[0].offset, next)),
                Err(LogError::Unknown { .. }) => {}
                Err(error) => {
                    assert!(error.is_retryable(), "{error:?}");
                    refused.push(next);
                }
            }
        }
    }
    let high = log.watermarks(&place(0)).await.unwrap().high;
    while reading.records.last_key_value().is_none_or(|((_, offset), _)| offset + 1 < high) {
        // The consumer was there before the failure and goes on after it.
        consumer.poll(Duration::from_millis(10), 100, &mut reading).unwrap();
    }
    for (offset, number) in &acknowledged {
        let payload = String::from_utf8(reading.records[&(0, *offset)].clone()).unwrap();
        assert!(payload.starts_with(&format!("{number} ")), "{payload}");
    }
    for payload in reading.records.values() {
        let text = String::from_utf8_lossy(payload);
        let number: u32 = text.split(' ').next().unwrap().parse().unwrap();
        assert!(!refused.contains(&number), "{number} was refused and is on the log");
    }
    assert!(reading.gaps.is_empty(), "{:?}", reading.gaps);
    log.close().await.unwrap();
}

/// Sets how large a file of this process may become; writing beyond it is an error, not a signal.
fn limit_file_size(bytes: u64) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: plain system calls on this process's own settings.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &limit), 0);
    }
}

#[test]
fn a_failed_write_loses_nothing_and_ends_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let outcome = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "recovery::child_whose_writes_fail", "--nocapture"])
        .env(LIMITED_CHILD, directory.path().join("log"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&outcome.stderr);
    assert!(outcome.status.success(), "{text}");
}

#[tokio::test]
async fn a_full_queue_refuses_and_recovers() {
    let directory = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(EmbeddedConfig { queue_bytes: 100_000, ..config(directory.path()) }).unwrap();
    log.ensure_topics(&[spec(Retention::default())]).await.unwrap();
    let log = Arc::new(log);
    let too_large = log.append(vec![record(0, vec![0; 100_000])]).await;
    assert!(matches!(too_large, Err(LogError::TooLarge { .. })), "{too_large:?}");
    let mut appends = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let log = log.clone();
        appends.spawn(async move { log.append(vec![record(0, vec![7; 90_000])]).await });
    }
    let outcomes = appends.join_all().await;
    let taken = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(_) | Err(LogError::Full { .. }))));
    assert!(taken >= 1);
    assert_eq!(log.watermarks(&place(0)).await.unwrap().high, taken as u64, "what was refused is not there");
    log.append(vec![record(0, vec![7; 90_000])]).await.unwrap();
}
