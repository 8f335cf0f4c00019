//! The parameters of SQL text: one tree of migrations and views serves a single node and a cluster, and what several views
//! say alike stands once.
//!
//! First a text is put together: `${include NAME …}` stands for the text of `fragments/NAME.sql`, in which `${1}`, `${2}` … stand
//! for the words behind the name. Then it is rendered for a database: `${database}`, `${on_cluster}`, `${engine FAMILY}` (kept in
//! shards), `${engine_on_every_node FAMILY}`, `${table NAME}` (a table to read from, over all shards), `${bucket_value}`,
//! `${deduplication}`, `${durability}`, `${expiry}`, `${few_files}`, `${no_statistics}`, `${metrics_retention_hours}`,
//! `${retention_days}`, `${audit_retention_days}`.

use kelly_schemas::histogram::{GAMMA, LN_GAMMA, OFFSET};

use crate::embedded::FRAGMENTS;

/// Blocks a table remembers the tokens of. It is counted a table, not a partition: 10,000 inserts, hours of them at
/// the pipeline's rate of about one a second, against a replay window of minutes.
const DEDUPLICATION_WINDOW: u32 = 10_000;

/// The same as seconds, which replicated tables bound as well: a week.
const DEDUPLICATION_SECONDS: u32 = 7 * 24 * 3600;

/// A part up to this size is one file with all its columns. A question about 30 days reads a few rows of every part, and opening
/// a file a column takes longer than reading them; it costs a tenth more bytes.
const COMPACT_PART_BYTES: u64 = 256 << 20;

/// A partition to which nothing was added for so long is merged into one part.
const QUIET_SECONDS: u32 = 600;

/// What placeholders stand for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Values<'a> {
    /// Database of the tables; a plain identifier.
    pub(crate) database: &'a str,
    /// Cluster the tables are spread over; holds no quote.
    pub(crate) cluster: Option<&'a str>,
    /// Hours raw metrics are kept.
    pub(crate) metrics_retention_hours: u32,
    /// Days everything else is kept, but for decisions.
    pub(crate) retention_days: u32,
    /// Days decisions are kept.
    pub(crate) audit_retention_days: u32,
}

/// Includes within includes; more of them are a fragment that includes itself.
const DEEPEST_INCLUDE: usize = 8;

/// `text` with what it includes, or the placeholder that means nothing.
pub(crate) fn assemble(text: &str) -> Result<String, String> {
    let mut text = text.to_owned();
    for _ in 0..DEEPEST_INCLUDE {
        if !text.contains("${include ") {
            return Ok(text);
        }
        text = replace(&text, |placeholder| match placeholder.strip_prefix("include ") {
            Some(include) => included(include),
            None => Some(format!("${{{placeholder}}}")),
        })?;
    }
    Err("include".to_owned())
}

/// The text of a fragment, its parameters filled in.
fn included(include: &str) -> Option<String> {
    let mut words = include.split(' ');
    let name = words.next()?;
    let fragment = FRAGMENTS.iter().find(|fragment| fragment.name == name)?;
    let mut text = fragment.text.trim_end().to_owned();
    for (number, word) in (1..).zip(words) {
        let parameter = format!("${{{number}}}");
        if !text.contains(&parameter) {
            return None;
        }
        text = text.replace(&parameter, word);
    }
    Some(text)
}

/// An assembled `text` with its placeholders filled in, or the placeholder that means nothing.
pub(crate) fn render(text: &str, values: &Values<'_>) -> Result<String, String> {
    replace(text, |placeholder| value(placeholder, values))
}

fn replace(text: &str, value: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut replaced = String::with_capacity(text.len() + 512);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((placeholder, remainder)) = after.split_once('}') else {
            return Err(after.lines().next().unwrap_or_default().to_owned());
        };
        replaced.push_str(before);
        replaced.push_str(&value(placeholder).ok_or_else(|| placeholder.to_owned())?);
        rest = remainder;
    }
    replaced.push_str(rest);
    Ok(replaced)
}

fn value(placeholder: &str, values: &Values<'_>) -> Option<String> {
    let database = values.database;
    let (name, argument) = placeholder.split_once(' ').unwrap_or((placeholder, ""));
    let text = match (name, values.cluster) {
        ("database", _) => database.to_owned(),
        ("on_cluster", None) => String::new(),
        ("on_cluster", Some(cluster)) => format!("ON CLUSTER '{cluster}'"),
        ("engine" | "engine_on_every_node", None) => argument.to_owned(),
        // {shard}, {replica}, {database} and {table} are filled in by each server.
        ("engine", Some(_)) => {
            format!(
                "Replicated{argument}('/clickhouse/tables/{{shard}}/{{database}}/{{table}}', '{{replica}}')"
            )
        }
        // One path for all shards makes every node a replica of every other.
        ("engine_on_every_node", Some(_)) => {
            format!(
                "Replicated{argument}('/clickhouse/tables/every/{{database}}/{{table}}', '{{shard}}-{{replica}}')"
            )
        }
        ("table", None) => format!("{database}.{argument}"),
        ("table", Some(cluster)) => format!("cluster('{cluster}', '{database}', '{argument}')"),
        ("deduplication", None) => format!("non_replicated_deduplication_window = {DEDUPLICATION_WINDOW}"),
        ("deduplication", Some(_)) => format!(
            "replicated_deduplication_window = {DEDUPLICATION_WINDOW}, replicated_deduplication_window_seconds = {DEDUPLICATION_SECONDS}"
        ),
        // The log's position is committed after the insert: what the insert confirmed must survive a power loss.
        ("durability", _) => "fsync_after_insert = 1, fsync_part_directory = 1".to_owned(),
        // Expired rows go by whole parts; a changed TTL rewrites a part's bounds, not its rows.
        ("expiry", _) => "ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1".to_owned(),
        ("few_files", _) => format!(
            "min_bytes_for_wide_part = {COMPACT_PART_BYTES}, min_age_to_force_merge_seconds = {QUIET_SECONDS}, min_age_to_force_merge_on_partition_only = 1"
        ),
        // Questions go by the key; every merge would work out distinct values of every column for nothing.
        ("no_statistics", _) => "auto_statistics_types = ''".to_owned(),
        // Of a variable `bucket`, as `kelly_schemas::histogram::value` has it: 2 * gamma^i / (1 + gamma).
        ("bucket_value", _) => {
            format!("sign(bucket) * {} * exp((abs(bucket) - {OFFSET}) * {LN_GAMMA})", 2.0 / (1.0 + GAMMA))
        }
        ("metrics_retention_hours", _) => values.metrics_retention_hours.to_string(),
        ("retention_days", _) => values.retention_days.to_string(),
        ("audit_retention_days", _) => values.audit_retention_days.to_string(),
        _ => return None,
    };
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use super::*;
    use crate::embedded::VIEWS;

    fn values(cluster: Option<&str>) -> Values<'_> {
        Values {
            database: "kelly",
            cluster,
            metrics_retention_hours: 72,
            retention_days: 90,
            audit_retention_days: 400,
        }
    }

    #[test]
    fn one_text_serves_a_node_and_a_cluster() {
        let text =
            "CREATE TABLE ${database}.x ${on_cluster} ENGINE = ${engine MergeTree}; SELECT * FROM ${table x}";
        assert_eq!(
            render(text, &values(None)).unwrap(),
            "CREATE TABLE kelly.x  ENGINE = MergeTree; SELECT * FROM kelly.x"
        );
        assert_eq!(
            render(text, &values(Some("main"))).unwrap(),
            "CREATE TABLE kelly.x ON CLUSTER 'main' ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/{database}/{table}', \
             '{replica}'); SELECT * FROM cluster('main', 'kelly', 'x')"
        );
    }

    #[test]
    fn an_unknown_or_open_placeholder_is_named() {
        assert_eq!(render("a ${databse} b", &values(None)).unwrap_err(), "databse");
        assert_eq!(render("a ${database\nb", &values(None)).unwrap_err(), "database");
    }

    #[test]
    fn what_is_included_takes_its_words() {
        assert_eq!(
            assemble("SELECT ${include aggregate own} FROM ${table x}").unwrap(),
            "SELECT multiIf({aggregate:String} = 'mean', own_sum / own_count, {aggregate:String} = 'sum', own_sum, \
             {aggregate:String} = 'max', own_max, own_last) FROM ${table x}"
        );
        assert!(
            assemble("${include part_value compared}").unwrap().contains("compared_sum / compared_count")
        );
    }

    #[test]
    fn an_include_that_is_not_there_or_takes_no_such_word_is_named() {
        for wrong in
            ["include nothing_of_that_name", "include no_histogram word", "include aggregate own more"]
        {
            assert_eq!(assemble(&format!("a ${{{wrong}}} b")).unwrap_err(), wrong);
        }
    }

    /// The names of the fragments that a text includes, and those that they include.
    fn names_included(text: &str) -> BTreeSet<String> {
        let names = RefCell::new(BTreeSet::new());
        let name = |placeholder: &str| {
            let include = placeholder.strip_prefix("include ");
            if let Some(include) = include {
                let (name, _) = include.split_once(' ').unwrap_or((include, ""));
                names.borrow_mut().insert(name.to_owned());
                names.borrow_mut().extend(names_included(&included(include)?));
            }
            Some(String::new())
        };
        replace(text, name).unwrap();
        names.into_inner()
    }

    #[test]
    fn every_fragment_is_included_somewhere() {
        let included: BTreeSet<String> = VIEWS.iter().flat_map(|view| names_included(view.text)).collect();
        let carried: BTreeSet<String> = FRAGMENTS.iter().map(|file| file.name.to_owned()).collect();
        assert_eq!(included, carried);
    }
}
