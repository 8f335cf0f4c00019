//! What the command line says when something is wrong: what, where, and how to fix it.

use std::net::TcpListener;

use kelly_harness::{Engine, TestDatabase};

use crate::kelly_process::{Kelly, Start, kelly, run};

#[test]
fn a_taken_port_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let (code, _, stderr) = run(&["up", "--listen", &address], &[], directory.path());
    assert_eq!(code, Some(2), "only another command line helps: {stderr}");
    assert!(stderr.contains(&address) && stderr.contains("--listen"), "{stderr}");
    let left: Vec<_> = std::fs::read_dir(directory.path()).expect("the directory").collect();
    assert!(left.is_empty(), "nothing is left behind: {left:?}");
}

#[test]
fn a_missing_engine_says_how_to_get_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let (code, _, stderr) = run(&["up"], &[("KELLY_LIBCHDB", "/nowhere/libchdb.so")], directory.path());
    assert_ne!(code, Some(0));
    assert!(stderr.contains("/nowhere/libchdb.so") && stderr.contains("KELLY_LIBCHDB"), "{stderr}");
}

#[test]
fn help_that_cannot_be_written_is_no_success() {
    for arguments in
        [&["--help"][..], &["--version"], &["replay", "--help"], &["completions", "bash"], &["config"]]
    {
        let full =
            std::fs::File::options().write(true).open("/dev/full").expect("a device that is always full");
        let output = kelly().args(arguments).stdout(full).output().expect("the kelly binary runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
        assert!(stderr.contains("writing") && stderr.contains("No space left"), "{arguments:?}: {stderr}");
    }
}

#[test]
fn an_unknown_variable_is_an_error_with_a_suggestion() {
    let directory = tempfile::tempdir().expect("a directory");
    let (code, _, stderr) = run(&["config"], &[("KELLY_LISTN", "127.0.0.1:1")], directory.path());
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("KELLY_LISTN") && stderr.contains("KELLY_LISTEN"), "{stderr}");
}

#[test]
fn secrets_are_not_shown() {
    let directory = tempfile::tempdir().expect("a directory");
    let (code, shown, stderr) =
        run(&["config"], &[("KELLY_STORE_PASSWORD", "hunter2-canary")], directory.path());
    assert_eq!(code, Some(0), "{stderr}");
    assert!(!shown.contains("hunter2-canary") && !stderr.contains("hunter2-canary"), "{shown}{stderr}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_kelly_on_the_same_directory_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let environment = [("KELLY_MONITORING_ENABLED", "false")];
    let first =
        Kelly::start(Start { arguments: &["up"], environment: &environment, data: directory.path() }).await;
    let data = directory.path().to_str().expect("a plain path");
    let elsewhere = tempfile::tempdir().expect("a directory");
    let (code, _, stderr) =
        run(&["up", "--data", data, "--listen", "127.0.0.1:0"], &environment, elsewhere.path());
    assert_eq!(code, Some(2), "only another command line helps: {stderr}");
    assert!(stderr.contains(data), "the directory is named: {stderr}");
    let owner = format!("process {}", first.pid());
    assert!(stderr.contains(&owner), "and who has it: {stderr}");
    let left: Vec<_> = std::fs::read_dir(elsewhere.path()).expect("the directory").collect();
    assert!(left.is_empty(), "nothing is left behind: {left:?}");
    assert!(!first.get("/livez").await["status"].is_null(), "the first goes on");
    assert_eq!(first.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_schema_is_refused_by_every_role() {
    let database = TestDatabase::create().await;
    let tomorrow = "INSERT INTO schema_migrations (kind, number, name, checksum, state, kelly_version) \
                    VALUES ('migration', 9000, '9000_of_tomorrow', '', 'applied', '99.0.0')";
    database.query(tomorrow).await;
    let store = Engine::shared().store_config();
    let address = store.url.trim_start_matches("http://");
    let url = format!("http://{}@{address}/{}", store.user, database.name());
    let directory = tempfile::tempdir().expect("a directory");
    // The tables are looked at first: nobody is asked for the log.
    let environment = [
        ("KELLY_STORE", url.as_str()),
        ("KELLY_STORE_PASSWORD", store.password.as_str()),
        ("KELLY_LOG", "kafka://127.0.0.1:1"),
        ("KELLY_LISTEN", "127.0.0.1:0"),
        ("KELLY_AUTH", "off"),
    ];
    for role in ["migrate", "serve", "ingest"] {
        let (code, _, stderr) = run(&[role], &environment, directory.path());
        assert!(code.is_some_and(|code| code != 0), "{role}: {code:?} {stderr}");
        assert!(stderr.contains("9000_of_tomorrow") && stderr.contains("newer Kelly"), "{role}: {stderr}");
        assert!(stderr.contains(database.name()), "{role}: {stderr}");
        assert!(!stderr.contains(&store.password), "{role} showed the password");
    }
}
