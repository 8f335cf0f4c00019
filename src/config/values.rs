//! From raw values to the typed configuration. Pure: what a value names (a file, a host) is not
//! looked at here.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::Secret;
use super::settings::{self, Key, Kind};
use super::sources::{Fault, Merged, Origin, Raw};
use super::targets::{LogTarget, StoreTarget, log_target, store_target};

/// What is in force. Settings of parts that do not exist yet are checked and then left out.
#[derive(Debug, Clone)]
pub struct Config {
    /// Directory of everything `kelly up` keeps.
    pub data: PathBuf,
    /// Address of the HTTP interface.
    pub listen: SocketAddr,
    /// Which log.
    pub log: LogTarget,
    /// Which store.
    pub store: StoreTarget,
    /// Password of the store's user, from the variable or from its file.
    pub store_password: Option<Secret>,
    /// File of that password.
    pub store_password_file: Option<PathBuf>,
    /// Cluster the migrations run on.
    pub store_cluster: Option<String>,
    /// Where libchdb lies, when it was said.
    pub libchdb: Option<PathBuf>,
    /// Bytes the embedded engine may use.
    pub engine_memory_bytes: u64,
    /// How diagnostics are written.
    pub logging: Logging,
    /// librdkafka properties: the file's table, and over it the properties file.
    pub kafka_properties: BTreeMap<String, String>,
    /// That file.
    pub kafka_properties_file: Option<PathBuf>,
    /// Self-monitoring and retention.
    pub monitoring: Monitoring,
    /// When a batch is closed.
    pub ingest: IngestSettings,
    /// Topics that Kelly creates.
    pub topics: TopicSettings,
}

/// How diagnostics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logging {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// Self-monitoring and retention.
#[derive(Debug, Clone)]
pub struct Monitoring {
    /// Whether Kelly records its own metrics.
    pub enabled: bool,
    /// Time between two samples.
    pub interval: Duration,
    /// JSON file of thresholds.
    pub thresholds: Option<PathBuf>,
    /// Days rollups and events are kept.
    pub retention_days: u32,
    /// Hours raw metrics are kept.
    pub metrics_retention_hours: u32,
}

/// When a batch is closed: whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IngestSettings {
    /// Rows.
    pub batch_rows: usize,
    /// Bytes of the log.
    pub batch_bytes: usize,
    /// Time since its first record.
    pub batch_time: Duration,
}

/// Topics that Kelly creates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicSettings {
    /// Partitions.
    pub partitions: u32,
    /// How long records are kept.
    pub retention_time: Duration,
    /// Bytes a partition keeps.
    pub retention_bytes: u64,
}

/// Reads every value, or says everything that is wrong.
pub fn typed(merged: &Merged) -> Result<Config, Vec<Fault>> {
    let mut reader = Reader { values: &merged.values, faults: merged.faults.clone() };
    for key in merged.values.keys() {
        reader.check_kind(*key);
    }
    let data = PathBuf::from(reader.text(Key::Data).unwrap_or_default());
    let config = Config {
        listen: reader.listen(),
        log: reader.log().unwrap_or_else(|| LogTarget::Embedded(data.join("log"))),
        store: reader.store().unwrap_or_else(|| StoreTarget::Embedded(data.clone())),
        store_password: reader.text(Key::StorePassword).map(Secret::new),
        store_password_file: reader.path(Key::StorePasswordFile),
        store_cluster: reader.cluster(),
        libchdb: reader.path(Key::Libchdb),
        engine_memory_bytes: reader.number(Key::EngineMemory),
        logging: reader.logging(),
        kafka_properties: merged.kafka_properties.clone(),
        kafka_properties_file: reader.path(Key::KafkaProperties),
        monitoring: Monitoring {
            enabled: reader.switch(Key::MonitoringEnabled),
            interval: Duration::from_secs(reader.number(Key::MetricsInterval)),
            thresholds: reader.path(Key::AlertThresholds),
            retention_days: reader.number(Key::RetentionDays),
            metrics_retention_hours: reader.number(Key::MetricsRetentionHours),
        },
        ingest: IngestSettings {
            batch_rows: reader.number(Key::IngestBatchRows),
            batch_bytes: reader.number(Key::IngestBatchBytes),
            batch_time: Duration::from_millis(reader.number(Key::IngestBatchMilliseconds)),
        },
        topics: TopicSettings {
            partitions: reader.number(Key::LogPartitions),
            retention_time: Duration::from_secs(
                reader.number::<u64>(Key::LogRetentionHours).saturating_mul(3_600),
            ),
            retention_bytes: reader.number(Key::LogRetentionBytes),
        },
        data,
    };
    reader.across(&config, &merged.kafka_properties);
    if reader.faults.is_empty() { Ok(config) } else { Err(reader.faults) }
}

struct Reader<'a> {
    values: &'a BTreeMap<Key, Raw>,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn raw(&self, key: Key) -> Option<&Raw> {
        self.values.get(&key)
    }

    fn fault(&mut self, key: Key, what: impl Into<String>) {
        let origin = self.raw(key).map_or(Origin::Default, |raw| raw.origin.clone());
        self.faults.push(Fault::of(key, &origin, what));
    }

    /// Every value is checked by its kind once, those without effect too.
    fn check_kind(&mut self, key: Key) {
        let Some(raw) = self.raw(key) else { return };
        if let Err(what) = check(settings::of(key).kind, &raw.text) {
            self.fault(key, what);
        }
    }

    fn text(&self, key: Key) -> Option<String> {
        self.raw(key).map(|raw| raw.text.clone())
    }

    fn path(&self, key: Key) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    fn switch(&self, key: Key) -> bool {
        self.raw(key).and_then(|raw| switch(&raw.text)).unwrap_or_default()
    }

    /// A number whose kind was checked; a faulty one reads as the type's default, and the fault is kept.
    fn number<T: TryFrom<u64> + Default>(&self, key: Key) -> T {
        let Some(raw) = self.raw(key) else { return T::default() };
        let number = match settings::of(key).kind {
            Kind::Bytes { .. } => bytes(&raw.text),
            _ => u64::from_str(raw.text.trim()).ok(),
        };
        number.and_then(|number| T::try_from(number).ok()).unwrap_or_default()
    }

    fn listen(&mut self) -> SocketAddr {
        let text = self.text(Key::Listen).unwrap_or_default();
        // `localhost` is how people name loopback; everything else is an address, so that no
        // resolver decides what Kelly is reachable on.
        let address = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        match SocketAddr::from_str(address.as_deref().unwrap_or(&text)) {
            Ok(address) if address.ip().is_loopback() => address,
            Ok(address) => {
                self.fault(
                    Key::Listen,
                    format!(
                        "{address} is reachable from other machines, and there is no \
                         authentication yet: use a loopback address such as 127.0.0.1:{}",
                        address.port()
                    ),
                );
                address
            }
            Err(_) => {
                self.fault(
                    Key::Listen,
                    format!("{text:?} is no address: write host:port, e.g. 127.0.0.1:8000"),
                );
                SocketAddr::from(([127, 0, 0, 1], 8000))
            }
        }
    }

    fn log(&mut self) -> Option<LogTarget> {
        let text = self.text(Key::Log)?;
        match log_target(&text) {
            Ok(target) => Some(target),
            Err(what) => {
                self.fault(Key::Log, what);
                None
            }
        }
    }

    fn store(&mut self) -> Option<StoreTarget> {
        let text = self.text(Key::Store)?;
        match store_target(&text) {
            Ok(target) => Some(target),
            Err(what) => {
                self.fault(Key::Store, what);
                None
            }
        }
    }

    fn cluster(&mut self) -> Option<String> {
        let name = self.text(Key::StoreCluster)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if name.is_empty() || !name.chars().all(plain) {
            self.fault(
                Key::StoreCluster,
                format!("{name:?} is no cluster name: letters, digits, '_', '-' and '.' only"),
            );
        }
        Some(name)
    }

    fn logging(&mut self) -> Logging {
        match self.text(Key::Logging).as_deref() {
            Some("json") => Logging::Json,
            Some("text") | None => Logging::Text,
            Some(other) => {
                let what = format!("{other:?} is neither text nor json");
                self.fault(Key::Logging, what);
                Logging::Text
            }
        }
    }

    /// What one value says about another.
    fn across(&mut self, config: &Config, kafka_properties: &BTreeMap<String, String>) {
        let raw_hours = u64::from(config.monitoring.metrics_retention_hours);
        let rollup_days = u64::from(config.monitoring.retention_days);
        if rollup_days > 0 && raw_hours > rollup_days * 24 {
            self.fault(
                Key::MetricsRetentionHours,
                format!(
                    "raw metrics would be kept {raw_hours} hours, longer than everything else \
                     ({rollup_days} days): lower it, or raise MONITORING_DB_RETENTION_DAYS"
                ),
            );
        }
        if config.store_password.is_some() && config.store_password_file.is_some() {
            self.fault(
                Key::StorePasswordFile,
                "the password is given twice: keep KELLY_STORE_PASSWORD or the file, not both",
            );
        }
        if !kafka_properties.is_empty() && config.kafka_properties_file.is_some() {
            self.fault(
                Key::KafkaProperties,
                "librdkafka properties are given twice: keep the file or the table \
                 [kafka.properties], not both",
            );
        }
    }
}

fn check(kind: Kind, text: &str) -> Result<(), String> {
    let (number, least, most, unit) = match kind {
        Kind::Text => {
            return if text.trim().is_empty() { Err("must not be empty".into()) } else { Ok(()) };
        }
        Kind::Switch => {
            return match switch(text) {
                Some(_) => Ok(()),
                None => Err(format!("{text:?} is neither true nor false")),
            };
        }
        Kind::Count { least, most } => (u64::from_str(text.trim()).ok(), least, most, ""),
        Kind::Bytes { least, most } => (bytes(text), least, most, " bytes (64MiB also is one)"),
    };
    match number {
        Some(number) if (least..=most).contains(&number) => Ok(()),
        _ => Err(format!("{text:?} is no whole number from {least} to {most}{unit}")),
    }
}

fn switch(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number = u64::from_str(&text[..digits]).ok()?;
    let unit: u64 = match text[digits..].trim() {
        "" | "B" => 1,
        "KiB" | "K" | "k" => 1 << 10,
        "MiB" | "M" | "m" => 1 << 20,
        "GiB" | "G" | "g" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sources::{Given, merge};

    fn parse(pairs: &[(&str, &str)]) -> Result<Config, String> {
        let environment = pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        typed(&merge(&Given { environment, ..Given::default() }))
            .map_err(|faults| faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn defaults_are_those_of_the_specification() {
        let config = parse(&[]).unwrap();
        assert!(config.monitoring.enabled);
        assert_eq!(config.monitoring.interval, Duration::from_secs(15));
        assert_eq!(config.monitoring.retention_days, 90);
        assert_eq!(config.monitoring.metrics_retention_hours, 72);
        assert_eq!(config.listen.to_string(), "127.0.0.1:8000");
        assert_eq!(config.log, LogTarget::Embedded("./kelly-data/log".into()));
        assert_eq!(config.store, StoreTarget::Embedded("./kelly-data".into()));
        assert_eq!(config.engine_memory_bytes, 2 << 30);
    }

    #[test]
    fn log_and_store_follow_the_data_directory() {
        let config = parse(&[("KELLY_DATA", "/d")]).unwrap();
        assert_eq!(config.log, LogTarget::Embedded("/d/log".into()));
        assert_eq!(config.store, StoreTarget::Embedded("/d".into()));
    }

    #[test]
    fn bytes_are_understood_with_units() {
        for (text, expected) in [
            ("1", Some(1)),
            ("64MiB", Some(64 << 20)),
            ("2 GiB", Some(2 << 30)),
            ("3k", Some(3 << 10)),
            ("1TB", None),
            ("-1", None),
            ("", None),
            ("99999999999GiB", None),
        ] {
            assert_eq!(bytes(text), expected, "{text:?}");
        }
    }

    #[test]
    fn every_fault_is_told_at_once_with_its_place() {
        let told = parse(&[
            ("KELLY_METRICS_INTERVAL", "0"),
            ("KELLY_MONITORING_ENABLED", "maybe"),
            ("KELLY_LISTEN", "0.0.0.0:8000"),
            ("WEBSOCKET_TIMEOUT", "soon"),
            ("KELLY_LOGGING", "xml"),
            ("MONITORING_DB_RETENTION_DAYS", "1"),
        ])
        .unwrap_err();
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines.len(), 6, "{told}");
        for expected in [
            "KELLY_METRICS_INTERVAL: \"0\" is no whole number from 1 to 3600",
            "KELLY_MONITORING_ENABLED: \"maybe\" is neither true nor false",
            "use a loopback address such as 127.0.0.1:8000",
            "WEBSOCKET_TIMEOUT: \"soon\" is no whole number",
            "KELLY_LOGGING: \"xml\" is neither text nor json",
            "raise MONITORING_DB_RETENTION_DAYS",
        ] {
            assert!(told.contains(expected), "{expected}\n{told}");
        }
    }

    #[test]
    fn a_password_given_twice_is_a_fault() {
        let told = parse(&[("KELLY_STORE_PASSWORD", "a"), ("KELLY_STORE_PASSWORD_FILE", "/f")]);
        assert!(told.unwrap_err().contains("given twice"));
    }

    #[test]
    fn localhost_is_loopback() {
        let config = parse(&[("KELLY_LISTEN", "localhost:81")]).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:81");
    }
}
