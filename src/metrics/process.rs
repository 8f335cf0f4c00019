//! What this process and its engine take of the machine. What the system does not tell is left out.

use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Resource, getrlimit};
use sysinfo::{Pid, Process, ProcessRefreshKind, ProcessesToUpdate, System};

use super::catalogue::{
    ENGINE_CPU, ENGINE_MEMORY, PROCESS_CPU, PROCESS_MAX_FILES, PROCESS_MEMORY, PROCESS_OPEN_FILES,
    PROCESS_STARTED,
};
use super::exposition::{Gathered, Value};

/// The processes of this machine, read again each time.
#[derive(Clone)]
pub struct Processes {
    system: Arc<Mutex<Option<System>>>,
}

/// One look.
#[derive(Debug, Default)]
pub struct Readings {
    own: Option<Taken>,
    /// Of all children: the engine is the only one.
    engine: Option<Taken>,
    started_at: Option<u64>,
    open_files: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Taken {
    cpu_seconds: f64,
    bytes: u64,
}

impl Processes {
    /// Nothing is read yet.
    pub fn new() -> Self {
        Self { system: Arc::new(Mutex::new(System::new().ok())) }
    }

    /// Looks. Reads files of the system, so it belongs on a thread that may block.
    pub fn read(&self) -> Readings {
        let mut system = self.system.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(system) = &mut *system else { return Readings::default() };
        let what = ProcessRefreshKind::nothing().with_memory().with_cpu();
        system.refresh_processes_specifics(ProcessesToUpdate::All, true, what);
        let id = Pid::from_u32(std::process::id());
        let taken = |process: &Process| Taken {
            cpu_seconds: process.accumulated_cpu_time() as f64 / 1_000.0,
            bytes: process.memory(),
        };
        let own = system.process(id);
        let children = system.processes().values().filter(|process| {
            // A thread is listed as a child too.
            process.parent() == Some(id) && process.thread_kind().is_none()
        });
        Readings {
            own: own.map(taken),
            engine: children.map(taken).reduce(|sum, one| Taken {
                cpu_seconds: sum.cpu_seconds + one.cpu_seconds,
                bytes: sum.bytes + one.bytes,
            }),
            started_at: own.map(Process::start_time),
            open_files: own.and_then(Process::open_files),
        }
    }
}

impl Readings {
    /// Adds what was read.
    pub fn gather(&self, into: &mut Gathered) {
        let of = [(self.own, &PROCESS_CPU, &PROCESS_MEMORY), (self.engine, &ENGINE_CPU, &ENGINE_MEMORY)];
        for (taken, cpu, memory) in of {
            let Some(Taken { cpu_seconds, bytes }) = taken else { continue };
            into.add(cpu, [], Value::Number(cpu_seconds));
            into.count(memory, [], bytes);
        }
        if let Some(started_at) = self.started_at {
            into.count(&PROCESS_STARTED, [], started_at);
        }
        if let Some(open_files) = self.open_files {
            into.count(&PROCESS_OPEN_FILES, [], open_files as u64);
        }
        if let Some(most) = getrlimit(Resource::Nofile).current {
            into.count(&PROCESS_MAX_FILES, [], most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_can_be_read() {
        let readings = Processes::new().read();
        assert!(readings.own.is_some_and(|own| own.bytes > 0));
        assert!(readings.open_files.is_some_and(|files| files > 0) && readings.started_at.is_some());
    }
}
