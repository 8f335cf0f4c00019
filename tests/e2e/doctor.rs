//! `kelly doctor` against what is well and what is not.

use kelly_harness::{Engine, KafkaBroker};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use serde_json::{Value, json};

use crate::first_minutes::until;
use crate::kelly_process::{Kelly, Start, run};
use crate::tools::{BASE, QUIET, record};

/// Where nothing listens, whatever else runs on this machine.
const NO_SERVER: &str = "http://127.0.0.1:1";

/// A producer of transactions.
struct Transactions(ThreadedProducer<DefaultProducerContext>);

impl Transactions {
    fn start(broker: &KafkaBroker) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", broker.bootstrap()).set("transactional.id", "doctor");
        let producer: ThreadedProducer<DefaultProducerContext> = config.create().expect("a producer");
        producer.init_transactions(crate::kelly_process::PATIENCE).expect("the broker takes transactions");
        Self(producer)
    }

    /// Begins one, and has the broker take a metric in it.
    fn begin(&self) {
        self.0.begin_transaction().expect("none is open");
        let record = BaseRecord::<str, str>::to("kelly.metrics").payload(r#"{"metric_name":"m","value":1}"#);
        self.0.send(record.key("k")).map_err(|(error, _)| error).expect("it is queued");
        self.0.flush(crate::kelly_process::PATIENCE).expect("the broker takes it");
    }
}

/// What a doctor said: exit code, and of each finding `area status: found`.
struct Diagnosis {
    code: Option<i32>,
    findings: Vec<String>,
}

impl Diagnosis {
    fn of(arguments: &[&str], environment: &[(&str, &str)], directory: &std::path::Path) -> Self {
        let mut line = vec!["doctor", "--json"];
        line.extend(arguments);
        let (code, out, stderr) = run(&line, environment, directory);
        let report: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{stderr}"));
        let text = |finding: &Value, name: &str| finding[name].as_str().unwrap_or_default().to_owned();
        let findings = report["findings"].as_array().expect("findings").iter();
        let summary = |finding: &Value| {
            let is_ok = finding["status"] == "ok";
            assert_eq!(finding["fix"].is_null(), is_ok, "what is not well can be fixed: {finding}");
            format!("{} {}: {}", text(finding, "area"), text(finding, "status"), text(finding, "found"))
        };
        Self { code, findings: findings.map(summary).collect() }
    }

    /// Whether a finding begins so.
    fn says(&self, beginning: &str) -> bool {
        self.findings.iter().any(|finding| finding.starts_with(beginning))
    }

    /// That findings begin so.
    fn must_say(&self, beginnings: &[&str]) {
        for beginning in beginnings {
            assert!(self.says(beginning), "{beginning}: {:#?}", self.findings);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_knows_health_and_its_absence() {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().to_str().expect("a plain path");
    let kelly = Kelly::start(Start { arguments: &["up"], environment: &QUIET, data: directory.path() }).await;
    record(&kelly, json!({"metric_name": "examined", "value": 1})).await;
    until(&kelly, &format!("{BASE}/metrics/detailed/examined"), |answer| answer["sample_count"] == 1).await;
    let well = Diagnosis::of(&["--data", data, "--server", &kelly.url], &QUIET, directory.path());
    // What this machine has of room and of file descriptors is not this test's to say.
    let ills: Vec<&String> = well
        .findings
        .iter()
        .filter(|finding| !finding.contains(" ok: "))
        .filter(|finding| !["open files ", "disk ", "data "].iter().any(|area| finding.starts_with(area)))
        .collect();
    assert!(ills.is_empty(), "{ills:?}");
    assert!(well.code == Some(0) || well.findings.iter().any(|finding| !finding.contains(" ok: ")));
    well.must_say(&[
        "version ok: ",
        "configuration ok: ",
        "engine library ok: ",
        "data ok: ",
        "kelly ok: ",
        "log ok: ",
        "topic ok: kelly.metrics",
        "lag ok: ",
        "store ok: ",
        "schema ok: ",
        "rights ok: ",
        "tables ok: ",
        "parts ok: ",
        "dead letters ok: ",
        "clock ok: ",
    ]);

    kelly
        .sql(
            "INSERT INTO dead_letters SELECT 'kelly.metrics', 0, number, 0, now64(3), 'too_old', 'old', '', '{}' \
             FROM numbers(3)",
        )
        .await;
    kelly.sql("ALTER TABLE schema_migrations DELETE WHERE number = 3 AND kind = 'migration' SETTINGS mutations_sync = 2").await;
    let ill = Diagnosis::of(&["--data", data, "--server", &kelly.url], &QUIET, directory.path());
    assert_eq!(ill.code, Some(5), "{:?}", ill.findings);
    ill.must_say(&["schema problem: database kelly lacks migration 0003"]);
    assert_eq!(kelly.terminate(), Some(0));

    let down = Diagnosis::of(&["--data", data, "--server", NO_SERVER], &QUIET, directory.path());
    assert_eq!(down.code, Some(5));
    down.must_say(&[
        "engine library ok: ",
        "kelly problem: no Kelly answers at http://127.0.0.1:1/",
        "log warning: ",
        "store problem: ",
    ]);
    let (code, text, _) = run(&["doctor", "--server", NO_SERVER], &[("KELLY_LISTN", "x")], directory.path());
    assert_eq!(code, Some(5));
    assert!(text.contains("PROBLEM  configuration  KELLY_LISTN: no such variable; did you mean"), "{text}");
    assert!(!text.contains('\u{1b}'), "no colours where nobody sees them");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_examines_roles_apart() {
    let directory = tempfile::tempdir().expect("a directory");
    let nothing = [
        ("KELLY_LOG", "kafka://127.0.0.1:1"),
        ("KELLY_STORE", "http://kelly@127.0.0.1:1/kelly"),
        ("KELLY_STORE_CLUSTER", "main"),
    ];
    let down = Diagnosis::of(&["--server", NO_SERVER], &nothing, directory.path());
    assert_eq!(down.code, Some(5));
    down.must_say(&[
        "log problem: kafka://127.0.0.1:1 does not answer: ",
        "store problem: ",
        "kelly problem: ",
    ]);

    let broker = KafkaBroker::start().expect("a Kafka broker");
    let engine = Engine::start().expect("an engine");
    let store = engine.store_config();
    let log_url = format!("kafka://{}", broker.bootstrap());
    let store_url = format!("http://{}@{}/kelly_ill", store.user, store.url.trim_start_matches("http://"));
    let environment = [
        ("KELLY_LOG", log_url.as_str()),
        ("KELLY_STORE", store_url.as_str()),
        ("KELLY_STORE_PASSWORD", store.password.as_str()),
        QUIET[0],
    ];
    let bare = Diagnosis::of(&["--server", NO_SERVER], &environment, directory.path());
    bare.must_say(&[
        "log ok: ",
        "topic problem: there is no topic kelly.metrics",
        "topic problem: there is no topic kelly.activity",
        "store ok: ",
        "schema problem: database kelly_ill lacks migration 0000",
    ]);

    let (code, _, stderr) = run(&["migrate"], &environment, directory.path());
    assert_eq!(code, Some(0), "{stderr}");
    let start = |role| Start { arguments: role, environment: &environment, data: directory.path() };
    let data = directory.path().to_str().expect("a plain path");
    // It makes the topics, and nobody reads them.
    let serve = Kelly::start(start(&["serve"])).await;
    for value in 0..5 {
        record(&serve, json!({"metric_name": "unread", "value": value})).await;
    }
    let unread = Diagnosis::of(&["--server", &serve.url, "--data", data], &environment, directory.path());
    assert_eq!(unread.code, Some(5), "{:?}", unread.findings);
    unread.must_say(&[
        "lag problem: 5 records behind: kelly.metrics/",
        "schema ok: ",
        "topic ok: ",
        "clock ok: ",
        "kelly ok: ",
    ]);

    let ingest = Kelly::spawn(start(&["ingest"]));
    until(&serve, &format!("{BASE}/metrics/detailed/unread"), |answer| answer["sample_count"] == 5).await;
    let begun = std::time::Instant::now();
    loop {
        let read = Diagnosis::of(&["--server", &serve.url, "--data", data], &environment, directory.path());
        if read.says("lag ok: ") {
            break;
        }
        assert!(begun.elapsed() < crate::kelly_process::PATIENCE, "{:?}", read.findings);
    }
    assert_eq!(ingest.terminate(), Some(0));

    // Nobody reads any more, and what comes by a transaction that is aborted is nothing to read.
    let producer = Transactions::start(&broker);
    producer.begin();
    producer.0.abort_transaction(crate::kelly_process::PATIENCE).expect("it is aborted");
    let diagnose =
        || Diagnosis::of(&["--server", &serve.url, "--data", data], &environment, directory.path());
    let idle = diagnose();
    idle.must_say(&["lag ok: ingest has confirmed every record"]);
    // Nor is what a transaction holds back, but it is said.
    producer.begin();
    diagnose().must_say(&[
        "lag ok: ingest has confirmed every record; 1 more from the first open transaction on can be read by nobody",
    ]);
    producer.0.commit_transaction(crate::kelly_process::PATIENCE).expect("it is committed");
    // The coordinator answers before the marker is on the partition.
    let begun = std::time::Instant::now();
    while !diagnose().says("lag problem: ") {
        assert!(begun.elapsed() < crate::kelly_process::PATIENCE, "{:?}", diagnose().findings);
    }
    assert_eq!(serve.terminate(), Some(0));
}
