//! Producers that are not ours.

use std::time::{Duration, Instant};

use kelly_harness::KafkaBroker;

use crate::kelly_process::{Kelly, PATIENCE, Start};
use crate::python;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_confluent_kafka_are_there() {
    const COUNT: usize = 500;
    let broker = KafkaBroker::start().expect("a Kafka broker");
    let directory = tempfile::tempdir().expect("a directory");
    let log_url = format!("kafka://{}", broker.bootstrap());
    let environment = [("KELLY_LOG", log_url.as_str()), ("KELLY_MONITORING_ENABLED", "false")];
    let kelly =
        Kelly::start(Start { arguments: &["up"], environment: &environment, data: directory.path() }).await;
    python::run("tests/e2e/producer.py", &[broker.bootstrap(), &COUNT.to_string()]);
    // The example of the documentation, as it stands there.
    python::run("docs/arrow_producer.py", &[broker.bootstrap(), "2", "5000"]);
    let begun = Instant::now();
    let wanted = (2 * COUNT).to_string();
    let count = "SELECT uniqExact(value) FROM system_metrics WHERE metric_name = 'from_python'";
    while kelly.sql(count).await != wanted {
        assert!(begun.elapsed() < PATIENCE, "only {} of {wanted} rows came", kelly.sql(count).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let metadata =
        kelly.sql("SELECT any(metadata) FROM system_metrics WHERE account_id = 'other-make'").await;
    assert_eq!(metadata, r#"{"region":"north"}"#, "an unknown field goes to the metadata");
    let arrow = "SELECT uniqExact(value), countIf(metadata = '{\"region\":\"north\"}'), uniqExact(conversation_id) \
                 FROM system_metrics WHERE metric_name = 'from_pyarrow' AND account_id = 'acme'";
    while kelly.sql(arrow).await != "10000\t1000\t100" {
        assert!(begun.elapsed() < PATIENCE, "of the Arrow rows came {}", kelly.sql(arrow).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    while kelly.get("/api/v1/kelly/monitoring/activity/feed").await["events"][0]["title"]
        != "Greetings from Python"
    {
        assert!(begun.elapsed() < PATIENCE, "the event did not come");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(kelly.terminate(), Some(0));
}
