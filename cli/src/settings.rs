//! What the tools need of the configuration, as plain values that the binary fills in.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, bail};
use kelly_schemas::Limits;
use kelly_sql::{Store, StoreConfig};
use kelly_stream::{KafkaConfig, KafkaLog};

use crate::client::Client;
use crate::credentials::Credentials;

/// What the tools need of the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The Kelly of this configuration.
    pub local: LocalServer,
    /// A running Kelly somewhere else, as it was typed.
    pub server: Option<String>,
    /// How the tools sign in there.
    pub credentials: Credentials,
    /// The log.
    pub log: LogAddress,
    /// The store.
    pub store: StoreAddress,
    /// What a row may be.
    pub limits: Limits,
}

impl Settings {
    /// The Kelly that is asked: the one that was typed, else that of the configuration.
    pub fn server_url(&self) -> String {
        self.server.clone().unwrap_or_else(|| self.local.url.clone())
    }

    /// The client of that Kelly.
    pub fn client(&self) -> anyhow::Result<Client> {
        self.client_with(self.credentials.clone())
    }

    /// The same, signed in otherwise.
    pub fn client_with(&self, credentials: Credentials) -> anyhow::Result<Client> {
        match &self.server {
            Some(server) => Client::new(server, credentials),
            None => Client::connecting_to(self.local.address, &self.local.url, credentials),
        }
    }
}

/// The Kelly of a configuration, as the tools on its machine find it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalServer {
    /// Its URL: over TLS with the name that its certificate has.
    pub url: String,
    /// What is connected to, wherever DNS says that name is: what the secret of this machine signs must reach no other.
    pub address: SocketAddr,
}

/// Where the log is.
#[derive(Debug, Clone)]
pub struct LogAddress {
    /// As the configuration writes it; it holds no secret.
    pub shown: String,
    /// How Apache Kafka is reached; `None` for the embedded log, which belongs to the process that has it open.
    pub kafka: Option<KafkaConfig>,
}

impl LogAddress {
    /// The clients of Apache Kafka. Whether the brokers answer is not asked.
    pub fn kafka(&self) -> anyhow::Result<KafkaLog> {
        let Some(kafka) = &self.kafka else { bail!("the log {} is not Apache Kafka", self.shown) };
        KafkaLog::connect(kafka.clone()).with_context(|| format!("connecting to the log ({})", self.shown))
    }
}

/// Where the store is.
#[derive(Debug, Clone)]
pub struct StoreAddress {
    /// As the configuration writes it; it holds no secret.
    pub shown: String,
    /// How it is reached.
    pub target: StoreTarget,
}

/// How the store is reached.
#[derive(Debug, Clone)]
pub enum StoreTarget {
    /// The engine of a running `kelly up`, by the directory where it writes down its address.
    Embedded(PathBuf),
    /// A ClickHouse server.
    Server(StoreConfig),
}

impl StoreAddress {
    /// The client of a store that runs. Starts nothing.
    pub fn client(&self) -> anyhow::Result<Store> {
        let config = match &self.target {
            StoreTarget::Embedded(directory) => kelly_sql::engine::running(directory).with_context(|| {
                format!(
                    "no embedded store runs in {}: start `kelly up`, or say with --data where it runs, or \
                         with --store which server it is",
                    directory.display()
                )
            })?,
            StoreTarget::Server(config) => config.clone(),
        };
        Store::new(config).context("preparing the store's client")
    }

    /// Whether it belongs to a running `kelly up`.
    pub fn is_embedded(&self) -> bool {
        matches!(self.target, StoreTarget::Embedded(_))
    }
}
