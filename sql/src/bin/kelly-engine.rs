//! The embedded engine's child process alone, for tests and benchmarks: `kelly` itself has it as a subcommand.

fn main() {
    kelly_sql::engine::run_child(std::env::args_os().skip(1).collect())
}
