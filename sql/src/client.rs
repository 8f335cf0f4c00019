//! The one client of the store: a ClickHouse server, or the embedded engine, which is one too.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clickhouse::{Client, Compression};
use kelly_directory::Identity;

use crate::error::{Result, StoreError};
use crate::pulse::Pulse;
use crate::queries::ViewTexts;

/// How long a query may run on the server before it is refused there.
pub const QUERY_DEADLINE: Duration = Duration::from_secs(30);

/// What is added to the server's own deadline before the connection is given up.
const ANSWER_GRACE: Duration = Duration::from_secs(5);

/// What the store may spend on one question. At either bound it refuses the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuestionBounds {
    /// Memory. At it: [`StoreError::is_too_large`].
    pub memory_bytes: u64,
    /// Time. At it: [`StoreError::is_out_of_time`].
    pub seconds: u64,
}

impl Default for QuestionBounds {
    /// A quarter of the memory the embedded engine has, so that inserts go on beside questions, and longer than anybody waits
    /// for a page.
    fn default() -> Self {
        Self { memory_bytes: 512 << 20, seconds: 10 }
    }
}

/// Where the store is and who asks.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// `http://host:port` of the HTTP interface.
    pub url: String,
    /// Database that holds Kelly's tables.
    pub database: String,
    /// User.
    pub user: String,
    /// Its password.
    pub password: String,
    /// Whether inserts ask the server to run them behind questions. Only the embedded engine is asked: a server that has
    /// `CAP_SYS_NICE` in a user namespace of its own may lower a thread and not raise it again, and ends over that.
    pub inserts_yield: bool,
}

impl std::fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreConfig")
            .field("url", &self.url)
            .field("database", &self.database)
            .field("user", &self.user)
            .field("password", &"(hidden)")
            .finish()
    }
}

/// A handle on the store. Clones share one pool of connections.
#[derive(Clone)]
pub struct Store {
    client: Client,
    config: Arc<StoreConfig>,
    /// The views' own texts, read when the first question is asked.
    pub(crate) views: Arc<ViewTexts>,
    question_bounds: QuestionBounds,
    pub(crate) pulse: Arc<Pulse>,
    /// The directory of an embedded store.
    directory: Option<Arc<Identity>>,
}

impl Store {
    /// A handle; connects when it is first used.
    ///
    /// # Errors
    /// When the database's name is not a plain identifier.
    pub fn new(config: StoreConfig) -> Result<Self> {
        if !is_identifier(&config.database) {
            return Err(StoreError::Configuration(format!(
                "database name {:?} must be of letters, digits and underscores and not begin with a digit",
                config.database
            )));
        }
        let client = Client::default()
            .with_url(&config.url)
            .with_user(&config.user)
            .with_password(&config.password)
            .with_database(&config.database)
            // Over loopback compression costs more than the bytes it saves.
            .with_compression(if is_loopback(&config.url) { Compression::None } else { Compression::Lz4 })
            .with_product_info("kelly", env!("CARGO_PKG_VERSION"))
            .with_setting("max_execution_time", QUERY_DEADLINE.as_secs().to_string());
        Ok(Store {
            client,
            config: Arc::new(config),
            views: Arc::default(),
            question_bounds: QuestionBounds::default(),
            pulse: Arc::default(),
            directory: None,
        })
    }

    /// The same store, which spends other than the usual on a question.
    #[must_use]
    pub fn with_question_bounds(self, question_bounds: QuestionBounds) -> Self {
        Self { question_bounds, ..self }
    }

    /// The same store, whose files lie in this directory of this machine.
    pub(crate) fn with_directory(self, directory: Arc<Identity>) -> Self {
        Self { directory: Some(directory), ..self }
    }

    /// Whether the files of an embedded store are still there. A store that lost its directory goes on answering, from files
    /// that are gone at the next start.
    ///
    /// # Errors
    /// When they are not.
    pub fn verify_files(&self) -> Result<()> {
        match &self.directory {
            Some(directory) => directory.verify().map_err(StoreError::Removed),
            None => Ok(()),
        }
    }

    /// Where an embedded store lies.
    pub(crate) fn directory(&self) -> Option<&Path> {
        self.directory.as_deref().map(Identity::path)
    }

    /// What the store may spend on one question.
    pub fn question_bounds(&self) -> QuestionBounds {
        self.question_bounds
    }

    /// Asks the server for a trivial answer as the configured user.
    ///
    /// # Errors
    /// When there is no such answer.
    pub async fn ping(&self) -> Result<()> {
        self.version().await.map(drop)
    }

    /// The server's version.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn version(&self) -> Result<String> {
        let client = self.outside_database();
        self.ask("tell its version", client.query("SELECT version()").fetch_one()).await
    }

    /// Where it is and who asks.
    pub fn config(&self) -> &StoreConfig {
        &self.config
    }

    /// The client with database, user and limits set; for the queries of this crate.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Awaits an answer of the client, `action` (an infinitive: "read the feed") saying what it is for.
    /// The server ends a query at [`QUERY_DEADLINE`]; a server that does not even do that is given up on here, and one that
    /// responds to nothing much earlier.
    pub(crate) async fn ask<T>(
        &self,
        action: &str,
        answer: impl Future<Output = clickhouse::error::Result<T>>,
    ) -> Result<T> {
        self.verify_files()?;
        let answer = async { answer.await.map_err(|error| StoreError::query(action, error)) };
        match tokio::time::timeout(QUERY_DEADLINE + ANSWER_GRACE, self.while_it_responds(action, answer))
            .await
        {
            Ok(answer) => answer,
            Err(_) => Err(StoreError::TimedOut { action: action.to_owned() }),
        }
    }

    /// A client that does not need the database to exist.
    pub(crate) fn outside_database(&self) -> Client {
        self.client.clone().with_database("default")
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Store").field(&self.config).finish()
    }
}

/// Whether `name` can stand in SQL unquoted.
pub(crate) fn is_identifier(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn is_loopback(url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    ["127.", "localhost", "[::1]"].iter().any(|host| authority.starts_with(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(database: &str) -> StoreConfig {
        StoreConfig {
            url: "http://127.0.0.1:1".into(),
            database: database.into(),
            user: "kelly".into(),
            password: "hidden-one".into(),
            inserts_yield: false,
        }
    }

    #[test]
    fn a_database_name_is_an_identifier() {
        assert!(Store::new(config("kelly_2")).is_ok());
        for bad in ["", "1kelly", "kelly; DROP", "ke-lly", "kelly.x"] {
            assert!(Store::new(config(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_password_is_never_printed() {
        let store = Store::new(config("kelly")).unwrap();
        assert!(!format!("{store:?} {:?}", store.config()).contains("hidden-one"));
    }
}
