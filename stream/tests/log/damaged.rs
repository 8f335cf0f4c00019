//! Directories of the embedded log that cannot be opened as they are: each says which file is wrong and what to do.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use kelly_stream::{EmbeddedConfig, EmbeddedLog, Log, LogError, Watermarks};

use crate::support::{place, record, spec};

const TOPIC: &str = "kelly.metrics";

fn open(dir: &Path) -> Result<EmbeddedLog, LogError> {
    EmbeddedLog::open(EmbeddedConfig {
        min_free_bytes: 0,
        memtable_bytes: 1 << 20,
        ..EmbeddedConfig::new(dir)
    })
}

/// A closed log with some records, and with tables.
async fn made(dir: &Path) {
    let log = open(dir).unwrap();
    log.ensure_topics(&[spec(TOPIC, 1)]).await.unwrap();
    let payload: Vec<u8> =
        (0..200_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut appended = 0;
    while tables(dir).is_empty() {
        log.append(vec![record(&TOPIC.into(), Some(0), payload.clone())]).await.unwrap();
        appended += 1;
        assert!(appended < 10_000, "no table was written");
    }
    log.close().await.unwrap();
}

/// The tables of the topic, largest first.
fn tables(dir: &Path) -> Vec<PathBuf> {
    let below = |path: PathBuf| fs::read_dir(path).into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> =
        below(dir.join("keyspaces")).flat_map(|keyspace| below(keyspace.join("tables"))).collect();
    found.sort_by_key(|path| std::cmp::Reverse(path.metadata().unwrap().len()));
    found
}

async fn refusal(dir: &Path) -> String {
    let error = open(dir).err().expect("it is damaged");
    assert!(matches!(error, LogError::Corrupt { .. }), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn a_table_that_was_cut_short_is_named_with_the_way_out() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("log");
    made(&dir).await;
    let table = tables(&dir).remove(0);
    let length = table.metadata().unwrap().len();
    for left in [0, 10, length / 2, length - 1] {
        let whole = fs::read(&table).unwrap();
        OpenOptions::new().write(true).open(&table).unwrap().set_len(left).unwrap();
        let words = refusal(&dir).await;
        assert!(words.contains(table.to_str().unwrap()), "{left}: {words}");
        assert!(words.contains("restore the directory from a backup"), "{left}: {words}");
        assert!(words.contains("move the whole directory away"), "{left}: {words}");
        assert!(!words.contains("Lsm") && !words.contains("Fjall"), "{left}: {words}");
        fs::write(&table, whole).unwrap();
    }
    open(&dir).unwrap();
}

#[tokio::test]
async fn a_version_is_not_taken_for_another() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("log");
    made(&dir).await;
    let version = dir.join("version");
    let right = fs::read(&version).unwrap();

    fs::write(&version, "").unwrap();
    let words = refusal(&dir).await;
    assert!(words.contains(&format!("{} is empty", version.display())), "{words}");
    // The way out that it names is one.
    let command = words.split_once("write what it holds: ").unwrap().1.to_owned();
    assert!(std::process::Command::new("sh").args(["-c", &command]).status().unwrap().success());
    assert_eq!(fs::read(&version).unwrap(), right);
    open(&dir).unwrap().close().await.unwrap();

    fs::remove_file(&version).unwrap();
    assert!(refusal(&dir).await.contains(&format!("{} is missing", version.display())));
    fs::write(&version, "rubbish").unwrap();
    assert!(refusal(&dir).await.contains("does not hold a version"));
    fs::write(&version, b"FJL\x02").unwrap();
    assert!(refusal(&dir).await.contains("was written by another version"));
    fs::write(&version, right).unwrap();
    open(&dir).unwrap().close().await.unwrap();
}

/// The store itself would begin a new one, and give offsets out a second time.
#[tokio::test]
async fn a_journal_that_is_missing_is_no_new_beginning() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("log");
    made(&dir).await;
    for entry in fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "jnl") {
            fs::remove_file(path).unwrap();
        }
    }
    let words = refusal(&dir).await;
    assert!(words.contains("has lost its journal"), "{words}");
}

/// A process that was killed while it made the directory, before anything was recorded.
#[tokio::test]
async fn a_first_start_that_was_cut_off_begins_again() {
    for version in [None, Some("")] {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path().join("log");
        fs::create_dir_all(dir.join("keyspaces")).unwrap();
        fs::File::create(dir.join("0.jnl")).unwrap().set_len(64 << 20).unwrap();
        if let Some(text) = version {
            fs::write(dir.join("version"), text).unwrap();
        }
        let log = open(&dir).unwrap();
        log.ensure_topics(&[spec(TOPIC, 1)]).await.unwrap();
        log.append(vec![record(&TOPIC.into(), Some(0), "first")]).await.unwrap();
        log.close().await.unwrap();
        let log = open(&dir).unwrap();
        let ends = log.watermarks(&place(&TOPIC.into(), 0)).await.unwrap();
        assert_eq!(ends, Watermarks { low: 0, high: 1 });
        log.close().await.unwrap();
    }
}
