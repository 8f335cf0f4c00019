//! What users have read, for all connections of each. Only the newest counts: whoever is slow misses states in between.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use kelly_auth::{Accounts, Identity};
use serde_json::value::RawValue;
use tokio::sync::Notify;

use crate::message::{ServerMessage, render};
use crate::room::Room;

/// A user: who issued the token, and whom it names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct User {
    /// The issuer.
    pub issuer: Arc<str>,
    /// The subject, unique within it.
    pub subject: Arc<str>,
}

impl User {
    /// The user whose token this is.
    #[must_use]
    pub fn of(identity: &Identity) -> Self {
        Self { issuer: identity.issuer.clone(), subject: identity.subject.clone() }
    }
}

/// A user's connections that see the same accounts: what is unread of others is not theirs to know.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Readers {
    /// The user.
    pub user: User,
    /// The accounts.
    pub accounts: Accounts,
}

/// Where a state stands: its epoch and its offset.
pub type StatePosition = (Arc<str>, u64);

/// The newest state of each user who has a connection that looks.
#[derive(Debug, Default)]
pub struct ReadStates {
    states: Mutex<HashMap<Readers, State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Where the newest state stands; `None` before the first.
    position: Option<StatePosition>,
    /// How many states there have been here.
    version: u64,
    message: Bytes,
    /// Who looks, by the number of the connection.
    listeners: HashMap<u64, Arc<Notify>>,
}

impl ReadStates {
    /// Who looks, and where the state stands that they were given; `None` for those who were given none.
    #[must_use]
    pub fn readers(&self) -> Vec<(Readers, Option<StatePosition>)> {
        let states = self.lock();
        states.iter().map(|(readers, state)| (readers.clone(), state.position.clone())).collect()
    }

    /// This user's, where they look.
    #[must_use]
    pub fn of_user(&self, user: &User) -> Vec<Readers> {
        self.lock().keys().filter(|readers| readers.user == *user).cloned().collect()
    }

    /// Whether nobody looks.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Whether these look.
    #[must_use]
    pub fn has(&self, readers: &Readers) -> bool {
        self.lock().contains_key(readers)
    }

    /// Where the state stands that these were given.
    #[must_use]
    pub fn position(&self, readers: &Readers) -> Option<StatePosition> {
        self.lock().get(readers)?.position.clone()
    }

    /// A newer state, for whoever looks. One that says the same is no news.
    pub fn publish(&self, readers: &Readers, (epoch, offset): (&str, u64), data: Box<RawValue>) {
        let mut states = self.lock();
        let Some(state) = states.get_mut(readers) else { return };
        let epoch: Arc<str> = epoch.into();
        state.position = Some((epoch.clone(), offset));
        let room = Room::ReadState.name().into_owned();
        let message = render(&ServerMessage::ReadState { room, epoch, offset, data });
        if state.message == message {
            return;
        }
        state.message = message;
        state.version += 1;
        state.listeners.values().for_each(|listener| listener.notify_one());
    }

    /// Looks from now on; where the state stands that is there already.
    pub(crate) fn look(&self, readers: &Readers, id: u64, listener: &Arc<Notify>) -> Option<StatePosition> {
        let mut states = self.lock();
        let state = states.entry(readers.clone()).or_default();
        state.listeners.insert(id, listener.clone());
        state.position.clone()
    }

    pub(crate) fn look_away(&self, readers: &Readers, id: u64) {
        let mut states = self.lock();
        if let Some(state) = states.get_mut(readers) {
            state.listeners.remove(&id);
            if state.listeners.is_empty() {
                states.remove(readers);
            }
        }
    }

    /// The newest state for somebody who has seen so many, and how many there have been.
    pub(crate) fn since(&self, readers: &Readers, seen: u64) -> Option<(Bytes, u64)> {
        let states = self.lock();
        let state = states.get(readers)?;
        (state.version > seen).then(|| (state.message.clone(), state.version))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Readers, State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use serde_json::Value;
    use serde_json::value::to_raw_value;

    use super::*;
    use crate::bounds::Bounds;
    use crate::command::Resume;
    use crate::connection::{Connection, Progress};
    use crate::hub::Hub;

    fn readers(subject: &str, accounts: Accounts) -> Readers {
        Readers { user: User { issuer: "i".into(), subject: subject.into() }, accounts }
    }

    fn connect(hub: &Arc<Hub>, readers: &Readers) -> Connection {
        let mut connection = Connection::new(hub, readers.accounts.clone()).of_user(readers.user.clone());
        connection.subscribe(None, vec![Resume { room: Room::ReadState, at: None }], Instant::now());
        connection
    }

    fn next(connection: &mut Connection) -> Vec<Value> {
        let mut messages = Vec::new();
        let progress = connection.next(Instant::now(), usize::MAX, &mut |message| {
            messages.push(serde_json::from_slice(&message).unwrap());
        });
        assert_eq!(progress, Progress::Done);
        messages
    }

    #[test]
    fn every_connection_of_a_user_gets_the_newest_state_and_nobody_elses() {
        let hub = Arc::new(Hub::new(Bounds::default(), "process"));
        let one = readers("ada", Accounts::All);
        let limited = readers("ada", Accounts::only(["a"]).unwrap());
        let other = readers("bob", Accounts::All);
        let publish = |readers: &Readers, offset: u64| {
            hub.read_states().publish(readers, ("e", offset), to_raw_value(&offset).unwrap());
        };
        let [mut first, mut second, mut of_some, mut bobs] =
            [&one, &one, &limited, &other].map(|readers| connect(&hub, readers));
        assert!(next(&mut first).is_empty(), "nothing is known yet");
        publish(&one, 1);
        publish(&one, 2);
        for connection in [&mut first, &mut second] {
            let messages = next(connection);
            assert_eq!(messages.len(), 1, "{messages:?}");
            let expected = serde_json::json!(
                {"type": "read_state", "room": "read_state", "epoch": "e", "offset": 2, "data": 2}
            );
            assert_eq!(messages[0], expected);
            assert!(next(connection).is_empty());
        }
        // What says the same is not sent again; what says something else is, also where nothing more was marked.
        publish(&one, 2);
        assert!(next(&mut first).is_empty());
        hub.read_states().publish(&one, ("e", 2), to_raw_value(&7).unwrap());
        assert_eq!(next(&mut first)[0]["data"], 7);
        assert!(next(&mut of_some).is_empty() && next(&mut bobs).is_empty());
        publish(&limited, 2);
        assert_eq!(next(&mut of_some).len(), 1);
        // Who comes later gets what is there, and so does who sees other accounts from now on.
        assert_eq!(next(&mut connect(&hub, &one)).len(), 1);
        of_some.see(Accounts::All);
        assert_eq!(next(&mut of_some)[0]["offset"], 2);
        drop((first, second, of_some, bobs));
        assert!(hub.read_states().readers().is_empty(), "who is gone is forgotten");
        publish(&one, 3);
        assert!(hub.read_states().readers().is_empty());
    }
}
