//! A real Apache Kafka for tests: one KRaft broker in a process of its own on ports of its own,
//! which ends with the test process whatever way that ends.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::free_port;

/// How long a broker may take to say that it has started, on a machine that is busy compiling.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// Lines of the broker's output kept for the message when it fails.
const KEPT_LINES: usize = 60;

/// A port can be taken by somebody else between its choice and its use: then another one is tried.
const START_ATTEMPTS: usize = 3;

/// What the broker logs when it serves.
const STARTED: &str = "Kafka Server started";

/// How a broker is to be run.
#[derive(Debug, Clone)]
pub struct BrokerOptions {
    /// The JVM's heap.
    pub heap_mb: u32,
    /// Starts sooner and runs slower: for tests, not for benchmarks.
    pub quick_start: bool,
    /// Lines added to `server.properties`.
    pub properties: Vec<(String, String)>,
}

impl Default for BrokerOptions {
    fn default() -> Self {
        Self { heap_mb: 512, quick_start: true, properties: Vec::new() }
    }
}

/// A broker to test against.
pub struct KafkaBroker {
    bootstrap: String,
    own: Option<OwnBroker>,
}

impl KafkaBroker {
    /// The broker all tests of this process share: the one `KELLY_TEST_KAFKA` names, else one of
    /// its own, started at the first call.
    ///
    /// # Panics
    /// When there is no broker to be had; the message says how to get one.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<KafkaBroker> = OnceLock::new();
        extern "C" fn end() {
            if let Some(own) = SHARED.get().and_then(|broker| broker.own.as_ref()) {
                own.end();
            }
        }
        SHARED.get_or_init(|| {
            if let Ok(bootstrap) = std::env::var("KELLY_TEST_KAFKA")
                && !bootstrap.is_empty()
            {
                return Self { bootstrap, own: None };
            }
            let broker = Self::start().unwrap_or_else(|error| panic!("no Kafka to test against: {error:#}"));
            // SAFETY: `end` takes no arguments, unwinds into nothing and touches only a static.
            // Statics are not dropped at exit, so this is what removes the broker's directory.
            unsafe { libc::atexit(end) };
            broker
        })
    }

    /// A broker of this caller's own, ended when it is dropped.
    pub fn start() -> Result<Self> {
        Self::start_with(&BrokerOptions::default())
    }

    /// The same, run as `options` say.
    pub fn start_with(options: &BrokerOptions) -> Result<Self> {
        let jars = jars()?;
        let mut last = anyhow!("no attempt was made");
        for _ in 0..START_ATTEMPTS {
            match OwnBroker::start(&jars, options) {
                Ok(own) => return Ok(Self { bootstrap: format!("127.0.0.1:{}", own.port), own: Some(own) }),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// `host:port` for clients.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The broker's process, when it is this caller's own and runs.
    pub fn pid(&self) -> Option<u32> {
        self.own.as_ref()?.lock().running
    }

    /// Ends it as a power cut would (SIGKILL) and waits until it is gone.
    pub fn kill(&self) -> Result<()> {
        self.own.as_ref().context("KELLY_TEST_KAFKA names a broker that is not ours to kill")?.kill();
        Ok(())
    }

    /// Starts it again after [`KafkaBroker::kill`], on the same port and data.
    pub fn restart(&self) -> Result<()> {
        self.own.as_ref().context("KELLY_TEST_KAFKA names a broker that is not ours to restart")?.run()
    }
}

struct OwnBroker {
    directory: PathBuf,
    port: u16,
    command: Vec<String>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The process while it is not reaped, so that the number cannot mean another one.
    running: Option<u32>,
    keeper: Option<thread::JoinHandle<()>>,
}

impl OwnBroker {
    fn start(jars: &Path, options: &BrokerOptions) -> Result<Self> {
        let directory = fresh_directory()?;
        let (port, controller_port) = (free_port(), free_port());
        let properties = directory.join("server.properties");
        fs::write(&properties, server_properties(&directory, port, controller_port, options))?;
        fs::write(directory.join("log4j2.properties"), LOG4J2)?;
        let own =
            Self { command: java_command(jars, &directory, options), directory, port, state: Arc::default() };
        own.format(&properties)?;
        own.run()?;
        Ok(own)
    }

    fn format(&self, properties: &Path) -> Result<()> {
        let output = self
            .java("kafka.tools.StorageTool", &["format", "-t", &cluster_id(), "-c"])
            .arg(properties)
            .arg("--ignore-formatted")
            .stdin(Stdio::null())
            .output()
            .context(
                "could not run java: install a JRE of version 17 or newer (Debian: openjdk-17-jre-headless)",
            )?;
        if !output.status.success() {
            bail!(
                "Kafka's storage tool failed ({}): {}{}",
                output.status,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    }

    /// Starts the process and waits until it serves.
    fn run(&self) -> Result<()> {
        let properties = self.directory.join("server.properties");
        let mut command = self.java("kafka.Kafka", &[]);
        command.arg(properties).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        // SAFETY: prctl is async-signal-safe and changes nothing but the child's own setting.
        unsafe {
            command.pre_exec(|| {
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0 {
                    Ok(())
                } else {
                    Err(std::io::Error::last_os_error())
                }
            });
        }
        // Two things are reported at most: that it started, and that it ended. Nobody waits for more.
        let (report, reports) = mpsc::sync_channel(2);
        let state = self.state.clone();
        // The signal comes when the *thread* that started the child ends, and a test's thread ends
        // long before its process: so a thread of the child's own starts it and stays.
        let keeper = thread::Builder::new()
            .name("kafka-keeper".into())
            .spawn(move || keep(command, &state, &report))?;
        self.lock().keeper = Some(keeper);
        match reports.recv_timeout(START_TIMEOUT) {
            Ok(outcome) => outcome,
            Err(_) => {
                self.kill();
                bail!("Kafka did not start within {} s", START_TIMEOUT.as_secs())
            }
        }
    }

    fn kill(&self) {
        let keeper = {
            let mut state = self.lock();
            if let Some(pid) = state.running.and_then(|pid| libc::pid_t::try_from(pid).ok()) {
                // SAFETY: a plain system call; the child is not reaped while it counts as running.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
            state.keeper.take()
        };
        if let Some(keeper) = keeper {
            // It ends when the child's output does.
            let _ = keeper.join();
        }
    }

    fn end(&self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.directory);
    }

    fn java(&self, main_class: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).arg(main_class).args(arguments);
        command
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OwnBroker {
    fn drop(&mut self) {
        self.end();
    }
}

fn keep(mut command: Command, state: &Mutex<State>, tell: &SyncSender<Result<()>>) {
    let lock = || state.lock().unwrap_or_else(PoisonError::into_inner);
    let mut child: Child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let _ = tell.try_send(Err(anyhow!(error).context("could not run java")));
            return;
        }
    };
    lock().running = Some(child.id());
    let lines = child.stdout.take().map(|output| follow(output, tell)).unwrap_or_default();
    let mut state = lock();
    state.running = None;
    let outcome = child.wait();
    drop(state);
    // Nobody listens any more when it had started before.
    let _ = tell.try_send(Err(anyhow!(
        "Kafka ended before it served ({outcome:?}); its last words:\n{}",
        Vec::from(lines).join("\n")
    )));
}

fn follow(output: ChildStdout, tell: &SyncSender<Result<()>>) -> VecDeque<String> {
    let mut last = VecDeque::new();
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        if line.contains(STARTED) {
            let _ = tell.try_send(Ok(()));
        }
        if last.len() == KEPT_LINES {
            last.pop_front();
        }
        last.push_back(line);
    }
    last
}

fn java_command(jars: &Path, directory: &Path, options: &BrokerOptions) -> Vec<String> {
    let java = std::env::var_os("JAVA_HOME").map_or_else(
        || "java".to_owned(),
        |home| Path::new(&home).join("bin/java").to_string_lossy().into_owned(),
    );
    let mut command = vec![java, format!("-Xmx{}m", options.heap_mb)];
    if options.quick_start {
        command.extend(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"].map(String::from));
    } else {
        command.push(format!("-Xms{}m", options.heap_mb));
    }
    command.push(format!("-Dlog4j2.configurationFile={}", directory.join("log4j2.properties").display()));
    command.extend(["-cp".into(), format!("{}/*", jars.display())]);
    command
}

/// The directory with Kafka's jars: `KELLY_KAFKA_JARS`, else the cache that `make kafka` fills.
pub fn jars() -> Result<PathBuf> {
    let directory = match std::env::var_os("KELLY_KAFKA_JARS") {
        Some(directory) => PathBuf::from(directory),
        None => cache().context("neither HOME nor KELLY_CACHE is set")?.join("kafka/libs"),
    };
    let has_broker = fs::read_dir(&directory).is_ok_and(|entries| {
        entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("kafka_2."))
    });
    if !has_broker {
        bail!(
            "Apache Kafka's jars are not in {}: run `make kafka` once, or name their directory in KELLY_KAFKA_JARS, \
             or name a running broker in KELLY_TEST_KAFKA=host:port",
            directory.display()
        );
    }
    Ok(directory)
}

fn cache() -> Option<PathBuf> {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    named("KELLY_CACHE")
        .or_else(|| named("XDG_CACHE_HOME").map(|cache| cache.join("kelly")))
        .or_else(|| named("HOME").map(|home| home.join(".cache/kelly")))
}

/// `kelly-kafka-PID-…`: what a killed process left behind is removed by the next one.
fn fresh_directory() -> Result<PathBuf> {
    let parent = std::env::temp_dir();
    for entry in fs::read_dir(&parent)?.flatten() {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix("kelly-kafka-")?.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let directory = tempfile::Builder::new()
        .prefix(&format!("kelly-kafka-{}-", std::process::id()))
        .tempdir_in(parent)?;
    Ok(directory.keep())
}

/// 16 bytes in URL-safe base64 without padding, as Kafka's own `random-uuid` prints them.
fn cluster_id() -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let seed = crate::unique("cluster");
    let mut state = 0xcbf2_9ce4_8422_2325_u64;
    (0..22)
        .map(|index| {
            for byte in seed.bytes() {
                state = (state ^ u64::from(byte) ^ index).wrapping_mul(0x0000_0100_0000_01b3);
            }
            // The last of 22 characters carries only two bits; the first must not be a dash, which
            // the tool would take for an option.
            let bits = if index == 21 { (state >> 32) & 0x30 } else { (state >> 32) & 0x3f };
            let bits = if index == 0 { bits % 52 } else { bits };
            char::from(ALPHABET[bits as usize])
        })
        .collect()
}

fn server_properties(directory: &Path, port: u16, controller_port: u16, options: &BrokerOptions) -> String {
    let mut text = format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller_port}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
         inter.broker.listener.name=PLAINTEXT\n\
         controller.listener.names=CONTROLLER\n\
         log.dirs={}\n",
        directory.join("data").display()
    );
    text.push_str(
        "auto.create.topics.enable=false\n\
         offsets.topic.num.partitions=4\n\
         offsets.topic.replication.factor=1\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n\
         group.initial.rebalance.delay.ms=0\n\
         group.min.session.timeout.ms=1000\n\
         log.retention.check.interval.ms=1000\n\
         log.cleaner.dedupe.buffer.size=4194304\n",
    );
    for (name, value) in &options.properties {
        text.push_str(&format!("{name}={value}\n"));
    }
    text
}

const LOG4J2: &str = "status=error\n\
    appender.console.type=Console\n\
    appender.console.name=console\n\
    appender.console.layout.type=PatternLayout\n\
    appender.console.layout.pattern=%p %m (%c)%n\n\
    rootLogger.level=WARN\n\
    rootLogger.appenderRef.console.ref=console\n\
    logger.server.name=kafka.server.KafkaRaftServer\n\
    logger.server.level=INFO\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_id_is_what_kafka_expects() {
        let id = cluster_id();
        assert_eq!(id.len(), 22);
        assert!(!id.starts_with('-'));
        assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
    }
}
