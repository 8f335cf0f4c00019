//! Bounds both logs keep, so that what one takes the other takes too.

use crate::error::LogError;
use crate::port::{Commit, MAX_COMMIT_METADATA_BYTES, NewRecord, Result, TopicSpec};

/// Largest record (key and payload) an append takes.
pub const MAX_RECORD_BYTES: usize = 8 * 1024 * 1024;

/// Longest `content-type`.
pub const MAX_CONTENT_TYPE_BYTES: usize = 255;

/// Longest name of a topic, as Kafka has it.
const MAX_TOPIC_BYTES: usize = 249;

/// Key and payload of a record.
pub(crate) fn size_of(record: &NewRecord) -> usize {
    record.payload.len() + record.key.as_ref().map_or(0, |key| key.len())
}

pub(crate) fn verify_record(record: &NewRecord) -> Result<()> {
    too_large(size_of(record), MAX_RECORD_BYTES, || format!("a record for {}", record.topic))?;
    let content_type = record.content_type.as_ref().map_or(0, |content_type| content_type.len());
    too_large(content_type, MAX_CONTENT_TYPE_BYTES, || {
        format!("the content type of a record for {}", record.topic)
    })
}

pub(crate) fn verify_commit(commit: &Commit) -> Result<()> {
    too_large(commit.metadata.len(), MAX_COMMIT_METADATA_BYTES, || "the text of a commit".into())
}

pub(crate) fn verify_topic(topic: &TopicSpec) -> Result<()> {
    let refuse = |reason: &str| {
        Err(LogError::Config { property: format!("topic {:?}", topic.name), reason: reason.to_owned() })
    };
    let named = !topic.name.is_empty()
        && topic.name.len() <= MAX_TOPIC_BYTES
        && topic.name != "."
        && topic.name != ".."
        && topic.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if !named {
        return refuse("a topic's name has 1 to 249 letters, digits, dots, underscores or hyphens");
    }
    if topic.partitions == 0 {
        return refuse("a topic needs at least one partition");
    }
    Ok(())
}

/// A topic that holds one order has one partition.
pub(crate) fn verify_single(topic: &str, partitions: u32) -> Result<()> {
    if partitions == 1 {
        return Ok(());
    }
    Err(LogError::TopicMismatch {
        topic: topic.to_owned(),
        found: format!("{partitions} partitions"),
        wanted: "exactly one (its records are one order)".into(),
        fix: "partitions cannot be taken away: delete the topic if nothing was decided in it yet, else restore it".into(),
    })
}

pub(crate) fn verify_group(group: &str) -> Result<()> {
    if group.is_empty() || group.contains('\0') {
        return Err(LogError::Config {
            property: format!("group {group:?}"),
            reason: "a consumer group's name is not empty and has no zero byte".into(),
        });
    }
    Ok(())
}

fn too_large(bytes: usize, limit: usize, what: impl FnOnce() -> String) -> Result<()> {
    if bytes > limit { Err(LogError::TooLarge { what: what(), bytes, limit }) } else { Ok(()) }
}
