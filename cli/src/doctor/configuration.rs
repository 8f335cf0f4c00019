//! What a configuration that can be used says that has no effect, or contradicts itself. Pure.

use super::facts::Configuration;
use crate::config::{Loaded, LogTarget, StoreTarget};

/// What it says. A remark is what is the matter and, behind a semicolon, what mends it.
pub fn of(loaded: &Loaded) -> Configuration {
    let config = &loaded.config;
    let mut remarks = Vec::new();
    for (place, part) in loaded.without_effect() {
        remarks.push(format!(
            "{place} is set and has no effect yet: it belongs to {part}; leave it out until then"
        ));
    }
    if matches!(config.store, StoreTarget::Embedded(_)) {
        if config.store_password.is_some() {
            remarks.push(
                "a password of the store is given, and the embedded store makes its own; remove \
                 KELLY_STORE_PASSWORD and KELLY_STORE_PASSWORD_FILE, or name the server with KELLY_STORE"
                    .to_owned(),
            );
        }
        if config.store_cluster.is_some() {
            remarks.push(
                "a cluster is named, and the embedded store is a single node; remove KELLY_STORE_CLUSTER, or \
                 name the server with KELLY_STORE"
                    .to_owned(),
            );
        }
    }
    if matches!(config.log, LogTarget::Embedded(_)) && !config.kafka_properties.is_empty() {
        remarks.push(
            "librdkafka properties are given, and the log is the embedded one; remove them, or name the brokers \
             with KELLY_LOG=kafka://host:port"
                .to_owned(),
        );
    }
    remarks.extend(loaded.warnings.iter().map(|warning| warning.replacen(": chmod", "; chmod", 1)));
    Configuration {
        faults: Vec::new(),
        remarks,
        retention_days: config.monitoring.retention_days,
        metrics_retention_hours: config.monitoring.metrics_retention_hours,
        log_retention_ms: u64::try_from(config.topics.retention_time.as_millis()).unwrap_or(u64::MAX),
        listen: config.listen.to_string(),
    }
}
