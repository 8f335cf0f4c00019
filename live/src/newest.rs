//! A room of which only the newest value counts: whoever is one behind gets what changed, whoever is further behind the whole.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::to_raw_value;
use serde_json::{Map, Value};

use crate::message::{ServerMessage, render};
use crate::room::Room;

/// The newest value, written down once as a whole and once as what changed.
#[derive(Debug, Default)]
pub(crate) struct Newest {
    /// Counts the values that differed from the one before.
    version: u64,
    /// Counts all values.
    published: u64,
    fields: Map<String, Value>,
    whole: Bytes,
    changed: Bytes,
}

/// What somebody has been sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Up to which version; 0 before the first.
    version: u64,
    /// Where another value was given beside the versions: how many had been published then. What is shown may differ from the
    /// version, so the next value published is given whole.
    beside: Option<u64>,
}

impl Seen {
    /// Up to which update.
    pub(crate) fn version(self) -> u64 {
        self.version
    }
}

impl Newest {
    /// Puts a newer value in the place of the one before. One that is the same is no new version.
    pub(crate) fn publish(&mut self, epoch: &Arc<str>, fields: Map<String, Value>) {
        self.published += 1;
        if self.version > 0 && self.fields == fields {
            return;
        }
        self.version += 1;
        let is_news = |(name, value): &(&String, &Value)| self.fields.get(*name) != Some(*value);
        let changed: Map<String, Value> =
            fields.iter().filter(is_news).map(|(name, value)| (name.clone(), value.clone())).collect();
        // A figure that is there no more is known by its null, so that what changed says everything.
        self.whole = self.message(epoch, &fields, false);
        self.changed = self.message(epoch, &changed, true);
        self.fields = fields;
    }

    fn message(&self, epoch: &Arc<str>, fields: &Map<String, Value>, partial: bool) -> Bytes {
        render(&ServerMessage::MetricsUpdate {
            room: Room::Dashboard.name().into_owned(),
            epoch: epoch.clone(),
            offset: self.version,
            partial,
            id: None,
            data: to_raw_value(fields).unwrap_or_default(),
        })
    }

    /// How many values there have been that differed from the one before.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// What somebody has seen who has the newest value.
    pub(crate) fn seen(&self) -> Seen {
        Seen { version: self.version, beside: None }
    }

    /// What somebody has seen who was given another value, which may be newer, after having seen this.
    pub(crate) fn beside(&self, seen: Seen) -> Seen {
        Seen { beside: Some(self.published), ..seen }
    }

    /// What brings somebody who has seen so much to the newest value.
    pub(crate) fn since(&self, seen: Seen) -> Option<Bytes> {
        let is_published = self.version > 0;
        match (seen.beside, self.version.checked_sub(seen.version)) {
            (Some(before), _) => (is_published && self.published > before).then(|| self.whole.clone()),
            (None, Some(0)) => None,
            (None, Some(1)) if seen.version > 0 => Some(self.changed.clone()),
            (None, _) => Some(self.whole.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields(values: &[Option<u8>]) -> Map<String, Value> {
        values.iter().enumerate().map(|(name, value)| (name.to_string(), (*value).into())).collect()
    }

    #[test]
    fn what_is_the_same_is_not_sent_again() {
        let epoch: Arc<str> = "e".into();
        let mut room = Newest::default();
        room.publish(&epoch, fields(&[Some(1)]));
        let seen = room.seen();
        room.publish(&epoch, fields(&[Some(1)]));
        assert_eq!((room.since(seen), room.version()), (None, 1));
        // Who was given another value meanwhile gets it all the same, and whole.
        let beside = room.beside(seen);
        assert_eq!(room.since(beside), None, "not before there is a newer one");
        room.publish(&epoch, fields(&[Some(1)]));
        let message: Value = serde_json::from_slice(&room.since(beside).unwrap()).unwrap();
        assert_eq!((&message["partial"], &message["data"]), (&false.into(), &serde_json::json!({"0": 1})));
    }

    /// What happens to somebody between two values.
    #[derive(Debug, Clone)]
    enum Look {
        No,
        Yes,
        /// Is given another value in answer to a question of its own.
        Beside(Vec<Option<u8>>),
    }

    fn value() -> impl Strategy<Value = Vec<Option<u8>>> {
        // Few different ones, so that a value often is as the one before.
        prop::collection::vec(prop::option::of(0..3u8), 3)
    }

    fn look() -> impl Strategy<Value = Look> {
        prop_oneof![Just(Look::No), Just(Look::Yes), value().prop_map(Look::Beside)]
    }

    proptest! {
        /// Whoever looks now and then, however seldom, has the newest value whole, whatever it was given beside.
        #[test]
        fn who_is_slow_misses_values_and_never_the_newest(
            values in prop::collection::vec((value(), look()), 1..20),
        ) {
            let epoch: Arc<str> = "e".into();
            let mut room = Newest::default();
            let (mut seen, mut shown) = (Seen::default(), Map::new());
            for (value, look) in values.into_iter().chain([(vec![None; 3], Look::Yes)]) {
                room.publish(&epoch, fields(&value));
                match look {
                    Look::No => continue,
                    Look::Beside(other) => {
                        shown = fields(&other);
                        seen = room.beside(seen);
                        continue;
                    }
                    Look::Yes => {}
                }
                if let Some(message) = room.since(seen) {
                    let message: Value = serde_json::from_slice(&message).unwrap();
                    let data = message["data"].as_object().unwrap().clone();
                    prop_assert!(!data.is_empty());
                    if message["partial"] == false {
                        shown.clear();
                    }
                    shown.extend(data);
                    seen = room.seen();
                    prop_assert_eq!(&message["offset"], &Value::from(seen.version));
                }
                prop_assert_eq!(&shown, &fields(&value));
                prop_assert!(room.since(seen).is_none());
            }
        }
    }
}
