//! The identity of a batch in the store: its deduplication token.

use std::fmt;

use kelly_stream::TopicPartition;

/// Version of everything that decides which rows a range of offsets becomes and into how many
/// blocks they are cut. It changes with those rules: the store's deduplication is not invariant to
/// how a batch is cut, so a range must be finished by the rules under which it was begun.
pub const SHAPE: &str = "m2";

/// A random mark of one life of a partition's positions. Offsets begin at zero again when a topic
/// is made anew; without the mark its first batches would carry the tokens of the old ones and be
/// dropped as duplicates.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Nonce(u32);

impl Nonce {
    /// A fresh one.
    pub fn random() -> Self {
        let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
        Self((high ^ low) as u32)
    }

    /// Reads the eight hexadecimal digits that `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 8).then(|| u32::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
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
