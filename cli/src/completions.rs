//! `kelly completions`: the script by which a shell completes Kelly's command line.

use clap::Command;
use clap_complete::shells;

use crate::arguments::Shell;
use crate::output;

/// Prints the script for this command line.
pub fn run(shell: Shell, mut command: Command) -> anyhow::Result<()> {
    output::line(script(shell, &mut command).trim_end())
}

fn script(shell: Shell, command: &mut Command) -> String {
    let mut script = Vec::new();
    match shell {
        Shell::Bash => clap_complete::generate(shells::Bash, command, "kelly", &mut script),
        Shell::Zsh => clap_complete::generate(shells::Zsh, command, "kelly", &mut script),
        Shell::Fish => clap_complete::generate(shells::Fish, command, "kelly", &mut script),
    }
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::{DeadLetters, Tail};
    use clap::Args;

    #[test]
    fn every_shell_learns_commands_and_metrics() {
        let tools = [
            Tail::augment_args(Command::new("tail")),
            DeadLetters::augment_args(Command::new("dead-letters")),
        ];
        let mut command = Command::new("kelly").subcommands(tools);
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell, &mut command);
            for word in ["dead-letters", "since", "ai_confidence"] {
                assert!(script.contains(word), "{shell:?} knows nothing of {word}");
            }
        }
    }
}
