//! Tells people of alerts, where they are: PagerDuty, Slack, webhooks, email.
//!
//! The pure part knows no I/O and no clock. [`Settings`] says where what is sent; [`Notifier`] is shown every alert that the
//! control log changed and says what is to be sent when; `payload` writes it down for each provider, and reads what the
//! provider answered.
//!
//! Around it: [`Outbox`] keeps what is to be sent on a topic of its own, so that a kill loses nothing; [`Service`] does the
//! work of the one instance that sends; [`Sender`] sends, and never to an internal address that nobody allowed.

mod check;
mod file;
mod notice;
mod notifier;
mod outbox;
mod payload;
mod secret;
mod send;
mod service;
mod settings;

pub use check::Fault;
pub use file::{JSON_SCHEMA, SettingsFault};
pub use notice::{AlertFacts, Links, Notice, Reason, ThreadStatus};
pub use notifier::{
    Act, Answer, Book, DeadLetter, Delivery, DestinationState, Ill, Job, Key, MAX_DEAD_LETTERS,
    MAX_IN_FLIGHT, MAX_MEMBERS, MAX_THREADS, Member, News, Notifier, Place, Seen, StateFault, Thread, Told,
};
pub use outbox::{GROUP, Outbox, OutboxConfig, OutboxError, Overview, Request, TOPIC};
pub use payload::{webhook_signature, webhook_signature_key};
pub use secret::{Secret, SecretFault, SecretSource};
pub use send::{Allowed, BadAllowed, Sender, SenderConfig, SenderFault};
pub use service::{Service, ServiceConfig};
pub use settings::{Destination, Digest, Encryption, GroupBy, Heartbeat, Kind, Route, Settings};
