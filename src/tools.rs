//! What the tools are given of the configuration and of this machine: they know neither by themselves.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use kelly_cli::credentials::{Credentials, OwnSecret};
use kelly_cli::doctor::{Configuration, Data, Disk, Library, Local};
use kelly_cli::{LogAddress, Settings, StoreAddress};
use kelly_directory::Space;
use kelly_sql::engine::{LibraryPlaces, find_library};
use serde_json::Value;

use crate::access;
use crate::config::{Config, Loaded, LogTarget, StoreTarget};
use crate::roles;

/// What every tool is given.
pub fn settings(loaded: &Loaded, server: Option<String>) -> anyhow::Result<Settings> {
    let config = &loaded.config;
    let kafka = match &config.log {
        LogTarget::Kafka(brokers) => Some(roles::kafka_config(config, brokers)),
        LogTarget::Embedded(_) => None,
    };
    let target = match &config.store {
        StoreTarget::Embedded(directory) => kelly_cli::StoreTarget::Embedded(directory.clone()),
        StoreTarget::Server { url, user, database } => {
            kelly_cli::StoreTarget::Server(roles::store_config(config, url, user, database))
        }
    };
    Ok(Settings {
        local: roles::on_this_machine(config, listen(loaded)),
        credentials: credentials(config, server.as_deref())?,
        server,
        log: LogAddress { shown: config.log.to_string(), kafka },
        store: StoreAddress { shown: config.store.to_string(), target },
        limits: roles::limits(config),
    })
}

/// How the tools sign in: with the token that was given, else to a Kelly on this machine with its secret. What that secret
/// signs is sent nowhere else.
fn credentials(config: &Config, server: Option<&str>) -> anyhow::Result<Credentials> {
    if let Some(token) = &config.auth.token {
        return Ok(Credentials::Token(token.reveal().into()));
    }
    if !config.auth.enabled || !server.is_none_or(is_on_this_machine) {
        return Ok(Credentials::Nothing);
    }
    let own = access::existing(config)?.map(|secret| OwnSecret {
        secret,
        issuer: config.auth.issuer.clone(),
        audience: config.auth.audience.clone(),
        subject: access::user(),
    });
    Ok(own.map_or(Credentials::Nothing, |own| Credentials::Secret(Arc::new(own))))
}

/// Whether an address as it was typed is one of loopback.
fn is_on_this_machine(server: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(server) else { return false };
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Where the Kelly of this configuration listens. If nobody said so, the one that runs in the data directory has noted it.
fn listen(loaded: &Loaded) -> SocketAddr {
    let noted =
        (!loaded.is_said("listen")).then(|| roles::noted_address(&loaded.config.general.data)).flatten();
    noted.unwrap_or(loaded.config.general.listen)
}

/// What the doctor is given besides.
pub fn local(loaded: &Loaded) -> Local {
    let mut configuration = configuration(loaded);
    if let Err(error) = roles::check_thresholds(loaded) {
        configuration.faults.push(format!("{error:#}"));
    }
    Local { configuration, data: data(&loaded.config), library: library(&loaded.config) }
}

/// What the configuration says. A remark says what is not right and, behind a semicolon, how to fix it.
fn configuration(loaded: &Loaded) -> Configuration {
    let config = &loaded.config;
    let mut remarks = Vec::new();
    for (place, part) in loaded.without_effect() {
        remarks.push(format!(
            "{place} is set and has no effect yet: it belongs to {part}; leave it out until then"
        ));
    }
    if matches!(config.store, StoreTarget::Embedded(_)) {
        if config.store_access.password.is_some() {
            remarks.push(
                "a password of the store is given, and the embedded store makes its own; remove \
                 KELLY_STORE_PASSWORD and KELLY_STORE_PASSWORD_FILE, or name the server with KELLY_STORE"
                    .to_owned(),
            );
        }
        if config.store_access.cluster.is_some() {
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
    remarks.extend(roles::remarks(config));
    remarks.extend(loaded.warnings.iter().map(|warning| warning.replacen(": chmod", "; chmod", 1)));
    Configuration {
        faults: Vec::new(),
        remarks,
        retention_days: config.monitoring.retention_days,
        audit_retention_days: config.monitoring.audit_retention_days,
        metrics_retention_hours: config.monitoring.metrics_retention_hours,
        log_retention_ms: u64::try_from(config.topics.retention_time.as_millis()).unwrap_or(u64::MAX),
        listen: config.general.listen.to_string(),
    }
}

fn data(config: &Config) -> Option<Data> {
    let is_embedded =
        matches!(config.log, LogTarget::Embedded(_)) || matches!(config.store, StoreTarget::Embedded(_));
    is_embedded.then(|| Data {
        directory: config.general.data.display().to_string(),
        exists: config.general.data.is_dir(),
        owner: roles::owner(&config.general.data),
        disks: disks(config),
    })
}

/// The disks that hold something embedded, each once.
fn disks(config: &Config) -> Vec<Disk> {
    let mut directories = vec![(config.general.data.as_path(), false)];
    if let LogTarget::Embedded(directory) = &config.log {
        directories.push((directory, true));
    }
    if let StoreTarget::Embedded(directory) = &config.store {
        directories.push((directory, false));
    }
    let mut found: Vec<(u64, Disk)> = Vec::new();
    for (directory, has_log) in directories {
        let Ok(Space { id, free, total }) = Space::at_nearest(directory) else { continue };
        match found.iter_mut().find(|(known, _)| *known == id) {
            Some((_, disk)) => disk.has_log |= has_log,
            None => {
                let directory = directory.display().to_string();
                found.push((id, Disk { directory, has_log, free, total }));
            }
        }
    }
    found.into_iter().map(|(_, disk)| disk).collect()
}

fn library(config: &Config) -> Option<Library> {
    if !matches!(config.store, StoreTarget::Embedded(_)) {
        return None;
    }
    let places = LibraryPlaces {
        configured: config.store_access.libchdb.clone(),
        ..LibraryPlaces::from_environment()
    };
    Some(match find_library(&places) {
        Ok(path) => Library::Found { package: package(&path), path: path.display().to_string() },
        Err(error) => Library::Missing(error.to_string()),
    })
}

/// The version in the `package.json` beside the library, where npm brought it.
fn package(library: &Path) -> Option<String> {
    let text = std::fs::read(library.with_file_name("package.json")).ok()?;
    let package: Value = serde_json::from_slice(&text).ok()?;
    Some(package["version"].as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_secret_signs_stays_on_this_machine() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().to_str().unwrap();
        let secret = "hunter2-hunter2-hunter2-hunter2-hunter2";
        let config = |pairs: &[(&str, &str)]| Config::of(&[&[("KELLY_DATA", data)], pairs].concat());
        let kind = |config: &Config, server| format!("{:?}", credentials(config, server).unwrap());
        let own = config(&[("KELLY_AUTH_SECRET", secret)]);
        for (server, expected) in [
            (None, "Secret(hidden)"),
            (Some("http://127.0.0.1:9000"), "Secret(hidden)"),
            (Some("http://[::1]:9000/below"), "Secret(hidden)"),
            (Some("http://localhost:1"), "Secret(hidden)"),
            (Some("http://kelly.example.com"), "Nothing"),
            (Some("http://127.0.0.1.example.com"), "Nothing"),
            (Some("127.0.0.1"), "Nothing"),
        ] {
            assert_eq!(kind(&own, server), expected, "{server:?}");
        }
        assert_eq!(kind(&config(&[]), None), "Nothing", "nothing is made");
        assert_eq!(kind(&config(&[("KELLY_TOKEN", "t")]), Some("http://kelly.example.com")), "Token(hidden)");
    }
}
