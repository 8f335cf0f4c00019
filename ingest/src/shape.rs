//! The identity of a batch in the store: its deduplication token.

use std::fmt;

use kelly_stream::{TopicId, TopicPartition};

/// Version of everything that decides which rows a range of offsets becomes and into how many
/// blocks they are cut. It changes with those rules: the store's deduplication is not invariant to
/// how a batch is cut, so a range must be finished by the rules under which it was begun.
pub const SHAPE: &str = "m5";

/// A mark of one generation of a partition's positions. Offsets begin at zero again when a topic
/// is made anew; without the mark its first batches would carry the tokens of the old ones and be
/// dropped as duplicates. It is random, for positions may be set by hand in the same topic; and it says of which generation of
/// the topic it is, so that positions that expired are known again by what the store has of them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Nonce {
    /// `None` where the log gives no ids.
    topic: Option<u32>,
    random: u32,
}

impl Nonce {
    /// A fresh one.
    pub fn fresh(topic: Option<TopicId>) -> Self {
        let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
        Self { topic: topic.map(folded), random: (high ^ low) as u32 }
    }

    /// Reads the eight or sixteen hexadecimal digits that `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        let (topic, random) = match text.len() {
            8 => (None, text),
            16 => (Some(text.get(..8)?), text.get(8..)?),
            _ => return None,
        };
        let number = |text| u32::from_str_radix(text, 16).ok();
        let topic = match topic {
            Some(topic) => Some(number(topic)?),
            None => None,
        };
        Some(Self { topic, random: number(random)? })
    }

    /// Whether it is of this generation of the topic; `None` where one of the two does not say.
    pub fn is_of(self, topic: Option<TopicId>) -> Option<bool> {
        self.topic.zip(topic).map(|(own, topic)| own == folded(topic))
    }

    /// Whether it says of which generation of the topic it is.
    pub fn names_its_topic(self) -> bool {
        self.topic.is_some()
    }
}

/// Enough to tell the generations of one name from each other: two are taken for one once in four billion.
fn folded(TopicId(id): TopicId) -> u32 {
    ((id >> 32) ^ id) as u32
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(topic) = self.topic {
            write!(f, "{topic:08x}")?;
        }
        write!(f, "{:08x}", self.random)
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Offsets `[start, end)` of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// First offset.
    pub start: u64,
    /// First offset after it.
    pub end: u64,
}

/// The token under which every table receives its block of this range.
pub fn token(partition: &TopicPartition, range: Range, nonce: Nonce) -> String {
    format!("{}:{}:{}-{}:{SHAPE}:{nonce}", partition.topic, partition.partition, range.start, range.end)
}

/// The token under which rows are sent that the store lacks although it remembers their token.
pub fn token_of_repair(token: &str) -> String {
    format!("{token}:again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_says_of_which_generation_of_its_topic_it_is() {
        let (one, other) = (TopicId(0x0123_4567_89ab_cdef), TopicId(0x0123_4567_89ab_cdee));
        let known = Nonce::fresh(Some(one));
        let unknown = Nonce::fresh(None);
        assert_eq!((known.to_string().len(), unknown.to_string().len()), (16, 8));
        assert_eq!(&known.to_string()[..8], "88888888");
        for nonce in [known, unknown] {
            assert_eq!(Nonce::parse(&nonce.to_string()), Some(nonce));
        }
        assert_eq!(
            [known.is_of(Some(one)), known.is_of(Some(other)), known.is_of(None), unknown.is_of(Some(one))],
            [Some(true), Some(false), None, None]
        );
        assert_ne!(known, Nonce::fresh(Some(one)), "the rest is random");
        for text in ["", "0123456", "012345678", "0123456é", "01234567é1234567", "0123456789abcdeg"] {
            assert_eq!(Nonce::parse(text), None, "{text}");
        }
    }
}
