//! What the embedded log no longer keeps: by time and by bytes, over a restart, and off the disk.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use kelly_stream::{EmbeddedConfig, EmbeddedLog, Log, NewRecord, ReaderSpec, Retention, Watermarks};

use super::recovery::{config, place, read_all, record, spec};
use super::support::{Kept, Notes, PATIENCE};

#[tokio::test]
async fn retention_by_time_and_bytes_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let now_ms = Arc::new(AtomicI64::new(1_700_000_000_000));
    let clock = {
        let now_ms = now_ms.clone();
        Arc::new(move || now_ms.load(Ordering::SeqCst))
    };
    let open =
        || EmbeddedLog::open(EmbeddedConfig { clock: clock.clone(), ..config(directory.path()) }).unwrap();
    let log = open();
    let hour = Retention { time: Some(Duration::from_secs(3_600)), bytes: None };
    log.ensure_topics(&[spec(hour)]).await.unwrap();
    for number in 0..10 {
        log.append(vec![record(0, format!("{number}")); 5]).await.unwrap();
        now_ms.fetch_add(600_000, Ordering::SeqCst);
    }
    log.enforce_retention().unwrap();
    // Now is 100 minutes after the first: appends of the last hour are left.
    let ends = log.watermarks(&place(0)).await.unwrap();
    assert_eq!(ends, Watermarks { low: 20, high: 50 });

    // A clock that goes back does not take log time with it.
    now_ms.fetch_sub(10_000_000, Ordering::SeqCst);
    log.append(vec![record(0, "later")]).await.unwrap();
    log.enforce_retention().unwrap();
    assert_eq!(log.watermarks(&place(0)).await.unwrap(), Watermarks { low: 20, high: 51 });

    // By bytes: the oldest go while enough is left without them.
    let bytes = Retention { time: None, bytes: Some(5) };
    log.ensure_topics(&[spec(bytes)]).await.unwrap();
    log.enforce_retention().unwrap();
    assert_eq!(log.watermarks(&place(0)).await.unwrap(), Watermarks { low: 50, high: 51 });

    // All of it, by time; offsets go on after a restart all the same.
    log.ensure_topics(&[spec(hour)]).await.unwrap();
    now_ms.fetch_add(100_000_000, Ordering::SeqCst);
    log.enforce_retention().unwrap();
    assert_eq!(log.watermarks(&place(0)).await.unwrap(), Watermarks { low: 51, high: 51 });
    log.close().await.unwrap();
    let log = open();
    assert_eq!(log.watermarks(&place(0)).await.unwrap(), Watermarks { low: 51, high: 51 });
    assert_eq!(log.append(vec![record(0, "on")]).await.unwrap()[0].offset, 51);
    assert_eq!(read_all(&log).records.len(), 1);
}

#[tokio::test]
async fn a_kept_topic_keeps_everything() {
    let directory = tempfile::tempdir().unwrap();
    let now_ms = Arc::new(AtomicI64::new(1_700_000_000_000));
    let clock = {
        let now_ms = now_ms.clone();
        Arc::new(move || now_ms.load(Ordering::SeqCst))
    };
    let log = EmbeddedLog::open(EmbeddedConfig { clock, ..config(directory.path()) }).unwrap();
    // It was made as one that forgets.
    let hour = Retention { time: Some(Duration::from_secs(3_600)), bytes: Some(1) };
    log.ensure_topics(&[kelly_stream::TopicSpec { partitions: 1, ..spec(hour) }]).await.unwrap();
    let topic = spec(hour).name;
    log.ensure_kept_topic(&topic).await.unwrap();
    for number in 0..10 {
        log.append(vec![record(0, format!("{number}"))]).await.unwrap();
        now_ms.fetch_add(1_000_000_000_000, Ordering::SeqCst);
    }
    log.enforce_retention().unwrap();
    assert_eq!(log.watermarks(&place(0)).await.unwrap(), Watermarks { low: 0, high: 10 });
}

#[tokio::test]
async fn retention_gives_the_disk_back() {
    let directory = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(config(directory.path())).unwrap();
    let most = Retention { time: None, bytes: Some(2 * 1024 * 1024) };
    log.ensure_topics(&[spec(most)]).await.unwrap();
    // Bytes that do not compress.
    let mut state = 1_u64;
    let mut payload = || -> Vec<u8> {
        (0..8_192)
            .flat_map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 32).to_le_bytes()
            })
            .collect()
    };
    for _ in 0..64 {
        let records = (0..8).map(|_| record(0, payload())).collect();
        log.append(records).await.unwrap();
        log.enforce_retention().unwrap();
    }
    let ends = log.watermarks(&place(0)).await.unwrap();
    assert!(ends.low > 0 && ends.high == 512, "{ends:?}");
    log.close().await.unwrap();
    let log = EmbeddedLog::open(config(directory.path())).unwrap();
    log.append(vec![record(0, payload())]).await.unwrap();
    log.enforce_retention().unwrap();
    log.close().await.unwrap();
    let tables = bytes_below(&directory.path().join("keyspaces"));
    // 32 MiB were written.
    assert!(tables < 16 * 1024 * 1024, "{tables} bytes of tables are left");
}

/// Over restarts too, and with the disk given back.
#[tokio::test]
async fn compaction_survives_a_restart_and_gives_the_disk_back() {
    let directory = tempfile::tempdir().unwrap();
    let now_ms = Arc::new(AtomicI64::new(1_700_000_000_000));
    let clock = {
        let now_ms = now_ms.clone();
        Arc::new(move || now_ms.load(Ordering::SeqCst))
    };
    let open =
        || EmbeddedLog::open(EmbeddedConfig { clock: clock.clone(), ..config(directory.path()) }).unwrap();
    let mut log = open();
    let topic: Arc<str> = "compacted".into();
    log.ensure_compacted_topic(&topic, 1).await.unwrap();
    let keyed = |key: u32, payload: Vec<u8>| NewRecord {
        topic: topic.clone(),
        partition: Some(0),
        key: Some(key.to_be_bytes().to_vec().into()),
        payload: payload.into(),
        content_type: Some("x/y".into()),
    };
    let mut state = 1_u64;
    let mut noise = || -> Vec<u8> {
        (0..2_048)
            .flat_map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 32).to_le_bytes()
            })
            .collect()
    };
    let mut expected = BTreeMap::new();
    for round in 0..8 {
        for key in 0..250 {
            // The last round takes a part of the keys away.
            let payload = if round == 7 && key % 5 == 0 { Vec::new() } else { noise() };
            expected.insert(key, payload.clone());
            log.append(vec![keyed(key, payload)]).await.unwrap();
        }
        log.compact().unwrap();
        log.close().await.unwrap();
        log = open();
    }
    let read = |log: &EmbeddedLog| {
        let mut reader = log.reader(ReaderSpec { topic: topic.clone(), offsets: vec![0] }).unwrap();
        let mut notes = Notes::default();
        while notes.0.records().last().map_or(0, |last| last.offset + 1) < 8 * 250 {
            reader.poll(PATIENCE, 1_000, &mut notes).unwrap();
        }
        assert!(!notes.0.has_gaps());
        notes.0.records()
    };
    let found = |records: &[Kept]| -> BTreeMap<u32, Vec<u8>> {
        records
            .iter()
            .map(|record| {
                (
                    u32::from_be_bytes(record.key.as_deref().unwrap().try_into().unwrap()),
                    record.payload.clone(),
                )
            })
            .collect()
    };
    let records = read(&log);
    assert_eq!(found(&records), expected);
    assert!(records.iter().all(|record| record.content_type.as_deref() == Some("x/y")));
    assert_eq!(records.len(), 250, "one of each key: the newest frame is one of them");
    // What says that a key is gone goes after a day.
    now_ms.fetch_add(3 * 24 * 3_600 * 1_000, Ordering::SeqCst);
    log.append(vec![keyed(1, b"on".to_vec())]).await.unwrap();
    expected.insert(1, b"on".to_vec());
    log.compact().unwrap();
    let records = read(&log);
    expected.retain(|_, payload| !payload.is_empty());
    assert_eq!(found(&records), expected);
    log.close().await.unwrap();
    let tables = bytes_below(&directory.path().join("keyspaces"));
    // 32 MiB were written, 4 MiB of them are the newest.
    assert!(tables < 16 * 1024 * 1024, "{tables} bytes of tables are left");
}

fn bytes_below(path: &Path) -> u64 {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { bytes_below(&path) } else { path.metadata().unwrap().len() }).sum()
}
