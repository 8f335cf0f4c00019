//! One child process: starting it, hearing what it says, waiting for its end.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, Command};
use tokio::task::JoinHandle;

use super::EngineSpec;
use super::child::ChildArgs;
use super::log_file::LogFile;

/// Bytes of one line of the child's; a longer one is cut in two.
const MAX_LINE_BYTES: u64 = 16 << 10;

/// Environment the child gets; the rest may hold secrets, and libchdb reads credentials of clouds from it.
const PASSED_VARIABLES: [&str; 3] = ["PATH", "HOME", "LD_LIBRARY_PATH"];

/// A child that was started.
pub(super) struct EngineProcess {
    child: Child,
    pid: u32,
    /// The child ends when this closes.
    lifeline: Option<ChildStdin>,
    log: Arc<Mutex<LogFile>>,
    pump: JoinHandle<()>,
}

/// What a child is given of its parent's.
pub(super) struct Held<'a> {
    /// The directory it works in: its paths are relative to it.
    pub(super) directory: &'a Path,
    /// The lock of that directory.
    pub(super) lock: &'a File,
}

impl EngineProcess {
    /// Starts it. The lock stays locked as long as the child runs.
    pub(super) fn spawn(
        spec: &EngineSpec,
        args: &ChildArgs,
        held: Held<'_>,
        log: Arc<Mutex<LogFile>>,
    ) -> io::Result<Self> {
        let mut command = Command::new(&spec.program);
        command
            .args(&spec.args)
            .args(args.to_args())
            .current_dir(held.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // A Ctrl-C in the terminal is the parent's: it drains what still goes to the engine.
            .process_group(0)
            .kill_on_drop(true)
            .env_clear();
        for name in PASSED_VARIABLES {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        let lock = held.lock.as_raw_fd();
        // SAFETY: between fork and exec only fcntl is called, which is async-signal-safe; the descriptor is open in
        // the parent for as long as this command is.
        unsafe {
            command.pre_exec(move || match libc::fcntl(lock, libc::F_SETFD, 0) {
                -1 => Err(io::Error::last_os_error()),
                _ => Ok(()),
            });
        }
        lock_log(&log).begin();
        let mut child = command.spawn()?;
        let missing = || io::Error::other("the child has no pipes");
        let pid = child.id().ok_or_else(missing)?;
        let stderr = child.stderr.take().ok_or_else(missing)?;
        let lifeline = child.stdin.take();
        let pump = tokio::spawn(pump(stderr, Arc::clone(&log)));
        Ok(EngineProcess { child, pid, lifeline, log, pump })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for its end and for the last of what it said. Safe to call again when it was cancelled.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        // The lifeline was taken out of the child: waiting would close it.
        let status = self.child.wait().await?;
        if !self.pump.is_finished() {
            let _ = (&mut self.pump).await;
        }
        Ok(status)
    }

    /// Lets go of the pipe: the child ends at once.
    pub(super) fn let_go(&mut self) {
        self.lifeline = None;
    }

    /// Kills it.
    pub(super) async fn kill(&mut self) -> io::Result<()> {
        self.child.kill().await
    }

    /// The last thing of weight it said.
    pub(super) fn last_words(&self) -> String {
        lock_log(&self.log).last_words()
    }
}

async fn pump(stderr: ChildStderr, log: Arc<Mutex<LogFile>>) {
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    while let Ok(read) = (&mut reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut line).await {
        if read == 0 {
            break;
        }
        lock_log(&log).write_line(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
}

/// A panic while the log was held leaves at worst a line unwritten.
fn lock_log(log: &Mutex<LogFile>) -> std::sync::MutexGuard<'_, LogFile> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}
