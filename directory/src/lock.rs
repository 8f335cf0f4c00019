//! One owner at a time: a lock on a file of the directory, whose text is the owner's process id, for people, and the
//! namespace in which the process has it: containers number their processes each for itself.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::process::{self, State};

/// How long an owner that is ending is waited for. A killed process ends within milliseconds, or as long as the disk takes
/// for what it was writing.
pub const ENDING_DEADLINE: Duration = Duration::from_secs(30);

/// How often to look whether it has ended.
const INTERVAL: Duration = Duration::from_millis(20);

/// Looks at which an owner must be found running before it is believed: one that has just been killed looks like that for
/// an instant.
const LOOKS: u32 = 3;

/// Holds a directory until it is dropped and every child process that inherited it is gone.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// Why a directory was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// A running process has it.
    #[error("in use by another Kelly ({})", describe(*.owner))]
    InUse {
        /// Its process id, as far as it is known.
        owner: Option<u32>,
    },
    /// Its owner was killed and does not end.
    #[error(
        "still held after {seconds} s by a Kelly that is ending ({}): the system has not let go of it yet, mostly because its \
         disk does not answer",
        describe(*.owner)
    )]
    Ending {
        /// Its process id, as far as it is known.
        owner: Option<u32>,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The lock file cannot be used.
    #[error("cannot {action} {}: {source}", .path.display())]
    File {
        /// What was attempted.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn describe(owner: Option<u32>) -> String {
    owner.map_or_else(|| "process unknown".to_owned(), |id| format!("process {id}"))
}

impl Lock {
    /// Takes the lock `path`, and makes the file when it is missing. A running owner is an error at once. One that is ending
    /// is waited for, at most [`ENDING_DEADLINE`], which is said in the log.
    ///
    /// # Errors
    /// When somebody else has it, or the file cannot be used.
    pub fn acquire(path: &Path) -> Result<Self, LockError> {
        Self::acquire_within(path, ENDING_DEADLINE)
    }

    #[expect(clippy::disallowed_methods, reason = "the system announces to nobody that a lock is let go of")]
    fn acquire_within(path: &Path, deadline: Duration) -> Result<Self, LockError> {
        let began = Instant::now();
        let mut running = 0;
        let mut is_waiting = false;
        loop {
            let mut file = open(path)?;
            match file.try_lock() {
                // Somebody may have removed the file between opening and locking it.
                Ok(()) if !is_file_at(&file, path) => continue,
                Ok(()) => {
                    write_owner(&mut file).map_err(failed("write", path))?;
                    return Ok(Self { file });
                }
                Err(TryLockError::Error(source)) => return Err(failed("lock", path)(source)),
                Err(TryLockError::WouldBlock) => {}
            }
            let owner = read_owner(&mut file);
            let state = owner.as_ref().map(Owner::state);
            let owner = owner.map(|owner| owner.id);
            match state {
                // An owner that has not written its id yet is running.
                Some(State::Running) | None => running += 1,
                Some(State::Ending | State::Gone) => {
                    running = 0;
                    if !is_waiting {
                        tracing::warn!(
                            file = %path.display(),
                            "waiting for {}, which is ending, to let go of this directory",
                            describe(owner)
                        );
                    }
                    is_waiting = true;
                }
            }
            if running >= LOOKS {
                return Err(LockError::InUse { owner });
            }
            if began.elapsed() > deadline {
                return Err(LockError::Ending { owner, seconds: deadline.as_secs() });
            }
            std::thread::sleep(INTERVAL);
        }
    }

    /// The file, for a child process that is to hold the lock too.
    pub fn file(&self) -> &File {
        &self.file
    }
}

/// The process that holds the lock `path`, where one does: its id, as far as it wrote it down. Changes nothing.
pub fn holder(path: &Path) -> Option<String> {
    let mut file = File::open(path).ok()?;
    // Shared, so that two who look do not take each other for the owner.
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {
            Some(read_owner(&mut file).map_or_else(|| "unknown".to_owned(), |owner| owner.id.to_string()))
        }
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

fn open(path: &Path) -> Result<File, LockError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(failed("open", path))
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LockError {
    move |source| LockError::File { action, path: path.to_owned(), source }
}

fn is_file_at(file: &File, path: &Path) -> bool {
    let (Ok(ours), Ok(there)) = (rustix::fs::fstat(file.as_fd()), std::fs::metadata(path)) else {
        return false;
    };
    (ours.st_dev, ours.st_ino) == (there.dev(), there.ino())
}

/// Who wrote the text of a lock file.
struct Owner {
    id: u32,
    /// Where that is its id; `None` where the system does not say.
    namespace: Option<String>,
}

impl Owner {
    /// A process of another container cannot be looked at from here. It holds the lock, so it counts as running.
    fn state(&self) -> State {
        let is_elsewhere = self.namespace.is_some() && self.namespace != process::namespace();
        if is_elsewhere { State::Running } else { process::state(self.id) }
    }
}

fn read_owner(file: &mut File) -> Option<Owner> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    let mut words = text.split_ascii_whitespace();
    Some(Owner { id: words.next()?.parse().ok()?, namespace: words.next().map(str::to_owned) })
}

fn write_owner(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{} {}", std::process::id(), process::namespace().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A process that holds the lock `path` through a file it inherited; its parent has to wait for it.
    fn holding(path: &Path) -> Child {
        let script = r#"exec 9<>"$0"; flock -x 9; echo $$ >"$0"; echo holding; exec sleep 1000"#;
        let mut child = Command::new("bash")
            .args(["-c", script])
            .arg(path)
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash and flock are there");
        let mut word = [0; 8];
        child.stdout.as_mut().unwrap().read_exact(&mut word).unwrap();
        child
    }

    #[test]
    fn a_running_owner_is_named_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        assert_eq!(holder(&path), None);
        let held = Lock::acquire(&path).unwrap();
        let error = Lock::acquire(&path).unwrap_err();
        let id = std::process::id();
        assert_eq!(error.to_string(), format!("in use by another Kelly (process {id})"));
        assert_eq!(holder(&path), Some(id.to_string()));
        drop(held);
        assert_eq!(holder(&path), None);
        Lock::acquire(&path).unwrap();
    }

    #[test]
    fn an_owner_that_was_killed_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        for _ in 0..20 {
            let mut child = holding(&path);
            child.kill().unwrap();
            // Not waited for: it stays a zombie, which has an id and answers to signal 0.
            Lock::acquire(&path).unwrap();
            child.wait().unwrap();
        }
    }

    /// As when an engine outlives its parent for a moment.
    #[test]
    fn a_lock_whose_owner_is_gone_is_waited_for_and_given_up_at_the_deadline() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let mut child = holding(&path);
        let mut gone = Command::new("true").spawn().unwrap();
        let id = gone.id();
        gone.wait().unwrap();
        std::fs::write(&path, format!("{id}\n")).unwrap();
        let error = Lock::acquire_within(&path, Duration::ZERO).unwrap_err();
        assert!(matches!(error, LockError::Ending { owner: Some(owner), .. } if owner == id), "{error}");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| Lock::acquire(&path));
            child.kill().unwrap();
            child.wait().unwrap();
            waiting.join().unwrap().unwrap();
        });
    }

    #[test]
    fn an_owner_in_another_container_is_running_whatever_its_id_is_here() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let mut child = holding(&path);
        let mut gone = Command::new("true").spawn().unwrap();
        let id = gone.id();
        gone.wait().unwrap();
        let acquired_of = |namespace: &str| {
            std::fs::write(&path, format!("{id} {namespace}\n")).unwrap();
            Lock::acquire_within(&path, Duration::from_millis(100)).unwrap_err()
        };
        let elsewhere = acquired_of("pid:[1]");
        assert!(matches!(elsewhere, LockError::InUse { owner: Some(owner) } if owner == id), "{elsewhere}");
        let here = acquired_of(&process::namespace().unwrap_or_default());
        assert!(matches!(here, LockError::Ending { .. }), "{here}");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_lock_file_that_was_removed_is_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let _first = Lock::acquire(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let _second = Lock::acquire(&path).unwrap();
        assert!(matches!(Lock::acquire(&path), Err(LockError::InUse { .. })));
    }
}
