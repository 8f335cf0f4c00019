//! The embedded log's directory after damage: files torn, cut short, overwritten, with holes.
//!
//! A directory with known records is made once. Each input is a list of injuries to a copy of it, which is then
//! opened. Opening or reading may fail, and says so. What is handed over was written, at that very place and in that
//! order, without a hole nobody was told of; and a log that opened goes on: what is appended to it is there when it is
//! opened again, and so is all that it had handed over.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use kelly_stream::{
    Assignment, Commit, ConsumerSpec, EmbeddedConfig, EmbeddedLog, Log, LogError, NewRecord, Record,
    Retention, Sink, Start, TopicPartition, TopicSpec,
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
    let copy = TempDir::with_prefix("kelly-fuzz-log-").expect("a temporary directory");
    copy_directory(&original.files, copy.path()).expect("the directory is copied");
    for injury in injuries.chunks_exact(INJURY_BYTES).take(MAX_INJURIES) {
        injure(&original.files, copy.path(), injury).expect("the copy is injured");
    }
    check(original, copy.path());
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
    /// Removed with the process's temporary files: a static is not dropped.
    files: PathBuf,
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
        let files = TempDir::with_prefix("kelly-fuzz-original-").expect("a temporary directory").keep();
        let log = EmbeddedLog::open(config(&files)).expect("a new log opens");
        let spec = TopicSpec { name: TOPIC.into(), partitions: PARTITIONS, retention: Retention::default() };
        runtime().block_on(log.ensure_topics(&[spec])).expect("a topic is made");
        let mut original = Original { files, records: BTreeMap::new(), commits: Vec::new() };
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
    fn gap(&mut self, partition: &TopicPartition, expected: u64, found: u64) {
        let next = self.next.entry(partition.partition).or_default();
        assert_eq!(*next, expected, "a gap is told where it begins");
        assert!(found > expected, "a gap has a length");
        *next = found;
    }
    fn record(&mut self, record: Record<'_>) {
        let next = self.next.entry(record.partition).or_default();
        assert_eq!(*next, record.offset, "records come in order, and no hole goes untold");
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

/// Does to a file of the copy what eight bytes say.
fn injure(original: &Path, copy: &Path, injury: &[u8]) -> io::Result<()> {
    let [kind, file, place @ .., length_low, length_high] = injury else { return Ok(()) };
    let mut files = files_of(original)?;
    files.sort();
    let name = &files[usize::from(*file) % files.len()];
    let mut bytes = used_bytes(&copy.join(name))?;
    let place = place.iter().fold(0_usize, |place, byte| place << 8 | usize::from(*byte));
    let at = if bytes.is_empty() { 0 } else { place % bytes.len() };
    let length = usize::from(u16::from_le_bytes([*length_low, *length_high]));
    let until = (at + length.max(1)).min(bytes.len());
    match kind % 7 {
        0 => bytes.truncate(at),
        1 => bytes[at..until].fill(0),
        2 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (length % 8)),
        3 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = length as u8),
        4 => bytes.extend(std::iter::repeat_n(length as u8, length)),
        // What was there before, written over once more: a sector of another time.
        5 => {
            let before = bytes[..at].to_vec();
            bytes.iter_mut().skip(at).zip(before).take(length).for_each(|(byte, old)| *byte = old);
        }
        _ => drop(bytes.drain(at..until)),
    }
    // A journal keeps its room.
    let room = fs::metadata(original.join(name))?.len();
    let mut file = OpenOptions::new().write(true).truncate(true).open(copy.join(name))?;
    file.write_all(&bytes)?;
    if kind % 7 != 0 || length % 2 == 0 {
        file.set_len(room.max(bytes.len() as u64))?;
    }
    Ok(())
}

/// The files below a directory, relative to it.
fn files_of(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            } else {
                found.push(entry.path().strip_prefix(dir).expect("below it").to_owned());
            }
        }
    }
    Ok(found)
}

fn copy_directory(from: &Path, to: &Path) -> io::Result<()> {
    for name in files_of(from)? {
        let target = to.join(&name);
        fs::create_dir_all(target.parent().expect("a file has a directory"))?;
        let mut file = File::create(&target)?;
        file.write_all(&used_bytes(&from.join(&name))?)?;
        file.set_len(fs::metadata(from.join(&name))?.len())?;
    }
    Ok(())
}

/// A file without the zeros at its end: a journal is made with room for 64 MiB, nearly all of it a hole.
fn used_bytes(path: &Path) -> io::Result<Vec<u8>> {
    const STEP: u64 = 1 << 20;
    let mut file = File::open(path)?;
    let mut used = file.metadata()?.len();
    let mut step = Vec::new();
    while used > 0 {
        let length = used.min(STEP);
        file.seek(SeekFrom::Start(used - length))?;
        step.clear();
        (&file).take(length).read_to_end(&mut step)?;
        if let Some(last) = step.iter().rposition(|byte| *byte != 0) {
            used = used - length + last as u64 + 1;
            break;
        }
        used -= length;
    }
    let mut bytes = Vec::with_capacity(used as usize);
    file.seek(SeekFrom::Start(0))?;
    file.take(used).read_to_end(&mut bytes)?;
    Ok(bytes)
}
