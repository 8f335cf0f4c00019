//! What callers hold for a while: so much of each kind in all, and a share of it for each caller, so that nobody keeps it from
//! the others.
//!
//! Finding a caller's share is one short lock; taking and giving back are atomic.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::caller::Caller;

/// What is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Requests being worked on.
    Requests,
    /// The same, of emergency routes.
    Emergency,
    /// Requests for what is open to everybody being worked on: whoever asks is not known.
    Open,
    /// Sign-ins being worked on, once their body is there: whoever asks is not known yet.
    SignIns,
    /// Units of memory for recorded bodies.
    Buffer,
    /// Queries that run or wait for their turn.
    Queries,
    /// Exports on their way.
    Exports,
}

/// How many kinds there are.
const KINDS: usize = 7;

/// How much of a kind there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    /// In all.
    pub(crate) all: usize,
    /// For one caller.
    pub(crate) share: usize,
}

/// How much of everything there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Of each kind, in the order of their declaration.
    pub(crate) kinds: [Bound; KINDS],
    /// Queries of one caller that run at once; the next one waits behind them, and not before the others.
    pub(crate) turns: u32,
}

/// Why something is not to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// Others have the rest.
    AllTaken,
    /// The caller has its share.
    ShareTaken,
}

/// What there is, and who has it.
#[derive(Debug)]
pub(crate) struct Shares {
    bounds: Bounds,
    taken: [AtomicUsize; KINDS],
    callers: Mutex<Callers>,
}

#[derive(Debug)]
struct Callers {
    of: HashMap<Caller, Arc<Own>>,
    /// At so many, those who hold nothing are forgotten.
    sweep_at: usize,
}

/// Callers that are remembered before those who hold nothing are forgotten. It is looked through again once there are twice as
/// many as hold something, so that a caller costs a few looks, however many there are.
const FEW_CALLERS: usize = 1_024;

/// What one caller has.
#[derive(Debug)]
struct Own {
    taken: [AtomicUsize; KINDS],
    turns: Arc<Semaphore>,
}

/// The share of one caller.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    shares: Arc<Shares>,
    own: Arc<Own>,
}

/// So much of a kind, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    share: Share,
    kind: Kind,
    amount: usize,
}

/// A place among the queries whose query may run, as far as its caller's share goes.
#[derive(Debug)]
pub(crate) struct Turn {
    _permit: Option<OwnedSemaphorePermit>,
    _place: Place,
}

impl Shares {
    pub(crate) fn new(bounds: Bounds) -> Self {
        let callers = Callers { of: HashMap::new(), sweep_at: FEW_CALLERS };
        Self { bounds, taken: Default::default(), callers: Mutex::new(callers) }
    }

    /// The share of this caller.
    pub(crate) fn of(self: &Arc<Self>, caller: Caller) -> Share {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        let own = match callers.of.get(&caller) {
            Some(own) => Arc::clone(own),
            None => {
                callers.make_room();
                let turns = Arc::new(Semaphore::new(self.bounds.turns as usize));
                let own = Arc::new(Own { taken: Default::default(), turns });
                callers.of.insert(caller, Arc::clone(&own));
                own
            }
        };
        Share { shares: Arc::clone(self), own }
    }
}

impl Callers {
    /// Forgets who holds nothing, now and then. Whoever is only known here has no share in use, and nobody else gets at it.
    fn make_room(&mut self) {
        if self.of.len() >= self.sweep_at {
            self.of.retain(|_, own| Arc::strong_count(own) > 1);
            self.sweep_at = (2 * self.of.len()).max(FEW_CALLERS);
        }
    }
}

impl Share {
    /// Takes so much of a kind, or nothing.
    pub(crate) fn take(&self, kind: Kind, amount: usize) -> Result<Place, NoPlace> {
        let bound = self.shares.bounds.kinds[kind as usize];
        if !raise(&self.own.taken[kind as usize], amount, bound.share) {
            // Where the share is everything, nobody else has the rest.
            return Err(if bound.share < bound.all { NoPlace::ShareTaken } else { NoPlace::AllTaken });
        }
        if !raise(&self.shares.taken[kind as usize], amount, bound.all) {
            self.own.taken[kind as usize].fetch_sub(amount, Ordering::Relaxed);
            return Err(NoPlace::AllTaken);
        }
        Ok(Place { share: self.clone(), kind, amount })
    }
}

impl Place {
    /// The share that it is of.
    pub(crate) fn share(&self) -> &Share {
        &self.share
    }

    /// Waits until so many queries more of this caller may run; all that one may run at once where that is fewer.
    pub(crate) async fn into_turn(self, turns: u32) -> Turn {
        let turns = turns.min(self.share.shares.bounds.turns);
        // It is never closed; without a permit the query would only run beyond its caller's share.
        let permit = Arc::clone(&self.share.own.turns).acquire_many_owned(turns).await.ok();
        Turn { _permit: permit, _place: self }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Share { shares, own } = &self.share;
        for taken in [&shares.taken, &own.taken] {
            taken[self.kind as usize].fetch_sub(self.amount, Ordering::Relaxed);
        }
    }
}

/// Adds to a counter what keeps it within a bound. Counters guard nothing but themselves, so no order is needed.
fn raise(counter: &AtomicUsize, amount: usize, bound: usize) -> bool {
    let raised = |taken: usize| taken.checked_add(amount).filter(|sum| *sum <= bound);
    counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, raised).is_ok()
}

/// Shares of exports alone, for tests of those.
#[cfg(test)]
pub(crate) fn shares_of(all: usize, share: usize) -> Arc<Shares> {
    Arc::new(Shares::new(Bounds { kinds: [Bound { all, share }; KINDS], turns: 1 }))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn address(number: u32) -> Caller {
        Caller::Address(IpAddr::V4(Ipv4Addr::from_bits(number)))
    }

    #[test]
    fn one_caller_never_has_everything() {
        let shares = shares_of(4, 3);
        let take = |number, amount| shares.of(address(number)).take(Kind::Exports, amount);
        let mut held = vec![take(1, 1).unwrap(), take(1, 2).unwrap()];
        assert_eq!(take(1, 1).unwrap_err(), NoPlace::ShareTaken);
        held.push(take(2, 1).unwrap());
        assert_eq!(take(2, 1).unwrap_err(), NoPlace::AllTaken);
        // What was refused took nothing, and one kind takes nothing from another.
        held.push(shares.of(address(2)).take(Kind::Requests, 3).unwrap());
        held.remove(1);
        held.push(take(2, 2).unwrap());
        assert_eq!(take(3, 1).unwrap_err(), NoPlace::AllTaken);
        drop(held);
        assert!(take(3, 3).is_ok());
    }

    #[test]
    fn callers_who_hold_nothing_are_forgotten() {
        let shares = shares_of(10, 2);
        let held = shares.of(address(0)).take(Kind::Requests, 2).unwrap();
        for number in 1..10 * FEW_CALLERS as u32 {
            shares.of(address(number)).take(Kind::Requests, 1).unwrap();
        }
        assert!(shares.callers.lock().unwrap().of.len() <= FEW_CALLERS);
        assert!(shares.of(address(0)).take(Kind::Requests, 1).is_err(), "who holds something is remembered");
        drop(held);
        assert!(shares.of(address(0)).take(Kind::Requests, 1).is_ok());
    }

    #[test]
    fn bounds_hold_whoever_comes_at_once() {
        const ALL: usize = 5;
        let shares = shares_of(ALL, 3);
        let seen = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for caller in 0..4 {
                let (shares, seen) = (&shares, &seen);
                scope.spawn(move || {
                    for round in 0..5_000 {
                        let place = shares.of(address(caller)).take(Kind::Queries, 1 + round % 3);
                        let taken = shares.taken[Kind::Queries as usize].load(Ordering::Relaxed);
                        seen.fetch_max(taken, Ordering::Relaxed);
                        drop(place);
                    }
                });
            }
        });
        assert!((1..=ALL).contains(&seen.into_inner()));
        assert_eq!(shares.taken[Kind::Queries as usize].load(Ordering::Relaxed), 0);
    }
}
