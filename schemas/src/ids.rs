//! Identities that follow from the position on the log, so that a replay finds the same ones.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::streams::Stream;

/// The id of an event whose producer gave none: shaped as a UUIDv7 of the log's time, its random part a
/// hash of the position, so that it sorts by time and is the same at every reading.
#[must_use]
pub fn derived_event_id(log_time_ms: i64, partition: u32, offset: u64, row: u32) -> Uuid {
    let hash = position_hash(partition, offset, row);
    let [_, _, _, _, _, _, tail @ ..] = hash;
    uuid::Builder::from_unix_timestamp_millis(u64::try_from(log_time_ms).unwrap_or(0), &tail).into_uuid()
}

/// Sixteen bytes of the SHA-256 of the topic and the position in it. The topic's length before it keeps one position
/// from reading as another.
fn position_hash(partition: u32, offset: u64, row: u32) -> [u8; 16] {
    let topic = Stream::Activity.topic();
    let mut hasher = Sha256::new();
    hasher.update(b"event");
    hasher.update((topic.len() as u64).to_be_bytes());
    hasher.update(topic.as_bytes());
    hasher.update(partition.to_be_bytes());
    hasher.update(offset.to_be_bytes());
    hasher.update(row.to_be_bytes());
    let digest: [u8; 32] = hasher.finalize().into();
    let mut first = [0; 16];
    first.copy_from_slice(&digest[..16]);
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_id_is_stable_and_carries_the_time() {
        let id = derived_event_id(1_726_068_645_123, 3, 42, 0);
        assert_eq!(id.to_string(), "0191e1b5-5d03-7e88-b25a-0588bd97acd0");
        assert_eq!(id.get_version_num(), 7);
        let (seconds, nanoseconds) = id.get_timestamp().expect("a version 7 has a time").to_unix();
        assert_eq!((seconds, nanoseconds), (1_726_068_645, 123_000_000));
    }

    #[test]
    fn every_part_of_the_position_counts() {
        let ids = [
            derived_event_id(0, 1, 2, 3),
            derived_event_id(1, 1, 2, 3),
            derived_event_id(0, 2, 2, 3),
            derived_event_id(0, 1, 3, 3),
            derived_event_id(0, 1, 2, 4),
        ];
        for (index, id) in ids.iter().enumerate() {
            assert!(!ids[..index].contains(id), "{id} came twice");
        }
    }

    #[test]
    fn a_time_before_the_epoch_counts_as_the_epoch() {
        assert_eq!(derived_event_id(-1, 0, 0, 0).as_bytes()[..6], [0; 6]);
    }
}
