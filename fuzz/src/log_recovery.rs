//! The embedded log's directory after damage: files torn, cut short, overwritten, with holes.
//!
//! A directory with known records is made once. Each input is a list of injuries to a copy of it, which is then
//! opened. Opening or reading may fail, and says so. What is handed over was written, at that very place and in that
//! order, without an unreported hole; and a log that opened goes on: what is appended to it is there when it is
//! opened again, and so is all that it had handed over.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use kelly_stream::{
    Assignment, Commit, ConsumerSpec, EmbeddedConfig, EmbeddedLog, Log, LogError, NewRecord, Record,
    RecordSink, Retention, Sink, Start, TopicPartition, TopicSpec,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const TOPIC: &str = "kelly.metrics";
const GROUP: &str = "kelly-ingest";
const PARTITIONS: u32 = 2;

/// Injuries of one input; more say nothing more.
const MAX_INJURIES: usize = 8;

/// Bytes of one injury: kind, file, place (4), length (2).
const INJURY_BYTES: usize = 8;

/// Records of the directory whose journal alone holds them, a partition.
const FEW_RECORDS: u64 = 24;

/// Bytes of filler after which a partition's memory is written as a table: above its memtable.
const TABLE_FILLER_BYTES: usize = 1_200_000;

/// The first byte of the input chooses the directory, the others injure it.
pub fn log_recovery(input: &[u8]) {
    let Some((choice, injuries)) = input.split_first() else { return };
    let original = Original::all().get(usize::from(*choice) % 2).expect("there are two");
    let mut files = original.files.clone();
    for injury in injuries.chunks_exact(INJURY_BYTES).take(MAX_INJURIES) {
        injure(&mut files, injury);
    }
    let dir = TempDir::with_prefix("kelly-fuzz-log-").expect("a temporary directory");
    for file in &files {
        file.write(dir.path()).expect("a file is written");
    }
    check(original, dir.path());
}

fn check(original: &Original, dir: &Path) {
    let Some(log) = opened(dir) else { return };
    let Ok(first) = read(&log) else { return };
    for ((partition, offset), payload) in &first.records {
        let written = original.records.get(&(*partition, *offset));
        assert!(written == Some(payload), "{partition}/{offset} was never written so");
    }
    let positions = runtime().block_on(log.committed(GROUP, TOPIC));
    for position in positions.into_iter().flatten().flatten() {
        let known = original.commits.contains(&(position.offset, position.metadata.clone()));
        assert!(known, "{position:?} was never committed");
    }
    let added = payload_of(9, 9);
    let Ok(positions) = runtime().block_on(log.append(vec![new_record(0, added.clone())])) else { return };
    let offset = positions.first().expect("one record, one position").offset;
    assert!(first.records.range((0, offset)..(1, 0)).next().is_none(), "offset {offset} is given away twice");
    if runtime().block_on(log.close()).is_err() {
        return;
    }
    drop(log);
    let Some(log) = opened(dir) else { return };
    let Ok(again) = read(&log) else { return };
    let mut expected = first.records;
    expected.insert((0, offset), added);
    assert!(again.records == expected, "what was handed over is not there any more");
}

/// A directory, and all that it may hand over.
struct Original {
    files: Vec<StoredFile>,
    records: BTreeMap<(u32, u64), Vec<u8>>,
    commits: Vec<(u64, String)>,
}

impl Original {
    /// One with records in its journal alone, one with tables too.
    fn all() -> &'static [Original; 2] {
        static ALL: OnceLock<[Original; 2]> = OnceLock::new();
        ALL.get_or_init(|| [Original::make(0), Original::make(TABLE_FILLER_BYTES)])
    }

    fn make(filler_bytes: usize) -> Self {
        let dir = TempDir::with_prefix("kelly-fuzz-original-").expect("a temporary directory");
        let log = EmbeddedLog::open(config(dir.path())).expect("a new log opens");
        let spec = TopicSpec { name: TOPIC.into(), partitions: PARTITIONS, retention: Retention::default() };
        runtime().block_on(log.ensure_topics(&[spec])).expect("a topic is made");
        let mut original = Original { files: Vec::new(), records: BTreeMap::new(), commits: Vec::new() };
        original.append(&log, FEW_RECORDS);
        if filler_bytes > 0 {
            let filler = vec![b'f'; filler_bytes];
            for partition in 0..PARTITIONS {
                original.append_one(&log, partition, filler.clone());
            }
            original.append(&log, FEW_RECORDS);
        }
        original.commit(&log);
        original.append(&log, 3);
        runtime().block_on(log.close()).expect("the log closes");
        original.files = files_below(dir.path()).expect("the directory is read");
        original
    }

    fn append(&mut self, log: &EmbeddedLog, count: u64) {
        for number in 0..count {
            for partition in 0..PARTITIONS {
                self.append_one(log, partition, payload_of(partition, number));
            }
        }
    }

    fn append_one(&mut self, log: &EmbeddedLog, partition: u32, payload: Vec<u8>) {
        let positions = runtime().block_on(log.append(vec![new_record(partition, payload.clone())]));
        let offset = positions.expect("a record is appended")[0].offset;
        self.records.insert((partition, offset), payload);
    }

    fn commit(&mut self, log: &EmbeddedLog) {
        let spec = ConsumerSpec { group: GROUP.into(), topics: vec![TOPIC.into()], start: Start::Earliest };
        let mut consumer = log.consumer(spec).expect("a consumer");
        let mut reading = Reading::default();
        while reading.assignments.is_empty() {
            consumer.poll(Duration::ZERO, 1, &mut reading).expect("a poll");
        }
        for assignment in std::mem::take(&mut reading.assignments) {
            for offset in [0, 2, 5] {
                let metadata = format!("kelly1;nonce=00c0ffee;until={offset}");
                self.commits.push((offset, metadata.clone()));
                let commit = Commit {
                    partition: assignment.partition.clone(),
                    epoch: assignment.epoch,
                    offset,
                    metadata,
                };
                consumer.committer().commit(&[commit]).expect("a commit");
            }
        }
        consumer.close().expect("the consumer leaves");
    }
}

#[derive(Default)]
struct Reading {
    assignments: Vec<Assignment>,
    records: BTreeMap<(u32, u64), Vec<u8>>,
    /// Where each partition goes on.
    next: BTreeMap<u32, u64>,
}

impl Sink for Reading {
    fn assigned(&mut self, assignments: Vec<Assignment>) {
        self.assignments.extend(assignments);
    }
    fn revoked(&mut self, _: &[TopicPartition]) {}
}

impl RecordSink for Reading {
    fn gap(&mut self, partition: &TopicPartition, expected: u64, found: u64) {
        let next = self.next.entry(partition.partition).or_default();
        assert_eq!(*next, expected, "a gap is reported where it begins");
        assert!(found > expected, "a gap has a length");
        *next = found;
    }
    fn record(&mut self, record: Record<'_>) {
        let next = self.next.entry(record.partition).or_default();
        assert_eq!(*next, record.offset, "records come in order, and no hole goes unreported");
        *next += 1;
        self.records.insert((record.partition, record.offset), record.payload.to_vec());
    }
}

/// Everything a new group gets.
fn read(log: &EmbeddedLog) -> Result<Reading, LogError> {
    let spec = ConsumerSpec { group: "reader".into(), topics: vec![TOPIC.into()], start: Start::Earliest };
    let mut consumer = log.consumer(spec)?;
    let mut reading = Reading::default();
    while reading.assignments.is_empty() {
        consumer.poll(Duration::ZERO, usize::MAX, &mut reading)?;
    }
    while consumer.poll(Duration::ZERO, usize::MAX, &mut reading)? > 0 {}
    consumer.close()?;
    let ends = runtime().block_on(log.ends(TOPIC))?;
    for (partition, ends) in (0..).zip(ends) {
        let next = reading.next.get(&partition).copied().unwrap_or_default();
        assert_eq!(next, ends.high, "partition {partition} ends where it says");
    }
    Ok(reading)
}

/// The log of a directory, if it opens and knows its topic. An error has words for a person.
fn opened(dir: &Path) -> Option<EmbeddedLog> {
    let log = match EmbeddedLog::open(config(dir)) {
        Ok(log) => log,
        Err(error) => {
            assert!(!matches!(error, LogError::Unknown { .. } | LogError::Closed), "{error:?}");
            return None;
        }
    };
    let partitions = runtime().block_on(log.partitions(TOPIC)).ok()?;
    assert_eq!(partitions, PARTITIONS);
    Some(log)
}

fn config(dir: &Path) -> EmbeddedConfig {
    EmbeddedConfig { memtable_bytes: 1024 * 1024, min_free_bytes: 0, ..EmbeddedConfig::new(dir) }
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
    })
}

fn new_record(partition: u32, payload: Vec<u8>) -> NewRecord {
    NewRecord {
        topic: TOPIC.into(),
        partition: Some(partition),
        key: None,
        payload: payload.into(),
        content_type: None,
    }
}

/// From nothing to larger than a page.
fn payload_of(partition: u32, number: u64) -> Vec<u8> {
    let length = number * number * 11 % 5_000;
    format!("{partition}:{number}:").into_bytes().into_iter().cycle().take(length as usize).collect()
}

/// A file of the directory.
#[derive(Clone)]
struct StoredFile {
    /// Below the directory.
    name: PathBuf,
    /// Without the zeros at its end.
    bytes: Vec<u8>,
    /// With them: a journal is made with room for 64 MiB, nearly all of it a hole.
    length: u64,
}

impl StoredFile {
    fn write(&self, dir: &Path) -> io::Result<()> {
        let path = dir.join(&self.name);
        fs::create_dir_all(path.parent().expect("a file has a directory"))?;
        let mut file = File::create(path)?;
        file.write_all(&self.bytes)?;
        file.set_len(self.length)
    }
}

/// Does to a file what eight bytes say.
fn injure(files: &mut [StoredFile], injury: &[u8]) {
    let [kind, file, place @ .., length_low, length_high] = injury else { return };
    let file = &mut files[usize::from(*file) % files.len()];
    let bytes = &mut file.bytes;
    let place = place.iter().fold(0_usize, |place, byte| place << 8 | usize::from(*byte));
    let at = if bytes.is_empty() { 0 } else { place % bytes.len() };
    let length = usize::from(u16::from_le_bytes([*length_low, *length_high]));
    let until = (at + length.max(1)).min(bytes.len());
    match kind % 8 {
        // Cut, and its room lost with it; and cut, as if the rest had not reached the disk.
        0 => {
            bytes.truncate(at);
            file.length = at as u64;
        }
        1 => bytes.truncate(at),
        2 => bytes[at..until].fill(0),
        3 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (length % 8)),
        4 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = length as u8),
        5 => bytes.extend(std::iter::repeat_n(length as u8, length)),
        // What was there before, written over once more: a sector of another time.
        6 => {
            let before = bytes[..at].to_vec();
            bytes.iter_mut().skip(at).zip(before).take(length).for_each(|(byte, old)| *byte = old);
        }
        _ => drop(bytes.drain(at..until)),
    }
    file.length = file.length.max(file.bytes.len() as u64);
}

/// The files below a directory, in the order of their names.
fn files_below(dir: &Path) -> io::Result<Vec<StoredFile>> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
                continue;
            }
            let mut bytes = fs::read(entry.path())?;
            let length = bytes.len() as u64;
            let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            bytes.truncate(used);
            bytes.shrink_to_fit();
            let name = entry.path().strip_prefix(dir).expect("below it").to_owned();
            found.push(StoredFile { name, bytes, length });
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}
