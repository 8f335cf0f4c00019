//! How many sockets there may be: in all, and of one user.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A user: who issued the token, and whom it names.
pub(crate) type User = (Arc<str>, Arc<str>);

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoSeat {
    /// There are as many sockets as there may be.
    AllTaken,
    /// The user has as many as one may have.
    ShareTaken,
}

/// Counts sockets.
#[derive(Debug)]
pub(crate) struct Seats {
    all: usize,
    share: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    of_users: HashMap<User, usize>,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Seats>,
    user: Option<User>,
}

impl Seats {
    pub(crate) fn new(all: usize, share: usize) -> Self {
        Self { all, share, taken: Mutex::default() }
    }

    pub(crate) fn taken(&self) -> usize {
        self.lock().all
    }

    /// A place for a user; `None` where nobody is told from anybody.
    pub(crate) fn take(self: &Arc<Self>, user: Option<User>) -> Result<Seat, NoSeat> {
        let mut taken = self.lock();
        if let Some(user) = &user
            && taken.of_users.get(user).is_some_and(|own| *own >= self.share)
        {
            return Err(NoSeat::ShareTaken);
        }
        if taken.all >= self.all {
            return Err(NoSeat::AllTaken);
        }
        taken.all += 1;
        if let Some(user) = &user {
            *taken.of_users.entry(user.clone()).or_default() += 1;
        }
        drop(taken);
        Ok(Seat { seats: Arc::clone(self), user })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        taken.all -= 1;
        if let Some(user) = &self.user
            && let Some(own) = taken.of_users.get_mut(user)
        {
            *own -= 1;
            if *own == 0 {
                taken.of_users.remove(user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_a_share_and_all_have_a_bound() {
        let seats = Arc::new(Seats::new(4, 2));
        let user = |name: &str| Some(("issuer".into(), name.into()));
        let first = seats.take(user("a")).unwrap();
        let _second = seats.take(user("a")).unwrap();
        assert_eq!(seats.take(user("a")).err(), Some(NoSeat::ShareTaken));
        let _other = seats.take(user("b")).unwrap();
        let _unknown = seats.take(None).unwrap();
        assert_eq!(seats.take(None).err(), Some(NoSeat::AllTaken));
        drop(first);
        let _again = seats.take(user("a")).unwrap();
        assert_eq!(seats.taken(), 4);
        drop((_second, _other, _unknown, _again));
        assert!(seats.lock().of_users.is_empty(), "users who are gone are forgotten");
    }
}
