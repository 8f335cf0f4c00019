//! Keeps an engine running: starts it, waits until it answers, starts it again when it dies.

use std::io;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kelly_directory::{Identity, Lock};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

use super::child::ChildArgs;
use super::config::{self, UserLimits};
use super::error::EngineError;
use super::files::{EngineFile, Layout, SERVER_CONFIG, absolute, write_secret};
use super::lock;
use super::log_file::LogFile;
use super::process::{EngineProcess, Held};
use super::{
    APPLICATION_USER, Credentials, EngineSpec, EngineState, GRAFANA_USER, READY_DEADLINE, SHUTDOWN_DEADLINE,
};
use crate::client::{Store, StoreConfig};

/// First wait before a dead engine is started again; it doubles each time.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);

/// Longest wait before a dead engine is started again.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// An engine that answered for this long was healthy: its next death is a first one.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// First pause between two questions whether a starting engine answers; it doubles up to [`ASK_MAX`].
const ASK_FIRST: Duration = Duration::from_millis(5);

/// Longest pause between two such questions.
const ASK_MAX: Duration = Duration::from_millis(100);

/// How long one such question may take.
const ASK_DEADLINE: Duration = Duration::from_secs(2);

/// Starts with other ports when those chosen were taken before the engine had opened them.
const PORT_CHOICES: u32 = 4;

/// Everything a restart needs again.
pub(super) struct Supervisor {
    spec: EngineSpec,
    layout: Layout,
    lock: Lock,
    /// Of the engine's own files: a child is never started on another.
    directory: Arc<Identity>,
    file: EngineFile,
    application: Credentials,
    grafana: Credentials,
    log: Arc<Mutex<LogFile>>,
    store: Store,
}

impl Supervisor {
    /// Takes the directory, and writes what the engine reads.
    pub(super) async fn prepare(spec: EngineSpec) -> Result<Self, EngineError> {
        let layout = Layout::create(&spec.data_dir)?;
        let lock = lock::acquire(&layout).await?;
        let directory = Identity::of(&layout.data()).map_err(EngineError::files("open", &layout.data()))?;
        let application = layout.credentials(APPLICATION_USER)?;
        let grafana = layout.credentials(GRAFANA_USER)?;
        let file = layout.choose_ports()?;
        let log = LogFile::open(layout.log()).map_err(EngineError::files("open", &layout.log()))?;
        let limits = UserLimits { database: &spec.database, query_memory_bytes: spec.memory_limit_bytes / 2 };
        write_secret(&layout.users_config(), &config::users(&application, &grafana, &limits))?;
        write_secret(&layout.server_config(), &config::server(spec.memory_limit_bytes))?;
        let store = client(&spec, &file, &application)?;
        let log = Arc::new(Mutex::new(log));
        let directory = Arc::new(directory);
        Ok(Supervisor { spec, layout, lock, directory, file, application, grafana, log, store })
    }

    pub(super) fn file(&self) -> &EngineFile {
        &self.file
    }

    pub(super) fn directory(&self) -> Arc<Identity> {
        Arc::clone(&self.directory)
    }

    pub(super) fn credentials(&self) -> (Credentials, Credentials) {
        (self.application.clone(), self.grafana.clone())
    }

    /// Starts the first child of this life. Its ports were free when they were chosen, and anybody may have taken them
    /// since: then it is started with others, a few times. A child after it must be where it was.
    pub(super) async fn launch_first(&mut self) -> Result<EngineProcess, EngineError> {
        for _ in 1..PORT_CHOICES {
            match self.launch().await {
                Err(EngineError::Died { detail, .. }) if config::lost_its_port(&detail) => {
                    tracing::warn!(
                        detail,
                        "a port was taken while the embedded engine started, choosing others"
                    );
                    self.file = self.layout.choose_other_ports()?;
                    self.store = client(&self.spec, &self.file, &self.application)?;
                }
                launched => return launched,
            }
        }
        self.launch().await
    }

    /// Starts a child and returns when it answers.
    pub(super) async fn launch(&mut self) -> Result<EngineProcess, EngineError> {
        self.directory.verify().map_err(EngineError::Removed)?;
        let args = ChildArgs {
            library: absolute(&self.spec.library)?,
            config: SERVER_CONFIG.into(),
            data: "./".into(),
            http_port: self.file.http_port,
            tcp_port: self.file.tcp_port,
        };
        let held = Held { directory: &self.layout.data(), lock: self.lock.file() };
        let mut process = EngineProcess::spawn(&self.spec, &args, held, Arc::clone(&self.log))
            .map_err(EngineError::files("start", &self.spec.program))?;
        self.wait_ready(&mut process).await?;
        self.file.pid = Some(process.pid());
        Ok(process)
    }

    /// Writes down where the engine is.
    pub(super) fn publish(&self) -> Result<(), EngineError> {
        self.layout.publish(&self.file)
    }

    /// Watches `process` until it is asked to stop.
    pub(super) async fn supervise(
        mut self,
        mut process: EngineProcess,
        state: watch::Sender<EngineState>,
        mut stopped: oneshot::Receiver<()>,
    ) {
        let mut attempt = 0;
        loop {
            let ready_at = Instant::now();
            let status = tokio::select! {
                biased;
                _ = &mut stopped => {
                    self.stop(process).await;
                    state.send_replace(EngineState::Stopped);
                    return;
                }
                status = process.wait() => status,
            };
            if ready_at.elapsed() >= HEALTHY_AFTER {
                attempt = 0;
            }
            let mut reason = format!("{}: {}", describe(status), process.last_words());
            process = loop {
                attempt += 1;
                let wait = backoff(attempt);
                tracing::warn!(
                    attempt,
                    wait_ms = wait.as_millis() as u64,
                    reason,
                    "the embedded engine died, starting it again"
                );
                state.send_replace(EngineState::Restarting { attempt, reason });
                let launched = async {
                    sleep(wait).await;
                    self.launch().await
                };
                tokio::select! {
                    biased;
                    _ = &mut stopped => {
                        state.send_replace(EngineState::Stopped);
                        return;
                    }
                    launched = launched => match launched {
                        Ok(process) => break process,
                        Err(error) => reason = error.to_string(),
                    },
                }
            };
            tracing::info!(pid = process.pid(), "the embedded engine answers again");
            // It answers at the ports that were published before: a disk without room must not take it away.
            if let Err(error) = self.publish() {
                tracing::warn!(%error, "engine.json still names the engine before this one");
            }
            state.send_replace(EngineState::Ready { pid: process.pid() });
        }
    }

    async fn wait_ready(&self, process: &mut EngineProcess) -> Result<(), EngineError> {
        let deadline = Instant::now() + READY_DEADLINE;
        let mut pause = ASK_FIRST;
        loop {
            tokio::select! {
                biased;
                status = process.wait() => {
                    return Err(EngineError::Died {
                        status: describe(status),
                        detail: process.last_words(),
                        log: self.layout.log(),
                    });
                }
                started = timeout(ASK_DEADLINE, self.has_started()) => {
                    if started == Ok(true) {
                        return Ok(());
                    }
                }
            }
            if Instant::now() > deadline {
                return Err(EngineError::NotReady {
                    seconds: READY_DEADLINE.as_secs(),
                    log: self.layout.log(),
                });
            }
            sleep(pause).await;
            pause = (pause * 2).min(ASK_MAX);
        }
    }

    /// Whether this engine, and nobody else on its port, answers: only it knows the password.
    async fn has_started(&self) -> bool {
        let answer = self.store.outside_database().query(config::STARTED_QUESTION).fetch_one::<u8>().await;
        matches!(answer, Ok(1))
    }

    /// Ends it and waits until it is gone.
    async fn stop(&self, mut process: EngineProcess) {
        process.let_go();
        if timeout(SHUTDOWN_DEADLINE, process.wait()).await.is_err() {
            tracing::warn!(pid = process.pid(), "the embedded engine did not end by itself, killing it");
            if let Err(error) = process.kill().await {
                tracing::error!(pid = process.pid(), %error, "the embedded engine could not be killed");
            }
        }
    }
}

/// The client of the engine at these ports.
fn client(spec: &EngineSpec, file: &EngineFile, user: &Credentials) -> Result<Store, EngineError> {
    Store::new(StoreConfig {
        url: format!("http://127.0.0.1:{}", file.http_port),
        database: spec.database.clone(),
        user: user.user.clone(),
        password: user.password.clone(),
        inserts_yield: true,
    })
    .map_err(|error| EngineError::System { action: "reach the engine", detail: error.to_string() })
}

/// How long to wait before start number `attempt` (from 1) of an engine that keeps dying.
fn backoff(attempt: u32) -> Duration {
    let doublings = attempt.saturating_sub(1).min(16);
    BACKOFF_FIRST.saturating_mul(1 << doublings).min(BACKOFF_MAX)
}

fn describe(status: io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => status.to_string(),
        Err(error) => format!("its end could not be observed: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_bound() {
        assert_eq!(backoff(1), Duration::from_millis(100));
        assert_eq!(backoff(2), Duration::from_millis(200));
        assert_eq!(backoff(9), Duration::from_millis(25_600));
        for attempt in 10..200 {
            assert_eq!(backoff(attempt), BACKOFF_MAX);
        }
    }
}
