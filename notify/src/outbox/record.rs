//! The records of the outbox's topic, and the state they make.
//!
//! Every record says how parts of the state are now, not how they changed: written twice, it counts once. Only the newest owner's
//! records count, so one that was taken for dead and is not can change nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How the names of requests begin.
const REQUEST: &str = "request/";

/// A record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Record {
    /// An instance takes over. Where it lies is the number that its records carry.
    Owner {
        /// For people who read the log.
        instance: String,
    },
    /// How parts of the state are now; `null` where one is gone.
    Changes {
        /// Whose.
        owner: u64,
        /// The parts.
        set: BTreeMap<String, Option<Value>>,
    },
    /// A piece of the whole state. What is before the first piece is not needed any more once the last one is there.
    Checkpoint {
        /// Whose.
        owner: u64,
        /// Which piece, from 0 on.
        piece: u32,
        /// Whether it is the last one.
        is_last: bool,
        /// The parts.
        set: BTreeMap<String, Value>,
    },
    /// Somebody asks something of the owner.
    Request {
        /// What.
        request: Request,
    },
}

/// What can be asked of the owner, by any instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// To send a dead letter again.
    Replay {
        /// Which.
        id: String,
    },
    /// To send all dead letters of a destination again.
    ReplayAll {
        /// Which destination.
        destination: String,
    },
    /// To use a destination again that was found to work.
    Heal {
        /// Which destination.
        destination: String,
    },
}

/// The state, as far as the topic was read.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Fold {
    /// The next offset.
    pub(crate) next: u64,
    /// Whose records count.
    pub(crate) owner: Option<u64>,
    /// The parts of the notifier's state.
    pub(crate) parts: BTreeMap<String, Value>,
    /// What is asked and not done.
    pub(crate) requests: BTreeMap<u64, Request>,
    /// Records since the last checkpoint.
    pub(crate) since_checkpoint: u64,
    /// The log's time of the last checkpoint.
    pub(crate) checkpoint_ms: Option<i64>,
    pending: Option<Pending>,
}

#[derive(Debug, Clone, PartialEq)]
struct Pending {
    owner: u64,
    next_piece: u32,
    set: BTreeMap<String, Value>,
}

/// The name under which a request is kept.
pub(crate) fn request_name(offset: u64) -> String {
    format!("{REQUEST}{offset:020}")
}

impl Fold {
    /// That reading goes on here; what is before was removed.
    pub(crate) fn begin_at(next: u64) -> Self {
        Self { next, ..Self::default() }
    }

    /// Takes in a record. The error says that it is none of this version.
    pub(crate) fn apply(
        &mut self,
        offset: u64,
        log_time_ms: i64,
        payload: &[u8],
    ) -> Result<(), serde_json::Error> {
        self.next = offset + 1;
        self.since_checkpoint += 1;
        match serde_json::from_slice(payload)? {
            Record::Owner { .. } => {
                self.owner = Some(offset);
                self.pending = None;
            }
            Record::Changes { owner, set } if self.owner == Some(owner) => {
                // They come behind the pieces that were written before them.
                for (name, value) in set {
                    self.set(&name, value);
                }
            }
            Record::Checkpoint { owner, piece, is_last, set } => {
                self.checkpoint(owner, piece, is_last, set, log_time_ms);
            }
            // Of an owner that is none any more.
            Record::Changes { .. } => {}
            Record::Request { request } => {
                self.requests.insert(offset, request);
            }
        }
        Ok(())
    }

    fn checkpoint(
        &mut self,
        owner: u64,
        piece: u32,
        is_last: bool,
        set: BTreeMap<String, Value>,
        log_time_ms: i64,
    ) {
        // Where the log begins behind the owner's own record, its first piece stands for that.
        if piece == 0 && self.owner.is_none() {
            self.owner = Some(owner);
        }
        if self.owner != Some(owner) {
            return;
        }
        if piece == 0 {
            self.pending = Some(Pending { owner, next_piece: 0, set: BTreeMap::new() });
        }
        let Some(pending) = self.pending.as_mut().filter(|pending| pending.next_piece == piece) else {
            return;
        };
        pending.next_piece += 1;
        pending.set.extend(set);
        if !is_last {
            return;
        }
        if let Some(pending) = self.pending.take() {
            let later: BTreeMap<u64, Request> = std::mem::take(&mut self.requests);
            self.parts.clear();
            for (name, value) in pending.set {
                self.set(&name, Some(value));
            }
            // A request that came between the pieces is in none of them.
            self.requests.extend(later);
        }
        self.since_checkpoint = 0;
        self.checkpoint_ms = Some(log_time_ms);
    }

    fn set(&mut self, name: &str, value: Option<Value>) {
        if let Some(offset) = name.strip_prefix(REQUEST).and_then(|offset| offset.parse().ok()) {
            match value.map(Request::deserialize) {
                Some(Ok(request)) => self.requests.insert(offset, request),
                _ => self.requests.remove(&offset),
            };
            return;
        }
        match value {
            Some(value) => self.parts.insert(name.to_owned(), value),
            None => self.parts.remove(name),
        };
    }

    /// The pieces of a checkpoint of this state, none much larger than so many bytes.
    pub(crate) fn pieces(&self, owner: u64, most_bytes: usize) -> Vec<Record> {
        let requests = self.requests.iter().filter_map(|(offset, request)| {
            Some((request_name(*offset), serde_json::to_value(request).ok()?))
        });
        let parts = self.parts.iter().map(|(name, value)| (name.clone(), value.clone())).chain(requests);
        let mut sets = vec![BTreeMap::new()];
        let mut bytes = 0;
        for (name, value) in parts {
            let own = name.len() + value.to_string().len() + 8;
            if bytes > 0 && bytes + own > most_bytes {
                sets.push(BTreeMap::new());
                bytes = 0;
            }
            bytes += own;
            if let Some(set) = sets.last_mut() {
                set.insert(name, value);
            }
        }
        let last = sets.len() - 1;
        let piece = |(index, set): (usize, BTreeMap<String, Value>)| Record::Checkpoint {
            owner,
            piece: u32::try_from(index).unwrap_or(u32::MAX),
            is_last: index == last,
            set,
        };
        sets.into_iter().enumerate().map(piece).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn apply(fold: &mut Fold, records: &[Record]) {
        for record in records {
            let offset = fold.next;
            fold.apply(offset, 0, &serde_json::to_vec(record).unwrap()).unwrap();
        }
    }

    fn owner() -> Record {
        Record::Owner { instance: "a".into() }
    }

    fn changes(owner: u64, name: &str, value: Option<Value>) -> Record {
        Record::Changes { owner, set: BTreeMap::from([(name.to_owned(), value)]) }
    }

    #[test]
    fn only_the_newest_owner_counts() {
        let mut fold = Fold::default();
        apply(&mut fold, &[changes(7, "thread/x", Some(json!(1)))]);
        assert!(fold.parts.is_empty());
        apply(&mut fold, &[owner(), changes(1, "thread/a", Some(json!(1))), owner()]);
        apply(&mut fold, &[changes(1, "thread/a", Some(json!(2))), changes(3, "thread/b", Some(json!(3)))]);
        assert_eq!(
            fold.parts,
            BTreeMap::from([("thread/a".into(), json!(1)), ("thread/b".into(), json!(3))])
        );
        apply(&mut fold, &[changes(3, "thread/a", None)]);
        assert_eq!(fold.parts.len(), 1);
    }

    #[test]
    fn a_checkpoint_stands_for_everything_before_it() {
        let mut fold = Fold::default();
        let many = (0..50).map(|index| changes(0, &format!("thread/{index}"), Some(json!("x".repeat(100)))));
        apply(&mut fold, &[owner()]);
        apply(&mut fold, &many.collect::<Vec<_>>());
        let replay = Request::Replay { id: "a".into() };
        apply(&mut fold, &[Record::Request { request: replay.clone() }]);
        let pieces = fold.pieces(0, 1_000);
        assert!(pieces.len() > 3, "{}", pieces.len());
        // Somebody who begins behind the rest, with a request and a change between and behind the pieces.
        let mut late = Fold::begin_at(900);
        let heal = Request::Heal { destination: "b".into() };
        apply(&mut late, &pieces[..1]);
        apply(&mut late, &[Record::Request { request: heal.clone() }]);
        assert!(late.parts.is_empty(), "half a checkpoint is none");
        apply(&mut late, &pieces[1..]);
        assert_eq!(late.parts, fold.parts);
        assert_eq!(late.requests, BTreeMap::from([(51, replay), (901, heal)]));
        apply(&mut late, &[changes(0, &request_name(901), None)]);
        assert_eq!((late.requests.len(), late.parts.len()), (1, 50));
        // Pieces that another owner interrupts come to nothing.
        let mut cut = Fold::default();
        apply(&mut cut, &[owner(), changes(0, "thread/old", Some(json!(1)))]);
        apply(&mut cut, &pieces[..2]);
        apply(&mut cut, &[owner()]);
        apply(&mut cut, &pieces[2..]);
        assert_eq!(cut.parts, BTreeMap::from([("thread/old".into(), json!(1))]));
    }

    #[test]
    fn what_is_no_record_is_said_and_passed() {
        let mut fold = Fold::default();
        assert!(fold.apply(0, 0, b"{\"kind\":\"else\"}").is_err());
        assert_eq!(fold.next, 1);
    }
}
