//! How many sockets there may be: in all, and of one user, also over several instances.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use uuid::Uuid;

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

/// Counts the live connections of users over several instances.
#[async_trait]
pub trait ShareSeats: Send + Sync {
    /// Takes a seat, unless its user has so many already; true also while nobody can tell: then each instance counts for itself.
    async fn take(&self, seat: &SeatName, most: usize) -> bool;

    /// Gives a seat back that was taken.
    fn give_back(&self, seat: SeatName);
}

/// One seat of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeatName {
    /// Whose it is: a text that no other user has.
    pub user: String,
    /// What tells it from every other seat of theirs.
    pub id: String,
}

/// A place, given back when it is dropped.
pub(crate) struct Seat {
    seats: Arc<Seats>,
    user: Option<User>,
    shared: Option<(Arc<dyn ShareSeats>, SeatName)>,
}

impl Seat {
    /// The same, counted by whoever counts for several instances.
    pub(crate) async fn shared_by(mut self, counts: Option<&Arc<dyn ShareSeats>>) -> Result<Self, NoSeat> {
        let (Some(counts), Some((issuer, subject))) = (counts, &self.user) else { return Ok(self) };
        let user = format!("{issuer}\n{subject}");
        let seat = SeatName { user, id: Uuid::new_v4().simple().to_string() };
        if !counts.take(&seat, self.seats.share).await {
            return Err(NoSeat::ShareTaken);
        }
        self.shared = Some((Arc::clone(counts), seat));
        Ok(self)
    }
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
        Ok(Seat { seats: Arc::clone(self), user, shared: None })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some((counts, seat)) = self.shared.take() {
            counts.give_back(seat);
        }
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

    /// Says no to whoever has as many as it was told at first.
    #[derive(Default)]
    struct Elsewhere(Mutex<Vec<SeatName>>);

    #[async_trait]
    impl ShareSeats for Elsewhere {
        async fn take(&self, seat: &SeatName, most: usize) -> bool {
            let mut taken = self.0.lock().unwrap();
            let own = taken.iter().filter(|held| held.user == seat.user).count();
            if own < most {
                taken.push(seat.clone());
            }
            own < most
        }

        fn give_back(&self, seat: SeatName) {
            self.0.lock().unwrap().retain(|held| *held != seat);
        }
    }

    #[tokio::test]
    async fn a_share_is_over_all_instances() {
        let elsewhere = Arc::new(Elsewhere::default());
        let counts: Arc<dyn ShareSeats> = elsewhere.clone();
        let [here, there] = [(); 2].map(|()| Arc::new(Seats::new(4, 2)));
        let ann = || Some(("issuer".into(), "ann".into()));
        let first = here.take(ann()).unwrap().shared_by(Some(&counts)).await.ok().unwrap();
        let second = there.take(ann()).unwrap().shared_by(Some(&counts)).await.ok().unwrap();
        let third = there.take(ann()).unwrap().shared_by(Some(&counts)).await;
        assert_eq!(third.err(), Some(NoSeat::ShareTaken));
        assert_eq!(there.taken(), 1, "what was refused holds nothing here either");
        drop(first);
        assert!(there.take(ann()).unwrap().shared_by(Some(&counts)).await.is_ok());
        drop(second);
        assert!(elsewhere.0.lock().unwrap().is_empty());
    }

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
