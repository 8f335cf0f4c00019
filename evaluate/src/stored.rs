//! States as they lie in the topic of states.
//!
//! A record's key is the lane and the state's own key; its payload the state, none for one that is gone; its content type names who
//! wrote it. A lane that begins writes a *fence* first, under the lane alone. Behind a fence only records of its writer count: so
//! one that lost the partition and has not noticed yet changes nothing any more.

use std::sync::Arc;

use bytes::Bytes;
use kelly_stream::NewRecord;

use crate::place::{Feed, Place};

/// The form of keys, their first byte.
const FORM: u8 = 1;

/// What a content type begins with; the writer comes behind it.
const CONTENT_TYPE: &str = "application/vnd.kelly.alert-state;writer=";

/// Who writes: another one at each assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Writer(Arc<str>);

impl Writer {
    /// One that nobody has been.
    pub(crate) fn fresh() -> Self {
        Self(format!("{CONTENT_TYPE}{}", uuid::Uuid::new_v4().simple()).into())
    }

    /// Whether a record is of this writer.
    pub(crate) fn wrote(&self, content_type: Option<&str>) -> bool {
        content_type == Some(&*self.0)
    }

    /// The writer of a record.
    pub(crate) fn of(content_type: Option<&str>) -> Option<Self> {
        content_type.filter(|text| text.starts_with(CONTENT_TYPE)).map(|text| Self(text.into()))
    }
}

/// Makes records of a lane's states.
#[derive(Debug, Clone)]
pub(crate) struct Pen {
    pub(crate) topic: Arc<str>,
    /// The partition of the topic of states.
    pub(crate) partition: u32,
    pub(crate) place: Place,
    pub(crate) writer: Writer,
}

impl Pen {
    /// What a lane writes first.
    pub(crate) fn fence(&self) -> NewRecord {
        // With a payload: compaction would let go of it otherwise.
        self.record(prefix(self.place), vec![FORM])
    }

    /// A state, or that it is gone.
    pub(crate) fn state(&self, key: &[u8], state: Option<Vec<u8>>) -> NewRecord {
        let mut whole = prefix(self.place);
        whole.extend_from_slice(key);
        self.record(whole, state.unwrap_or_default())
    }

    fn record(&self, key: Vec<u8>, payload: Vec<u8>) -> NewRecord {
        NewRecord {
            topic: self.topic.clone(),
            partition: Some(self.partition),
            key: Some(Bytes::from(key)),
            payload: Bytes::from(payload),
            content_type: Some(self.writer.0.clone()),
        }
    }
}

/// The state's own key in a record's key, empty for a fence; `None` when it is another lane's.
pub(crate) fn key_of(key: &[u8], place: Place) -> Option<&[u8]> {
    key.strip_prefix(&*prefix(place))
}

fn prefix(place: Place) -> Vec<u8> {
    let feed = match place.feed {
        Feed::Metrics => b'm',
        Feed::Rows => b'r',
    };
    [&[FORM, feed], &place.partition.to_be_bytes()[..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_knows_its_own_records_and_their_writers() {
        let place = Place { feed: Feed::Rows, partition: 7 };
        let pen = |place| Pen { topic: "t".into(), partition: 1, place, writer: Writer::fresh() };
        let own = pen(place);
        let record = own.state(b"key", None);
        let key = record.key.as_deref().unwrap();
        assert_eq!(key_of(key, place), Some(&b"key"[..]));
        for other in [Place { feed: Feed::Metrics, ..place }, Place { partition: 8, ..place }] {
            assert_eq!(key_of(key, other), None);
        }
        assert_eq!(key_of(own.fence().key.as_deref().unwrap(), place), Some(&b""[..]));
        assert!(!own.fence().payload.is_empty() && record.payload.is_empty());
        let content_type = record.content_type.as_deref();
        assert!(own.writer.wrote(content_type) && !pen(place).writer.wrote(content_type));
        assert_eq!(Writer::of(content_type), Some(own.writer));
        assert_eq!((Writer::of(None), Writer::of(Some("application/json"))), (None, None));
    }
}
