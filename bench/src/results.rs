//! The results file: what each benchmark found, when, on which machine and of which versions, and the
//! same as a table for people. `all` writes it; figures elsewhere are copied from it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::store::{FreshStore, Overrides};
use crate::{Report, machine};

/// The order of benchmarks in the file; others follow.
const ORDER: [&str; 14] = [
    "ingest",
    "peers",
    "record",
    "freshness",
    "query",
    "live",
    "flood",
    "evaluate",
    "alert-latency",
    "nab",
    "anomaly-events",
    "idle",
    "storage",
    "chaos",
];
const FILE: &str = "results.json";
const PAGE: &str = "results.md";

/// What this run is a run of.
pub struct Stamp {
    commit: Option<String>,
    versions: Value,
}

impl Stamp {
    /// Asks for every version.
    pub async fn take() -> Result<Self> {
        let fresh = FreshStore::start(&Overrides::default()).await?;
        let clickhouse = fresh.store().version().await?;
        fresh.end().await;
        let changed = output("git", &["status", "--porcelain", "--untracked-files=no"]);
        let commit = output("git", &["rev-parse", "--short=12", "HEAD"])
            .map(|commit| if changed.is_some() { format!("{commit}, with changes") } else { commit });
        let versions = json!({
            "kelly": env!("CARGO_PKG_VERSION"),
            "rustc": output("rustc", &["--version"]),
            "clickhouse": clickhouse,
            "kafka": kafka_version(),
            "librdkafka": librdkafka_version(include_str!("../../Cargo.lock")),
        });
        Ok(Self { commit, versions })
    }
}

/// Puts a report into the results of `directory`, in the place of the last of its name.
pub fn write(directory: &Path, name: &str, report: &Report, stamp: &Stamp) -> Result<()> {
    std::fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))?;
    let path = directory.join(FILE);
    let mut results: BTreeMap<String, Value> = match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .with_context(|| format!("reading {}: remove it to begin anew", path.display()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    results.insert(
        name.to_owned(),
        json!({
            "at": chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "commit": stamp.commit,
            "versions": stamp.versions,
            "machine": machine::describe(),
            "table": report.markdown(),
            "result": report.json,
        }),
    );
    let text = serde_json::to_string_pretty(&results).context("writing the results")?;
    std::fs::write(&path, text + "\n").with_context(|| format!("writing {}", path.display()))?;
    let page = directory.join(PAGE);
    std::fs::write(&page, render(&results)).with_context(|| format!("writing {}", page.display()))
}

/// The page for people.
fn render(results: &BTreeMap<String, Value>) -> String {
    let mut page = String::from(
        "# Results\n\nWritten by `kelly-bench all` (`make bench`) beside `results.json`; how each is measured is in\n\
         `docs/benchmarks.md`. Broker, engine, Kelly and the load share the machine's cores.\n",
    );
    let mut names: Vec<&String> = results.keys().collect();
    names.sort_by_key(|name| ORDER.iter().position(|known| known == name).unwrap_or(ORDER.len()));
    for name in names {
        let entry = &results[name];
        let text = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
        let (machine, versions) = (&entry["machine"], &entry["versions"]);
        page.push_str(&format!(
            "\n## {name}\n\n{}\n\n{} UTC, commit {}; {}, {} cores, {} GiB, {} build; ClickHouse {}, Apache Kafka {}, \
             librdkafka {}, {}\n",
            text(&entry["table"]),
            text(&entry["at"]).trim_end_matches('Z').replace('T', " "),
            text(&entry["commit"]),
            text(&machine["cpu"]),
            machine["cores"],
            machine["memory_gib"],
            text(&machine["profile"]),
            text(&versions["clickhouse"]),
            text(&versions["kafka"]),
            text(&versions["librdkafka"]),
            text(&versions["rustc"]),
        ));
    }
    page
}

/// A program's first line, unless it fails or says nothing.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().next()?.trim();
    (output.status.success() && !line.is_empty()).then(|| line.to_owned())
}

/// Of the broker's jar, `kafka_2.13-4.1.1.jar`.
fn kafka_version() -> Option<String> {
    let jars = std::fs::read_dir(kelly_harness::kafka::jars().ok()?).ok()?;
    jars.flatten().find_map(|jar| {
        let name = jar.file_name().into_string().ok()?;
        let version = name.strip_prefix("kafka_2.")?.split_once('-')?.1.strip_suffix(".jar")?;
        version.starts_with(|first: char| first.is_ascii_digit()).then(|| version.to_owned())
    })
}

/// `4.10.0+2.12.1` of rdkafka-sys is librdkafka 2.12.1.
fn librdkafka_version(lock: &str) -> Option<&str> {
    let (_, after) = lock.split_once("name = \"rdkafka-sys\"\nversion = \"")?;
    let (version, _) = after.split_once('"')?;
    version.split_once('+').map(|(_, bundled)| bundled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_replaces_the_last_of_its_name_and_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let stamp = Stamp { commit: Some("abc".into()), versions: json!({"clickhouse": "26.7"}) };
        let report = |rate: u32| {
            let mut table = comfy_table::Table::new();
            table.set_header(["rate"]).add_row([rate.to_string()]);
            Report { table, json: json!({"rate": rate}), failed: false }
        };
        write(directory.path(), "query", &report(1), &stamp).unwrap();
        write(directory.path(), "ingest", &report(2), &stamp).unwrap();
        write(directory.path(), "query", &report(3), &stamp).unwrap();
        let results: Value =
            serde_json::from_slice(&std::fs::read(directory.path().join(FILE)).unwrap()).unwrap();
        assert_eq!(results["query"]["result"]["rate"], 3);
        assert_eq!(results["ingest"]["result"]["rate"], 2);
        let page = std::fs::read_to_string(directory.path().join(PAGE)).unwrap();
        assert!(page.find("## ingest").unwrap() < page.find("## query").unwrap());
        assert!(page.contains("| 3 ") && !page.contains("| 1 "), "{page}");
        assert!(page.contains("ClickHouse 26.7") && page.contains("commit abc"));
    }

    #[test]
    fn the_lock_file_tells_librdkafka() {
        let version = librdkafka_version(include_str!("../../Cargo.lock")).unwrap();
        assert!(version.starts_with(|first: char| first.is_ascii_digit()), "{version}");
    }
}
