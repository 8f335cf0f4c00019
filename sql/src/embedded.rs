//! The SQL files this binary carries, in the order they are applied.

use crate::error::{Result, StoreError};
use crate::template::{self, Values};

/// A file of one statement, or of a part of one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SqlFile {
    /// Its name without `.sql`: `NNNN_what_it_makes`.
    pub(crate) name: &'static str,
    /// Its text, with placeholders.
    pub(crate) text: &'static str,
}

macro_rules! sql_files {
    ($directory:literal: $($name:literal),* $(,)?) => {
        &[$(SqlFile { name: $name, text: include_str!(concat!("../", $directory, "/", $name, ".sql")) }),*]
    };
}

/// Applied once each, in this order; a file never changes after it was released.
pub(crate) const MIGRATIONS: &[SqlFile] = sql_files!("migrations":
    "0000_schema_migrations",
    "0001_system_metrics",
    "0002_metric_rollups",
    "0003_activity_events",
    "0004_activity_first_seen",
    "0005_dead_letters",
    "0006_dead_letter_replays",
    "0007_activity_reads",
    "0008_control_log",
    "0009_alert_instances",
);

/// Re-created whenever their text changed; a later one may read an earlier one.
pub(crate) const VIEWS: &[SqlFile] = sql_files!("views":
    "0001_metric_series_minute",
    "0002_metric_series_hour",
    "0003_account_series_raw",
    "0004_account_series_hour",
    "0005_conversation_series_raw",
    "0006_conversation_series_day",
    "0007_overview_figures",
    "0008_conversations_seen",
    "0009_activity_page",
    "0010_dead_letter_counts",
    "0011_newest_rows",
    "0012_storage",
    "0013_storage_growth",
    "0014_account_groups_raw",
    "0015_account_groups_hour",
    "0016_conversation_groups_raw",
    "0017_conversation_groups_day",
    "0018_account_group_series_raw",
    "0019_account_group_series_hour",
    "0020_conversation_group_series_raw",
    "0021_conversation_group_series_day",
    "0022_metrics_seen",
    "0023_account_overview_figures",
    "0030_tail_heads_metrics",
    "0031_tail_heads_activity",
    "0032_tail_metrics",
    "0033_tail_activity",
    "0034_dead_letter_marks",
    "0035_dead_letter_reasons",
    "0036_dead_letter_page",
    "0037_dead_letters_to_replay",
    "0040_metric_states_minute",
    "0041_metric_states_hour",
    "0042_account_states_hour",
    "0043_samples",
    "0044_activity",
    "0045_activity_page_of_reader",
    "0046_unread_events",
    "0047_reading_versions",
    "0048_read_watermarks",
    "0049_activity_arrived",
    "0060_rule_rows",
    "0061_rule_minutes",
    "0062_rule_account_hours",
    "0063_rule_subjects",
    "0064_alert_now",
    "0065_rule_document",
    "0066_alerts_matched",
);

/// What views include: see [`crate::template`].
pub(crate) const FRAGMENTS: &[SqlFile] = sql_files!("fragments":
    "aggregate",
    "events_behind",
    "events_in_order",
    "first_seen_of",
    "group_series",
    "group_series_sections",
    "groups",
    "groups_in_order",
    "groups_of_samples",
    "groups_of_states",
    "in_both_windows",
    "in_window",
    "is_first_seen",
    "is_marked",
    "is_up_to",
    "no_histogram",
    "of_accounts",
    "own_summary",
    "part_summary",
    "part_value",
    "percentile_columns",
    "percentiles_of_buckets",
    "percentiles_of_days",
    "percentiles_of_nothing",
    "percentiles_of_samples",
    "percentiles_of_states",
    "point",
    "ranking_by_days",
    "ranking_by_nothing",
    "ranking_by_samples",
    "sample_as_state",
    "series",
    "series_of_samples",
    "series_of_states",
    "series_sections",
    "states",
    "tail_heads",
    "undone_marks",
);

impl SqlFile {
    /// Its text with what it includes.
    ///
    /// # Errors
    /// Names the placeholder that means nothing; a test sees to it that there is none.
    pub(crate) fn assembled(&self) -> Result<String> {
        template::assemble(self.text).map_err(|bad| self.unknown(&bad))
    }

    /// What is executed.
    ///
    /// # Errors
    /// As of [`assembled`](Self::assembled).
    pub(crate) fn rendered(&self, values: &Values<'_>) -> Result<String> {
        template::render(&self.assembled()?, values).map_err(|bad| self.unknown(&bad))
    }

    fn unknown(&self, placeholder: &str) -> StoreError {
        StoreError::Configuration(format!("{} holds an unknown placeholder {placeholder:?}", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::RollupTier;

    fn names_on_disk(directory: &str) -> Vec<String> {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
        let mut names: Vec<String> = std::fs::read_dir(path)
            .map(|entries| entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect())
            .unwrap_or_default();
        names.sort();
        names
    }

    #[test]
    fn every_file_is_carried_in_order_and_without_a_gap() {
        for (directory, files) in [("migrations", MIGRATIONS), ("views", VIEWS), ("fragments", FRAGMENTS)] {
            let carried: Vec<String> = files.iter().map(|file| format!("{}.sql", file.name)).collect();
            assert_eq!(carried, names_on_disk(directory), "{directory}/ and the list in embedded.rs differ");
        }
        for (number, file) in MIGRATIONS.iter().enumerate() {
            assert!(
                file.name.starts_with(&format!("{number:04}_")),
                "{} should be number {number:04}",
                file.name
            );
        }
    }

    /// No cluster can run here; that the server understands the text for one can be tested.
    #[tokio::test]
    async fn the_text_for_a_cluster_is_understood() {
        let values = Values {
            database: "kelly",
            cluster: Some("main"),
            metrics_retention_hours: 72,
            retention_days: 90,
            audit_retention_days: 400,
        };
        let mut texts = Vec::new();
        for file in MIGRATIONS.iter().chain(VIEWS) {
            let text = file.rendered(&values).unwrap().replace('\\', "\\\\").replace('\'', "\\'");
            texts.push(format!("length(formatQuery('{text}'))"));
        }
        let sql = format!("SELECT arrayMin([{}]) > 0", texts.join(", "));
        let engine = kelly_harness::Engine::shared();
        assert_eq!(kelly_harness::engine::query(engine.store_config(), "default", &sql).await.unwrap(), "1");
    }

    #[test]
    fn every_file_is_one_statement_with_known_placeholders() {
        for cluster in [None, Some("main")] {
            let values = Values {
                database: "kelly",
                cluster,
                metrics_retention_hours: 72,
                retention_days: 90,
                audit_retention_days: 400,
            };
            for file in MIGRATIONS.iter().chain(VIEWS) {
                let text = file.rendered(&values).unwrap();
                let code: Vec<&str> = text.lines().map(|line| line.split(" --").next().unwrap()).collect();
                let code: String = code.into_iter().filter(|line| !line.starts_with("--")).collect();
                assert!(
                    !code.contains(';'),
                    "{} holds more than one statement, or ends in a semicolon",
                    file.name
                );
                let idempotent = code.contains("IF NOT EXISTS")
                    || code.contains("IF EXISTS")
                    || code.contains("OR REPLACE");
                assert!(idempotent, "{} cannot be run twice", file.name);
                assert!(file.text.contains("${on_cluster}"), "{} would change one node only", file.name);
            }
        }
    }

    /// Where a text reads the rollups, up to the next text that is read from: the conditions of that reading.
    fn readings_of_rollups(text: &str) -> Vec<&str> {
        let mut readings = Vec::new();
        let mut rest = text;
        while let Some((_, after)) = rest.split_once("kelly.metric_rollups") {
            let end = after.find("FROM ").unwrap_or(after.len());
            readings.push(&after[..end]);
            rest = after;
        }
        readings
    }

    /// Markers and the other tiers are left out by naming the tier, and by nothing else.
    #[test]
    fn every_view_names_the_tier_it_reads() {
        let values = Values {
            database: "kelly",
            cluster: None,
            metrics_retention_hours: 72,
            retention_days: 90,
            audit_retention_days: 400,
        };
        let mut readings = 0;
        for view in VIEWS {
            let text = view.rendered(&values).unwrap();
            for reading in readings_of_rollups(&text) {
                readings += 1;
                let condition = reading.trim_start();
                let condition =
                    condition.strip_prefix("WHERE ").unwrap_or_else(|| panic!("{}: {reading}", view.name));
                let tiers: Vec<&str> = RollupTier::ALL
                    .iter()
                    .map(|tier| tier.name())
                    .filter(|tier| condition.contains(&format!("'{tier}'")))
                    .collect();
                assert!(
                    condition.contains("tier = '") || condition.contains("tier IN ('"),
                    "{}: {reading}",
                    view.name
                );
                assert!(!tiers.is_empty() && !tiers.contains(&"marker"), "{} reads {tiers:?}", view.name);
            }
        }
        assert!(
            readings >= 15,
            "the views read the rollups in {readings} places only: are they called otherwise now?"
        );
    }

    /// The texts in this crate's Rust read the rollups in one place, by a tier. That table's name stands nowhere else, and who
    /// is given a table reads its rows of the log, which the rollups have none of.
    #[test]
    fn rust_reads_the_rollups_in_one_place() {
        let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut folders = vec![source.clone()];
        let mut found = std::collections::BTreeMap::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap();
                let (code, _) = text.split_once("#[cfg(test)]").unwrap_or((&text, ""));
                let lines = code.lines().map(str::trim).filter(|line| !line.starts_with("//"));
                let naming = lines
                    .filter(|line| line.contains("MetricRollups.name()") || line.contains("metric_rollups"));
                let naming: Vec<String> = naming.map(str::to_owned).collect();
                if !naming.is_empty() {
                    found.insert(path.strip_prefix(&source).unwrap().display().to_string(), naming);
                }
            }
        }
        let reading = "let (database, table, tier) = (&self.config().database, Table::MetricRollups.name(), tier.name());";
        let places = [
            ("embedded.rs", r#""0002_metric_rollups","#),
            ("evidence.rs", reading),
            ("tables.rs", r#"Table::MetricRollups => "metric_rollups","#),
        ];
        let places = places.map(|(file, line)| (file.to_owned(), vec![line.to_owned()]));
        assert_eq!(found, std::collections::BTreeMap::from(places));
        assert!(include_str!("evidence.rs").contains("{database}.{table} WHERE tier = '{tier}'"));
    }
}
