//! The store: whether it answers, its schema, rights, tables, parts, disk and dead letters.

use kelly_sql::queries::{StoreRight, TableState};

use super::super::facts::{Answers, Facts};
use super::{Finding, bytes, span};
use crate::output::grouped;

/// The oldest ClickHouse that knows every setting Kelly's inserts rest on.
const OLDEST_VERSION: (u32, u32) = (26, 7);

/// Blocks a table must remember the tokens of; what the migrations set.
const DEDUPLICATION_WINDOW: u64 = 10_000;

/// A question that takes longer than this is slow, ms.
const SLOW_MS: f64 = 250.0;

/// Share of the parts above which inserts are slowed down that is worth telling.
const MANY_PARTS: f64 = 0.5;

/// A merge that runs longer than this is reported, seconds.
const LONG_MERGE_S: f64 = 3_600.0;

/// Days of room below which somebody should act.
const FEW_DAYS: f64 = 14.0;

/// Days of room below which it is urgent.
const VERY_FEW_DAYS: f64 = 2.0;

/// Share of the disk that the engine needs free to merge.
const LEAST_FREE_SHARE: f64 = 0.05;

/// Difference of clocks worth telling, and one that spoils answers, ms.
const CLOCK_SLACK_MS: u64 = 2_000;
const CLOCK_WRONG_MS: u64 = 60_000;

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let place = &facts.store.place;
    let answers = match &facts.store.state {
        Ok(answers) => answers,
        Err(why) => {
            let fix = match facts.store.is_embedded {
                true => "start `kelly up`; if it runs, see engine.log in its data directory".to_owned(),
                false => format!(
                    "start ClickHouse, and check KELLY_STORE ({place}), its user, and KELLY_STORE_PASSWORD or \
                     KELLY_STORE_PASSWORD_FILE"
                ),
            };
            return vec![
                Finding::problem("store", format!("{place} does not answer: {why}"))
                    .means("nothing can be asked; what is recorded waits on the log")
                    .fix(fix),
            ];
        }
    };
    let mut findings = vec![version(place, answers)];
    findings.extend(answers.schema.as_ref().map(|found| schema(found, facts.store.is_embedded)));
    findings.extend(rights(answers));
    findings.extend(tables(answers, facts));
    findings.extend(parts(answers));
    findings.extend(disks(answers));
    if answers.schema == Some(Ok(())) {
        findings.push(letters(answers));
    }
    findings.push(clock(answers.ahead_ms));
    findings
}

fn version(place: &str, answers: &Answers) -> Finding {
    let summary =
        format!("{place}, ClickHouse {}, answers in {:.1} ms", answers.version, answers.round_trip_ms);
    let mut numbers = answers.version.split('.').map_while(|number| number.parse::<u32>().ok());
    let found = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    if found < OLDEST_VERSION {
        let (major, minor) = OLDEST_VERSION;
        return Finding::problem("store", summary)
            .means("it lacks settings that exactly-once inserts rest on: rows may be there twice")
            .fix(format!("update ClickHouse to {major}.{minor} or later"));
    }
    if answers.round_trip_ms > SLOW_MS {
        return Finding::warning("store", summary)
            .means("every question takes that much longer")
            .fix("look at the store's CPU and disk, and at the network between here and it");
    }
    Finding::ok("store", summary)
}

fn schema(found: &Result<(), String>, is_embedded: bool) -> Finding {
    match found {
        Ok(()) => Finding::ok("schema", "the tables are those of this version"),
        Err(why) => Finding::problem("schema", why.clone())
            .means("`kelly serve` and `kelly ingest` refuse to start on it")
            .fix(match (why.contains("kelly migrate"), is_embedded) {
                (true, true) => "restart `kelly up`, which migrates",
                (true, false) => "kelly migrate",
                (false, _) => "use the version of Kelly that is named, or a database of its own",
            }),
    }
}

fn rights(answers: &Answers) -> Vec<Finding> {
    const AREA: &str = "rights";
    let (user, database) = &answers.user;
    let missing: Vec<Finding> = answers
        .rights
        .iter()
        .filter(|(_, has)| !has)
        .map(|(right, _)| {
            let privileges = right.privileges();
            let finding = match right {
                StoreRight::Migrate => Finding::warning(AREA, format!("{user} may not migrate {database}"))
                    .means("`kelly migrate` fails under this user; serving and ingest do not need it"),
                StoreRight::Read => Finding::problem(AREA, format!("{user} may not read {database}"))
                    .means("nothing can be answered"),
                StoreRight::Write => Finding::problem(AREA, format!("{user} may not write {database}"))
                    .means("ingest cannot store anything"),
            };
            finding.fix(format!("GRANT {privileges} ON {database}.* TO {user}"))
        })
        .collect();
    match missing.is_empty() && !answers.rights.is_empty() {
        true => vec![Finding::ok(AREA, format!("{user} may read, write and migrate {database}"))],
        false => missing,
    }
}

fn tables(answers: &Answers, facts: &Facts) -> Vec<Finding> {
    const AREA: &str = "tables";
    let ours: Vec<&TableState> =
        answers.tables.iter().filter(|table| table.engine.contains(" TTL ")).collect();
    let mut findings = Vec::new();
    let (hours, days) = (facts.configuration.metrics_retention_hours, facts.configuration.retention_days);
    for table in &ours {
        let name = &table.name;
        // A replicated table has a setting of another name that ends alike.
        if let Some(window) = setting(&table.engine, "deduplication_window")
            && window < DEDUPLICATION_WINDOW
        {
            findings.push(
                Finding::problem(AREA, format!("{name} remembers the tokens of {window} blocks"))
                    .means("an insert repeated after a restart may be taken twice")
                    .fix(format!(
                        "ALTER TABLE {}.{name} MODIFY SETTING non_replicated_deduplication_window = \
                         {DEDUPLICATION_WINDOW} (replicated_deduplication_window on a cluster)",
                        answers.user.1
                    )),
            );
        }
        let kept = interval(&table.engine);
        let wanted = match name.as_str() {
            "system_metrics" => (u64::from(hours), "hours"),
            "control_log" | "alert_instances" => {
                (u64::from(facts.configuration.audit_retention_days), "days")
            }
            _ => (u64::from(days), "days"),
        };
        if let Some(kept) = kept.filter(|kept| *kept != wanted) {
            findings.push(
                Finding::warning(
                    AREA,
                    format!("{name} is kept {} {}, configured are {} {}", kept.0, kept.1, wanted.0, wanted.1),
                )
                .means("the store was prepared with another configuration than the one here")
                .fix("kelly migrate (or restart `kelly up`) with the configuration that is right"),
            );
        }
    }
    if findings.is_empty() && !ours.is_empty() {
        let rows: u64 = ours.iter().map(|table| table.rows).sum();
        let held: u64 = ours.iter().map(|table| table.bytes_on_disk).sum();
        let summary = format!(
            "{} tables, {} rows, {}; repeated inserts are known for {} blocks",
            ours.len(),
            grouped(rows),
            bytes(held as f64),
            grouped(DEDUPLICATION_WINDOW)
        );
        findings.push(Finding::ok(AREA, summary));
    }
    findings
}

/// The number of the setting whose name ends so.
fn setting(engine: &str, name: &str) -> Option<u64> {
    let (_, rest) = engine.split_once(&format!("{name} = "))?;
    let digits = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}

/// The length of a table's TTL and its unit.
fn interval(engine: &str) -> Option<(u64, &'static str)> {
    let (_, ttl) = engine.split_once(" TTL ")?;
    for (name, unit) in [("toIntervalHour(", "hours"), ("toIntervalDay(", "days")] {
        if let Some((_, rest)) = ttl.split_once(name) {
            return Some((rest.split_once(')')?.0.parse().ok()?, unit));
        }
    }
    None
}

fn parts(answers: &Answers) -> Vec<Finding> {
    const AREA: &str = "parts";
    let Some(background) = &answers.background else { return Vec::new() };
    let Some(worst) = answers.tables.iter().max_by_key(|table| table.parts_of_a_partition) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    let (most, delay) = (worst.parts_of_a_partition, background.parts_to_delay.max(1));
    let summary = format!(
        "{} has {most} parts in one partition, inserts are slowed down from {delay} and refused from {}",
        worst.name, background.parts_to_throw
    );
    let fix = "merges do not keep up: give the store CPU and disk, and raise KELLY_INGEST_BATCH_MILLISECONDS \
                so that there are fewer inserts";
    if most >= delay {
        findings.push(Finding::problem(AREA, summary).means("ingest is slowed down by the store").fix(fix));
    } else if most as f64 >= MANY_PARTS * delay as f64 {
        findings.push(Finding::warning(AREA, summary).means("soon the store will slow ingest down").fix(fix));
    }
    if background.failing_mutations > 0 {
        findings.push(
            Finding::problem(
                AREA,
                format!("{} mutations fail again and again", background.failing_mutations),
            )
            .means("a change of retention or schema does not reach the rows that are there")
            .fix("SELECT * FROM system.mutations WHERE NOT is_done says why; KILL MUTATION ends one"),
        );
    }
    if background.longest_merge_s > LONG_MERGE_S {
        let long = span((background.longest_merge_s * 1_000.0) as u64);
        findings.push(
            Finding::warning(AREA, format!("a merge has run for {long}"))
                .means("the disk is slow, or merges wait for each other")
                .fix("SELECT * FROM system.merges shows which; look at the store's disk"),
        );
    }
    if findings.is_empty() {
        findings.push(Finding::ok(
            AREA,
            format!("at most {most} in a partition ({}), {} merges under way", worst.name, background.merges),
        ));
    }
    findings
}

fn disks(answers: &Answers) -> Vec<Finding> {
    const AREA: &str = "disk";
    let growth: f64 = answers.tables.iter().map(|table| table.bytes_a_day).sum();
    let disks = answers.disks.iter().map(|disk| {
        let days = if growth > 0.0 { disk.free as f64 / growth } else { f64::INFINITY };
        let mut summary = format!(
            "{} of {} free on the store's disk {}",
            bytes(disk.free as f64),
            bytes(disk.total as f64),
            disk.name
        );
        if growth > 0.0 {
            summary.push_str(&format!("; today adds {} a day", bytes(growth)));
            if days < 3_650.0 {
                summary.push_str(&format!(", room for {days:.0} days if nothing expired"));
            }
        }
        let share = disk.free as f64 / disk.total.max(1) as f64;
        let fix = "add room, or keep less: MONITORING_METRICS_RETENTION_HOURS, MONITORING_DB_RETENTION_DAYS";
        if days < VERY_FEW_DAYS || share < LEAST_FREE_SHARE {
            Finding::problem(AREA, summary)
                .means("a full disk stops inserts and merges; what is recorded then waits on the log")
                .fix(fix)
        } else if days < FEW_DAYS {
            Finding::warning(AREA, summary)
                .means("it will be full before long unless rows expire first")
                .fix(fix)
        } else {
            Finding::ok(AREA, summary)
        }
    });
    disks.collect()
}

fn letters(answers: &Answers) -> Finding {
    const AREA: &str = "dead letters";
    let total: u64 = answers.letters.iter().map(|reason| reason.count).sum();
    if total == 0 {
        return Finding::ok(AREA, "none in the last 24 hours");
    }
    let reasons: Vec<String> = answers
        .letters
        .iter()
        .take(3)
        .map(|reason| format!("{} {} ({})", grouped(reason.count), reason.reason_code, reason.topic))
        .collect();
    let summary = format!("{} in the last 24 hours: {}", grouped(total), reasons.join(", "));
    Finding::warning(AREA, summary)
        .means("rows that producers sent were not taken; each has its reason and its bytes")
        .fix("kelly dead-letters list --since 24h; correct the producer, then kelly dead-letters replay --since 24h")
}

fn clock(ahead_ms: i64) -> Finding {
    let apart = ahead_ms.unsigned_abs();
    let way = if ahead_ms >= 0 { "ahead of" } else { "behind" };
    let summary = format!("the store's clock is {} {way} this machine's", span(apart));
    let fix = "set both clocks by NTP: timedatectl set-ntp true, or chronyc makestep";
    if apart >= CLOCK_WRONG_MS {
        Finding::problem("clock", summary)
            .means("windows that end now miss rows, and retention is off")
            .fix(fix)
    } else if apart >= CLOCK_SLACK_MS {
        Finding::warning("clock", summary)
            .means("the newest rows may be missed by windows that end now")
            .fix(fix)
    } else {
        Finding::ok("clock", summary)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::facts::Answers;
    use super::super::tests::{complaints, healthy, letters, table, with_answers};
    use super::*;

    #[test]
    fn a_store_that_is_away() {
        let mut facts = healthy();
        facts.store.state = Err("connection refused".into());
        let found = complaints(&facts);
        assert_eq!(found, ["store Problem: http://kelly@ch:8123/kelly does not answer: connection refused"]);
    }

    #[test]
    fn every_trouble_is_reported_alone() {
        type Change = fn(&mut Answers);
        let cases: [(&str, Change); 17] = [
            ("store Problem: http://kelly@ch:8123/kelly, ClickHouse 25.8.1", |a| a.version = "25.8.1".into()),
            ("store Warning: ", |a| a.round_trip_ms = 300.0),
            ("schema Problem: lacks", |a| a.schema = Some(Err("lacks 0009; run `kelly migrate`".into()))),
            ("rights Problem: kelly may not read kelly", |a| {
                (a.schema, a.tables) = (None, Vec::new());
                a.rights = vec![(StoreRight::Read, false)];
            }),
            ("rights Problem: kelly may not write kelly", |a| a.rights = vec![(StoreRight::Write, false)]),
            ("rights Warning: kelly may not migrate kelly", |a| {
                a.rights = vec![(StoreRight::Migrate, false)]
            }),
            ("tables Problem: system_metrics remembers the tokens of 100 blocks", |a| {
                a.tables[0].engine = a.tables[0].engine.replace("10000", "100");
            }),
            ("tables Warning: system_metrics is kept 24 hours, configured are 72 hours", |a| {
                a.tables[0].engine = a.tables[0].engine.replace("(72)", "(24)");
            }),
            ("parts Warning: system_metrics has 600 parts", |a| a.tables[0].parts_of_a_partition = 600),
            ("parts Problem: system_metrics has 1000 parts", |a| a.tables[0].parts_of_a_partition = 1_000),
            ("parts Problem: 2 mutations fail", |a| a.background.as_mut().unwrap().failing_mutations = 2),
            ("parts Warning: a merge has run for 2 hours", |a| {
                a.background.as_mut().unwrap().longest_merge_s = 7_200.0;
            }),
            ("disk Warning: 500.0 GB of 1.0 TB free", |a| a.tables[0].bytes_a_day = 50e9),
            ("disk Problem: 500.0 GB of 1.0 TB free", |a| a.tables[0].bytes_a_day = 400e9),
            ("disk Problem: 1.0 GB of 1.0 TB free", |a| a.disks[0].free = 1_000_000_000),
            ("dead letters Warning: 5 in the last 24 hours: 5 too_old (kelly.metrics)", |a| {
                a.letters = letters(5)
            }),
            ("clock Problem: the store's clock is 2 hours behind", |a| a.ahead_ms = -7_200_000),
        ];
        for (expected, change) in cases {
            let found = complaints(&with_answers(change));
            assert_eq!(found.len(), 1, "{expected}: {found:?}");
            assert!(found[0].starts_with(expected), "{expected}: {found:?}");
        }
    }

    #[test]
    fn settings_and_intervals_are_found_in_the_servers_text() {
        let engine = table("x").engine;
        assert_eq!(setting(&engine, "deduplication_window"), Some(10_000));
        let replicated = engine.replace("non_replicated", "replicated");
        assert_eq!(setting(&replicated, "deduplication_window"), Some(10_000));
        assert_eq!(interval(&engine), Some((72, "hours")));
        assert_eq!(interval("MergeTree ORDER BY x"), None);
    }
}
