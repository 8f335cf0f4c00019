//! Counting for this process alone.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use governor::clock::{Clock, DefaultClock, Reference};
use governor::middleware::{NoOpMiddleware, StateInformationMiddleware};
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};

use super::{Budget, CountUse, Quotas, Use, Verdict, WINDOW};

/// Callers a budget is counted for. At it, a new one takes the place of one who has used little, or whose use is long ago: of
/// [`LOOKED_AT`] the one whose quota is whole first. Each budget has callers of its own, so that strangers, whose failed
/// sign-ins are counted by address, push out no user.
const MOST_CALLERS: usize = 100_000;
/// Callers of whom one makes room: as much work as a new caller costs.
const LOOKED_AT: usize = 8;

/// Counts of this process.
pub struct OwnCounts<C: Clock = DefaultClock> {
    clock: C,
    budgets: [Counted<C>; Budget::ALL.len()],
}

struct Counted<C: Clock> {
    limiter: RateLimiter<Arc<str>, Callers, C, StateInformationMiddleware>,
    quota: NonZeroU32,
}

/// What each caller has used: when the quota is whole again.
struct Callers {
    most: usize,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    place_of: HashMap<Arc<str>, usize>,
    places: Vec<(Arc<str>, Nanos)>,
    /// The place that is looked at next for room.
    hand: usize,
}

impl OwnCounts {
    /// Nothing used yet.
    #[must_use]
    pub fn new(quotas: &Quotas) -> Self {
        Self::with_clock(quotas, DefaultClock::default(), MOST_CALLERS)
    }
}

impl<C: Clock + Clone> OwnCounts<C> {
    fn with_clock(quotas: &Quotas, clock: C, most_callers: usize) -> Self {
        let budgets = Budget::ALL.map(|budget| {
            let quota = quotas.of(budget);
            // A quota of at most u32::MAX a minute leaves at least 13 ns a unit, so there is a period.
            let rate = Quota::with_period(WINDOW / quota.get()).unwrap_or(Quota::per_minute(quota));
            let limiter = RateLimiter::<_, _, _, NoOpMiddleware<C::Instant>>::new(
                rate.allow_burst(quota),
                Callers { most: most_callers, book: Mutex::default() },
                clock.clone(),
            );
            Counted { limiter: limiter.with_middleware(), quota }
        });
        Self { clock, budgets }
    }
}

impl<C: Clock> OwnCounts<C> {
    /// Takes from a budget what fits.
    pub fn take(&self, wanted: Use<'_>) -> Verdict {
        let counted = &self.budgets[wanted.budget as usize];
        let amount = wanted.amount.min(counted.quota);
        match counted.limiter.check_key_n(&wanted.whose.into(), amount) {
            Ok(Ok(state)) => {
                let left = state.remaining_burst_capacity();
                Verdict {
                    fits: true,
                    left,
                    until_whole: state.quota().replenish_interval()
                        * counted.quota.get().saturating_sub(left),
                    retry_after: Duration::ZERO,
                }
            }
            Ok(Err(refused)) => {
                let retry_after = refused.wait_time_from(self.clock.now());
                // What is missing for this amount, and beyond it what was not asked for.
                let rest =
                    refused.quota().replenish_interval() * counted.quota.get().saturating_sub(amount.get());
                Verdict { fits: false, left: 0, until_whole: retry_after + rest, retry_after }
            }
            // The amount is at most the quota.
            Err(_) => Verdict { fits: false, left: 0, until_whole: WINDOW, retry_after: WINDOW },
        }
    }
}

impl StateStore for Callers {
    type Key = Arc<str>;

    fn measure_and_replace<T, F, E>(&self, caller: &Arc<str>, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = book.place_of.get(caller).copied() {
            let whole_at = &mut book.places[place].1;
            let (outcome, later) = measure(Some(*whole_at))?;
            *whole_at = later;
            return Ok(outcome);
        }
        let (outcome, whole_at) = measure(None)?;
        book.note(caller, whole_at, self.most);
        Ok(outcome)
    }
}

impl Book {
    /// Notes a caller who is new.
    fn note(&mut self, caller: &Arc<str>, whole_at: Nanos, most: usize) {
        let place = match self.places.len() < most {
            true => {
                self.places.push((Arc::clone(caller), whole_at));
                self.places.len() - 1
            }
            false => {
                let place = self.least_used();
                let (forgotten, _) =
                    std::mem::replace(&mut self.places[place], (Arc::clone(caller), whole_at));
                self.place_of.remove(&forgotten);
                place
            }
        };
        self.place_of.insert(Arc::clone(caller), place);
    }

    /// Of the next few places the one whose caller's quota is whole first. There is at least one.
    fn least_used(&mut self) -> usize {
        let looked_at =
            (0..LOOKED_AT.min(self.places.len())).map(|step| (self.hand + step) % self.places.len());
        let least = looked_at.min_by_key(|place| self.places[*place].1).unwrap_or_default();
        self.hand = (self.hand + LOOKED_AT) % self.places.len();
        least
    }
}

#[async_trait]
impl<C: Clock + Send + Sync> CountUse for OwnCounts<C>
where
    C::Instant: Reference + Send + Sync,
{
    async fn take(&self, wanted: Use<'_>) -> Verdict {
        Self::take(self, wanted)
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn counts(most_callers: usize) -> (OwnCounts<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let ten = NonZeroU32::new(10).unwrap();
        let quotas = Quotas { requests: ten, emergency: ten, ..Quotas::default() };
        (OwnCounts::with_clock(&quotas, clock.clone(), most_callers), clock)
    }

    fn one(budget: Budget, whose: &str) -> Use<'_> {
        Use { budget, whose, amount: NonZeroU32::MIN }
    }

    #[test]
    fn a_quota_is_used_at_once_and_comes_back_evenly() {
        let (counts, clock) = counts(100);
        for left in (0..10).rev() {
            let verdict = counts.take(one(Budget::Requests, "ann"));
            assert_eq!((verdict.fits, verdict.left), (true, left));
        }
        let refused = counts.take(one(Budget::Requests, "ann"));
        assert!(!refused.fits && refused.left == 0);
        assert_eq!(refused.retry_after, WINDOW / 10);
        assert_eq!(refused.until_whole, WINDOW);
        // What is refused takes nothing.
        clock.advance(WINDOW / 10);
        assert!(counts.take(one(Budget::Requests, "ann")).fits);
        assert!(!counts.take(one(Budget::Requests, "ann")).fits);
        clock.advance(WINDOW);
        assert_eq!(counts.take(one(Budget::Requests, "ann")).left, 9);
    }

    #[test]
    fn callers_and_budgets_do_not_touch_each_other() {
        let (counts, _clock) = counts(100);
        while counts.take(one(Budget::Requests, "ann")).fits {}
        assert_eq!(counts.take(one(Budget::Requests, "bob")).left, 9);
        assert_eq!(counts.take(one(Budget::Emergency, "ann")).left, 9);
    }

    #[test]
    fn more_than_the_whole_quota_counts_as_the_whole() {
        let (counts, clock) = counts(100);
        let all = Use { amount: NonZeroU32::new(1_000).unwrap(), ..one(Budget::Requests, "ann") };
        assert_eq!(counts.take(all).left, 0);
        let refused = counts.take(all);
        assert!(!refused.fits && refused.retry_after <= WINDOW);
        clock.advance(WINDOW);
        assert!(counts.take(all).fits);
    }

    #[test]
    fn beyond_the_bound_a_new_caller_takes_the_place_of_who_has_used_least() {
        let (counts, clock) = counts(3);
        let take = |whose, amount| {
            let amount = NonZeroU32::new(amount).unwrap();
            counts.take(Use { amount, ..one(Budget::Requests, whose) }).left
        };
        assert_eq!((take("ann", 10), take("bob", 3), take("cid", 9)), (0, 7, 1));
        assert_eq!(take("dan", 10), 0, "in the place of bob");
        assert!(!counts.take(one(Budget::Requests, "ann")).fits, "who has used up the quota is not forgiven");
        assert_eq!(take("cid", 1), 0);
        // Nobody shares a quota, and who comes again begins anew.
        clock.advance(WINDOW / 10);
        assert_eq!(take("bob", 1), 9);
        // Another budget has room of its own.
        assert_eq!(counts.take(one(Budget::Emergency, "eve")).left, 9);
    }

    #[test]
    fn as_many_as_there_are_are_counted_and_no_more() {
        let (counts, _clock) = counts(50);
        for number in 0..1_000 {
            assert_eq!(counts.take(one(Budget::Requests, &number.to_string())).left, 9);
        }
        assert_eq!(counts.take(one(Budget::Requests, "999")).left, 8, "the newest is known");
    }
}
