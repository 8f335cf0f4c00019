//! `kelly rules`: files of alert rules are looked through before a Kelly is given them.

use std::path::Path;

use anyhow::Context;
use kelly_alerts::builtin;
use kelly_alerts::rule::{
    Fault, FileFault, Gravity, JSON_SCHEMA, Rule, RuleFile, check, parse_json, parse_toml,
};
use serde_json::json;

use crate::Usage;
use crate::arguments::{CheckRules, RulesWhat};
use crate::output::{self, Paint, Tone};

/// Exit code when a rule is wrong.
pub(crate) const REFUSED: u8 = 3;

/// Does what needs no Kelly; [`crate::backtest`] does the rest.
pub fn run(what: &RulesWhat) -> anyhow::Result<u8> {
    match what {
        RulesWhat::Check(arguments) => check_files(arguments),
        RulesWhat::Builtin => {
            let rules = builtin::rules(None).context("making the built-in rules")?;
            let text = RuleFile { rules }.to_toml().context("writing the built-in rules")?;
            output::line(text.trim_end())?;
            Ok(0)
        }
        RulesWhat::Schema => {
            output::line(JSON_SCHEMA.trim_end())?;
            Ok(0)
        }
        RulesWhat::Backtest(_) => anyhow::bail!("a backtest asks a running Kelly"),
    }
}

fn check_files(arguments: &CheckRules) -> anyhow::Result<u8> {
    let mut rules = Vec::new();
    for file in &arguments.files {
        rules.extend(read(file)?);
    }
    let faults = check(&rules);
    let wrong = faults.iter().filter(|fault| fault.gravity == Gravity::Wrong).count();
    if arguments.json {
        output::json(&json!({
            "rules": rules.len(),
            "wrong": wrong,
            "faults": faults.iter().map(as_json).collect::<Vec<_>>(),
        }))?;
    } else {
        let paint = Paint::stdout();
        for fault in &faults {
            let (tone, word) = match fault.gravity {
                Gravity::Wrong => (Tone::Bad, "wrong"),
                Gravity::Doubtful => (Tone::Warning, "doubtful"),
            };
            output::line(format!("{}: {fault}", paint.tint(tone, word)))?;
        }
        output::line(summary(rules.len(), wrong, faults.len() - wrong))?;
    }
    Ok(if wrong > 0 { REFUSED } else { 0 })
}

/// The rules of a file.
pub(crate) fn read(file: &Path) -> anyhow::Result<Vec<Rule>> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Usage(format!("reading rules from {}: {error}", file.display())))?;
    let is_json = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let parsed = if is_json { parse_json(&text) } else { parse_toml(&text) };
    let parsed = parsed.map_err(|FileFault { what }| {
        let form = if is_json { "{\"rule\": [{\"id\": …}]}" } else { "[[rule]] with id = …" };
        Usage(format!("{} is no file of rules ({form}): {what}", file.display()))
    })?;
    Ok(parsed.rules)
}

fn as_json(fault: &Fault) -> serde_json::Value {
    json!({
        "rule": fault.rule,
        "field": fault.field,
        "problem": fault.problem,
        "fix": fault.fix,
        "wrong": fault.gravity == Gravity::Wrong,
    })
}

fn summary(rules: usize, wrong: usize, doubtful: usize) -> String {
    let counted =
        |count: usize, one: &str| if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") };
    let rules = counted(rules, "rule");
    match (wrong, doubtful) {
        (0, 0) => format!("{rules}, nothing is wrong"),
        (0, doubtful) => format!("{rules}, nothing is wrong, {}", counted(doubtful, "doubt")),
        (wrong, 0) => format!("{rules}, {}", counted(wrong, "fault")),
        (wrong, doubtful) => format!("{rules}, {}, {}", counted(wrong, "fault"), counted(doubtful, "doubt")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(directory: &tempfile::TempDir, name: &str, text: &str) -> std::path::PathBuf {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }

    #[test]
    fn files_are_one_set_and_the_exit_code_says_whether_it_can_be_used() {
        let directory = tempfile::tempdir().expect("a directory");
        let good =
            file(&directory, "a.toml", "[[rule]]\nid = 'a'\nmetric = 'm'\nwarning = 1\ncritical = 2\n");
        let uses = file(&directory, "b.json", r#"{"rule": [{"id": "b", "kind": "composite", "when": "a"}]}"#);
        let check = |files: &[&Path]| {
            let files = files.iter().map(|file| file.to_path_buf()).collect();
            check_files(&CheckRules { files, json: false })
        };
        assert_eq!(check(&[&good]).expect("it can be read"), 0);
        assert_eq!(check(&[&good, &uses]).expect("it can be read"), 0);
        assert_eq!(check(&[&uses]).expect("it can be read"), REFUSED, "without the rule it names");
        let broken = file(&directory, "c.toml", "[[rule]]\nid = 7");
        let error = check(&[&broken]).expect_err("it cannot be read");
        assert!(error.is::<Usage>() && error.to_string().contains("c.toml"), "{error}");
        assert!(check(&[&directory.path().join("none")]).expect_err("it is not there").is::<Usage>());
    }

    #[test]
    fn what_was_found_is_counted() {
        assert_eq!(summary(1, 0, 0), "1 rule, nothing is wrong");
        assert_eq!(summary(2, 1, 2), "2 rules, 1 fault, 2 doubts");
    }
}
