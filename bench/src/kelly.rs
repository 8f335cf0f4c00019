//! A `kelly` as its users run it: the release binary beside this one, with a directory and a port of
//! its own.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kelly_harness::engine::query;
use kelly_harness::sign_in;
use kelly_sql::StoreConfig;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Where metrics are recorded.
pub const RECORD_PATH: &str = "/api/v1/kelly/monitoring/metrics/record";
/// How long a start or an end may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is asked whether it is ready.
const ASK_EVERY: Duration = Duration::from_millis(5);

/// The limits are on, and wide enough for one user who is the whole load.
const WIDE_LIMITS: [(&str, &str); 3] = [
    ("KELLY_LIMIT_REQUESTS_PER_MINUTE", "1000000000"),
    ("KELLY_LIMIT_RECORDED_ROWS_PER_MINUTE", "4000000000"),
    ("KELLY_LIMIT_RECORDED_BYTES_PER_MINUTE", "1024GiB"),
];

/// One running `kelly`; killed when it is dropped, and its engine with it.
pub struct Kelly {
    child: Child,
    address: SocketAddr,
    directory: TempDir,
    /// From its start until it said it is ready.
    pub ready_after: Duration,
}

impl Kelly {
    /// Starts one on a fresh directory and waits until it is ready.
    pub async fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Self> {
        let directory = TempDir::with_prefix("kelly-bench-").context("creating kelly's directory")?;
        Self::start_in(directory, arguments, &[&WIDE_LIMITS, environment].concat()).await
    }

    /// The same with the limits on users that Kelly has by itself.
    pub async fn start_with_own_limits(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Self> {
        let directory = TempDir::with_prefix("kelly-bench-").context("creating kelly's directory")?;
        Self::start_in(directory, arguments, environment).await
    }

    /// The same with so many partitions a topic; its own default when left out.
    pub async fn start_with_partitions(arguments: &[&str], partitions: Option<u32>) -> Result<Self> {
        match partitions.map(|partitions| partitions.to_string()) {
            Some(partitions) => Self::start(arguments, &[("KELLY_LOG_PARTITIONS", &partitions)]).await,
            None => Self::start(arguments, &[]).await,
        }
    }

    async fn start_in(directory: TempDir, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Self> {
        let address = free_address()?;
        let program = program()?;
        let mut command = Command::new(&program);
        for (name, _) in std::env::vars_os() {
            // Settings of whoever measures must not change what is measured.
            let setting = name.to_str().is_some_and(|name| {
                ["KELLY_", "MONITORING_", "WEBSOCKET_"].iter().any(|start| name.starts_with(start))
            });
            if setting && name != "KELLY_LIBCHDB" && name != "KELLY_CACHE" {
                command.env_remove(&name);
            }
        }
        command
            .args(arguments)
            .envs(environment.iter().copied())
            .env("KELLY_LISTEN", address.to_string())
            .env("KELLY_DATA", directory.path())
            .env("RUST_LOG", "warn")
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        let begun = Instant::now();
        let child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
        let mut kelly = Self { child, address, directory, ready_after: Duration::ZERO };
        kelly.until_ready().await?;
        kelly.ready_after = begun.elapsed();
        Ok(kelly)
    }

    async fn until_ready(&mut self) -> Result<()> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build()?;
        let begun = Instant::now();
        loop {
            if let Ok(answer) = client.get(self.url("/readyz")).send().await
                && answer.status().is_success()
            {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("kelly ended before it was ready ({status}): see above");
            }
            if begun.elapsed() > PATIENCE {
                bail!("kelly was not ready after {} s", PATIENCE.as_secs());
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A token with which everything may be done.
    pub fn token(&self) -> Result<String> {
        sign_in::token(self.data()).context("kelly has made no secret to sign in with")
    }

    /// A token of one of many users who may look at everything.
    pub fn token_of(&self, number: usize) -> Result<String> {
        sign_in::viewers_token(self.data(), number).context("kelly has made no secret to sign in with")
    }

    /// A token of one of many users who may record.
    pub fn producers_token(&self, number: usize) -> Result<String> {
        sign_in::producers_token(self.data(), number).context("kelly has made no secret to sign in with")
    }

    /// An HTTP client that is signed in.
    pub fn client(&self) -> Result<reqwest::Client> {
        self.client_with(&self.token()?)
    }

    /// One that brings this token.
    pub fn client_with(&self, token: &str) -> Result<reqwest::Client> {
        let mut header = HeaderValue::try_from(format!("Bearer {token}"))?;
        header.set_sensitive(true);
        let headers = HeaderMap::from_iter([(AUTHORIZATION, header)]);
        Ok(reqwest::Client::builder().no_proxy().default_headers(headers).build()?)
    }

    /// Its process.
    pub fn pid(&self) -> Result<u32> {
        self.child.id().context("kelly has ended")
    }

    /// Its engine's process.
    pub fn engine_pid(&self) -> Result<u32> {
        let pid = self.engine_file()?["pid"].as_u64().context("engine.json names no process")?;
        Ok(u32::try_from(pid)?)
    }

    /// Its directory.
    pub fn data(&self) -> &Path {
        self.directory.path()
    }

    /// The answer of its store, as the application's user.
    pub async fn query(&self, sql: &str) -> Result<String> {
        let config = self.store_config()?;
        query(&config, &config.database, sql).await.with_context(|| format!("asking: {sql}"))
    }

    /// The answer of its store, one number.
    pub async fn number(&self, sql: &str) -> Result<f64> {
        let answer = self.query(sql).await?;
        answer.parse().with_context(|| format!("{sql} answered {answer:?}"))
    }

    /// How its embedded store is reached.
    pub fn store_config(&self) -> Result<StoreConfig> {
        let file = self.engine_file()?;
        let port = file["http_port"].as_u64().context("engine.json names no port")?;
        let user = file["users"]["application"].as_str().context("engine.json names no user")?;
        let secret = self.data().join("secrets").join(format!("engine-{user}.password"));
        let password =
            std::fs::read_to_string(&secret).with_context(|| format!("reading {}", secret.display()))?;
        Ok(StoreConfig {
            url: format!("http://127.0.0.1:{port}"),
            database: "kelly".to_owned(),
            user: user.to_owned(),
            password: password.trim().to_owned(),
            inserts_yield: true,
        })
    }

    fn engine_file(&self) -> Result<Value> {
        let path = self.data().join("engine.json");
        let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_slice(&bytes).with_context(|| format!("reading {}", path.display()))
    }

    /// Lets it drain and waits for its end.
    pub async fn end(self) -> Result<()> {
        self.end_keeping().await.map(drop)
    }

    /// The same, and starts it again on the same directory.
    pub async fn restart(self, arguments: &[&str]) -> Result<Self> {
        let directory = self.end_keeping().await?;
        Self::start_in(directory, arguments, &WIDE_LIMITS).await
    }

    async fn end_keeping(mut self) -> Result<TempDir> {
        let pid = libc::pid_t::try_from(self.pid()?)?;
        // SAFETY: a plain system call; the child is ours and not yet waited for.
        unsafe { libc::kill(pid, libc::SIGTERM) };
        let status =
            tokio::time::timeout(PATIENCE, self.child.wait()).await.context("kelly does not end")??;
        if !status.success() {
            bail!("kelly ended badly: {status}");
        }
        Ok(self.directory)
    }
}

/// Resident memory of a process, in MiB.
pub fn resident_mib(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().context("VmRSS is no number")?;
    Ok(kib / 1024.0)
}

/// `kelly`, which cargo puts beside this program.
fn program() -> Result<PathBuf> {
    let own = std::env::current_exe().context("finding this program")?;
    let program = own.with_file_name("kelly");
    if !program.is_file() {
        bail!("{} is not built: run `cargo build --release --bin kelly`", program.display());
    }
    Ok(program)
}

/// An address that was free a moment ago.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0").context("looking for a free port")?.local_addr()?)
}
