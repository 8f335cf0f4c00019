//! The Python of the tests: a virtual environment that `scripts/setup python` makes.

use std::path::PathBuf;
use std::process::Command;

/// A script, named by its path in the repository, to be run.
pub fn command(script: &str, arguments: &[&str]) -> Command {
    let python = std::env::var_os("KELLY_TEST_PYTHON").map_or_else(default, PathBuf::from);
    let mut command = Command::new(python);
    command.arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(script)).args(arguments);
    command
}

/// Runs a script and gives what it printed.
pub fn run(script: &str, arguments: &[&str]) -> String {
    let mut command = command(script, arguments);
    let output = command.output().unwrap_or_else(|fault| {
        panic!(
            "{} does not start ({fault}): run `scripts/setup python`, or name one with KELLY_TEST_PYTHON",
            command.get_program().display()
        )
    });
    assert!(output.status.success(), "{script} failed: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn default() -> PathBuf {
    cache().join("python/bin/python")
}

/// Where `scripts/setup` puts things.
pub fn cache() -> PathBuf {
    std::env::var_os("KELLY_CACHE").map(PathBuf::from).unwrap_or_else(|| {
        let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
        std::env::var_os("XDG_CACHE_HOME").map_or_else(|| home.join(".cache"), PathBuf::from).join("kelly")
    })
}
