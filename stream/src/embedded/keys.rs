//! What lies in the keyspace `meta`: keys and values of topics, of the ends of partitions and of positions; and the key of a
//! frame.

use crate::port::{Committed, TopicPartition};

/// The ends of a partition: everything before `high` is durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) low: u64,
    pub(super) high: u64,
    pub(super) last_time_ms: i64,
    /// Bytes of records ever appended.
    pub(super) bytes: u64,
}

pub(super) const TOPIC: u8 = b't';
const MARK: u8 = b'l';
pub(super) const POSITION: u8 = b'p';

pub(super) fn topic_key(topic: &str) -> Vec<u8> {
    [&[TOPIC], topic.as_bytes()].concat()
}

pub(super) fn mark_key(topic: &str, partition: u32) -> Vec<u8> {
    [&[MARK], topic.as_bytes(), &[0], &partition.to_be_bytes()].concat()
}

/// Group and topic have no zero byte, see `bounds`.
pub(super) fn position_key(group: &str, partition: &TopicPartition) -> Vec<u8> {
    let topic = partition.topic.as_bytes();
    [&[POSITION], group.as_bytes(), &[0], topic, &[0], &partition.partition.to_be_bytes()].concat()
}

/// Topic and partition of a position's key.
pub(super) fn place_of(key: &[u8]) -> Option<(String, u32)> {
    let (rest, partition) = key.split_last_chunk::<4>()?;
    let topic = rest.strip_suffix(&[0])?.rsplit(|byte| *byte == 0).next()?;
    Some((String::from_utf8_lossy(topic).into_owned(), u32::from_be_bytes(*partition)))
}

pub(super) fn parse_position(value: &[u8]) -> Option<Committed> {
    let (offset, metadata) = value.split_first_chunk::<8>()?;
    Some(Committed {
        offset: u64::from_be_bytes(*offset),
        metadata: String::from_utf8_lossy(metadata).into_owned(),
    })
}

pub(super) fn parse_offset(key: &[u8]) -> u64 {
    // Keys of a partition are written by `writer` only and have eight bytes.
    key.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

pub(super) fn encode_ends(ends: Ends) -> Vec<u8> {
    [
        ends.low.to_be_bytes(),
        ends.high.to_be_bytes(),
        ends.last_time_ms.to_be_bytes(),
        ends.bytes.to_be_bytes(),
    ]
    .concat()
}

pub(super) fn decode_ends(value: &[u8]) -> Option<Ends> {
    let mut words = value.chunks_exact(8).map(|word| <[u8; 8]>::try_from(word).unwrap_or_default());
    Some(Ends {
        low: u64::from_be_bytes(words.next()?),
        high: u64::from_be_bytes(words.next()?),
        last_time_ms: i64::from_be_bytes(words.next()?),
        bytes: u64::from_be_bytes(words.next()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_are_read_back() {
        let place = TopicPartition { topic: "kelly.metrics".into(), partition: 0x0001_0203 };
        let key = position_key("kelly-ingest", &place);
        assert_eq!(place_of(&key), Some(("kelly.metrics".into(), 0x0001_0203)));
        // A partition number may hold zero bytes of its own.
        let zero = TopicPartition { topic: "t".into(), partition: 0 };
        assert_eq!(place_of(&position_key("g", &zero)), Some(("t".into(), 0)));
        let ends = Ends { low: 1, high: u64::MAX, last_time_ms: -5, bytes: 9 };
        assert_eq!(decode_ends(&encode_ends(ends)), Some(ends));
        assert_eq!(decode_ends(b"short"), None);
    }
}
