//! `kelly completions`: the script by which a shell completes Kelly's command line.

use clap::CommandFactory;
use clap_complete::shells;

use crate::cli::{Cli, Shell};
use crate::output;

/// Prints the script.
pub fn run(shell: Shell) -> anyhow::Result<()> {
    output::line(script(shell).trim_end())
}

fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    let mut command = Cli::command();
    match shell {
        Shell::Bash => clap_complete::generate(shells::Bash, &mut command, "kelly", &mut script),
        Shell::Zsh => clap_complete::generate(shells::Zsh, &mut command, "kelly", &mut script),
        Shell::Fish => clap_complete::generate(shells::Fish, &mut command, "kelly", &mut script),
    }
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_learns_commands_and_metrics() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell);
            for word in ["dead-letters", "since", "ai_confidence"] {
                assert!(script.contains(word), "{shell:?} knows nothing of {word}");
            }
        }
    }
}
