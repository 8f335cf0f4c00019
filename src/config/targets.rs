//! Where log and store are: the two URLs of the configuration.

use std::fmt;
use std::path::PathBuf;

/// Where the log is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    /// In a directory, in this process.
    Embedded(PathBuf),
    /// Apache Kafka, by its bootstrap list.
    Kafka(String),
}

/// Where the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreTarget {
    /// A child process with its data in a directory.
    Embedded(PathBuf),
    /// A ClickHouse server.
    Server {
        /// `http://host:port`.
        url: String,
        /// User.
        user: String,
        /// Database.
        database: String,
    },
}

impl fmt::Display for LogTarget {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded(directory) => write!(out, "embedded:{}", directory.display()),
            Self::Kafka(brokers) => write!(out, "kafka://{brokers}"),
        }
    }
}

impl fmt::Display for StoreTarget {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded(directory) => write!(out, "embedded:{}", directory.display()),
            Self::Server { url, user, database } => {
                let host = url.trim_start_matches("http://");
                write!(out, "http://{user}@{host}/{database}")
            }
        }
    }
}

/// Reads a log target; the error says what would be right.
pub fn log_target(text: &str) -> Result<LogTarget, String> {
    const WANTED: &str = "write embedded:DIR or kafka://host:port[,host:port]";
    if let Some(directory) = text.strip_prefix("embedded:") {
        return match directory {
            "" => Err(format!("the embedded log needs a directory: {WANTED}")),
            directory => Ok(LogTarget::Embedded(PathBuf::from(directory))),
        };
    }
    // Nothing of the text is echoed: it may hold a password.
    if text.contains(['@', '?', '=']) {
        return Err(format!(
            "credentials do not belong in the address: put sasl.* into KELLY_KAFKA_PROPERTIES; {WANTED}"
        ));
    }
    let Some(brokers) = text.strip_prefix("kafka://") else {
        return Err(format!("{text:?} names no log: {WANTED}"));
    };
    let brokers = brokers.trim_end_matches('/');
    for broker in brokers.split(',') {
        let port = broker.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        let is_right = port.is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|p| p > 0))
            && !broker.contains(['/', ' ']);
        if !is_right {
            return Err(format!("{broker:?} is no broker: {WANTED}"));
        }
    }
    Ok(LogTarget::Kafka(brokers.to_owned()))
}

/// Reads a store target; the error says what would be right.
pub fn store_target(text: &str) -> Result<StoreTarget, String> {
    const WANTED: &str = "write embedded:DIR or http://user@host:port/database";
    if let Some(directory) = text.strip_prefix("embedded:") {
        return match directory {
            "" => Err(format!("the embedded store needs a directory: {WANTED}")),
            directory => Ok(StoreTarget::Embedded(PathBuf::from(directory))),
        };
    }
    if text.starts_with("https://") {
        return Err("TLS to the store is not supported yet: put a TLS proxy on this machine in \
                    front of it and name that with http://"
            .to_owned());
    }
    // Not echoed: whoever writes a password here must not find it in a terminal's history too.
    let url = reqwest::Url::parse(text).map_err(|error| format!("no store ({error}): {WANTED}"))?;
    if url.scheme() != "http" {
        return Err(format!("{:?} is no kind of store: {WANTED}", url.scheme()));
    }
    if url.password().is_some() {
        return Err("the password stands in the address: put it into KELLY_STORE_PASSWORD or \
                    KELLY_STORE_PASSWORD_FILE"
            .to_owned());
    }
    let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
        return Err(format!("the host is missing: {WANTED}"));
    };
    let database = url.path().trim_matches('/');
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !database.chars().all(plain) {
        return Err(format!("{database:?} is no database name: letters, digits and '_' only"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("nothing may follow the database: {WANTED}"));
    }
    Ok(StoreTarget::Server {
        url: format!("http://{host}:{}", url.port().unwrap_or(CLICKHOUSE_HTTP_PORT)),
        user: if url.username().is_empty() { "default" } else { url.username() }.to_owned(),
        database: if database.is_empty() { "kelly" } else { database }.to_owned(),
    })
}

/// ClickHouse's port for HTTP where the address names none.
const CLICKHOUSE_HTTP_PORT: u16 = 8123;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_targets() {
        let kafka = |text: &str| Ok(LogTarget::Kafka(text.to_owned()));
        assert_eq!(log_target("kafka://a:9092"), kafka("a:9092"));
        assert_eq!(log_target("kafka://a:9092,b:1/"), kafka("a:9092,b:1"));
        assert_eq!(log_target("kafka://[::1]:9092"), kafka("[::1]:9092"));
        for wrong in [
            "",
            "embedded:",
            "kafka://",
            "kafka://a",
            "kafka://a:0",
            "kafka://a:b",
            "kafka://a:1,",
            "kafka://u@a:1",
            "http://a:1",
        ] {
            assert!(log_target(wrong).is_err(), "{wrong}");
        }
        for secret in [
            "kafka://u:hunter2@a:9092",
            "kafka://a:9092,u:hunter2@b:1",
            "kafka:/u:hunter2@a:9092",
            "kafka://a:9092?sasl.password=hunter2",
        ] {
            let error = log_target(secret).unwrap_err();
            assert!(!error.contains("hunter2") && error.contains("KELLY_KAFKA_PROPERTIES"), "{error}");
        }
    }

    #[test]
    fn store_targets() {
        let server = |url: &str, user: &str, database: &str| {
            Ok(StoreTarget::Server { url: url.into(), user: user.into(), database: database.into() })
        };
        assert_eq!(store_target("http://kelly@ch:8124/live"), server("http://ch:8124", "kelly", "live"));
        assert_eq!(store_target("http://ch"), server("http://ch:8123", "default", "kelly"));
        assert_eq!(store_target("http://[::1]:1/"), server("http://[::1]:1", "default", "kelly"));
        for wrong in [
            "",
            "ch:8123",
            "embedded:",
            "https://ch",
            "http://u:p@ch",
            "http://ch/a/b",
            "http://ch/a;b",
            "http://ch/a?x=1",
            "ftp://ch",
        ] {
            assert!(store_target(wrong).is_err(), "{wrong}");
        }
        let error = store_target("http://u:hunter2@ch/kelly").unwrap_err();
        assert!(!error.contains("hunter2") && error.contains("KELLY_STORE_PASSWORD"));
    }
}
