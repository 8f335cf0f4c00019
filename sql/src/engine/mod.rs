//! The embedded engine: a whole ClickHouse server in a child process of this binary.
//!
//! libchdb is loaded in the child only (it is half a gigabyte of address space and owns its process's threads and
//! memory), the binary re-executes itself for that: [`run_child`] is what the child runs. The parent speaks to it
//! as to any server, over loopback. Invariants:
//! - the child ends when its parent ends, however that happens: it holds the other end of a pipe;
//! - one directory has one engine: a lock is held by parent and child together, until the last of them is gone;
//! - ports and passwords outlive the child: a restarted engine is found where the one before it was.

mod child;
mod config;
mod error;
mod files;
mod library;
mod lock;
mod log_file;
mod process;
mod supervisor;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kelly_directory::Identity;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

pub use child::run_child;
pub use error::EngineError;
pub use files::running;
pub use library::{LibraryPlaces, find_library};

use crate::client::{Store, StoreConfig};
use files::EngineFile;
use supervisor::Supervisor;

/// User the parts of Kelly work as.
pub const APPLICATION_USER: &str = "kelly";

/// User for dashboards: reads Kelly's database, changes nothing.
pub const GRAFANA_USER: &str = "grafana";

/// Database of Kelly's tables in an embedded engine.
const DATABASE: &str = "kelly";

/// How long a started engine may take until it answers. It answers in half a second; a data directory with many
/// parts on a slow disk takes longer.
const READY_DEADLINE: Duration = Duration::from_secs(60);

/// How long an engine may take to end before it is killed; it takes milliseconds.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(5);

/// What an engine is started with.
#[derive(Debug, Clone)]
pub struct EngineSpec {
    /// Directory of everything the engine keeps: `engine.json`, `engine.log`, `secrets/`, `engine/`.
    pub data_dir: PathBuf,
    /// libchdb, as [`find_library`] finds it.
    pub library: PathBuf,
    /// Program of the child: this very binary.
    pub program: PathBuf,
    /// Arguments that make it call [`run_child`]; the engine's own follow.
    pub args: Vec<std::ffi::OsString>,
    /// Database the dashboards' user may read.
    pub database: String,
    /// Memory the engine may take; a query beyond it is refused, the engine itself goes on. Half of the machine's memory
    /// is a further bound.
    pub memory_limit_bytes: u64,
}

impl EngineSpec {
    /// A specification with the usual database and memory limit.
    pub fn new(data_dir: PathBuf, library: PathBuf, program: PathBuf, args: Vec<std::ffi::OsString>) -> Self {
        EngineSpec {
            data_dir,
            library,
            program,
            args,
            database: DATABASE.to_owned(),
            memory_limit_bytes: 2 << 30,
        }
    }
}

/// A user of the engine and its password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Name.
    pub user: String,
    /// Password.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).field("password", &"(hidden)").finish()
    }
}

/// What the engine is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineState {
    /// It answers.
    Ready {
        /// Process.
        pid: u32,
    },
    /// It died, and is being started again.
    Restarting {
        /// Attempts since it last was healthy, this one included.
        attempt: u32,
        /// How it died.
        reason: String,
    },
    /// It was shut down.
    Stopped,
}

/// A running engine under supervision: when it dies it is started again, with the same ports, users and data.
///
/// Dropping it ends the engine as well, at once and without waiting; [`Engine::shutdown`] waits.
pub struct Engine {
    file: EngineFile,
    application: Credentials,
    grafana: Credentials,
    database: String,
    state: watch::Receiver<EngineState>,
    directory: Arc<Identity>,
    stop: Option<oneshot::Sender<()>>,
    supervision: JoinHandle<()>,
}

impl Engine {
    /// Starts the engine of a directory and returns when it answers.
    ///
    /// # Errors
    /// When the directory is in use or not writable, libchdb cannot be loaded, or the engine does not come up; the
    /// error says which, and where its log is.
    pub async fn start(spec: EngineSpec) -> Result<Engine, EngineError> {
        let database = spec.database.clone();
        let mut supervisor = Supervisor::prepare(spec).await?;
        let child = supervisor.launch_first().await?;
        supervisor.publish()?;
        let (state_sender, state) = watch::channel(EngineState::Ready { pid: child.pid() });
        let (stop, stopped) = oneshot::channel();
        let file = supervisor.file().clone();
        let directory = supervisor.directory();
        let (application, grafana) = supervisor.credentials();
        let supervision = tokio::spawn(supervisor.supervise(child, state_sender, stopped));
        Ok(Engine { file, application, grafana, database, state, directory, stop: Some(stop), supervision })
    }

    /// `http://127.0.0.1:port` of its HTTP interface.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.file.http_port)
    }

    /// Port of its native protocol, on loopback.
    pub fn tcp_port(&self) -> u16 {
        self.file.tcp_port
    }

    /// The user Kelly works as.
    pub fn credentials(&self) -> &Credentials {
        &self.application
    }

    /// The user of dashboards.
    pub fn grafana_credentials(&self) -> &Credentials {
        &self.grafana
    }

    /// How a [`crate::Store`] reaches it.
    pub fn store_config(&self) -> StoreConfig {
        StoreConfig {
            url: self.url(),
            database: self.database.clone(),
            user: self.application.user.clone(),
            password: self.application.password.clone(),
            inserts_yield: true,
        }
    }

    /// The client of Kelly's own parts. It knows the engine's directory, and answers with an error once that is gone.
    ///
    /// # Errors
    /// When the database's name is none.
    pub fn store(&self) -> crate::Result<Store> {
        Ok(Store::new(self.store_config())?.with_directory(Arc::clone(&self.directory)))
    }

    /// What it is doing; the receiver sees every change.
    pub fn state(&self) -> watch::Receiver<EngineState> {
        self.state.clone()
    }

    /// Stops the engine and waits until its process is gone. What was confirmed is on disk; a query that still runs
    /// fails, so drain first.
    pub async fn shutdown(mut self) {
        if let Some(stop) = self.stop.take() {
            // An error means that the supervision has ended already.
            let _ = stop.send(());
        }
        let _ = (&mut self.supervision).await;
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Ends the task, and with it the pipe the child holds on to. After a shutdown there is nothing to end.
        self.supervision.abort();
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("file", &self.file).field("state", &*self.state.borrow()).finish()
    }
}
