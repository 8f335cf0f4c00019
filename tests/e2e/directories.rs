//! What happens to the data directory while Kelly runs, and where it lies: deleted, on a disk without room, under any name,
//! or held by a Kelly that was killed a moment ago.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use kelly_harness::process::{free_address, kelly};
use serde_json::{Value, json};

use crate::first_minutes::until;
use crate::kelly_process::{Kelly, PATIENCE, Start, run};
use crate::tools::{BASE, QUIET};

/// Batches stay open for long, so that what was recorded last is on the log alone.
const SLOW: [(&str, &str); 3] = [
    ("KELLY_MONITORING_ENABLED", "false"),
    ("KELLY_INGEST_BATCH_MILLISECONDS", "60000"),
    ("KELLY_LOG_PARTITIONS", "1"),
];

fn rows(count: u32) -> Value {
    (1..=count).map(|value| json!({"metric_name": "kept", "value": value})).collect()
}

async fn record(kelly: &Kelly, count: u32) -> (u16, Value) {
    kelly.post(&format!("{BASE}/metrics/record"), &rows(count)).await.expect("an answer")
}

/// Waits until it is not ready and names the part; what the part says of itself then, to who is signed in.
async fn until_not_ready(kelly: &Kelly, part: &str) -> String {
    let begun = Instant::now();
    loop {
        if let Some((503, problem)) = kelly.look("/readyz").await {
            let errors = problem["errors"].as_array().expect("errors");
            if errors.iter().any(|error| *error == json!({ "part": part })) {
                let part = kelly.part(part).await.expect("the report has it");
                return part["summary"].as_str().expect("a summary").to_owned();
            }
        }
        assert!(begun.elapsed() < PATIENCE, "it stays ready");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The tools find a Kelly by a file in its directory, or by `--server`: without the file it runs all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kelly_that_cannot_note_its_address_runs_and_says_so() {
    let directory = tempfile::tempdir().expect("a directory");
    // In the file's place stands a directory.
    std::fs::create_dir(directory.path().join("kelly.address")).expect("the place is ours");
    let kelly = Kelly::start(Start { arguments: &["up"], environment: &QUIET, data: directory.path() }).await;
    assert_eq!(record(&kelly, 1).await.0, 202);
    assert!(
        kelly.has_logged("kelly.address") && kelly.has_logged(&format!("give them --server {}", kelly.url))
    );
    assert_eq!(kelly.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_directory_that_is_deleted_ends_recording() {
    let place = tempfile::tempdir().expect("a directory");
    let data = place.path().join("data");
    std::fs::create_dir(&data).expect("the place is ours");
    let mut kelly = Kelly::start(Start { arguments: &["up"], environment: &SLOW, data: &data }).await;
    assert_eq!(record(&kelly, 10).await.0, 202);
    // The engine may put a file there meanwhile.
    while std::fs::remove_dir_all(&data).is_err() && data.exists() {}

    for _ in 0..3 {
        let (status, problem) = record(&kelly, 10).await;
        assert_eq!((status, &problem["code"]), (503, &json!("log_unavailable")), "{problem}");
    }
    for part in ["log", "store"] {
        let reason = until_not_ready(&kelly, part).await;
        assert!(reason.contains("deleted, moved or replaced"), "{reason}");
    }
    let health = kelly.look(&format!("{BASE}/health")).await.expect("an answer");
    assert_eq!((health.0, &health.1["status"]), (503, &json!("unhealthy")), "{}", health.1);
    // With the directory went the secret that signs the tools in.
    let token = kelly.token();
    let (code, report, _) = run(
        &["doctor", "--json", "--data", data.to_str().expect("a plain path"), "--server", &kelly.url],
        &[&SLOW[..], &[("KELLY_TOKEN", token.as_str())]].concat(),
        place.path(),
    );
    assert_eq!(code, Some(5), "{report}");
    assert!(report.contains("deleted, moved or replaced"), "{report}");
    let arguments =
        ["doctor", "--json", "--data", data.to_str().expect("a plain path"), "--server", &kelly.url];
    let (code, report, _) = run(&arguments, &SLOW, place.path());
    assert_eq!(code, Some(5), "{report}");
    assert!(report.contains("log: not ready") && report.contains("KELLY_TOKEN"), "{report}");
    kelly.ask_to_stop();
    let begun = Instant::now();
    let code = loop {
        if let Some(code) = kelly.ended() {
            break code;
        }
        assert!(begun.elapsed() < PATIENCE, "it does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(code, Some(1), "the end is no good one");
    assert!(kelly.has_logged("was deleted, moved or replaced"), "and says why");
    assert!(!data.exists(), "nothing of it was made again");
}

/// The log alone is deleted: what was acknowledged before is read through files that are still open, and written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_a_deleted_log_are_saved_into_the_store() {
    let place = tempfile::tempdir().expect("a directory");
    let data = place.path().join("data");
    std::fs::create_dir(&data).expect("the place is ours");
    let start = || Start { arguments: &["up"], environment: &SLOW, data: &data };
    let kelly = Kelly::start(start()).await;
    for _ in 0..5 {
        assert_eq!(record(&kelly, 100).await.0, 202);
    }
    assert_eq!(kelly.sql("SELECT count() FROM system_metrics").await, "0", "the batch is open");
    std::fs::remove_dir_all(data.join("log")).expect("it is ours");
    assert_eq!(record(&kelly, 100).await.0, 503);
    let reason = until_not_ready(&kelly, "log").await;
    assert!(reason.contains("takes nothing"), "{reason}");
    assert_eq!(kelly.terminate(), Some(1), "the log is gone");

    // A new log begins, and the store has everything that was acknowledged.
    let kelly = Kelly::start(start()).await;
    assert_eq!(kelly.sql("SELECT count() FROM system_metrics").await, "500");
    assert_eq!(record(&kelly, 100).await.0, 202);
    assert_eq!(kelly.terminate(), Some(0));
    let kelly = Kelly::start(start()).await;
    assert_eq!(kelly.sql("SELECT count() FROM system_metrics").await, "600", "and what came after");
    assert_eq!(kelly.terminate(), Some(0));
}

/// A Kelly that was killed is not gone at once: the system takes its locks from it one by one, and its engine ends after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_right_after_a_kill_under_load_waits_for_the_end_of_the_one_before() {
    const KILLS: u32 = 6;
    let directory = tempfile::tempdir().expect("a directory");
    let environment = [("KELLY_MONITORING_ENABLED", "false")];
    let start = || Start { arguments: &["up"], environment: &environment, data: directory.path() };
    let mut kelly = Kelly::start(start()).await;
    for _ in 0..KILLS {
        let request =
            || kelly.request(reqwest::Method::POST, &format!("{BASE}/metrics/record")).json(&rows(500));
        let load: Vec<_> = (0..4)
            .map(|_| {
                let request = request();
                tokio::spawn(async move {
                    let mut accepted = 0;
                    let again = || request.try_clone().expect("its body is in memory").send();
                    while let Ok(answer) = again().await {
                        accepted += u32::from(answer.status() == 202);
                    }
                    accepted
                })
            })
            .collect();
        let begun = Instant::now();
        while kelly.sql("SELECT count() FROM system_metrics").await.parse::<u64>().expect("a count") < 20_000
        {
            assert!(begun.elapsed() < PATIENCE, "the load does not arrive");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        kelly.kill_at_once();
        let mut next = Kelly::spawn(start());
        next.until_ready().await;
        next.sql("TRUNCATE TABLE system_metrics").await;
        for task in load {
            assert!(task.await.expect("no panic") > 0, "there was no load");
        }
        kelly = next;
    }
    // One that runs is refused as ever.
    let data = directory.path().to_str().expect("a plain path");
    let elsewhere = tempfile::tempdir().expect("a directory");
    let address = free_address();
    let arguments = ["up", "--data", data, "--listen", address.as_str()];
    let (code, _, words) = run(&arguments, &environment, elsewhere.path());
    assert_eq!(code, Some(2), "{words}");
    assert!(words.contains(&format!("process {}", kelly.pid())), "{words}");
    assert_eq!(kelly.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_may_have_any_name() {
    let place = tempfile::tempdir().expect("a directory");
    for name in [r#"a & <b> "c" 'd' \e ${path} %41 ?#"#, "two\nlines"] {
        let data = place.path().join(OsStr::new(name));
        std::fs::create_dir(&data).expect("the system takes the name");
        for count in 1..=2 {
            let kelly = Kelly::start(Start { arguments: &["up"], environment: &QUIET, data: &data }).await;
            assert_eq!(record(&kelly, 10).await.0, 202);
            until(&kelly, &format!("{BASE}/metrics/detailed/kept"), |answer| {
                answer["sample_count"] == 10 * count
            })
            .await;
            let text = data.to_str().expect("UTF-8");
            let (code, report, words) =
                run(&["doctor", "--json", "--data", text, "--server", &kelly.url], &QUIET, place.path());
            assert_ne!(code, Some(5), "{report}{words}");
            assert_eq!(kelly.terminate(), Some(0));
        }
    }
}

/// A disk of its own with too little room for the log, in a user and mount namespace that need no rights of the caller's.
const ON_A_SMALL_DISK: &str = r#"mount -t tmpfs -o size=200m tmpfs "$0" && exec "$@""#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_on_a_disk_without_room_says_so_instead_of_ready() {
    use std::io::{BufRead, BufReader};
    let directory = tempfile::tempdir().expect("a directory");
    let program = kelly();
    let mut command = std::process::Command::new("unshare");
    command.args(["-Urm", "sh", "-c", ON_A_SMALL_DISK]).arg(directory.path()).arg(program.get_program());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let address = free_address();
    let mut child = command
        .args(["up", "--listen", &address, "--data"])
        .arg(directory.path().join("data"))
        .env("KELLY_MONITORING_ENABLED", "false")
        .env("RUST_LOG", "kelly=info")
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect(
            "a process with namespaces of its own; where a system denies them, allow them to plain users",
        );
    let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut lines = stderr.lines().map_while(Result::ok).inspect(|line| eprintln!("kelly: {line}"));
    let words = lines.find(|line| line.contains("ready"));
    let words = words.expect("it says how it is");
    assert!(words.contains("is not ready, it records nothing"), "{words}");
    assert!(words.contains("disk is nearly full") && words.contains("256 MiB are kept free"), "{words}");
    // SAFETY: kill takes two integers; the child is ours and not yet waited for.
    unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
    lines.for_each(drop);
    assert!(child.wait().expect("it ends").success());
}

/// A file system in memory, which no list of disks has.
#[test]
fn the_doctor_asks_the_file_system_the_directory_lies_on() {
    let memory = Path::new("/dev/shm");
    let directory = tempfile::tempdir_in(memory).expect("a file system in memory");
    let output = std::process::Command::new("df")
        .args(["--output=size", "--block-size=1"])
        .arg(memory)
        .output()
        .expect("df is there");
    let text = String::from_utf8(output.stdout).expect("digits");
    let total: f64 = text.lines().nth(1).expect("a size").trim().parse().expect("digits");
    let data = directory.path().join("not/yet");
    let arguments = [
        "doctor",
        "--json",
        "--data",
        data.to_str().expect("a plain path"),
        "--server",
        "http://127.0.0.1:1",
    ];
    let (_, report, words) = run(&arguments, &QUIET, directory.path());
    let shown = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB")]
        .iter()
        .find(|(size, _)| total >= *size)
        .map(|(size, unit)| format!("of {:.1} {unit} free", total / size))
        .expect("more than a megabyte");
    assert!(report.contains(&shown), "{shown}: {report}{words}");
}
