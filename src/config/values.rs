//! From raw values to the typed configuration. Pure: what a value names (a file, a host) is not
//! looked at here.

use std::collections::BTreeMap;

use super::setting::{FromSetting, Setting};
use super::sources::{Fault, Merged};
use super::tables::{
    Alerts, Auth, CallerLimits, Emergency, General, Http, Ingest, Kafka, Monitoring, Notifications,
    StoreAccess, Topics, Tracing, WebSocket,
};
use super::targets::{LogTarget, StoreTarget};

/// What is in force: the tables' values, and what follows from them. Settings of parts that do not exist yet
/// are checked and then left out.
#[derive(Debug, Clone)]
pub struct Config {
    /// The process.
    pub general: General,
    /// Who gets in; the secret also from its file.
    pub auth: Auth,
    /// What a caller may use.
    pub limits: CallerLimits,
    /// Whom the HTTP interface answers to.
    pub http: Http,
    /// Which log: the one that was named, or the embedded one below the data directory.
    pub log: LogTarget,
    /// Which store: the one that was named, or the embedded one in the data directory.
    pub store: StoreTarget,
    /// How the store is reached; the password also from its file.
    pub store_access: StoreAccess,
    /// How Apache Kafka is reached.
    pub kafka: Kafka,
    /// librdkafka properties: the file's table, or the properties file.
    pub kafka_properties: BTreeMap<String, String>,
    /// Topics that Kelly creates.
    pub topics: Topics,
    /// When a batch is closed.
    pub ingest: Ingest,
    /// Self-monitoring and retention.
    pub monitoring: Monitoring,
    /// Alerts.
    pub alerts: Alerts,
    /// Telling people of alerts.
    pub notifications: Notifications,
    /// Traces for a collector.
    pub tracing: Tracing,
    /// WebSockets.
    pub websocket: WebSocket,
}

/// Reads every value, or says everything that is wrong.
pub fn typed(merged: &Merged) -> Result<Config, Vec<Fault>> {
    let mut reader = SettingReader { merged, faults: merged.faults.clone() };
    let general = General::read(&mut reader);
    let data = &general.data;
    let config = Config {
        log: general.log.clone().unwrap_or_else(|| LogTarget::Embedded(data.join("log"))),
        store: general.store.clone().unwrap_or_else(|| StoreTarget::Embedded(data.clone())),
        general,
        auth: Auth::read(&mut reader),
        limits: CallerLimits::read(&mut reader),
        http: Http::read(&mut reader),
        store_access: StoreAccess::read(&mut reader),
        kafka: Kafka::read(&mut reader),
        kafka_properties: merged.kafka_properties.clone(),
        topics: Topics::read(&mut reader),
        ingest: Ingest::read(&mut reader),
        monitoring: Monitoring::read(&mut reader),
        alerts: Alerts::read(&mut reader),
        notifications: Notifications::read(&mut reader),
        tracing: Tracing::read(&mut reader),
        websocket: WebSocket::read(&mut reader),
    };
    Emergency::read(&mut reader);
    reader.check_together(&config);
    if reader.faults.is_empty() { Ok(config) } else { Err(reader.faults) }
}

/// Reads values of the tables and notes what is wrong with them.
pub struct SettingReader<'a> {
    merged: &'a Merged,
    faults: Vec<Fault>,
}

impl SettingReader<'_> {
    /// The value of a setting.
    pub(super) fn read<T: FromSetting>(&mut self, setting: &Setting) -> T {
        let Some(raw) = self.merged.values.get(setting.name) else { return T::absent() };
        T::from_setting(setting, &raw.text).unwrap_or_else(|what| {
            self.fault(setting.name, what);
            T::absent()
        })
    }

    fn fault(&mut self, name: &'static str, what: impl Into<String>) {
        self.faults.push(self.merged.fault_of(name, what));
    }

    /// What one value says about another.
    fn check_together(&mut self, config: &Config) {
        let raw_hours = u64::from(config.monitoring.metrics_retention_hours);
        let rollup_days = u64::from(config.monitoring.retention_days);
        if rollup_days > 0 && raw_hours > rollup_days * 24 {
            self.fault(
                "monitoring.metrics_retention_hours",
                format!(
                    "raw metrics would be kept {raw_hours} hours, longer than everything else \
                     ({rollup_days} days): lower it, or raise MONITORING_DB_RETENTION_DAYS"
                ),
            );
        }
        if config.store_access.password.is_some() && config.store_access.password_file.is_some() {
            self.fault(
                "store_password_file",
                "the password is given twice: keep KELLY_STORE_PASSWORD or the file, not both",
            );
        }
        let listen = config.general.listen;
        if !config.auth.enabled && !listen.ip().is_loopback() {
            self.fault(
                "auth.enabled",
                format!(
                    "{listen} is reachable from other machines, and nobody would have to sign in: leave KELLY_AUTH on, or use a \
                     loopback address such as 127.0.0.1:{}",
                    listen.port()
                ),
            );
        }
        if config.http.certificate.is_some() != config.http.key.is_some() {
            let (missing, name) = match config.http.key {
                None => ("KELLY_TLS_KEY", "http.tls_certificate"),
                Some(_) => ("KELLY_TLS_CERTIFICATE", "http.tls_key"),
            };
            self.fault(name, format!("TLS needs a certificate and its key: {missing} is missing"));
        }
        if config.auth.secret.is_some() && config.auth.secret_file.is_some() {
            self.fault(
                "auth.secret_file",
                "the secret that signs tokens is given twice: keep KELLY_AUTH_SECRET or the file, not both",
            );
        }
        if !config.kafka_properties.is_empty() && config.kafka.properties_file.is_some() {
            self.fault(
                "kafka.properties_file",
                "librdkafka properties are given twice: keep the file or the table \
                 [kafka.properties], not both",
            );
        }
    }
}

#[cfg(test)]
impl Config {
    /// What follows from these variables, which must be right.
    pub fn of(pairs: &[(&str, &str)]) -> Self {
        let environment = pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        typed(&super::sources::merge(&super::sources::Given { environment, ..Default::default() })).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
        assert_eq!(config.general.listen.to_string(), "127.0.0.1:8000");
        assert_eq!(config.log, LogTarget::Embedded("./kelly-data/log".into()));
        assert_eq!(config.store, StoreTarget::Embedded("./kelly-data".into()));
        assert_eq!(config.store_access.engine_memory, 2 << 30);
    }

    #[test]
    fn log_and_store_follow_the_data_directory() {
        let config = parse(&[("KELLY_DATA", "/d")]).unwrap();
        assert_eq!(config.log, LogTarget::Embedded("/d/log".into()));
        assert_eq!(config.store, StoreTarget::Embedded("/d".into()));
    }

    #[test]
    fn every_fault_is_said_at_once_with_its_place() {
        let faults = parse(&[
            ("KELLY_METRICS_INTERVAL", "0"),
            ("KELLY_MONITORING_ENABLED", "maybe"),
            ("KELLY_LISTEN", "0.0.0.0:8000"),
            ("KELLY_AUTH", "off"),
            ("KELLY_TLS_KEY", "/key"),
            ("KELLY_ALLOWED_HOSTS", "kelly.example.com, https://k"),
            ("KELLY_TRUSTED_PROXIES", "10.0.0.0/99"),
            ("WEBSOCKET_TIMEOUT", "soon"),
            ("KELLY_LOGGING", "xml"),
            ("MONITORING_DB_RETENTION_DAYS", "1"),
        ])
        .unwrap_err();
        let lines: Vec<&str> = faults.lines().collect();
        assert_eq!(lines.len(), 9, "{faults}");
        for expected in [
            "KELLY_METRICS_INTERVAL: \"0\" is no whole number from 1 to 3600",
            "KELLY_MONITORING_ENABLED: \"maybe\" is neither true nor false",
            "KELLY_AUTH: 0.0.0.0:8000 is reachable from other machines",
            "KELLY_TLS_KEY: TLS needs a certificate and its key: KELLY_TLS_CERTIFICATE is missing",
            "KELLY_ALLOWED_HOSTS: \"https://k\": a host is written without scheme",
            "KELLY_TRUSTED_PROXIES: \"10.0.0.0/99\": a proxy is an address or a network",
            "WEBSOCKET_TIMEOUT: \"soon\" is no whole number",
            "KELLY_LOGGING: \"xml\" is neither text nor json",
            "raise MONITORING_DB_RETENTION_DAYS",
        ] {
            assert!(faults.contains(expected), "{expected}\n{faults}");
        }
    }

    #[test]
    fn a_password_given_twice_is_a_fault() {
        let faults = parse(&[("KELLY_STORE_PASSWORD", "a"), ("KELLY_STORE_PASSWORD_FILE", "/f")]);
        assert!(faults.unwrap_err().contains("given twice"));
    }

    #[test]
    fn localhost_is_loopback() {
        let config = parse(&[("KELLY_LISTEN", "localhost:81")]).unwrap();
        assert_eq!(config.general.listen.to_string(), "127.0.0.1:81");
    }
}
