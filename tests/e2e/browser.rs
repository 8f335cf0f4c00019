//! Kelly's pages in a real Chromium, driven by the scripts of `tests/browser`.

use std::path::PathBuf;
use std::process::Command;

use kelly_harness::process::free_address;
use serde_json::Value;

use crate::kelly_process::run;
use crate::python::cache;
use crate::up::Up;

/// A script of `tests/browser`, to be run with what it is to do.
pub fn command(script: &str, plan: &Value) -> Command {
    let packages =
        std::env::var_os("KELLY_TEST_BROWSER").map_or_else(|| cache().join("browser"), PathBuf::from);
    let mut command = Command::new("node");
    command
        .arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/browser").join(script))
        .arg(plan.to_string())
        .env("KELLY_TEST_BROWSER", packages);
    command
}

/// Runs a script to its end.
async fn drive(script: &'static str, plan: Value) {
    let output = tokio::task::spawn_blocking(move || command(script, &plan).output())
        .await
        .expect("the script's end is awaited")
        .unwrap_or_else(|fault| panic!("node does not start ({fault}): run `scripts/setup browser`"));
    assert!(
        output.status.success(),
        "{script} failed (it wants `scripts/setup browser`): {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A fresh `kelly up` with figures each second, and a token of an administrator.
async fn fresh(place: &tempfile::TempDir) -> (Up, String) {
    let data = place.path().join("data");
    let environment = [("KELLY_METRICS_INTERVAL", "1"), ("RUST_LOG", "warn")];
    let up = Up::start(&data, &free_address(), &environment).await;
    let arguments = ["token", "--role", "admin", "--data", data.to_str().expect("a plain path")];
    let (code, token, stderr) = run(&arguments, &[], place.path());
    assert_eq!(code, Some(0), "{stderr}");
    (up, token.trim().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_signs_a_browser_in_once_and_its_page_moves_by_itself() {
    let place = tempfile::tempdir().expect("a directory");
    let (up, token) = fresh(&place).await;
    let plan = serde_json::json!({"url": up.url, "link": up.printed_link(), "token": token});
    drive("start_page.mjs", plan).await;
    up.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_are_tried_on_the_documentation_page_with_a_session_and_with_a_token() {
    let place = tempfile::tempdir().expect("a directory");
    let (up, token) = fresh(&place).await;
    drive("api_docs.mjs", serde_json::json!({"url": up.url, "token": token})).await;
    up.end();
}
