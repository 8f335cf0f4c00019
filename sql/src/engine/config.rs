//! The engine's configuration, as text. Pure; the files are Kelly's and written anew at each start.

use sha2::{Digest, Sha256};

use super::{APPLICATION_USER, Credentials, GRAFANA_USER};

/// What the engine runs as its only local statements: it opens its listeners and then sleeps until it is stopped.
pub(super) const START_STATEMENTS: &str = concat!(
    "SYSTEM START LISTEN HTTP; SYSTEM START LISTEN TCP; ",
    "SELECT sleepEachRow(0.25) FROM system.numbers SETTINGS max_block_size = 1, max_threads = 1 FORMAT Null"
);

/// Whether the last of [`START_STATEMENTS`] runs: the listeners are open by then, and the start-up user's quota is
/// used up.
pub(super) const STARTED_QUESTION: &str = "SELECT toUInt8(count() > 0) FROM system.processes WHERE startsWith(query, 'SELECT sleepEachRow(0.25) FROM system.numbers')";

/// Whether the engine's last words say that a port it was to listen on is somebody else's.
pub(super) fn lost_its_port(last_words: &str) -> bool {
    last_words.contains("Address already in use")
}

/// Queries the start-up user may run in an engine's life: exactly [`START_STATEMENTS`].
const START_QUERIES: u32 = 3;

/// The longest period a quota can have, in seconds: until 2038, and then again.
const FOR_EVER_SECONDS: u32 = 2_147_483_647;

/// Longest query of a dashboard, in seconds.
const DASHBOARD_SECONDS: u32 = 60;

/// Priority of merges among the machine's threads: nobody waits for one, while somebody waits for a question or for a
/// record's acknowledgement. The engine leaves them where they are if it lacks `CAP_SYS_NICE` (see `child`).
const MERGES_NICE: i32 = 10;

/// Name of `users.xml` as the server's configuration has it: relative to its own directory, so that no path stands in it. A
/// path would have to be written so that XML, and the engine's own references (`${...}`), leave it as it is.
pub(super) const USERS_FILE: &str = "kelly-users.xml";

/// `config.xml`. The system's own log tables are off: a section of that name would turn one on. Its pool of two threads
/// warns of every short wait, some thirty times a second under inserts; that would leave no room in the log for anything else.
pub(super) fn server(memory_limit_bytes: u64) -> String {
    format!(
        "<!-- Written by Kelly at each start. -->
<clickhouse>
    <logger>
        <console>1</console>
        <console_log_level>warning</console_log_level>
        <startup_console_log_level>warning</startup_console_log_level>
        <levels>
            <logger><name>BackgroundSchedulePool/BgSchPool</name><level>error</level></logger>
            <logger><name>BackgroundSchedulePool/BgStrmSchPool</name><level>error</level></logger>
        </levels>
    </logger>
    <timezone>UTC</timezone>
    <users_config>{USERS_FILE}</users_config>
    <max_server_memory_usage>{memory_limit_bytes}</max_server_memory_usage>
    <max_server_memory_usage_to_ram_ratio>0.5</max_server_memory_usage_to_ram_ratio>
    <mark_cache_size>67108864</mark_cache_size>
    <index_mark_cache_size>16777216</index_mark_cache_size>
    <uncompressed_cache_size>0</uncompressed_cache_size>
    <max_connections>512</max_connections>
    <max_concurrent_queries>100</max_concurrent_queries>
    <asynchronous_metrics_update_period_s>60</asynchronous_metrics_update_period_s>
    <asynchronous_heavy_metrics_update_period_s>600</asynchronous_heavy_metrics_update_period_s>
    <memory_worker_period_ms>500</memory_worker_period_ms>
    <os_threads_nice_value_merge_mutate>{MERGES_NICE}</os_threads_nice_value_merge_mutate>
</clickhouse>
"
    )
}

/// `users.xml`. The engine logs in as `default` without a password when it starts, from what looks like 127.0.0.1,
/// so that user must exist. It may open listeners and count, and its quota is used up when the engine is ready:
/// nobody else on the machine gets anything out of it.
pub(super) fn users(application: &Credentials, grafana: &Credentials, limits: &UserLimits<'_>) -> String {
    let UserLimits { database, query_memory_bytes } = limits;
    format!(
        "<!-- Written by Kelly at each start. -->
<clickhouse>
    <profiles>
        <default>
            <max_memory_usage>{query_memory_bytes}</max_memory_usage>
        </default>
        <start>
            <max_threads>1</max_threads>
        </start>
        <dashboard>
            <readonly>1</readonly>
            <max_memory_usage>{query_memory_bytes}</max_memory_usage>
            <max_execution_time>{DASHBOARD_SECONDS}</max_execution_time>
            <constraints>
                <max_execution_time>
                    <changeable_in_readonly/>
                    <max>{DASHBOARD_SECONDS}</max>
                </max_execution_time>
            </constraints>
        </dashboard>
    </profiles>
    <quotas>
        <default/>
        <start>
            <interval>
                <duration>{FOR_EVER_SECONDS}</duration>
                <queries>{START_QUERIES}</queries>
            </interval>
        </start>
    </quotas>
    <users>
        <default>
            <no_password/>
            <networks><ip>127.0.0.1</ip></networks>
            <profile>start</profile>
            <quota>start</quota>
            <grants>
                <query>GRANT SYSTEM LISTEN ON *.*</query>
                <query>GRANT SELECT ON system.numbers</query>
            </grants>
        </default>
        <{APPLICATION_USER}>
            <password_sha256_hex>{application}</password_sha256_hex>
            <networks><ip>127.0.0.1</ip></networks>
            <profile>default</profile>
            <quota>default</quota>
            <access_management>0</access_management>
        </{APPLICATION_USER}>
        <{GRAFANA_USER}>
            <password_sha256_hex>{grafana}</password_sha256_hex>
            <networks><ip>127.0.0.1</ip></networks>
            <profile>dashboard</profile>
            <quota>default</quota>
            <grants>
                <query>GRANT SELECT ON {database}.*</query>
            </grants>
        </{GRAFANA_USER}>
    </users>
</clickhouse>
",
        application = sha256_hex(&application.password),
        grafana = sha256_hex(&grafana.password),
    )
}

/// What the users may have.
pub(super) struct UserLimits<'a> {
    /// Database the dashboards' user may read; a plain identifier.
    pub(super) database: &'a str,
    /// Memory one query may take.
    pub(super) query_memory_bytes: u64,
}

fn sha256_hex(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_up_users_quota_is_what_starting_takes() {
        assert_eq!(START_STATEMENTS.split(';').count(), START_QUERIES as usize);
    }

    #[test]
    fn the_question_is_about_the_last_statement() {
        let last = START_STATEMENTS.rsplit("; ").next().unwrap();
        let asked = STARTED_QUESTION.split('\'').nth(1).unwrap();
        assert!(last.starts_with(asked));
    }

    #[test]
    fn no_password_stands_in_the_configuration() {
        let user = |name: &str| Credentials { user: name.into(), password: format!("secret-of-{name}") };
        let limits = UserLimits { database: "kelly", query_memory_bytes: 1 };
        let text = users(&user("kelly"), &user("grafana"), &limits);
        assert!(!text.contains("secret-of"));
        assert!(text.contains(&sha256_hex("secret-of-kelly")));
    }
}
