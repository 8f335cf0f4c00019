//! This binary and its surroundings: configuration, files, engine library, the running process.

use kelly_stream::MIN_FREE_BYTES;

use super::super::facts::{Configuration, Disk, Facts, Library, Running};
use super::{Finding, bytes};

/// Open files below which the engine or the log run out of them under load.
const LEAST_OPEN_FILES: u64 = 4_096;

/// Free bytes below which somebody should look for room.
const FEW_FREE_BYTES: u64 = 2 << 30;

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = of_configuration(&facts.configuration, facts.open_files);
    findings.extend(library(facts));
    findings.extend(data(facts));
    findings.extend(running(facts));
    findings
}

/// What is known without asking anybody.
pub(super) fn of_configuration(found: &Configuration, open_files: Option<(u64, u64)>) -> Vec<Finding> {
    let mut findings = vec![Finding::ok("version", format!("kelly {}", env!("CARGO_PKG_VERSION")))];
    findings.extend(configuration(found));
    findings.extend(open_files.map(|(soft, hard)| judge_open_files(soft, hard)));
    findings
}

fn configuration(found: &Configuration) -> Vec<Finding> {
    const AREA: &str = "configuration";
    let faults = found.faults.iter().map(|fault| {
        Finding::problem(AREA, fault.clone()).means("no role of Kelly starts with it").fix(
            "correct it where it is named; `kelly config` then shows what is in force and where it came from",
        )
    });
    let remarks = found.remarks.iter().map(|remark| {
        let (what, fix) = remark.split_once("; ").unwrap_or((remark, "remove it, or see `kelly config`"));
        Finding::warning(AREA, what).fix(fix)
    });
    let mut findings: Vec<Finding> = faults.chain(remarks).collect();
    if findings.is_empty() {
        findings.push(Finding::ok(AREA, "every setting is known, and none contradicts another"));
    }
    findings
}

fn judge_open_files(soft: u64, hard: u64) -> Finding {
    const AREA: &str = "open files";
    if soft >= LEAST_OPEN_FILES {
        return Finding::ok(AREA, format!("a process may have {soft}"));
    }
    let fix = if hard >= LEAST_OPEN_FILES {
        format!("ulimit -n {hard} before starting Kelly; under systemd LimitNOFILE={hard}")
    } else {
        "raise the hard limit: LimitNOFILE=65536 under systemd, or nofile in /etc/security/limits.conf"
            .to_owned()
    };
    Finding::warning(AREA, format!("a process may have {soft} (this shell's limit)"))
        .means("with many tables and connections the store or the log may run out of them")
        .fix(fix)
}

fn library(facts: &Facts) -> Option<Finding> {
    const AREA: &str = "engine library";
    Some(match facts.library.as_ref()? {
        Library::Found { path, package } => {
            let package = package.as_ref().map_or_else(String::new, |version| format!(", package {version}"));
            Finding::ok(AREA, format!("{path}{package}"))
        }
        Library::Missing(why) => Finding::problem(AREA, why.clone())
            .means("`kelly up` cannot start its embedded store")
            .fix("make setup in Kelly's source tree, or KELLY_LIBCHDB=/path/to/libchdb.so"),
    })
}

fn data(facts: &Facts) -> Vec<Finding> {
    let Some(data) = &facts.data else { return Vec::new() };
    let directory = &data.directory;
    let mut findings = vec![match (&data.owner, &facts.kelly) {
        (Some(owner), Running::Silent(why)) => {
            Finding::problem("data", format!("process {owner} has {directory}, and no Kelly answers: {why}"))
                .means("it is starting, hangs, or listens at another address than the one configured here")
                .fix("say where it listens with --server http://host:port; if it hangs, stop that process and start `kelly up`")
        }
        (Some(owner), Running::Answers { .. } | Running::ToStrangers { .. }) => {
            Finding::ok("data", format!("{directory}, held by process {owner}"))
        }
        (None, _) if data.exists => Finding::ok("data", format!("{directory}, held by no process")),
        (None, _) => Finding::ok("data", format!("{directory} does not exist yet; `kelly up` makes it")),
    }];
    findings.extend(data.disks.iter().map(disk));
    findings
}

fn disk(disk: &Disk) -> Finding {
    let Disk { directory, has_log, free, total } = disk;
    let found = format!("{} of {} free where {directory} lies", bytes(*free as f64), bytes(*total as f64));
    let how_to_fix = "free room on it, or move the directory and name it with --data (--log, --store)";
    if *has_log && *free < MIN_FREE_BYTES {
        return Finding::problem("data", found)
            .means("the embedded log takes nothing more; recording is refused")
            .fix(how_to_fix);
    }
    if *free >= FEW_FREE_BYTES {
        return Finding::ok("data", found);
    }
    Finding::warning("data", found)
        .means(if *has_log {
            format!("below {} MiB the embedded log takes nothing more", MIN_FREE_BYTES >> 20)
        } else {
            "when it is full the store takes nothing more, and rows wait on the log".to_owned()
        })
        .fix(how_to_fix)
}

fn running(facts: &Facts) -> Vec<Finding> {
    const AREA: &str = "kelly";
    let listen = &facts.configuration.listen;
    let (version, parts) = match &facts.kelly {
        Running::Answers { version, parts } => (version, parts),
        Running::ToStrangers { why, missing } => return to_strangers(why, missing),
        // Reported with the directory.
        Running::Silent(_) if facts.data.as_ref().is_some_and(|data| data.owner.is_some()) => {
            return Vec::new();
        }
        Running::Silent(why) => {
            return vec![
                Finding::problem(AREA, why.clone())
                    .means("nothing can be recorded over HTTP, and nothing can be asked")
                    .fix("start it with `kelly up` (or `kelly serve` beside `kelly ingest`), or say where it is with --server"),
            ];
        }
    };
    let mut findings = vec![if version == facts.version {
        Finding::ok(AREA, format!("answers at {listen}, version {version}"))
    } else {
        Finding::warning(AREA, format!("{listen} runs version {version}, this binary is {}", facts.version))
            .means("what this binary says of tables and settings may not be what runs")
            .fix("restart Kelly with this binary, or use the other's `kelly doctor`")
    }];
    for part in parts {
        let summary = format!("{}: {}", part.name, part.summary);
        let fix = "see the findings below and Kelly's own diagnostics on its stderr (RUST_LOG=kelly=debug says more)";
        match part.status.as_str() {
            "healthy" => {}
            "down" => findings.push(
                Finding::problem(AREA, summary).means("by its own account this part does not work").fix(fix),
            ),
            status => findings.push(
                Finding::warning(AREA, summary)
                    .means(format!("by its own account this part is {status}"))
                    .fix(fix),
            ),
        }
    }
    findings
}

/// Of a Kelly that tells no more than what it tells everybody.
fn to_strangers(why: &str, missing: &[String]) -> Vec<Finding> {
    const AREA: &str = "kelly";
    let sign_in = "sign in with KELLY_TOKEN=…, which `kelly token` makes where the secret is, to see why and what else there is";
    let stranger = Finding::warning(AREA, why)
        .means("it answers, and tells this user only which of its parts are not ready (/readyz)")
        .fix(sign_in);
    let missing = missing.iter().map(|part| {
        Finding::problem(AREA, format!("{part}: not ready"))
            .means("by its own account this part is down or starting, and Kelly of no use without it")
            .fix("see the findings below and Kelly's own diagnostics on its stderr")
    });
    std::iter::once(stranger).chain(missing).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::facts::{Data, Part};
    use super::super::tests::{complaints, healthy};
    use super::*;

    fn disk(has_log: bool, free: u64) -> Disk {
        Disk { directory: "/d".into(), has_log, free, total: 200 << 30 }
    }

    fn data() -> Data {
        Data {
            directory: "/d".into(),
            exists: true,
            owner: Some("7".into()),
            disks: vec![disk(true, 100 << 30)],
        }
    }

    #[test]
    fn surroundings_are_judged() {
        let with = |change: &dyn Fn(&mut Facts)| {
            let mut facts = healthy();
            change(&mut facts);
            complaints(&facts)
        };
        let silent = || Running::Silent("no Kelly answers at http://127.0.0.1:8000/".into());
        let cases: Vec<(&str, Vec<String>)> = vec![
            (
                "open files Warning: a process may have 1024",
                with(&|f| f.open_files = Some((1_024, 1_048_576))),
            ),
            (
                "configuration Problem: KELLY_LISTN: no such variable",
                with(&|f| f.configuration.faults = vec!["KELLY_LISTN: no such variable".into()]),
            ),
            (
                "configuration Warning: KELLY_X has no effect",
                with(&|f| f.configuration.remarks = vec!["KELLY_X has no effect; remove it".into()]),
            ),
            (
                "engine library Problem: nowhere",
                with(&|f| f.library = Some(Library::Missing("nowhere".into()))),
            ),
            ("kelly Problem: no Kelly answers", with(&|f| f.kelly = silent())),
            (
                "data Problem: process 7 has /d, and no Kelly answers",
                with(&|f| (f.kelly, f.data) = (silent(), Some(data()))),
            ),
            (
                "data Warning: 1.1 GB of",
                with(&|f| f.data = Some(Data { disks: vec![disk(true, 1 << 30)], ..data() })),
            ),
            (
                "data Problem: 268.4 MB of",
                with(&|f| f.data = Some(Data { disks: vec![disk(true, MIN_FREE_BYTES - 1)], ..data() })),
            ),
            (
                "data Warning: 268.4 MB of",
                with(&|f| f.data = Some(Data { disks: vec![disk(false, MIN_FREE_BYTES - 1)], ..data() })),
            ),
            (
                "kelly Warning: 127.0.0.1:8000 runs version 0.0.9",
                with(&|f| f.kelly = Running::Answers { version: "0.0.9".into(), parts: Vec::new() }),
            ),
            (
                "kelly Problem: ingest: ended",
                with(&|f| {
                    let part = Part { name: "ingest".into(), status: "down".into(), summary: "ended".into() };
                    f.kelly = Running::Answers { version: "0.1.0".into(), parts: vec![part] };
                }),
            ),
        ];
        let missing = vec!["log".to_owned()];
        let strange = with(&|f| {
            f.kelly = Running::ToStrangers { why: "answered 401".into(), missing: missing.clone() };
        });
        assert_eq!(strange.len(), 2, "{strange:?}");
        assert!(strange[1].starts_with("kelly Problem: log: not ready"), "{strange:?}");
        assert!(strange[0].starts_with("kelly Warning: answered 401"), "{strange:?}");
        for (expected, complaints) in cases {
            assert_eq!(complaints.len(), 1, "{expected}: {complaints:?}");
            assert!(complaints[0].starts_with(expected), "{expected}: {complaints:?}");
        }
        let mut embedded = healthy();
        embedded.data = Some(data());
        embedded.library = Some(Library::Found { path: "/l".into(), package: Some("26.7.3".into()) });
        assert_eq!(complaints(&embedded), Vec::<String>::new());
    }
}
