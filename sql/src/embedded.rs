//! The SQL files this binary carries, in the order they are applied.

/// A file of one statement.
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
    "0002_metrics_1m",
    "0003_metrics_1h",
    "0004_account_metrics_1h",
    "0005_account_metrics_1d",
    "0006_conversation_metrics_1d",
    "0007_activity_events",
    "0008_activity_first_seen",
    "0009_dead_letters",
    "0010_dead_letter_replays",
);

/// Re-created whenever their text changed; a later one may read an earlier one.
pub(crate) const VIEWS: &[SqlFile] = sql_files!("views":
    "0001_metric_series_1m",
    "0002_metric_series_1h",
    "0003_account_series_raw",
    "0004_account_series_1d",
    "0005_conversation_series_raw",
    "0006_conversation_series_1d",
    "0007_overview_figures",
    "0008_conversations_seen",
    "0009_activity_page",
    "0010_dead_letter_counts",
    "0011_newest_rows",
    "0012_storage",
    "0013_storage_growth",
    "0014_account_groups_raw",
    "0015_account_groups_1d",
    "0016_conversation_groups_raw",
    "0017_conversation_groups_1d",
    "0018_account_group_series_raw",
    "0019_account_group_series_1d",
    "0020_conversation_group_series_raw",
    "0021_conversation_group_series_1d",
    "0024_metrics_seen",
    "0030_tail_heads_metrics",
    "0031_tail_heads_activity",
    "0032_tail_metrics",
    "0033_tail_activity",
    "0034_dead_letter_marks",
    "0035_dead_letter_reasons",
    "0036_dead_letter_page",
    "0037_dead_letters_to_replay",
    "0040_metric_states_1m",
    "0041_metric_states_1h",
    "0042_account_states_1h",
    "0043_account_buckets_1d",
    "0044_samples",
    "0045_activity",
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::{Values, render};

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
        for (directory, files) in [("migrations", MIGRATIONS), ("views", VIEWS)] {
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
        };
        let mut texts = Vec::new();
        for file in MIGRATIONS.iter().chain(VIEWS) {
            let text = render(file.text, &values).unwrap().replace('\\', "\\\\").replace('\'', "\\'");
            texts.push(format!("length(formatQuery('{text}'))"));
        }
        let sql = format!("SELECT arrayMin([{}]) > 0", texts.join(", "));
        let engine = kelly_harness::Engine::shared();
        assert_eq!(kelly_harness::engine::query(engine.store_config(), "default", &sql).await.unwrap(), "1");
    }

    #[test]
    fn every_file_is_one_statement_with_known_placeholders() {
        for cluster in [None, Some("main")] {
            let values =
                Values { database: "kelly", cluster, metrics_retention_hours: 72, retention_days: 90 };
            for file in MIGRATIONS.iter().chain(VIEWS) {
                let text =
                    render(file.text, &values).unwrap_or_else(|bad| panic!("{}: ${{{bad}}}", file.name));
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
}
