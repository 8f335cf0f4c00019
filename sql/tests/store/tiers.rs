//! No view answers from another tier of the rollups than its own: each is asked with rows of one tier at a time that it would
//! take, were it to see them.

use std::collections::{BTreeMap, BTreeSet};

use kelly_harness::TestDatabase;
use kelly_sql::RollupTier::{self, AccountDay, AccountHour, ConversationDay, Hour, Minute};

const DAY_MS: i64 = 24 * 3_600_000;

/// Every view that reads the rollups, with the tiers it answers from when it is asked of an account, and of any.
const READERS: [(&str, &[RollupTier], &[RollupTier]); 21] = [
    ("account_group_series_hour", &[AccountHour, AccountDay], &[AccountHour, AccountDay]),
    ("account_groups_hour", &[AccountHour, AccountDay], &[AccountHour, AccountDay]),
    ("account_overview_figures", &[AccountHour], &[]),
    ("account_series_hour", &[AccountHour, AccountDay], &[]),
    ("account_states_hour", &[AccountHour, AccountDay], &[]),
    ("conversation_group_series_day", &[ConversationDay], &[ConversationDay]),
    ("conversation_group_series_raw", &[ConversationDay], &[ConversationDay]),
    ("conversation_groups_day", &[ConversationDay], &[ConversationDay]),
    ("conversation_series_day", &[ConversationDay], &[ConversationDay]),
    ("conversation_series_raw", &[ConversationDay], &[ConversationDay]),
    ("conversations_seen", &[ConversationDay], &[ConversationDay]),
    ("metric_series_hour", &[Hour], &[Hour]),
    ("metric_series_minute", &[Minute], &[Minute]),
    ("metric_states_hour", &[Hour], &[Hour]),
    ("metric_states_minute", &[Minute], &[Minute]),
    ("metrics_seen", &[AccountHour], &[Hour]),
    ("newest_rows", &[Hour], &[Hour]),
    ("overview_figures", &[Minute], &[Minute]),
    ("rule_account_hours", &[AccountHour], &[AccountHour]),
    ("rule_minutes", &[Minute], &[Minute]),
    ("rule_subjects", &[AccountHour, ConversationDay], &[AccountHour, ConversationDay]),
];

/// What each parameter is asked with: a window of one day, metric `m`, conversation `c`, and these accounts.
fn arguments(midnight_ms: i64, accounts: &str) -> BTreeMap<&'static str, String> {
    let text = |text: &str| format!("'{text}'");
    let ms = |days: i64| (midnight_ms + days * DAY_MS).to_string();
    let time = |days: i64| ((midnight_ms + days * DAY_MS) / 1_000).to_string();
    BTreeMap::from([
        ("accounts", accounts.to_owned()),
        ("aggregate", text("sum")),
        ("compared_to_ms", ms(1)),
        ("conversation", text("c")),
        ("days_from", time(0)),
        ("days_to", time(1)),
        ("descending", "1".to_owned()),
        ("first_hour_ms", ms(0)),
        ("first_ms", ms(0)),
        ("first_sample_ms", ms(0)),
        ("from", time(0)),
        ("from_ms", ms(0)),
        ("groups", "['a', 'c']".to_owned()),
        ("metric", text("m")),
        ("metrics", "['m']".to_owned()),
        ("of_samples", "[0]".to_owned()),
        // By which the histograms of days are read too.
        ("order_by", text("p95")),
        ("previous_from", time(-1)),
        ("previous_from_ms", ms(-1)),
        ("previous_to_ms", ms(0)),
        ("since_ms", ms(0)),
        ("starts_ms", format!("[{}]", ms(0))),
        ("step_s", "86400".to_owned()),
        ("to", time(1)),
        ("to_ms", ms(1)),
        ("top", "10".to_owned()),
    ])
}

/// The names in `{name:Type}`.
fn parameters(text: &str) -> BTreeSet<&str> {
    let is_name = |name: &&str| name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_');
    text.split('{').skip(1).filter_map(|part| Some(part.split_once(':')?.0)).filter(is_name).collect()
}

/// The views that read the rollups, by name, as questions.
async fn questions(database: &TestDatabase, midnight_ms: i64, accounts: &str) -> BTreeMap<String, String> {
    let arguments = arguments(midnight_ms, accounts);
    let views = database
        .query(&format!(
            "SELECT name, create_table_query FROM system.tables \
             WHERE database = currentDatabase() AND create_table_query LIKE 'CREATE VIEW%{}.metric_rollups%'",
            database.name()
        ))
        .await;
    let question = |line: &str| {
        let (name, text) = line.split_once('\t').expect("two columns");
        let given = parameters(text).into_iter().map(|parameter| {
            let argument = arguments.get(parameter).unwrap_or_else(|| panic!("{name} asks for {parameter}"));
            format!("{parameter} = {argument}")
        });
        let given = given.collect::<Vec<_>>().join(", ");
        (name.to_owned(), format!("SELECT * FROM {name}({given})"))
    };
    views.lines().map(question).collect()
}

/// The answers, their rows in any order.
async fn ask(database: &TestDatabase, questions: &BTreeMap<String, String>) -> BTreeMap<String, Vec<String>> {
    let mut answers = BTreeMap::new();
    for (view, question) in questions {
        let answer = database.query(question).await;
        let mut rows: Vec<String> = answer.lines().map(str::to_owned).collect();
        rows.sort();
        answers.insert(view.clone(), rows);
    }
    answers
}

#[tokio::test]
async fn every_view_answers_from_its_own_tiers_and_no_other() {
    let database = TestDatabase::create().await;
    let midnight = database.query("SELECT toUnixTimestamp(toStartOfDay(now('UTC'))) - 86400").await;
    let midnight_s: i64 = midnight.parse().unwrap();
    let of_one = questions(&database, midnight_s * 1_000, "['a']").await;
    let of_any = questions(&database, midnight_s * 1_000, "[]").await;
    assert!(
        of_one.keys().map(String::as_str).eq(READERS.map(|(view, ..)| view)),
        "READERS is out of date: {:?}",
        of_one.keys()
    );
    // What the days of a conversation lead to.
    let at = format!("toDateTime({midnight_s}, 'UTC')");
    database
        .query(&format!(
            "INSERT INTO system_metrics (metric_name, account_id, conversation_id, timestamp, value) VALUES ('m', 'a', 'c', {at}, 1)"
        ))
        .await;

    let without = [ask(&database, &of_one).await, ask(&database, &of_any).await];
    for tier in RollupTier::ALL {
        database
            .query(&format!(
                "INSERT INTO metric_rollups (tier, conversation_id, metric_name, account_id, t, count, sum, min, max, last, histogram) \
                 SELECT '{}', arrayJoin(['', 'c']), 'm', arrayJoin(['', 'a']), {at}, 1000, 1e9, 1e6, 1e6, ({at}, 1e6), map(16000, 1000)",
                tier.name()
            ))
            .await;
        let with = [ask(&database, &of_one).await, ask(&database, &of_any).await];
        for (view, of_one, of_any) in READERS {
            for (tiers, with, without) in [(of_one, &with[0], &without[0]), (of_any, &with[1], &without[1])] {
                assert_eq!(
                    with[view] != without[view],
                    tiers.contains(&tier),
                    "{view}, of the tiers {tiers:?}, with rows of {tier:?}: {:?}",
                    with[view]
                );
            }
        }
        database.query("TRUNCATE TABLE metric_rollups").await;
    }
}
