//! What the command line says when something is wrong: what, where, and how to mend it.

use std::net::TcpListener;

use crate::kelly_process::{Kelly, Start, run};

#[test]
fn a_taken_port_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let (code, _, told) = run(&["up", "--listen", &address], &[], directory.path());
    assert_ne!(code, Some(0));
    assert!(told.contains(&address) && told.contains("--listen"), "{told}");
}

#[test]
fn a_missing_engine_says_how_to_get_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let (code, _, told) = run(&["up"], &[("KELLY_LIBCHDB", "/nowhere/libchdb.so")], directory.path());
    assert_ne!(code, Some(0));
    assert!(told.contains("/nowhere/libchdb.so") && told.contains("KELLY_LIBCHDB"), "{told}");
}

#[test]
fn an_unknown_variable_is_an_error_with_a_suggestion() {
    let directory = tempfile::tempdir().expect("a directory");
    let (code, _, told) = run(&["config"], &[("KELLY_LISTN", "127.0.0.1:1")], directory.path());
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("KELLY_LISTN") && told.contains("KELLY_LISTEN"), "{told}");
}

#[test]
fn secrets_are_not_shown() {
    let directory = tempfile::tempdir().expect("a directory");
    let (code, shown, told) =
        run(&["config"], &[("KELLY_STORE_PASSWORD", "hunter2-canary")], directory.path());
    assert_eq!(code, Some(0), "{told}");
    assert!(!shown.contains("hunter2-canary") && !told.contains("hunter2-canary"), "{shown}{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_kelly_on_the_same_directory_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let environment = [("KELLY_MONITORING_ENABLED", "false")];
    let first =
        Kelly::start(Start { arguments: &["up"], environment: &environment, data: directory.path() }).await;
    let data = directory.path().to_str().expect("a plain path");
    let elsewhere = tempfile::tempdir().expect("a directory");
    let (code, _, told) =
        run(&["up", "--data", data, "--listen", "127.0.0.1:0"], &environment, elsewhere.path());
    assert_ne!(code, Some(0), "{told}");
    assert!(told.contains(data), "the directory is named: {told}");
    assert!(!first.get("/livez").await["status"].is_null(), "the first goes on");
    assert_eq!(first.terminate(), Some(0));
}
