//! Which levels are changed for now, and what that makes of the configured ones. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use kelly_api::{ChangedLevel, LogComponent, LogLevel};

/// The changes in force: one a component at most.
#[derive(Debug, Default)]
pub struct Changes {
    levels: BTreeMap<LogComponent, (LogLevel, DateTime<Utc>)>,
}

impl Changes {
    /// Changes a level until a time. A change of all takes the place of every other one.
    pub fn set(&mut self, ChangedLevel { component, level, until }: ChangedLevel) {
        if component == LogComponent::All {
            self.levels.clear();
        }
        self.levels.insert(component, (level, until));
    }

    /// Ends a change; of all, every one.
    pub fn reset(&mut self, component: LogComponent) {
        match component {
            LogComponent::All => self.levels.clear(),
            _ => {
                self.levels.remove(&component);
            }
        }
    }

    /// Ends what is over, and gives the components whose changes that were.
    pub fn end(&mut self, now: DateTime<Utc>) -> Vec<LogComponent> {
        let over = self.levels.iter().filter(|(_, (_, until))| *until <= now);
        let over: Vec<LogComponent> = over.map(|(component, _)| *component).collect();
        self.levels.retain(|_, (_, until)| *until > now);
        over
    }

    /// When the next one is over.
    pub fn next_end(&self) -> Option<DateTime<Utc>> {
        self.levels.values().map(|(_, until)| *until).min()
    }

    /// What is changed.
    pub fn list(&self) -> Vec<ChangedLevel> {
        let changed = self.levels.iter();
        changed
            .map(|(component, (level, until))| ChangedLevel {
                component: *component,
                level: *level,
                until: *until,
            })
            .collect()
    }

    /// The directives for the log: what is configured, then the changes, of which the later one counts.
    pub fn directives(&self, configured: &str) -> String {
        let mut directives = configured.to_owned();
        for (component, (level, _)) in &self.levels {
            for target in targets(*component) {
                let separator = if directives.is_empty() { "" } else { "," };
                // A text takes whatever is written to it.
                let _ = write!(directives, "{separator}{target}={}", level.as_str());
            }
        }
        directives
    }
}

/// Where the log lines of a component come from. One that is configured more closely than these keeps its level.
fn targets(component: LogComponent) -> &'static [&'static str] {
    match component {
        LogComponent::All => &[
            "kelly",
            "kelly::",
            "kelly_api",
            "kelly_ingest",
            "kelly_live",
            "kelly_query",
            "kelly_sql",
            "kelly_stream",
        ],
        LogComponent::Roles => &["kelly::"],
        LogComponent::Api => &["kelly_api"],
        LogComponent::Ingest => &["kelly_ingest"],
        LogComponent::Live => &["kelly_live"],
        LogComponent::Query => &["kelly_query"],
        LogComponent::Sql => &["kelly_sql"],
        LogComponent::Stream => &["kelly_stream"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_726_068_600 + second, 0).unwrap()
    }

    fn change(component: LogComponent, level: LogLevel, second: i64) -> ChangedLevel {
        ChangedLevel { component, level, until: at(second) }
    }

    #[test]
    fn a_change_lasts_until_its_end() {
        let mut changes = Changes::default();
        assert_eq!((changes.directives("warn"), changes.next_end()), ("warn".to_owned(), None));
        changes.set(change(LogComponent::Sql, LogLevel::Trace, 20));
        changes.set(change(LogComponent::Api, LogLevel::Debug, 10));
        assert_eq!(changes.directives("warn"), "warn,kelly_api=debug,kelly_sql=trace");
        assert_eq!(changes.next_end(), Some(at(10)));
        assert_eq!(changes.end(at(9)), []);
        assert_eq!(changes.end(at(10)), [LogComponent::Api]);
        assert_eq!(changes.directives("warn"), "warn,kelly_sql=trace");
        // Another change of the component takes the place of the one before.
        changes.set(change(LogComponent::Sql, LogLevel::Error, 30));
        assert_eq!((changes.end(at(29)), changes.next_end()), (vec![], Some(at(30))));
        changes.reset(LogComponent::Sql);
        assert_eq!(changes.directives("warn"), "warn");
    }

    #[test]
    fn all_takes_the_place_of_each_and_each_may_differ_after_it() {
        let mut changes = Changes::default();
        changes.set(change(LogComponent::Ingest, LogLevel::Trace, 10));
        changes.set(change(LogComponent::All, LogLevel::Error, 20));
        changes.set(change(LogComponent::Api, LogLevel::Debug, 30));
        let directives = changes.directives("kelly=info");
        assert!(
            directives.starts_with("kelly=info,kelly=error,") && directives.ends_with(",kelly_api=debug")
        );
        assert!(!directives.contains("trace"));
        changes.reset(LogComponent::All);
        assert_eq!(changes.list(), []);
    }
}
