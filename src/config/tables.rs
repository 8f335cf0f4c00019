//! Every setting Kelly knows: a table a part, one beside the other. A row here is all that reading and showing a setting takes;
//! the roles (`src/roles`) hand its value to the part that uses it.

#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "the doc comments here are the texts of `kelly config`, brackets and all"
)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use kelly_api::{HostName, Network, PageOrigin};
use kelly_notify::Allowed;

use super::Secret;
use super::collector::{CollectorHeaders, CollectorUrl};
use super::public_url::PublicUrl;
use super::setting::{
    ClusterName, Logging, Setting, bytes, count, hours, milliseconds, seconds, setting, settings,
};
use super::targets::{LogTarget, StoreTarget};
use crate::traces::Ratio;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

settings! {
    /// What the process is and where it finds its log and its store.
    pub struct General {
        /// directory of everything `kelly up` keeps
        data: PathBuf = setting("data", "KELLY_DATA").default("./kelly-data"),
        /// address of the HTTP interface
        listen: SocketAddr = setting("listen", "KELLY_LISTEN").default("127.0.0.1:8000"),
        /// embedded:DIR or kafka://host:port[,host:port]; unset: embedded, below the data directory
        log: Option<LogTarget> = setting("log", "KELLY_LOG"),
        /// embedded:DIR or http://user@host:port/database; unset: embedded, in the data directory
        store: Option<StoreTarget> = setting("store", "KELLY_STORE"),
        /// how diagnostics are written to stderr: text or json (RUST_LOG says how much)
        logging: Logging = setting("logging", "KELLY_LOGGING").default("text"),
    }
}

settings! {
    /// Who gets in.
    pub struct Auth {
        /// whether callers must sign in; off on loopback only
        enabled: bool = setting("auth.enabled", "KELLY_AUTH").default("on"),
        /// secret of at least 32 bytes that signs tokens (HS256); unset: `kelly up` makes one in the data directory
        secret: Option<Secret> = setting("auth.secret", "KELLY_AUTH_SECRET").secret(),
        /// file with that secret
        secret_file: Option<PathBuf> = setting("auth.secret_file", "KELLY_AUTH_SECRET_FILE"),
        /// what `iss` says in tokens of that secret
        issuer: String = setting("auth.issuer", "KELLY_AUTH_ISSUER").default("kelly"),
        /// file of further issuers whose tokens are accepted, with their published keys
        issuers: Option<PathBuf> = setting("auth.issuers", "KELLY_AUTH_ISSUERS"),
        /// what `aud` says in tokens for this Kelly
        audience: String = setting("auth.audience", "KELLY_AUTH_AUDIENCE").default("kelly"),
        /// claim with the roles; dots lead into objects
        roles_claim: String = setting("auth.roles_claim", "KELLY_AUTH_ROLES_CLAIM").default("roles"),
        /// claim with the accounts a token is limited to; dots lead into objects
        accounts_claim: String = setting("auth.accounts_claim", "KELLY_AUTH_ACCOUNTS_CLAIM").default("accounts"),
        /// seconds by which clocks may differ
        leeway: Duration = setting("auth.leeway_seconds", "KELLY_AUTH_LEEWAY").within(seconds(0, 30)).default("10"),
        /// hours the session of a browser lasts
        session_time: Duration =
            setting("auth.session_hours", "KELLY_AUTH_SESSION_HOURS").within(hours(1, 720)).default("12"),
        /// file of tokens and users that are denied, read again when it changes
        denied: Option<PathBuf> = setting("auth.denied", "KELLY_AUTH_DENIED"),
        /// token with which the tools sign in to a Kelly elsewhere
        token: Option<Secret> = setting("auth.token", "KELLY_TOKEN").secret(),
    }
}

settings! {
    /// Whom the HTTP interface answers to, and how.
    pub struct Http {
        /// host names and addresses it answers to beside those of loopback, with commas between them
        hosts: Vec<HostName> = setting("http.allowed_hosts", "KELLY_ALLOWED_HOSTS"),
        /// origins of pages elsewhere that may change something here, with commas between them
        origins: Vec<PageOrigin> = setting("http.allowed_origins", "KELLY_ALLOWED_ORIGINS"),
        /// proxies whose X-Forwarded-For and X-Forwarded-Proto are believed: addresses or networks, with commas between them
        proxies: Vec<Network> = setting("http.trusted_proxies", "KELLY_TRUSTED_PROXIES"),
        /// file of the certificate with its chain (PEM); with it the interface speaks TLS
        certificate: Option<PathBuf> = setting("http.tls_certificate", "KELLY_TLS_CERTIFICATE"),
        /// file of its key (PEM)
        key: Option<PathBuf> = setting("http.tls_key", "KELLY_TLS_KEY"),
    }
}

settings! {
    /// How the store is reached and run.
    pub struct StoreAccess {
        /// password of the store's user
        password: Option<Secret> = setting("store_password", "KELLY_STORE_PASSWORD").secret(),
        /// file whose first line is that password
        password_file: Option<PathBuf> = setting("store_password_file", "KELLY_STORE_PASSWORD_FILE"),
        /// ClickHouse cluster the migrations run on; unset: a single node
        cluster: Option<ClusterName> = setting("store_cluster", "KELLY_STORE_CLUSTER"),
        /// libchdb.so of the embedded store; unset: looked up beside the executable, then in the cache
        libchdb: Option<PathBuf> = setting("libchdb", "KELLY_LIBCHDB"),
        /// memory the embedded store may use
        engine_memory: u64 =
            setting("engine_memory", "KELLY_ENGINE_MEMORY").within(bytes(256 * MIB, 1024 * GIB)).default("2GiB"),
    }
}

settings! {
    /// How Apache Kafka is reached, beside the table `[kafka.properties]`.
    pub struct Kafka {
        /// file of librdkafka properties (TLS, SASL …), one name=value a line
        properties_file: Option<PathBuf> = setting("kafka.properties_file", "KELLY_KAFKA_PROPERTIES"),
    }
}

settings! {
    /// Topics that Kelly creates.
    pub struct Topics {
        /// partitions of the topics Kelly creates
        partitions: u32 = setting("log_partitions", "KELLY_LOG_PARTITIONS").within(count(1, 1_024)).default("2"),
        /// hours the topics Kelly creates keep their records
        retention_time: Duration =
            setting("log_retention_hours", "KELLY_LOG_RETENTION_HOURS").within(hours(1, 87_600)).default("72"),
        /// bytes a partition of a topic Kelly creates keeps
        retention_bytes: u64 = setting("log_retention_bytes", "KELLY_LOG_RETENTION_BYTES")
            .within(bytes(64 * MIB, 1024 * GIB))
            .default("4GiB"),
    }
}

settings! {
    /// When a batch is closed: whichever comes first.
    pub struct Ingest {
        /// rows that close a batch
        batch_rows: usize =
            setting("ingest.batch_rows", "KELLY_INGEST_BATCH_ROWS").within(count(1, 1_000_000)).default("250000"),
        /// bytes of the log that close a batch
        batch_bytes: usize =
            setting("ingest.batch_bytes", "KELLY_INGEST_BATCH_BYTES").within(bytes(MIB, GIB)).default("48MiB"),
        /// milliseconds that close a batch
        batch_time: Duration = setting("ingest.batch_milliseconds", "KELLY_INGEST_BATCH_MILLISECONDS")
            .within(milliseconds(10, 60_000))
            .default("1200"),
    }
}

settings! {
    /// Self-monitoring and retention.
    pub struct Monitoring {
        /// whether Kelly records its own and its machine's metrics
        enabled: bool = setting("monitoring.enabled", "KELLY_MONITORING_ENABLED").default("true"),
        /// seconds between two samples of Kelly's own metrics, and between two updates of live figures
        interval: Duration =
            setting("monitoring.metrics_interval", "KELLY_METRICS_INTERVAL").within(seconds(1, 3_600)).default("15"),
        /// thresholds that replace the catalogue's: a JSON file, or the JSON itself; for alerts read again when the file changes
        thresholds: Option<PathBuf> =
            setting("monitoring.alert_thresholds_config", "KELLY_ALERT_THRESHOLDS_CONFIG"),
        /// days rollups and activity events are kept
        retention_days: u32 = setting("monitoring.retention_days", "MONITORING_DB_RETENTION_DAYS")
            .within(count(1, 3_650))
            .default("90"),
        /// days decisions are kept: every record of the control log with its verdict, and alerts
        audit_retention_days: u32 = setting("monitoring.audit_retention_days", "KELLY_AUDIT_RETENTION_DAYS")
            .within(count(1, 36_500))
            .default("400"),
        /// hours raw metrics are kept
        metrics_retention_hours: u32 =
            setting("monitoring.metrics_retention_hours", "MONITORING_METRICS_RETENTION_HOURS")
                .within(count(1, 87_600))
                .default("72"),
    }
}

settings! {
    /// Alerts.
    pub struct Alerts {
        /// file of alert rules (TOML or JSON), or a directory of such files; read again when one changes
        rules: Option<PathBuf> = setting("alerts.rules", "KELLY_ALERT_RULES"),
    }
}

settings! {
    /// Telling people of alerts.
    pub struct Notifications {
        /// file that says where alerts are sent (TOML, or JSON when it ends in .json); unset: nobody is told
        file: Option<PathBuf> = setting("notifications.file", "KELLY_NOTIFICATIONS"),
        /// where people reach this Kelly, for the links in notifications
        public_url: Option<PublicUrl> = setting("notifications.public_url", "KELLY_PUBLIC_URL"),
        /// internal addresses or networks that notifications may be sent to, with commas between them
        allow_internal: Allowed = setting("notifications.allow_internal", "KELLY_NOTIFY_ALLOW_INTERNAL"),
    }
}

settings! {
    /// Traces for an OpenTelemetry collector.
    pub struct Tracing {
        /// http://host:port of a collector to which the spans of requests are sent (OTLP over HTTP); unset: none are
        endpoint: Option<CollectorUrl> = setting("tracing.endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        /// headers that the collector wants: name=value,name=value
        headers: Option<CollectorHeaders> = setting("tracing.headers", "OTEL_EXPORTER_OTLP_HEADERS").secret(),
        /// share of the traces begun here that are exported, 0 to 1; a caller's own decision comes first
        ratio: Ratio = setting("tracing.ratio", "KELLY_TRACES_RATIO").default("1"),
    }
}

settings! {
    /// What a caller may use in a minute.
    pub struct CallerLimits {
        /// requests a minute of a user, those that record and emergency ones aside
        requests: u32 = setting("limits.requests_per_minute", "KELLY_LIMIT_REQUESTS_PER_MINUTE")
            .within(count(1, 1_000_000_000))
            .default("1000"),
        /// emergency requests a minute of a user; no other traffic uses them up
        emergency: u32 = setting("limits.emergency_per_minute", "KELLY_LIMIT_EMERGENCY_PER_MINUTE")
            .within(count(60, 1_000_000_000))
            .default("300"),
        /// rows a minute that a user may record
        recorded_rows: u32 = setting("limits.recorded_rows_per_minute", "KELLY_LIMIT_RECORDED_ROWS_PER_MINUTE")
            .within(count(100_000, 4_000_000_000))
            .default("6000000"),
        /// bytes of bodies a minute in which a user may record them
        recorded_bytes: u64 = setting("limits.recorded_bytes_per_minute", "KELLY_LIMIT_RECORDED_BYTES_PER_MINUTE")
            .within(bytes(16 * MIB, 1024 * GIB))
            .default("4GiB"),
        /// sign-ins a minute that may fail from one address
        failed_sign_ins: u32 = setting("limits.failed_sign_ins_per_minute", "KELLY_LIMIT_FAILED_SIGN_INS_PER_MINUTE")
            .within(count(1, 1_000_000))
            .default("30"),
        /// connections of one address at once, but those of loopback and of trusted proxies
        connections: u32 = setting("limits.connections_per_address", "KELLY_LIMIT_CONNECTIONS_PER_ADDRESS")
            .within(count(1, 1_000_000))
            .default("512"),
        /// redis://… in which instances count together; unset: each counts for itself
        redis_url: Option<Secret> = setting("limits.redis_url", "KELLY_REDIS_URL").secret(),
    }
}

settings! {
    /// Emergency actions.
    #[expect(dead_code, reason = "checked, and without effect yet")]
    pub struct Emergency {
        /// whether emergency actions ask back
        confirmation_required: bool =
            setting("emergency.confirmation_required", "KELLY_EMERGENCY_CONFIRMATION_REQUIRED")
                .default("true")
                .waits_for("emergency actions"),
    }
}

settings! {
    /// WebSockets, and streams of server-sent events.
    pub struct WebSocket {
        /// WebSockets and streams of server-sent events at once
        max_connections: u32 = setting("websocket.max_connections", "WEBSOCKET_MAX_CONNECTIONS")
            .within(count(1, 1_000_000))
            .default("1000"),
        /// seconds between two pings on a WebSocket
        ping_interval: Duration = setting("websocket.ping_interval", "WEBSOCKET_PING_INTERVAL")
            .within(seconds(1, 3_600))
            .default("30"),
        /// seconds without an answer to a ping before a WebSocket is closed
        timeout: Duration = setting("websocket.timeout", "WEBSOCKET_TIMEOUT")
            .within(seconds(1, 86_400))
            .default("300"),
    }
}

/// The tables, in the order in which `kelly config` shows them.
pub const TABLES: [&[Setting]; 14] = [
    General::SETTINGS,
    Auth::SETTINGS,
    Http::SETTINGS,
    StoreAccess::SETTINGS,
    Kafka::SETTINGS,
    Topics::SETTINGS,
    Ingest::SETTINGS,
    Monitoring::SETTINGS,
    Alerts::SETTINGS,
    Notifications::SETTINGS,
    Tracing::SETTINGS,
    CallerLimits::SETTINGS,
    Emergency::SETTINGS,
    WebSocket::SETTINGS,
];

/// Every setting.
pub fn all() -> impl Iterator<Item = &'static Setting> {
    TABLES.into_iter().flatten()
}

/// Variables of the build tools: known, and no setting of the program.
pub const TOOL_VARIABLES: [&str; 2] = ["KELLY_CACHE", "KELLY_KAFKA_JARS"];

/// How the tests' own variables begin.
pub const TEST_PREFIX: &str = "KELLY_TEST_";

/// Names the configuration file itself.
pub const CONFIG_VARIABLE: &str = "KELLY_CONFIG";

/// TOML table that is passed to librdkafka as it is.
pub const KAFKA_PROPERTIES_TABLE: &str = "kafka.properties";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_and_variables_are_unique_and_every_row_says_what_it_is_for() {
        let names: BTreeSet<&str> = all().map(|setting| setting.name).collect();
        let variables: BTreeSet<&str> = all().map(|setting| setting.variable).collect();
        assert_eq!((names.len(), variables.len()), (all().count(), all().count()));
        assert!(all().all(|setting| !setting.about.is_empty()));
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
            assert!(all().any(|setting| setting.variable == variable), "{variable}");
        }
    }

    /// Rows of README's table: variable, default, meaning.
    fn readme_rows() -> Vec<(String, String)> {
        let readme = include_str!("../../README.md");
        let rows = readme.lines().skip_while(|line| !line.starts_with("| variable |")).skip(2);
        rows.take_while(|line| line.starts_with('|'))
            .map(|line| {
                let cells: Vec<&str> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
                (cells[1].to_owned(), cells[2].to_owned())
            })
            .collect()
    }

    #[test]
    fn the_readme_names_settings_with_their_defaults() {
        let rows = readme_rows();
        assert!(rows.len() > 5, "{rows:?}");
        for (variable, default) in rows {
            let setting = all().find(|setting| setting.variable == variable);
            let setting = setting.unwrap_or_else(|| panic!("README names {variable}, which there is not"));
            match setting.default {
                Some(expected) => assert_eq!(default, expected, "{variable}"),
                None => {
                    assert!(default == "none" || default.starts_with("embedded in"), "{variable}: {default}");
                }
            }
            assert_eq!(setting.waits_for, None, "{variable} has no effect yet");
        }
    }
}
