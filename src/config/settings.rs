//! Every setting Kelly knows, in one table: its name in the file, its variable, its default and what
//! it means. Parsing, `kelly config` and the did-you-mean all read this table and nothing else.

/// Names one setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// Directory of everything `kelly up` keeps.
    Data,
    /// Address of the HTTP interface.
    Listen,
    /// Which log.
    Log,
    /// Which store.
    Store,
    /// Password of the store's user.
    StorePassword,
    /// File holding that password.
    StorePasswordFile,
    /// ClickHouse cluster name for `ON CLUSTER`.
    StoreCluster,
    /// Where libchdb lies.
    Libchdb,
    /// How diagnostics are written.
    Logging,
    /// File of librdkafka properties.
    KafkaProperties,
    /// Self-monitoring on or off.
    MonitoringEnabled,
    /// Seconds between two self-monitoring samples.
    MetricsInterval,
    /// JSON file of thresholds.
    AlertThresholds,
    /// Days rollups and events are kept.
    RetentionDays,
    /// Hours raw metrics are kept.
    MetricsRetentionHours,
    /// Whether emergency actions ask back.
    EmergencyConfirmation,
    /// WebSocket connections admitted.
    WebsocketMaxConnections,
    /// Seconds between two pings.
    WebsocketPingInterval,
    /// Seconds without an answer before a socket is closed.
    WebsocketTimeout,
    /// Rows that close a batch.
    IngestBatchRows,
    /// Bytes that close a batch.
    IngestBatchBytes,
    /// Milliseconds that close a batch.
    IngestBatchMilliseconds,
    /// Memory the embedded engine may use.
    EngineMemory,
    /// Partitions of topics Kelly creates.
    LogPartitions,
    /// Hours the log keeps records.
    LogRetentionHours,
    /// Bytes a partition of the log keeps.
    LogRetentionBytes,
}

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false` (also `1`, `0`, `yes`, `no`, `on`, `off`).
    Switch,
    /// A whole number within the bounds, both included.
    Count {
        /// Smallest value.
        least: u64,
        /// Largest value.
        most: u64,
    },
    /// A number of bytes within the bounds; `64MiB` and the like are understood.
    Bytes {
        /// Smallest value.
        least: u64,
        /// Largest value.
        most: u64,
    },
    /// Text that a later step gives its meaning.
    Text,
}

/// One row of the table.
#[derive(Debug)]
pub struct Setting {
    /// Which one.
    pub key: Key,
    /// Dotted name in the TOML file.
    pub name: &'static str,
    /// Environment variable.
    pub variable: &'static str,
    /// Value when nobody says anything; `None` means unset.
    pub default: Option<&'static str>,
    /// What it may be.
    pub kind: Kind,
    /// Never shown.
    pub secret: bool,
    /// `None` when it has effect, else which part it waits for.
    pub waits_for: Option<&'static str>,
    /// One line for people.
    pub about: &'static str,
}

const fn setting(
    key: Key,
    name: &'static str,
    variable: &'static str,
    kind: Kind,
    about: &'static str,
) -> Setting {
    Setting { key, name, variable, default: None, kind, secret: false, waits_for: None, about }
}

impl Setting {
    const fn default(mut self, value: &'static str) -> Self {
        self.default = Some(value);
        self
    }

    const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    const fn waits_for(mut self, part: &'static str) -> Self {
        self.waits_for = Some(part);
        self
    }
}

const fn count(least: u64, most: u64) -> Kind {
    Kind::Count { least, most }
}

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The table. A default here is the one that holds; no other file repeats it.
pub static SETTINGS: [Setting; 26] = [
    setting(Key::Data, "data", "KELLY_DATA", Kind::Text, "directory of everything `kelly up` keeps")
        .default("./kelly-data"),
    setting(
        Key::Listen,
        "listen",
        "KELLY_LISTEN",
        Kind::Text,
        "address of the HTTP interface; loopback only until authentication exists",
    )
    .default("127.0.0.1:8000"),
    setting(
        Key::Log,
        "log",
        "KELLY_LOG",
        Kind::Text,
        "embedded:DIR or kafka://host:port[,host:port]; unset: embedded, below the data directory",
    ),
    setting(
        Key::Store,
        "store",
        "KELLY_STORE",
        Kind::Text,
        "embedded:DIR or http://user@host:port/database; unset: embedded, in the data directory",
    ),
    setting(
        Key::StorePassword,
        "store_password",
        "KELLY_STORE_PASSWORD",
        Kind::Text,
        "password of the store's user",
    )
    .secret(),
    setting(
        Key::StorePasswordFile,
        "store_password_file",
        "KELLY_STORE_PASSWORD_FILE",
        Kind::Text,
        "file whose first line is that password",
    ),
    setting(
        Key::StoreCluster,
        "store_cluster",
        "KELLY_STORE_CLUSTER",
        Kind::Text,
        "ClickHouse cluster the migrations run on; unset: a single node",
    ),
    setting(
        Key::Libchdb,
        "libchdb",
        "KELLY_LIBCHDB",
        Kind::Text,
        "libchdb.so of the embedded store; unset: looked up beside the executable, then in the cache",
    ),
    setting(
        Key::Logging,
        "logging",
        "KELLY_LOGGING",
        Kind::Text,
        "how diagnostics are written to stderr: text or json (RUST_LOG says how much)",
    )
    .default("text"),
    setting(
        Key::KafkaProperties,
        "kafka.properties_file",
        "KELLY_KAFKA_PROPERTIES",
        Kind::Text,
        "file of librdkafka properties (TLS, SASL …), one name=value a line",
    ),
    setting(
        Key::MonitoringEnabled,
        "monitoring.enabled",
        "KELLY_MONITORING_ENABLED",
        Kind::Switch,
        "whether Kelly records its own and its machine's metrics",
    )
    .default("true"),
    setting(
        Key::MetricsInterval,
        "monitoring.metrics_interval",
        "KELLY_METRICS_INTERVAL",
        count(1, 3_600),
        "seconds between two samples of Kelly's own metrics",
    )
    .default("15"),
    setting(
        Key::AlertThresholds,
        "monitoring.alert_thresholds_config",
        "KELLY_ALERT_THRESHOLDS_CONFIG",
        Kind::Text,
        "JSON file of thresholds that replace the catalogue's",
    ),
    setting(
        Key::RetentionDays,
        "monitoring.retention_days",
        "MONITORING_DB_RETENTION_DAYS",
        count(1, 3_650),
        "days rollups and activity events are kept",
    )
    .default("90"),
    setting(
        Key::MetricsRetentionHours,
        "monitoring.metrics_retention_hours",
        "MONITORING_METRICS_RETENTION_HOURS",
        count(1, 87_600),
        "hours raw metrics are kept",
    )
    .default("72"),
    setting(
        Key::EmergencyConfirmation,
        "emergency.confirmation_required",
        "KELLY_EMERGENCY_CONFIRMATION_REQUIRED",
        Kind::Switch,
        "whether emergency actions ask back",
    )
    .default("true")
    .waits_for("emergency actions"),
    setting(
        Key::WebsocketMaxConnections,
        "websocket.max_connections",
        "WEBSOCKET_MAX_CONNECTIONS",
        count(1, 1_000_000),
        "WebSocket connections admitted",
    )
    .default("1000")
    .waits_for("WebSockets"),
    setting(
        Key::WebsocketPingInterval,
        "websocket.ping_interval",
        "WEBSOCKET_PING_INTERVAL",
        count(1, 3_600),
        "seconds between two pings on a WebSocket",
    )
    .default("30")
    .waits_for("WebSockets"),
    setting(
        Key::WebsocketTimeout,
        "websocket.timeout",
        "WEBSOCKET_TIMEOUT",
        count(1, 86_400),
        "seconds without a sign of life before a WebSocket is closed",
    )
    .default("300")
    .waits_for("WebSockets"),
    setting(
        Key::IngestBatchRows,
        "ingest.batch_rows",
        "KELLY_INGEST_BATCH_ROWS",
        count(1, 1_000_000),
        "rows that close a batch",
    )
    .default("250000"),
    setting(
        Key::IngestBatchBytes,
        "ingest.batch_bytes",
        "KELLY_INGEST_BATCH_BYTES",
        Kind::Bytes { least: MIB, most: GIB },
        "bytes of the log that close a batch",
    )
    .default("48MiB"),
    setting(
        Key::IngestBatchMilliseconds,
        "ingest.batch_milliseconds",
        "KELLY_INGEST_BATCH_MILLISECONDS",
        count(10, 60_000),
        "milliseconds that close a batch",
    )
    .default("1200"),
    setting(
        Key::EngineMemory,
        "engine_memory",
        "KELLY_ENGINE_MEMORY",
        Kind::Bytes { least: 256 * MIB, most: 1024 * GIB },
        "memory the embedded store may use",
    )
    .default("2GiB"),
    setting(
        Key::LogPartitions,
        "log_partitions",
        "KELLY_LOG_PARTITIONS",
        count(1, 1_024),
        "partitions of the topics Kelly creates",
    )
    .default("2"),
    setting(
        Key::LogRetentionHours,
        "log_retention_hours",
        "KELLY_LOG_RETENTION_HOURS",
        count(1, 87_600),
        "hours the topics Kelly creates keep their records",
    )
    .default("72"),
    setting(
        Key::LogRetentionBytes,
        "log_retention_bytes",
        "KELLY_LOG_RETENTION_BYTES",
        Kind::Bytes { least: 64 * MIB, most: 1024 * GIB },
        "bytes a partition of a topic Kelly creates keeps",
    )
    .default("4GiB"),
];

/// Variables of the build tools: known, and no setting of the program.
pub const TOOL_VARIABLES: [&str; 2] = ["KELLY_CACHE", "KELLY_KAFKA_JARS"];

/// How the tests' own variables begin.
pub const TEST_PREFIX: &str = "KELLY_TEST_";

/// Names the configuration file itself.
pub const CONFIG_VARIABLE: &str = "KELLY_CONFIG";

/// TOML table that is passed to librdkafka as it is.
pub const KAFKA_PROPERTIES_TABLE: &str = "kafka.properties";

/// The row of a key.
pub fn of(key: Key) -> &'static Setting {
    // The table stands in the enum's order; a test keeps it so.
    &SETTINGS[key as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_and_variables_are_unique() {
        let keys: BTreeSet<Key> = SETTINGS.iter().map(|s| s.key).collect();
        let names: BTreeSet<&str> = SETTINGS.iter().map(|s| s.name).collect();
        let variables: BTreeSet<&str> = SETTINGS.iter().map(|s| s.variable).collect();
        assert_eq!((keys.len(), names.len(), variables.len()), (26, 26, 26));
    }

    #[test]
    fn every_key_has_its_row() {
        for (index, setting) in SETTINGS.iter().enumerate() {
            assert_eq!(setting.key as usize, index, "{}: keep the enum's order", setting.name);
            assert_eq!(of(setting.key).name, setting.name);
        }
    }

    #[test]
    fn every_variable_of_the_specification_is_there() {
        for variable in [
            "KELLY_MONITORING_ENABLED",
            "KELLY_METRICS_INTERVAL",
            "KELLY_ALERT_THRESHOLDS_CONFIG",
            "KELLY_EMERGENCY_CONFIRMATION_REQUIRED",
            "WEBSOCKET_MAX_CONNECTIONS",
            "WEBSOCKET_PING_INTERVAL",
            "WEBSOCKET_TIMEOUT",
            "MONITORING_DB_RETENTION_DAYS",
            "MONITORING_METRICS_RETENTION_HOURS",
        ] {
            assert!(SETTINGS.iter().any(|s| s.variable == variable), "{variable}");
        }
    }
}
