//! What the child process runs: it loads libchdb and becomes the server.

use std::ffi::{CStr, CString, OsString, c_char, c_int, c_void};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use rustix::process::{getpriority_process, setpriority_process};
use rustix::thread::CapabilitySet;

use super::config::START_STATEMENTS;

/// How the child's own messages begin in the log.
pub(super) const CHILD_PREFIX: &str = "kelly engine: ";

/// Exit code of a child that was called or set up wrongly.
const EXIT_USAGE: i32 = 64;

/// Exit code of a child whose engine reported an error.
const EXIT_ENGINE: i32 = 70;

/// What the parent tells the child.
pub(super) struct ChildArgs {
    /// libchdb.
    pub(super) library: PathBuf,
    /// `config.xml`. A name that is relative to the working directory, as is the next: the engine's library takes a backslash
    /// for a slash and `${...}` for a reference, and a directory may be called so.
    pub(super) config: PathBuf,
    /// Data directory. `./` and nothing else that is relative: the library puts it before a path twice.
    pub(super) data: PathBuf,
    /// Port of the HTTP interface.
    pub(super) http_port: u16,
    /// Port of the native protocol.
    pub(super) tcp_port: u16,
}

impl ChildArgs {
    /// As arguments of a command line.
    pub(super) fn to_args(&self) -> [OsString; 5] {
        [
            self.library.clone().into_os_string(),
            self.config.clone().into_os_string(),
            self.data.clone().into_os_string(),
            self.http_port.to_string().into(),
            self.tcp_port.to_string().into(),
        ]
    }

    fn parse(args: Vec<OsString>) -> Result<Self, String> {
        let usage = "this command is started by Kelly itself; use `kelly up` or `kelly serve`";
        let [library, config, data, http_port, tcp_port] =
            <[OsString; 5]>::try_from(args).map_err(|_| usage.to_owned())?;
        let port =
            |text: OsString| text.to_str().and_then(|text| text.parse().ok()).ok_or_else(|| usage.to_owned());
        Ok(ChildArgs {
            library: library.into(),
            config: config.into(),
            data: data.into(),
            http_port: port(http_port)?,
            tcp_port: port(tcp_port)?,
        })
    }
}

/// Becomes the embedded engine: serves until standard input closes. `args` are what
/// follows [`super::EngineSpec::args`]. Call it before any runtime, thread or logging exists.
pub fn run_child(args: Vec<OsString>) -> ! {
    let outcome = ChildArgs::parse(args).map_err(|usage| (EXIT_USAGE, usage)).and_then(|args| {
        give_up_priorities_that_cannot_be_restored()
            .map_err(|error| (EXIT_USAGE, format!("cannot give up a capability: {error}")))?;
        end_with_parent()
            .map_err(|error| (EXIT_USAGE, format!("cannot watch for the parent's end: {error}")))?;
        raise_file_limit();
        serve(&args).map_err(|message| (EXIT_ENGINE, message))
    });
    let code = match outcome {
        Ok(()) => 0,
        Err((code, message)) => {
            eprintln!("{CHILD_PREFIX}{message}");
            code
        }
    };
    exit_now(code)
}

/// Ends the process as it is. Destructors of libchdb are skipped on purpose: its threads still run.
fn exit_now(code: i32) -> ! {
    // SAFETY: takes no pointers and does not return.
    unsafe { libc::_exit(code) }
}

/// Ends this process when standard input closes: the parent holds the other end of that pipe, and the system closes
/// it however the parent ends. There is no other way to end: what was confirmed is on disk, so a shutdown needs no more
/// care than a crash, and a crash gets as much as a shutdown.
fn end_with_parent() -> io::Result<()> {
    // SAFETY: duplicates a descriptor; the result is checked and owned below.
    let pipe = unsafe { libc::fcntl(libc::STDIN_FILENO, libc::F_DUPFD_CLOEXEC, 3) };
    if pipe < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was made above and nobody else owns it.
    let mut pipe = unsafe { File::from_raw_fd(pipe) };
    // libchdb must not read from the pipe itself.
    let null = File::open("/dev/null")?;
    // SAFETY: both descriptors are open; standard input becomes a copy of the first.
    if unsafe { libc::dup2(null.as_raw_fd(), libc::STDIN_FILENO) } < 0 {
        return Err(io::Error::last_os_error());
    }
    std::thread::Builder::new().name("parent-watch".to_owned()).spawn(move || {
        let mut buffer = [0u8; 64];
        // The parent writes nothing; an error on the pipe means as much as its end.
        while pipe.read(&mut buffer).is_ok_and(|read| read > 0) {}
        exit_now(0)
    })?;
    Ok(())
}

/// The engine lowers the priority of threads and raises it again when they are done. With `CAP_SYS_NICE` in a user namespace
/// that is not the machine's own, raising is refused all the same, which the engine does not survive; without the
/// capability it leaves priorities alone. To be called while there is one thread, from which all others inherit.
fn give_up_priorities_that_cannot_be_restored() -> io::Result<()> {
    let mut capabilities = rustix::thread::capabilities(None)?;
    if !capabilities.effective.contains(CapabilitySet::SYS_NICE) {
        return Ok(());
    }
    let priority = getpriority_process(None)?;
    // At the lowest priority there is none lower to return from, and the engine tries none.
    let is_restored =
        setpriority_process(None, priority + 1).and_then(|()| setpriority_process(None, priority)).is_ok();
    if is_restored {
        return Ok(());
    }
    for set in [&mut capabilities.effective, &mut capabilities.permitted, &mut capabilities.inheritable] {
        set.remove(CapabilitySet::SYS_NICE);
    }
    Ok(rustix::thread::set_capabilities(None, capabilities)?)
}

/// A ClickHouse keeps many files open; the usual soft limit of 1024 is not enough for it.
fn raise_file_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure outlives the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } == 0 {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: the same. A failure leaves the limit as it was, which the engine reports when it matters.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    }
}

/// Runs the engine on this thread until it ends.
fn serve(args: &ChildArgs) -> Result<(), String> {
    // SAFETY: loading runs libchdb's initialisers, which expect a process of their own; this one is.
    let library = unsafe { libloading::Library::new(&args.library) }
        .map_err(|error| format!("cannot load {}: {error}", args.library.display()))?;
    let lacks = |error| format!("{} is not a libchdb Kelly can use: {error}", args.library.display());
    // SAFETY: the signature in chdb.h; the symbol is used while the library is loaded.
    let run = unsafe { library.get::<RunCommandLine>(b"chdb_query_cmdline\0") }.map_err(lacks)?;
    // SAFETY: the same.
    let result_error = unsafe { library.get::<ResultError>(b"chdb_result_error\0") }.map_err(lacks)?;
    let words = command_line(args).map_err(|word| format!("a path holds a zero byte: {word:?}"))?;
    let mut argv: Vec<*mut c_char> = words.iter().map(|word| word.as_ptr().cast_mut()).collect();
    let count = c_int::try_from(argv.len()).map_err(|error| error.to_string())?;
    argv.push(std::ptr::null_mut());
    // SAFETY: like a C main: `count` strings and a null after them, alive until the call returns; it does not write
    // to them. It returns when the engine has shut down.
    let result = unsafe { run(count, argv.as_mut_ptr()) };
    if result.is_null() {
        return Err("the engine ended without a result".to_owned());
    }
    // SAFETY: `result` is the non-null result of the call above, which is never freed.
    let error = unsafe { result_error(result) };
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: a zero-terminated string that lives as long as the result.
    Err(unsafe { CStr::from_ptr(error) }.to_string_lossy().into_owned())
}

type RunCommandLine = unsafe extern "C" fn(c_int, *mut *mut c_char) -> *mut c_void;
type ResultError = unsafe extern "C" fn(*mut c_void) -> *const c_char;

fn command_line(args: &ChildArgs) -> Result<Vec<CString>, OsString> {
    let words: [OsString; 13] = [
        "kelly-engine".into(),
        "--config-file".into(),
        args.config.clone().into_os_string(),
        "--path".into(),
        args.data.clone().into_os_string(),
        "--listen_host".into(),
        "127.0.0.1".into(),
        "--http_port".into(),
        args.http_port.to_string().into(),
        "--tcp_port".into(),
        args.tcp_port.to_string().into(),
        "--query".into(),
        START_STATEMENTS.into(),
    ];
    words.into_iter().map(|word| CString::new(word.clone().into_vec()).map_err(|_| word)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_survive_the_command_line() {
        let args = ChildArgs {
            library: "/l/libchdb.so".into(),
            config: "/d/config.xml".into(),
            data: "/d/engine".into(),
            http_port: 1,
            tcp_port: 65535,
        };
        let parsed = ChildArgs::parse(args.to_args().to_vec()).unwrap();
        assert_eq!(parsed.to_args(), args.to_args());
        assert!(ChildArgs::parse(vec!["--help".into()]).is_err_and(|usage| usage.contains("kelly up")));
    }
}
