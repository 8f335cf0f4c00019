//! The streams of the log: what Kelly keeps there, a topic for each.

use std::fmt;
use std::str::FromStr;

/// The consumer group that writes the streams into the store.
pub const INGEST_GROUP: &str = "kelly-ingest";

/// What the records of a topic are. A topic's name is parsed where it enters the program; from there on code matches on
/// this, so that a further stream makes the compiler show every place that must decide about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// Metrics: one JSON object or an array a message, or Arrow, keyed by
    /// [`Metric::partition_key`](crate::Metric::partition_key).
    Metrics,
    /// Activity events: one JSON object or an array a message, keyed by
    /// [`Activity::partition_key`](crate::Activity::partition_key).
    Activity,
}

impl Stream {
    /// Every stream, in the order of their declaration.
    pub const ALL: [Self; 2] = {
        // So that the compiler asks for a further stream here too.
        match Self::Metrics {
            Self::Metrics | Self::Activity => [Self::Metrics, Self::Activity],
        }
    };

    /// The name of its topic.
    #[must_use]
    pub const fn topic(self) -> &'static str {
        match self {
            Self::Metrics => "kelly.metrics",
            Self::Activity => "kelly.activity",
        }
    }

    /// The stream of which this is the topic.
    ///
    /// # Errors
    /// When it is the topic of none.
    pub fn of_topic(topic: &str) -> Result<Self, UnknownTopic> {
        Self::ALL
            .into_iter()
            .find(|stream| stream.topic() == topic)
            .ok_or_else(|| UnknownTopic { topic: topic.to_owned() })
    }
}

impl FromStr for Stream {
    type Err = UnknownTopic;

    fn from_str(topic: &str) -> Result<Self, UnknownTopic> {
        Self::of_topic(topic)
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.topic())
    }
}

/// A topic of no stream of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{topic:?} is no topic of Kelly's; there are {}", Stream::ALL.map(Stream::topic).join(" and "))]
pub struct UnknownTopic {
    /// Its name.
    pub topic: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_known_by_its_topic_and_by_nothing_else() {
        for stream in Stream::ALL {
            assert_eq!(Stream::of_topic(stream.topic()), Ok(stream));
            assert_eq!(stream.to_string().parse(), Ok(stream));
        }
        for topic in ["", "metrics", "kelly.Metrics", "kelly.metrics ", "kelly.control"] {
            let fault = Stream::of_topic(topic).unwrap_err();
            assert_eq!(
                fault.to_string(),
                format!("{topic:?} is no topic of Kelly's; there are kelly.metrics and kelly.activity")
            );
        }
    }
}
