//! What a topic has to be of which the newest record of each key stays. Pure.

use std::collections::BTreeMap;

use super::admin::Settings;
use super::config::MAX_MESSAGE_BYTES;
use crate::error::LogError;
use crate::port::Result;

/// Brokers compact closed segments only, and close them by size or by this time: an hour, so that a quiet topic shrinks too.
const SEGMENT_MS: &str = "3600000";

/// A setting, the value it must have, and why.
const REQUIRED: [(&str, &str, &str); 2] = [
    (
        "cleanup.policy",
        "compact",
        "the newest record of each key has to stay, however old it is, and older ones must not",
    ),
    ("message.timestamp.type", "LogAppendTime", "the broker's time, which no producer can bend"),
];

/// With which it is created.
pub(super) fn settings() -> Settings {
    REQUIRED
        .iter()
        .map(|(name, value, _)| (*name, (*value).to_owned()))
        .chain([("segment.ms", SEGMENT_MS.to_owned()), ("max.message.bytes", MAX_MESSAGE_BYTES.to_string())])
        .collect()
}

/// Refuses a topic that keeps too little or everything.
pub(super) fn verify(topic: &str, settings: &BTreeMap<String, String>) -> Result<()> {
    for (name, wanted, why) in REQUIRED {
        let found = settings.get(name).map_or("", String::as_str);
        if found != wanted {
            return Err(LogError::TopicMismatch {
                topic: topic.to_owned(),
                found: format!("{name}={found}"),
                wanted: format!("{wanted} ({why})"),
                fix: format!(
                    "set it with kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config {name}={wanted}"
                ),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_keeps_too_little_or_too_much_is_refused() {
        let good: BTreeMap<String, String> =
            settings().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        verify("t", &good).unwrap();
        for (name, value) in [
            ("cleanup.policy", "delete"),
            ("cleanup.policy", "compact,delete"),
            ("message.timestamp.type", "CreateTime"),
        ] {
            let mut bad = good.clone();
            bad.insert(name.to_owned(), value.to_owned());
            let message = verify("t", &bad).unwrap_err().to_string();
            assert!(message.contains(&format!("{name}={value}")) && message.contains("kafka-configs.sh"));
        }
    }
}
