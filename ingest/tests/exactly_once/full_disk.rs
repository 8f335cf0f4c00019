//! The engine's disk is full, really: a file system of its own with so much room and no more.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kelly_harness::engine::spec;
use kelly_ingest::Pipeline;
use kelly_sql::MigrationParams;
use kelly_sql::engine::{Engine, EngineState};
use tempfile::TempDir;

use crate::messages::{config, filled_log};
use crate::store::violations;

const ROWS: usize = 7;

/// Longest wait for what takes moments.
const PATIENCE: Duration = Duration::from_secs(120);

/// Room for an engine, its tables and little more.
const DISK: &str = "64m";

/// Runs the engine with its data, in its working directory, on that disk. Its own user and mount namespace need no rights of
/// the caller's.
const ON_A_SMALL_DISK: &str = "aside=$(mktemp -d) && cp -p ./*.xml \"$aside\" && mount -t tmpfs -o size=$0 tmpfs \"$PWD\" && \
     cd \"$PWD\" && cp -p \"$aside\"/*.xml . && rm -r \"$aside\" && exec \"$@\"";

async fn engine_on_a_small_disk(directory: &Path) -> Engine {
    let mut spec = spec(directory).unwrap();
    let program = std::mem::replace(&mut spec.program, "unshare".into());
    let words = ["-Urm", "sh", "-c", ON_A_SMALL_DISK, DISK];
    spec.args = words.into_iter().map(Into::into).chain([program.into()]).collect();
    Engine::start(spec).await.expect(
        "an engine on a disk of its own; this needs unprivileged user namespaces \
         (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns)",
    )
}

/// The engine's disk as it sees it.
fn disk(engine: &Engine, directory: &Path) -> PathBuf {
    let EngineState::Ready { pid } = *engine.state().borrow() else { panic!("the engine does not run") };
    let inside = std::fs::canonicalize(directory.join("engine")).unwrap();
    PathBuf::from(format!("/proc/{pid}/root{}", inside.display()))
}

/// Takes what room is left.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    for bytes in [1 << 16, 1 << 10, 1] {
        while file.write_all(&vec![0; bytes]).is_ok() {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ingest_waits_for_room_and_loses_nothing() {
    let directory = TempDir::new().unwrap();
    let engine = engine_on_a_small_disk(directory.path()).await;
    let store = engine.store().unwrap();
    let params = MigrationParams { metrics_retention_hours: 60 * 24, ..MigrationParams::default() };
    store.migrate(&params).await.unwrap();
    let filler = disk(&engine, directory.path()).join("filler");
    fill(&filler);

    let log_directory = TempDir::new().unwrap();
    let log = filled_log(log_directory.path()).await;
    let pipeline = Pipeline::start(Arc::clone(&log), Arc::new(store.clone()), config(ROWS)).unwrap();
    let reported = async {
        loop {
            if let Some(reason) = pipeline.counts().last_error {
                break reason;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let reason = tokio::time::timeout(PATIENCE, reported).await.expect("the full disk is reported");
    assert!(reason.contains("the store's disk is full"), "{reason}");
    let data = std::fs::canonicalize(directory.path().join("engine")).unwrap();
    assert!(reason.contains(&*data.to_string_lossy()), "{reason}");
    assert!(pipeline.lag().await.unwrap() > 0, "nothing is confirmed that is not written");

    // Room is made, and nobody tells.
    std::fs::remove_file(&filler).unwrap();
    let drained = async {
        while pipeline.lag().await.unwrap() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let drained = tokio::time::timeout(PATIENCE, drained).await;
    assert!(drained.is_ok(), "{:?}", pipeline.counts());
    pipeline.shutdown().await.unwrap();
    assert_eq!(violations(&store, 1).await, Vec::<String>::new());
    engine.shutdown().await;
}
