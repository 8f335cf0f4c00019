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
    version: u64,
    fields: Map<String, Value>,
    whole: Bytes,
    changed: Bytes,
}

impl Newest {
    /// Puts a newer value in the place of the one before.
    pub(crate) fn publish(&mut self, epoch: &Arc<str>, fields: Map<String, Value>) {
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

    /// How many values there have been.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// What brings somebody who has seen so many values to the newest.
    pub(crate) fn since(&self, seen: u64) -> Option<Bytes> {
        match self.version.checked_sub(seen) {
            Some(0) => None,
            Some(1) if seen > 0 => Some(self.changed.clone()),
            _ => Some(self.whole.clone()),
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

    proptest! {
        /// Whoever looks now and then, however seldom, has the newest value whole.
        #[test]
        fn who_is_slow_misses_values_and_never_the_newest(
            values in prop::collection::vec((prop::collection::vec(any::<Option<u8>>(), 3), any::<bool>()), 1..20),
        ) {
            let epoch: Arc<str> = "e".into();
            let mut room = Newest::default();
            let (mut seen, mut shown) = (0, Map::new());
            let last = values.len() - 1;
            for (number, (value, looks)) in values.into_iter().enumerate() {
                room.publish(&epoch, fields(&value));
                if !looks && number != last {
                    continue;
                }
                let message: Value = serde_json::from_slice(&room.since(seen).unwrap()).unwrap();
                let data = message["data"].as_object().unwrap().clone();
                if message["partial"] == false {
                    shown.clear();
                }
                shown.extend(data);
                seen = room.version();
                prop_assert_eq!(&shown, &fields(&value));
                prop_assert_eq!(&message["offset"], &Value::from(seen));
                prop_assert!(room.since(seen).is_none());
            }
        }
    }
}
