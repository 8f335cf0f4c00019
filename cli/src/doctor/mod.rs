//! `kelly doctor`: looks at everything Kelly stands on, and says what is wrong and how to fix it.
//!
//! `look` collects facts and never fails: what does not answer is a fact too. `judge` makes findings of them and is pure.

mod facts;
mod judge;
mod look;

use chrono::Utc;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::arguments;
use crate::output::{self, Paint, Tone};
use crate::{INTERRUPTED, Settings};
pub use facts::{Configuration, Data, Disk, Library, Local};
use judge::{Finding, Status};

/// Exit code when something wants attention and nothing is broken.
const EXIT_WARNINGS: u8 = 4;
/// Exit code when something is broken.
const EXIT_PROBLEMS: u8 = 5;

/// Looks, reports, and gives the exit code.
pub async fn run(
    arguments: &arguments::Doctor,
    settings: &Settings,
    local: Local,
    bars: MultiProgress,
    stop: CancellationToken,
) -> anyhow::Result<u8> {
    let style =
        ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = bars.add(ProgressBar::new_spinner().with_style(style));
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    let looked = tokio::select! {
        facts = look::facts(settings, local, &bar) => Some(facts),
        () = stop.cancelled() => None,
    };
    bar.finish_and_clear();
    match looked {
        Some(facts) => report(arguments, &judge::judge(&facts)),
        None => Ok(INTERRUPTED),
    }
}

/// Reports a configuration that cannot be used: nothing else can be looked at with it.
pub fn of_invalid(arguments: &arguments::Doctor, faults: Vec<String>) -> anyhow::Result<u8> {
    let found = facts::Configuration { faults, ..facts::Configuration::default() };
    report(arguments, &judge::of_configuration(&found, look::open_files()))
}

fn report(arguments: &arguments::Doctor, findings: &[Finding]) -> anyhow::Result<u8> {
    let worst = judge::worst(findings);
    if arguments.json {
        output::json(&json!({
            "status": worst,
            "version": env!("CARGO_PKG_VERSION"),
            "timestamp": Utc::now(),
            "findings": findings,
        }))?;
    } else {
        output::line(as_text(findings, Paint::stdout()))?;
    }
    Ok(match worst {
        Status::Ok => 0,
        Status::Warning => EXIT_WARNINGS,
        Status::Problem => EXIT_PROBLEMS,
    })
}

/// The findings for people: a line each, and below what is not well what it means and what fixes it.
fn as_text(findings: &[Finding], paint: Paint) -> String {
    let width = findings.iter().map(|finding| finding.area.len()).max().unwrap_or_default();
    let mut lines = Vec::new();
    for Finding { area, status, found, means, fix } in findings {
        let status = match status {
            Status::Ok => "ok     ".to_owned(),
            Status::Warning => paint.tint(Tone::Warning, "warning"),
            Status::Problem => paint.tint(Tone::Bad, "PROBLEM"),
        };
        lines.push(format!("{status}  {area:<width$}  {}", output::printable(found)));
        for (what, text) in [("it means", means), ("fix it", fix)] {
            if let Some(text) = text {
                let indent = " ".repeat("warning".len() + 2 + width + 2);
                lines.push(format!(
                    "{indent}{}  {}",
                    paint.tint(Tone::Faint, format!("{what}:")),
                    output::printable(text)
                ));
            }
        }
    }
    let count = |wanted| findings.iter().filter(|finding| finding.status == wanted).count();
    let summary = match (count(Status::Problem), count(Status::Warning)) {
        (0, 0) => "all is well".to_owned(),
        (problems, warnings) => {
            let plural = |number: usize| if number == 1 { "" } else { "s" };
            format!("{problems} problem{}, {warnings} warning{}", plural(problems), plural(warnings))
        }
    };
    lines.push(String::new());
    lines.push(summary);
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_written_for_people() {
        let facts = judge::tests::with_answers(|answers| answers.letters = judge::tests::letters(1));
        let findings = judge::judge(&facts);
        let text = as_text(&findings, Paint::Plain);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "ok       version        kelly 0.1.0");
        let letter = lines.iter().position(|line| line.starts_with("warning  dead letters")).unwrap();
        assert!(lines[letter + 1].starts_with("                        it means:  rows"), "{text}");
        assert!(lines[letter + 2].contains("fix it:  kelly dead-letters list --since 24h"), "{text}");
        assert_eq!(lines.last(), Some(&"0 problems, 1 warning"));
    }
}
