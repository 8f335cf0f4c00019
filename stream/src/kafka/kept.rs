//! What a topic has to be that keeps one order of decisions for ever. Pure.

use std::collections::BTreeMap;

use crate::error::LogError;
use crate::port::Result;

/// With so many replicas a record must be on two before it counts: with one, the death of a broker loses what was decided.
const REPLICATED: usize = 3;

/// A setting, the value it must have, and why.
const REQUIRED: [(&str, &str, &str); 5] = [
    ("cleanup.policy", "delete", "compaction removes decisions on which later ones rest"),
    ("retention.ms", "-1", "what was decided is read from the beginning, however long ago that was"),
    ("retention.bytes", "-1", "what was decided is read from the beginning, however much that is"),
    ("message.timestamp.type", "LogAppendTime", "the broker's time, which no producer can bend"),
    (
        "unclean.leader.election.enable",
        "false",
        "a broker that is behind must not take over and forget decisions",
    ),
];

/// Refuses a topic that could lose, remove or reorder records.
pub(super) fn verify(topic: &str, settings: &BTreeMap<String, String>, replicas: usize) -> Result<()> {
    let mismatch = |name: &str, found: &str, wanted: &str, why: &str| LogError::TopicMismatch {
        topic: topic.to_owned(),
        found: format!("{name}={found}"),
        wanted: format!("{wanted} ({why})"),
        fix: format!(
            "set it with kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config {name}={wanted}"
        ),
    };
    for (name, wanted, why) in REQUIRED {
        let found = settings.get(name).map_or("", String::as_str);
        if found != wanted {
            return Err(mismatch(name, found, wanted, why));
        }
    }
    let name = "min.insync.replicas";
    let found = settings.get(name).map_or("", String::as_str);
    if replicas >= REPLICATED && found.parse::<u32>().is_ok_and(|found| found < 2) {
        let why = "a decision has to be on two brokers before it counts";
        return Err(mismatch(name, found, "2", why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_could_lose_a_decision_is_refused() {
        let good: BTreeMap<String, String> = REQUIRED
            .iter()
            .map(|(name, value, _)| ((*name).to_owned(), (*value).to_owned()))
            .chain([("min.insync.replicas".to_owned(), "1".to_owned())])
            .collect();
        verify("t", &good, 1).unwrap();
        let cases = [
            ("cleanup.policy", "compact", 1),
            ("cleanup.policy", "compact,delete", 1),
            ("retention.ms", "604800000", 1),
            ("retention.bytes", "1", 1),
            ("message.timestamp.type", "CreateTime", 1),
            ("unclean.leader.election.enable", "true", 1),
            ("min.insync.replicas", "1", 3),
        ];
        for (name, value, replicas) in cases {
            let mut bad = good.clone();
            bad.insert(name.to_owned(), value.to_owned());
            let message = verify("t", &bad, replicas).unwrap_err().to_string();
            assert!(
                message.contains(&format!("{name}={value}")) && message.contains("kafka-configs.sh"),
                "{message}"
            );
        }
        for (name, ..) in REQUIRED {
            let mut silent = good.clone();
            silent.remove(name);
            assert!(verify("t", &silent, 1).is_err(), "{name} is not known");
        }
    }
}
