//! The embedded engine as a process: its directory, its users, its deaths.

use std::path::Path;

use kelly_harness::engine::{query, spec};
use kelly_sql::engine::{APPLICATION_USER, Engine, EngineError, EngineState, GRAFANA_USER};
use kelly_sql::{MigrationParams, Store, StoreConfig};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};

fn kill(pid: u32) {
    // SAFETY: takes no pointers; the process is one this test started.
    assert_eq!(unsafe { libc::kill(i32::try_from(pid).unwrap(), libc::SIGKILL) }, 0);
}

fn engine_file(directory: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(directory.join("engine.json")).unwrap()).unwrap()
}

fn pid(engine: &Engine) -> u32 {
    match *engine.state().borrow() {
        EngineState::Ready { pid } => pid,
        ref other => panic!("the engine is not ready: {other:?}"),
    }
}

#[tokio::test]
async fn a_second_start_finds_the_same_users_ports_and_data() {
    let directory = TempDir::new().unwrap();
    let first = Engine::start(spec(directory.path()).unwrap()).await.unwrap();
    let config = first.store_config();
    Store::new(config.clone()).unwrap().migrate(&MigrationParams::default()).await.unwrap();
    let file = engine_file(directory.path());
    assert_eq!(file["http_port"], first.url().rsplit(':').next().unwrap().parse::<u16>().unwrap());
    assert_eq!(file["tcp_port"], first.tcp_port());
    assert_eq!(file["users"]["application"], APPLICATION_USER);
    assert_eq!(file["users"]["grafana"], GRAFANA_USER);
    first.shutdown().await;

    let second = Engine::start(spec(directory.path()).unwrap()).await.unwrap();
    assert_eq!(second.store_config(), config);
    Store::new(config).unwrap().verify_schema().await.unwrap();
    second.shutdown().await;
}

/// The names go into the engine's configuration and command line, where they must mean what they are.
#[tokio::test]
async fn a_directory_may_have_any_name() {
    use std::os::unix::ffi::OsStrExt;
    let place = TempDir::new().unwrap();
    let names: [&[u8]; 4] =
        [br#"a & <b> "c" 'd' \e %41 ?#"#, b"${path} {x} $(y) `z`", b"two\nlines", b"--query \xff\xfe"];
    for name in names {
        let directory = place.path().join(std::ffi::OsStr::from_bytes(name));
        for _ in 0..2 {
            let engine = Engine::start(spec(&directory).unwrap()).await.unwrap();
            let store = engine.store().unwrap();
            store.migrate(&MigrationParams::default()).await.unwrap();
            let config = engine.store_config();
            query(&config, "kelly", "CREATE TABLE IF NOT EXISTS t (a UInt8) ENGINE = MergeTree ORDER BY a")
                .await
                .unwrap();
            query(&config, "kelly", "INSERT INTO t VALUES (1)").await.unwrap();
            assert_eq!(kelly_sql::engine::running(&directory).unwrap(), config);
            kill(pid(&engine));
            let mut state = engine.state();
            state.wait_for(|state| matches!(state, EngineState::Restarting { .. })).await.unwrap();
            state.wait_for(|state| matches!(state, EngineState::Ready { .. })).await.unwrap();
            store.verify_schema().await.unwrap();
            engine.shutdown().await;
        }
        assert!(directory.join("engine/store").is_dir(), "the data lies where it should: {directory:?}");
        let engine = Engine::start(spec(&directory).unwrap()).await.unwrap();
        assert_eq!(query(&engine.store_config(), "kelly", "SELECT count() FROM t").await.unwrap(), "2");
        engine.shutdown().await;
    }
}

/// A store whose directory is gone goes on answering, from files that nobody finds again.
#[tokio::test]
async fn a_directory_that_is_deleted_is_an_error_and_not_made_again() {
    let place = TempDir::new().unwrap();
    let directory = place.path().join("data");
    let engine = Engine::start(spec(&directory).unwrap()).await.unwrap();
    let store = engine.store().unwrap();
    store.migrate(&MigrationParams::default()).await.unwrap();
    std::fs::rename(&directory, place.path().join("aside")).unwrap();
    let error = store.version().await.unwrap_err();
    assert!(error.to_string().contains("was deleted, moved or replaced"), "{error}");
    assert!(error.is_retryable(), "rows wait on the log");
    kill(pid(&engine));
    let mut state = engine.state();
    let refused = |state: &EngineState| matches!(state, EngineState::Restarting { reason, .. } if reason.contains("not started on another"));
    state.wait_for(refused).await.unwrap();
    assert!(!directory.exists());
    // What comes back is the store again.
    std::fs::rename(place.path().join("aside"), &directory).unwrap();
    state.wait_for(|state| matches!(state, EngineState::Ready { .. })).await.unwrap();
    store.verify_schema().await.unwrap();
    engine.shutdown().await;
}

/// Not blamed on the question, and early: a question that takes long is distinguished from a store that stands still.
#[tokio::test]
async fn an_engine_that_stands_still_is_distinguished_from_a_question_that_takes_long() {
    let directory = TempDir::new().unwrap();
    let engine = Engine::start(spec(directory.path()).unwrap()).await.unwrap();
    let store = engine.store().unwrap();
    store.migrate(&MigrationParams::default()).await.unwrap();
    // SAFETY: takes no pointers; the process is one this test started.
    let signal = |signal| assert_eq!(unsafe { libc::kill(pid(&engine) as i32, signal) }, 0);
    signal(libc::SIGSTOP);
    let (one, other) = tokio::join!(store.version(), store.storage());
    for error in [one.unwrap_err(), other.unwrap_err()] {
        assert!(error.is_not_responding() && error.is_retryable(), "{error}");
        assert!(!error.is_out_of_time(), "{error}");
    }
    signal(libc::SIGCONT);
    let mut answered = store.version().await;
    while answered.as_ref().is_err_and(|error| error.is_not_responding()) {
        answered = store.version().await;
    }
    answered.unwrap();
    engine.shutdown().await;
}

#[tokio::test]
async fn a_killed_engine_comes_back_where_it_was() {
    let directory = TempDir::new().unwrap();
    let engine = Engine::start(spec(directory.path()).unwrap()).await.unwrap();
    let store = Store::new(engine.store_config()).unwrap();
    store.migrate(&MigrationParams::default()).await.unwrap();
    let mut state = engine.state();
    for _ in 0..3 {
        let before = pid(&engine);
        kill(before);
        let after = state
            .wait_for(|state| matches!(state, EngineState::Ready { pid } if *pid != before))
            .await
            .unwrap()
            .clone();
        assert_eq!(
            after,
            EngineState::Ready { pid: engine_file(directory.path())["pid"].as_u64().unwrap() as u32 }
        );
        store.verify_schema().await.unwrap();
    }
    engine.shutdown().await;
}

/// Starts the engine of the test below when somebody else has its port: tells which, and waits until it is taken.
const RACING_PROGRAM: &str = "echo ${PORT} > $0/port.new; mv $0/port.new $0/port; until [ -e $0/taken ]; do read -t 0.02 nothing <> $0/never; done; exec \"$@\"";

#[tokio::test]
async fn an_engine_that_lost_its_port_takes_another() {
    // The HTTP interface's, and the native protocol's.
    for number in [5, 6] {
        lose_a_port(number).await;
    }
}

async fn lose_a_port(number: u32) {
    let directory = TempDir::new().unwrap();
    let own = TempDir::new().unwrap();
    let mut spec = spec(directory.path()).unwrap();
    let status = std::process::Command::new("mkfifo").arg(own.path().join("never")).status().unwrap();
    assert!(status.success());
    let program = std::mem::replace(&mut spec.program, "/bin/bash".into());
    let script = RACING_PROGRAM.replace("${PORT}", &format!("${number}"));
    spec.args = vec!["-c".into(), script.into(), own.path().into(), program.into()];
    let thief = async {
        let port = loop {
            match std::fs::read_to_string(own.path().join("port")) {
                Ok(port) => break port.trim().parse::<u16>().unwrap(),
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
            }
        };
        let thief = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
        std::fs::write(own.path().join("taken"), "").unwrap();
        thief
    };
    let (engine, thief) = tokio::join!(Engine::start(spec), thief);
    let engine = engine.unwrap();
    let port = engine.url().rsplit(':').next().unwrap().parse::<u16>().unwrap();
    let stolen = thief.local_addr().unwrap().port();
    assert!(port != stolen && engine.tcp_port() != stolen);
    assert_eq!(engine_file(directory.path())["http_port"], port);
    assert_eq!(engine_file(directory.path())["tcp_port"], engine.tcp_port());
    Store::new(engine.store_config()).unwrap().ping().await.unwrap();
    engine.shutdown().await;
}

/// Names the directory for [`holds_an_engine_until_it_is_killed`].
const HOLD_DIRECTORY: &str = "KELLY_TEST_HOLD_ENGINE_IN";

/// Not a test of its own: the program the next test starts and kills.
#[expect(clippy::print_stdout, reason = "the test that starts this reads it")]
#[tokio::test]
async fn holds_an_engine_until_it_is_killed() {
    if let Some(directory) = std::env::var_os(HOLD_DIRECTORY) {
        let _engine = Engine::start(spec(Path::new(&directory)).unwrap()).await.unwrap();
        println!("\nholding");
        std::future::pending::<()>().await;
    }
}

#[tokio::test]
async fn an_engine_ends_with_its_killed_parent() {
    let directory = TempDir::new().unwrap();
    let mut parent = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "holds_an_engine_until_it_is_killed", "--nocapture"])
        .env(HOLD_DIRECTORY, directory.path())
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    while lines.next_line().await.unwrap().expect("the parent ended early") != "holding" {}
    let port = engine_file(directory.path())["http_port"].clone();
    parent.kill().await.unwrap();
    // The lock is free only when the orphan is gone, and then its ports are too.
    let engine = Engine::start(spec(directory.path()).unwrap()).await.unwrap();
    assert_eq!(engine_file(directory.path())["http_port"], port);
    engine.shutdown().await;
}

#[tokio::test]
async fn two_engines_on_one_directory_are_refused() {
    let directory = TempDir::new().unwrap();
    let engine = Engine::start(spec(directory.path()).unwrap()).await.unwrap();
    let error = Engine::start(spec(directory.path()).unwrap()).await.unwrap_err();
    assert!(matches!(error, EngineError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("is in use by another Kelly"), "{error}");
    engine.shutdown().await;
}

#[tokio::test]
async fn a_library_that_is_none_is_named_with_the_log() {
    let directory = TempDir::new().unwrap();
    let library = directory.path().join("libchdb.so");
    std::fs::write(&library, "not a library").unwrap();
    let mut spec = spec(directory.path()).unwrap();
    spec.library = library;
    let error = Engine::start(spec).await.unwrap_err().to_string();
    assert!(error.contains("cannot load"), "{error}");
    assert!(error.contains("engine.log"), "{error}");
}

#[tokio::test]
async fn each_user_may_do_what_it_is_for() {
    let directory = TempDir::new().unwrap();
    let engine = Engine::start(spec(directory.path()).unwrap()).await.unwrap();
    Store::new(engine.store_config()).unwrap().migrate(&MigrationParams::default()).await.unwrap();
    let grafana = StoreConfig {
        user: engine.grafana_credentials().user.clone(),
        password: engine.grafana_credentials().password.clone(),
        ..engine.store_config()
    };
    let ask = async |config: &StoreConfig, sql: &str| query(config, "kelly", sql).await;
    assert_eq!(ask(&grafana, "SELECT count() FROM system_metrics").await.unwrap(), "0");
    assert_eq!(ask(&grafana, "SELECT 1 SETTINGS max_execution_time = 5").await.unwrap(), "1");
    for refused in [
        "INSERT INTO dead_letters (topic) VALUES ('x')",
        "CREATE TABLE x (a UInt8) ENGINE = Memory",
        "DROP TABLE system_metrics",
        "ALTER TABLE system_metrics DELETE WHERE 1",
        "SELECT 1 SETTINGS max_memory_usage = 0",
        "SELECT 1 SETTINGS max_execution_time = 3600",
        "SELECT * FROM file('/etc/hostname', 'LineAsString')",
        "SELECT * FROM system.users",
    ] {
        let answer = ask(&grafana, refused).await;
        assert!(answer.is_err(), "{refused}: {answer:?}");
    }

    // The user the engine starts as has no password: whoever is on this machine can log in as it.
    let nobody = StoreConfig { user: "default".into(), password: String::new(), ..engine.store_config() };
    for refused in [
        "SYSTEM STOP LISTEN TCP",
        "SELECT number FROM system.numbers LIMIT 1",
        "SELECT count() FROM kelly.system_metrics",
        "SELECT * FROM file('/etc/hostname', 'LineAsString')",
    ] {
        let answer = ask(&nobody, refused).await;
        assert!(answer.is_err(), "{refused}: {answer:?}");
    }
    let wrong = StoreConfig { password: "wrong".into(), ..engine.store_config() };
    assert!(ask(&wrong, "SELECT 1").await.is_err());
    engine.shutdown().await;
}

#[tokio::test]
async fn nothing_but_loopback_is_listened_on_and_no_system_log_grows() {
    let directory = TempDir::new().unwrap();
    let engine = Engine::start(spec(directory.path()).unwrap()).await.unwrap();
    let pid = pid(&engine);
    let listening = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
    let ports = [engine.tcp_port(), engine.url().rsplit(':').next().unwrap().parse().unwrap()];
    for port in ports {
        let suffix = format!(":{port:04X}");
        let addresses: Vec<&str> = listening
            .lines()
            .filter(|line| line.split_whitespace().nth(3) == Some("0A"))
            .filter_map(|line| line.split_whitespace().nth(1))
            .filter(|address| address.ends_with(&suffix))
            .collect();
        assert_eq!(addresses, [format!("0100007F{suffix}")]);
    }
    // What is written down at all is written down by now, and would have made its table.
    let config = engine.store_config();
    query(&config, "default", "CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a").await.unwrap();
    query(&config, "default", "INSERT INTO t SELECT number FROM numbers(1000)").await.unwrap();
    query(&config, "default", "OPTIMIZE TABLE t FINAL").await.unwrap();
    assert!(query(&config, "default", "SELECT throwIf(1)").await.is_err());
    query(&config, "default", "SYSTEM FLUSH LOGS").await.unwrap();
    let logs = "SELECT groupArray(name) FROM system.tables WHERE database = 'system' \
                AND (name LIKE '%\\_log' OR notEmpty(data_paths))";
    assert_eq!(query(&config, "default", logs).await.unwrap(), "[]");
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    assert!(!String::from_utf8_lossy(&environment).contains("KELLY_"));
    engine.shutdown().await;
}

/// A server of its own follows the settings in `deploy/clickhouse`: a log table has a TTL there, or is off.
#[test]
fn the_deployed_servers_logs_are_bounded() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/clickhouse/system-logs.xml");
    let text = std::fs::read_to_string(path).unwrap();
    let sections = text.lines().map(str::trim).filter(|line| line.contains("_log"));
    let mut named = Vec::new();
    for section in sections.filter(|line| line.starts_with('<') && !line.starts_with("<!--")) {
        let bounded = section.contains("remove=\"1\"") || section.contains("<ttl>event_date + INTERVAL");
        assert!(bounded, "{section}");
        named.push(section.trim_start_matches('<').split([' ', '>']).next().unwrap());
    }
    // All that ClickHouse knows, whether or not its own configuration turns them on.
    for table in [
        "aggregated_zookeeper_log",
        "asynchronous_insert_log",
        "asynchronous_metric_log",
        "azure_queue_log",
        "background_schedule_pool_log",
        "backup_log",
        "blob_storage_log",
        "crash_log",
        "delta_lake_metadata_log",
        "error_log",
        "filesystem_cache_log",
        "filesystem_read_prefetches_log",
        "iceberg_metadata_log",
        "latency_log",
        "metric_log",
        "opentelemetry_span_log",
        "part_log",
        "predicate_statistics_log",
        "processors_profile_log",
        "query_log",
        "query_metric_log",
        "query_thread_log",
        "query_views_log",
        "s3queue_log",
        "session_log",
        "text_log",
        "trace_log",
        "transactions_info_log",
        "transposed_metric_log",
        "zookeeper_connection_log",
        "zookeeper_log",
    ] {
        assert!(named.contains(&table), "{table} is not bounded in deploy/clickhouse/system-logs.xml");
    }
}
