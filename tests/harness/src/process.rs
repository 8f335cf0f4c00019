//! A `kelly` started as its users start it: the real binary, a directory and a port of its own.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::engine::program;
use crate::sign_in;

/// How long anything may take before a test fails; no test depends on how long it does take.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// One running `kelly`. Dropping it kills it, and its engine with it.
pub struct Kelly {
    child: Child,
    /// Base URL of its HTTP interface.
    pub url: String,
    data: PathBuf,
    client: reqwest::Client,
    /// Made once the secret is there, and kept: the directory may be deleted under it.
    token: OnceLock<String>,
    log_lines: Arc<Mutex<VecDeque<String>>>,
}

/// Lines of its standard error that are kept; older ones are dropped.
const KEPT_LINES: usize = 2_000;

/// What to start.
pub struct Start<'a> {
    /// Role and flags, e.g. `["up"]`.
    pub arguments: &'a [&'a str],
    /// Variables beside the inherited ones.
    pub environment: &'a [(&'a str, &'a str)],
    /// Where its data lies; the test owns it.
    pub data: &'a Path,
}

impl Kelly {
    /// Starts one and waits until it is ready.
    ///
    /// # Panics
    /// When it ends before that, or takes longer than [`PATIENCE`].
    pub async fn start(start: Start<'_>) -> Self {
        let mut kelly = Self::spawn(start);
        kelly.until_ready().await;
        kelly
    }

    /// Starts one and does not wait: the kill tests kill it at any point of its life.
    ///
    /// # Panics
    /// When the program is not there.
    pub fn spawn(start: Start<'_>) -> Self {
        Self::spawn_at(&free_address(), start)
    }

    /// The same at an address of the caller's choice, so that several processes answer at one, one after the other.
    ///
    /// # Panics
    /// When the program is not there.
    pub fn spawn_at(listen: &str, start: Start<'_>) -> Self {
        let mut command = kelly();
        command
            .args(start.arguments)
            // Tests poll as nobody does; what is refused beyond a budget has tests of its own.
            .env("KELLY_LIMIT_REQUESTS_PER_MINUTE", "1000000000")
            .envs(start.environment.iter().copied())
            .env("KELLY_LISTEN", listen)
            .env("KELLY_DATA", start.data)
            .env("RUST_LOG", std::env::var("KELLY_TEST_RUST_LOG").unwrap_or_else(|_| "warn".to_owned()))
            .current_dir(start.data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        // `serve` shares its secret with others and makes none; `up` makes its own.
        let says_who = start.environment.iter().any(|(name, _)| name.starts_with("KELLY_AUTH"));
        if start.arguments.first() == Some(&"serve") && !says_who {
            let secret = sign_in::make_secret(start.data).expect("the directory is ours");
            command.env("KELLY_AUTH_SECRET_FILE", secret);
        }
        let mut child = command.spawn().expect("the kelly binary starts");
        let stderr = child.stderr.take().expect("stderr is piped");
        // Its words belong to the test's own output, which is shown when the test fails.
        let log_lines = Arc::new(Mutex::new(VecDeque::new()));
        let keep = log_lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                eprintln!("kelly: {line}");
                let mut kept = keep.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() == KEPT_LINES {
                    kept.pop_front();
                }
                kept.push_back(line);
            }
        });
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("an HTTP client");
        Self {
            child,
            url: format!("http://{listen}"),
            data: start.data.to_owned(),
            client,
            token: OnceLock::new(),
            log_lines,
        }
    }

    /// Waits until `/readyz` says 200.
    ///
    /// # Panics
    /// When it ends before that, or takes longer than [`PATIENCE`].
    pub async fn until_ready(&mut self) {
        let begun = Instant::now();
        loop {
            if let Ok(answer) = self.asked("/readyz").send().await
                && answer.status().is_success()
            {
                return;
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("kelly ended before it was ready: {status}");
            }
            assert!(begun.elapsed() < PATIENCE, "kelly was not ready in time");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and waits until the process is gone.
    pub fn kill(mut self) {
        self.end(true);
    }

    /// SIGKILL, and goes on at once: neither the process nor its engine needs to have ended when this returns.
    pub fn kill_at_once(&mut self) {
        let _ = self.child.kill();
    }

    /// SIGKILL to the engine child alone. False when there is none just now.
    pub fn kill_engine(&self) -> bool {
        self.signal_engine(libc::SIGKILL)
    }

    /// SIGSTOP to the engine child: it stands still until [`Kelly::wake_engine`]. False when there is none just now.
    pub fn suspend_engine(&self) -> bool {
        self.signal_engine(libc::SIGSTOP)
    }

    /// SIGCONT to the engine child. False when there is none just now.
    pub fn wake_engine(&self) -> bool {
        self.signal_engine(libc::SIGCONT)
    }

    fn signal_engine(&self, signal: i32) -> bool {
        let Some(engine) = children(self.pid()).into_iter().next() else { return false };
        // SAFETY: kill takes two integers; a process that is gone already is an error we ignore.
        unsafe { libc::kill(engine as i32, signal) };
        true
    }

    /// SIGSTOP: it stands still, and its connections with it, until [`Kelly::wake`].
    pub fn suspend(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// SIGCONT.
    pub fn wake(&self) {
        self.signal(libc::SIGCONT);
    }

    /// The exit code, when it has ended by itself.
    pub fn ended(&mut self) -> Option<Option<i32>> {
        self.child.try_wait().ok().flatten().map(|status| status.code())
    }

    /// Waits until it ends by itself and gives the exit code.
    pub fn wait(mut self) -> Option<i32> {
        wait_with_patience(&mut self.child).code()
    }

    /// Whether its log has a line with these words so far.
    pub fn has_logged(&self, words: &str) -> bool {
        self.log_lines.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|line| line.contains(words))
    }

    /// The first line of its log with these words, if there is one so far.
    pub fn logged(&self, words: &str) -> Option<String> {
        let lines = self.log_lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().find(|line| line.contains(words)).cloned()
    }

    /// SIGTERM, and goes on at once.
    pub fn ask_to_stop(&self) {
        self.signal(libc::SIGTERM);
    }

    /// SIGTERM, waits for the drain, and gives the exit code.
    pub fn terminate(mut self) -> Option<i32> {
        self.signal(libc::SIGTERM);
        let status = wait_with_patience(&mut self.child);
        status.code()
    }

    fn signal(&self, signal: i32) {
        // SAFETY: kill takes two integers; the child is ours and not yet waited for.
        unsafe { libc::kill(self.child.id() as i32, signal) };
    }

    /// A request for a path, signed in as an administrator.
    pub fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.url));
        if self.token.get().is_none()
            && let Some(token) = sign_in::token(&self.data)
        {
            let _ = self.token.set(token);
        }
        match self.token.get() {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// A token of an administrator.
    ///
    /// # Panics
    /// Before it has made its secret.
    pub fn token(&self) -> String {
        self.token.get().cloned().or_else(|| sign_in::token(&self.data)).expect("the secret is made")
    }

    fn asked(&self, path: &str) -> reqwest::RequestBuilder {
        self.request(reqwest::Method::GET, path)
    }

    /// GET as JSON; the status must be 200.
    ///
    /// # Panics
    /// When it is not.
    pub async fn get(&self, path: &str) -> Value {
        let answer = self.asked(path).send().await.expect("an answer");
        let (status, body) = (answer.status(), answer.text().await.expect("a body"));
        assert!(status.is_success(), "GET {path}: {status} {body}");
        serde_json::from_str(&body).unwrap_or_else(|fault| panic!("GET {path}: {fault}: {body}"))
    }

    /// GET a file.
    ///
    /// # Panics
    /// When the answer is another or none.
    pub async fn text(&self, path: &str) -> String {
        let answer = self.asked(path).send().await.expect("an answer");
        let (status, body) = (answer.status(), answer.text().await.expect("a body"));
        assert!(status.is_success(), "GET {path}: {status} {body}");
        body
    }

    /// GET whatever the status; `None` when the connection broke.
    pub async fn look(&self, path: &str) -> Option<(u16, Value)> {
        let answer = self.asked(path).send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.json().await.ok()?))
    }

    /// POST JSON; gives the status and the body, or `None` when the connection broke.
    pub async fn post(&self, path: &str, body: &Value) -> Option<(u16, Value)> {
        let answer = self.request(reqwest::Method::POST, path).json(body).send().await.ok()?;
        let status = answer.status().as_u16();
        let body = answer.json().await.ok()?;
        Some((status, body))
    }

    /// What the part named so says of itself in `/health`; `None` when it cannot be asked.
    pub async fn part(&self, name: &str) -> Option<Value> {
        let (_, health) = self.look("/api/v1/kelly/monitoring/health").await?;
        health["parts"].as_array()?.iter().find(|part| part["name"] == name).cloned()
    }

    /// Waits until ingest, of this process, holds partitions.
    ///
    /// # Panics
    /// When it takes longer than [`PATIENCE`].
    pub async fn until_assigned(&self) {
        let begun = Instant::now();
        while self.ingest_detail("partitions").await.unwrap_or(0) == 0 {
            assert!(begun.elapsed() < PATIENCE, "no partitions in time");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until ingest has confirmed everything on the log.
    ///
    /// # Panics
    /// When nothing is confirmed for [`PATIENCE`].
    pub async fn until_drained(&self) {
        let (mut begun, mut before) = (Instant::now(), None);
        loop {
            let lag = self.ingest_detail("lag").await;
            if lag == Some(0) {
                return;
            }
            if lag.is_some() && lag != before {
                (begun, before) = (Instant::now(), lag);
            }
            assert!(begun.elapsed() < PATIENCE, "not drained in time, {before:?} behind");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn ingest_detail(&self, name: &str) -> Option<u64> {
        self.part("ingest").await?["details"][name].as_u64()
    }

    /// Asks the store itself, as the application user of the embedded engine.
    ///
    /// # Panics
    /// When it refuses.
    pub async fn sql(&self, query: &str) -> String {
        let engine: Value =
            serde_json::from_slice(&std::fs::read(self.data.join("engine.json")).expect("engine.json"))
                .expect("engine.json is JSON");
        let port = engine["http_port"].as_u64().expect("http_port");
        let user = engine["users"]["application"].as_str().expect("users.application");
        let secret = self.data.join("secrets").join(format!("engine-{user}.password"));
        let password = std::fs::read_to_string(secret).expect("the application user's password");
        let answer = self
            .client
            .post(format!("http://127.0.0.1:{port}/?database=kelly"))
            .header("X-ClickHouse-User", user)
            .header("X-ClickHouse-Key", password.trim())
            .body(query.to_owned())
            .send()
            .await
            .expect("the engine answers");
        let (status, body) = (answer.status(), answer.text().await.expect("a body"));
        assert!(status.is_success(), "{query}: {body}");
        body.trim().to_owned()
    }

    fn end(&mut self, kill: bool) {
        let engines = children(self.child.id());
        if kill {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
        // The engine follows its parent by itself; the next start needs its directory to be free.
        let begun = Instant::now();
        while engines.iter().any(|pid| Path::new(&format!("/proc/{pid}")).exists()) {
            assert!(begun.elapsed() < PATIENCE, "an engine outlived its kelly");
            std::thread::yield_now();
        }
    }
}

impl Drop for Kelly {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.end(true);
        }
    }
}

/// Runs `kelly` to its end: exit code, standard output, standard error.
///
/// # Panics
/// When the program is not there.
pub fn run(
    arguments: &[&str],
    environment: &[(&str, &str)],
    directory: &Path,
) -> (Option<i32>, String, String) {
    let output = kelly()
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .expect("the kelly binary runs");
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// The binary, without the variables of the tests themselves: it refuses those it does not know.
///
/// # Panics
/// When it is not built.
pub fn kelly() -> Command {
    let program = program("kelly").unwrap_or_else(|fault| panic!("{fault:#}"));
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let ours = name.to_str().is_some_and(|name| {
            ["KELLY_", "MONITORING_", "WEBSOCKET_"].iter().any(|start| name.starts_with(start))
        });
        if ours && name != "KELLY_LIBCHDB" && name != "KELLY_CACHE" {
            command.env_remove(&name);
        }
    }
    command
}

/// A loopback address nobody listens on, and nobody will by chance: it lies below the ports that the
/// system gives to outgoing connections and to listeners that ask for any, and is given out once.
pub fn free_address() -> String {
    const FIRST: u32 = 12_000;
    const COUNT: u32 = 18_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    loop {
        // Two runs of the tests at once begin at different places.
        let step = std::process::id().wrapping_mul(97).wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        let address = format!("127.0.0.1:{}", FIRST + step % COUNT);
        if TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
}

/// Children of every thread of a process: an engine that was restarted is not the main thread's.
fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let children = |thread: std::fs::DirEntry| std::fs::read_to_string(thread.path().join("children")).ok();
    threads
        .filter_map(|thread| children(thread.ok()?))
        .flat_map(|listed| {
            listed.split_whitespace().filter_map(|child| child.parse().ok()).collect::<Vec<u32>>()
        })
        .collect()
}

fn wait_with_patience(child: &mut Child) -> std::process::ExitStatus {
    let (done, finished) = mpsc::sync_channel::<()>(1);
    let pid = child.id() as i32;
    let watch = std::thread::spawn(move || {
        if finished.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            // SAFETY: kill takes two integers; the child is not reaped before `done` is sent.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    });
    let status = child.wait().expect("the child can be waited for");
    let _ = done.send(());
    let _ = watch.join();
    status
}
