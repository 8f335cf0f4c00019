//! Whether a process runs, is ending, or is gone.

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// How a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It runs.
    Running,
    /// It was killed or has ended, and the system has not taken everything from it yet: locks, or the entry its parent
    /// has not asked for.
    Ending,
    /// There is no such process.
    Gone,
}

/// Of a process that is ending, in its `flags` (PF_EXITING of Linux).
const EXITING: u64 = 0x4;

/// SIGKILL in a set of pending signals.
const KILL_PENDING: u64 = 1 << (9 - 1);

/// How the process is now. What the system does not tell counts as running.
pub(crate) fn state(id: u32) -> State {
    let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) else { return State::Gone };
    if test_kill_process(pid) == Err(Errno::SRCH) {
        return State::Gone;
    }
    // Only Linux has these files; elsewhere a process that answers to a signal runs.
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{id}/{name}")).unwrap_or_default();
    if is_ending(&read("stat"), &read("status")) { State::Ending } else { State::Running }
}

/// The namespace in which this process has its id, as Linux names it: `pid:[4026531836]`.
pub(crate) fn namespace() -> Option<String> {
    let name = std::fs::read_link("/proc/self/ns/pid").ok()?;
    name.to_str().map(str::to_owned)
}

/// Whether `/proc/ID/stat` and `/proc/ID/status` tell of a process that is ending.
fn is_ending(stat: &str, status: &str) -> bool {
    // The name, in parentheses, may hold anything.
    let mut fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace();
    let state = fields.next();
    let flags = fields.nth(5).and_then(|flags| flags.parse::<u64>().ok()).unwrap_or_default();
    let pending = |name: &str| {
        let set = status.lines().find_map(|line| line.strip_prefix(name))?;
        u64::from_str_radix(set.trim(), 16).ok()
    };
    matches!(state, Some("Z" | "X" | "x"))
        || flags & EXITING != 0
        || ["SigPnd:", "ShdPnd:"].into_iter().filter_map(pending).any(|set| set & KILL_PENDING != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_proc_are_understood() {
        let quiet = "SigPnd:\t0000000000000000\nShdPnd:\t0000000000000000\n";
        let cases = [
            ("7 (kelly) S 1 7 7 0 -1 4194560 99", quiet, false),
            ("7 (a) Z (b)) R 1 7 7 0 -1 4194560 99", quiet, false),
            ("7 (kelly) Z 1 7 7 0 -1 4194564 99", quiet, true),
            ("7 (kelly) D 1 7 7 0 -1 4194564 99", quiet, true),
            ("7 (kelly) D 1 7 7 0 -1 4194560 99", "SigPnd:\t0000000000000100\n", true),
            ("7 (kelly) D 1 7 7 0 -1 4194560 99", "ShdPnd:\t0000000000000102\n", true),
            ("7 (kelly) S 1 7 7 0 -1 4194560 99", "ShdPnd:\t0000000000000002\n", false),
            ("", "", false),
        ];
        for (stat, status, expected) in cases {
            assert_eq!(is_ending(stat, status), expected, "{stat} {status}");
        }
    }

    #[test]
    fn this_process_runs() {
        assert_eq!(state(std::process::id()), State::Running);
        assert_eq!(state(u32::MAX), State::Gone);
    }
}
