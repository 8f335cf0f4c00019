//! A command as it lies on the control log, and what a record is that holds none.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::actor::Actor;
use crate::op::{NAMES, Op, OutOfBounds, Transition, name};

/// The version of the commands that this program writes, and the newest that it can judge.
pub const VERSION: u16 = 1;

/// Largest command. A larger record is refused unread.
pub const MAX_COMMAND_BYTES: usize = 128 * 1024;

/// One command.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Its id: however often it is on the log, it counts once.
    pub id: Uuid,
    /// Who wrote it.
    pub actor: Actor,
    /// What it does.
    pub op: Op,
}

/// Why a command cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum InvalidCommand {
    /// A part is out of its bounds.
    #[error("the command cannot be written: {0}")]
    OutOfBounds(#[from] OutOfBounds),
    /// The whole is too large.
    #[error("the command has {bytes} bytes, at most {MAX_COMMAND_BYTES} are taken")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// A document in it is no JSON.
    #[error("the command cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

#[derive(Serialize)]
struct Outgoing<'a> {
    v: u16,
    id: Uuid,
    actor: &'a Actor,
    #[serde(flatten)]
    op: &'a Op,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Incoming<'a> {
    v: u16,
    id: Uuid,
    actor: Actor,
    op: &'a str,
    #[serde(borrow, default)]
    args: Option<&'a RawValue>,
}

/// What is left of a command that cannot be read: enough to answer who waits for it.
#[derive(Deserialize)]
struct OnlyId {
    id: Uuid,
}

impl Command {
    /// A new one, under an id of its own.
    #[must_use]
    pub fn new(actor: Actor, op: Op) -> Self {
        Self { id: Uuid::now_v7(), actor, op }
    }

    /// As it is written.
    ///
    /// # Errors
    /// When it would be refused at every reading.
    pub fn encode(&self) -> Result<Vec<u8>, InvalidCommand> {
        check_actor(&self.actor)?;
        self.op.check()?;
        let outgoing = Outgoing { v: VERSION, id: self.id, actor: &self.actor, op: &self.op };
        let bytes = serde_json::to_vec(&outgoing)?;
        if bytes.len() > MAX_COMMAND_BYTES {
            return Err(InvalidCommand::TooLarge { bytes: bytes.len() });
        }
        Ok(bytes)
    }

    /// The id under which a transition is written: the same on every instance and after every restart, so that one found
    /// twice counts once.
    #[must_use]
    pub fn id_of_transition(transition: &Transition) -> Uuid {
        let mut hasher = Sha256::new();
        hasher.update(b"transition");
        hasher.update(transition.alert.as_bytes());
        hasher.update([transition.kind as u8, transition.severity as u8]);
        hasher.update(transition.at_ms.to_be_bytes());
        id_of(hasher)
    }

    /// The id of one of several commands that a client sends under one key: the same whenever it sends them again.
    #[must_use]
    pub fn id_of_part(key: &Uuid, part: u32) -> Uuid {
        let mut hasher = Sha256::new();
        hasher.update(b"part");
        hasher.update(key.as_bytes());
        hasher.update(part.to_be_bytes());
        id_of(hasher)
    }

    /// The id of an alert that somebody else raised: the same as long as its sender calls it the same, it is of the same account and it
    /// began then.
    #[must_use]
    pub fn id_of_foreign(sender: &str, account: Option<&str>, fingerprint: &str, since_ms: i64) -> Uuid {
        let mut hasher = Sha256::new();
        hasher.update(b"foreign");
        // No account is called by an empty name.
        for part in [sender, account.unwrap_or_default(), fingerprint] {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        hasher.update(since_ms.to_be_bytes());
        id_of(hasher)
    }

    /// What an alert of others is called that has no name of its own: its labels tell it from others.
    #[must_use]
    pub fn fingerprint_of(labels: &std::collections::BTreeMap<String, String>) -> String {
        let mut hasher = Sha256::new();
        for part in labels.iter().flat_map(|(name, value)| [name, value]) {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        id_of(hasher).simple().to_string()
    }
}

fn id_of(hasher: Sha256) -> Uuid {
    let digest: [u8; 32] = hasher.finalize().into();
    let mut first = [0; 16];
    first.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(first).into_uuid()
}

/// Why a record is no command. Contains no value of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// Its id, where that much can be read: who waits for it is answered.
    pub id: Option<Uuid>,
    /// What is wrong.
    pub fault: RecordFault,
}

/// What is wrong with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordFault {
    /// It is larger than a command may be.
    TooLarge,
    /// It is not JSON, or not a command's object.
    Unreadable,
    /// Its version is none.
    UnknownVersion,
    /// Its op is none of its version.
    UnknownOp,
    /// Its args are not those of its op.
    UnreadableArgs,
    /// A part is out of its bounds.
    OutOfBounds,
}

/// A record of the control log.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// SHA-256 of its bytes.
    pub digest: [u8; 32],
    /// Its size.
    pub bytes: usize,
    /// The version it says it has.
    pub version: u16,
    /// The command, or why there is none.
    pub command: Result<Command, Unusable>,
}

impl Entry {
    /// Reads a record. Never fails: a record that is no command has its place in the order all the same.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Self {
        let (version, command) = decode(payload);
        Self { digest: Sha256::digest(payload).into(), bytes: payload.len(), version, command }
    }

    /// The id it goes by.
    #[must_use]
    pub fn id(&self) -> Option<Uuid> {
        match &self.command {
            Ok(command) => Some(command.id),
            Err(unusable) => unusable.id,
        }
    }
}

fn decode(payload: &[u8]) -> (u16, Result<Command, Unusable>) {
    let refuse = |id, fault| Err(Unusable { id, fault });
    if payload.len() > MAX_COMMAND_BYTES {
        return (0, refuse(None, RecordFault::TooLarge));
    }
    let Ok(text) = std::str::from_utf8(payload) else {
        return (0, refuse(None, RecordFault::Unreadable));
    };
    let incoming: Incoming<'_> = match serde_json::from_str(text) {
        Ok(incoming) => incoming,
        Err(_) => {
            let id = serde_json::from_str::<OnlyId>(text).ok().map(|only| only.id);
            return (0, refuse(id, RecordFault::Unreadable));
        }
    };
    let (version, id) = (incoming.v, Some(incoming.id));
    if version == 0 || version > VERSION {
        return (version, refuse(id, RecordFault::UnknownVersion));
    }
    if !NAMES.contains(&incoming.op) {
        return (version, refuse(id, RecordFault::UnknownOp));
    }
    // The tag first: then nothing is kept aside, and a document stays as it was written.
    let op = match incoming.args {
        Some(args) => format!("{{\"op\":\"{}\",\"args\":{}}}", incoming.op, args.get()),
        None => format!("{{\"op\":\"{}\"}}", incoming.op),
    };
    let Ok(op) = serde_json::from_str::<Op>(&op) else {
        return (version, refuse(id, RecordFault::UnreadableArgs));
    };
    if check_actor(&incoming.actor).and_then(|()| op.check()).is_err() {
        return (version, refuse(id, RecordFault::OutOfBounds));
    }
    (version, Ok(Command { id: incoming.id, actor: incoming.actor, op }))
}

fn check_actor(actor: &Actor) -> Result<(), OutOfBounds> {
    name("actor.id", &actor.id)?;
    actor.role.as_deref().map_or(Ok(()), |role| name("actor.role", role))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{Document, Handle, PutRule};

    fn fault(text: &str) -> (Option<Uuid>, RecordFault) {
        let unusable = Entry::decode(text.as_bytes()).command.expect_err(text);
        (unusable.id, unusable.fault)
    }

    #[test]
    fn a_command_is_read_as_it_was_written() {
        let handle = Handle { alert: Uuid::from_u128(7), expected: Some(3), note: Some("on it".into()) };
        let document = Document("{\"b\": 1.10, \"a\":[ ]}".into());
        let ops = [
            Op::Noop,
            Op::Tick,
            Op::Acknowledge(handle),
            Op::PutRule(PutRule { rule: "r".into(), expected: None, document }),
        ];
        for op in ops {
            let command = Command { id: Uuid::from_u128(1), actor: Actor::person("ada"), op };
            let bytes = command.encode().unwrap();
            let entry = Entry::decode(&bytes);
            assert_eq!(entry.command.as_ref(), Ok(&command), "{}", String::from_utf8_lossy(&bytes));
            assert_eq!((entry.version, entry.bytes), (VERSION, bytes.len()));
        }
        let written = Command {
            id: Uuid::from_u128(1),
            actor: Actor::person("ada"),
            op: Op::Acknowledge(Handle { alert: Uuid::from_u128(7), expected: Some(3), note: None }),
        };
        assert_eq!(
            String::from_utf8(written.encode().unwrap()).unwrap(),
            "{\"v\":1,\"id\":\"00000000-0000-0000-0000-000000000001\",\
             \"actor\":{\"kind\":\"person\",\"id\":\"ada\",\"role\":null},\"op\":\"alert.acknowledge\",\
             \"args\":{\"alert\":\"00000000-0000-0000-0000-000000000007\",\"expected\":3,\"note\":null}}"
        );
    }

    #[test]
    fn what_is_no_command_has_its_reason_and_its_id_where_one_can_be_read() {
        let id = "\"id\":\"00000000-0000-0000-0000-000000000001\"";
        let actor = "\"actor\":{\"kind\":\"person\",\"id\":\"a\"}";
        let known = Some(Uuid::from_u128(1));
        let cases = [
            (String::new(), None, RecordFault::Unreadable),
            ("[]".into(), None, RecordFault::Unreadable),
            ("{".repeat(10_000), None, RecordFault::Unreadable),
            (format!("{{\"v\":1,{id}}}"), known, RecordFault::Unreadable),
            (format!("{{\"v\":1,{id},{actor},\"op\":\"noop\",\"more\":1}}"), known, RecordFault::Unreadable),
            (format!("{{\"v\":1,{id},{actor},\"op\":\"noop\"}} x"), None, RecordFault::Unreadable),
            (format!("{{\"v\":0,{id},{actor},\"op\":\"noop\"}}"), known, RecordFault::UnknownVersion),
            (format!("{{\"v\":2,{id},{actor},\"op\":\"fly\"}}"), known, RecordFault::UnknownVersion),
            (format!("{{\"v\":1,{id},{actor},\"op\":\"fly\"}}"), known, RecordFault::UnknownOp),
            (format!("{{\"v\":1,{id},{actor},\"op\":\"cancel\"}}"), known, RecordFault::UnreadableArgs),
            (
                format!("{{\"v\":1,{id},{actor},\"op\":\"cancel\",\"args\":{{\"command\":\"x\"}}}}"),
                known,
                RecordFault::UnreadableArgs,
            ),
            (
                format!("{{\"v\":1,{id},{actor},\"op\":\"policy.delete\",\"args\":{{\"policy\":\"\"}}}}"),
                known,
                RecordFault::OutOfBounds,
            ),
            (
                format!("{{\"v\":1,{id},{actor},\"op\":\"noop\"}}").replace("\"id\":\"a\"", "\"id\":\"\""),
                known,
                RecordFault::OutOfBounds,
            ),
            (" ".repeat(MAX_COMMAND_BYTES + 1), None, RecordFault::TooLarge),
        ];
        for (text, id, expected) in cases {
            assert_eq!(fault(&text), (id, expected), "{}", &text[..text.len().min(200)]);
        }
        assert_eq!(Entry::decode(b"\xff\xfe").command.unwrap_err().fault, RecordFault::Unreadable);
    }

    /// Ids of rows have at most 100 characters of any language.
    #[test]
    fn names_are_bounded_in_characters() {
        let assign = |to: String| {
            let op = Op::Assign(crate::op::Assign {
                alert: Uuid::nil(),
                expected: None,
                to: Some(to),
                note: None,
            });
            Command::new(Actor::person("ada"), op).encode().is_ok()
        };
        assert!(assign("界".repeat(256)) && !assign("界".repeat(257)));
        assert!(!assign(String::new()) && !assign("a\u{7}".into()));
    }

    #[test]
    fn every_op_has_its_name_in_the_list() {
        for name in NAMES {
            let text = format!("{{\"op\":\"{name}\",\"args\":{{\"nothing\":1}}}}");
            let error = serde_json::from_str::<Op>(&text).unwrap_err().to_string();
            assert!(!error.contains("unknown variant"), "{name}: {error}");
        }
    }
}
