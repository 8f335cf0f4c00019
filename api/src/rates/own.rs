//! Counting for this process alone.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use governor::clock::{Clock, DefaultClock, Reference};
use governor::middleware::{NoOpMiddleware, StateInformationMiddleware};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use super::{Budget, CountUse, Quotas, Use, Verdict, WINDOW};

/// Callers a budget is counted for. At it, callers who have their whole quota are forgotten; where that is not enough,
/// all share one quota until there is room.
const MOST_CALLERS: usize = 100_000;
/// Uses after which callers who have their whole quota are forgotten.
const USES_BETWEEN_CLEANINGS: u32 = 16_384;
/// The name under which callers beyond the bound are counted; no user and no address has it.
const EVERYBODY_ELSE: &str = "";

/// Counts of this process.
pub struct OwnCounts<C: Clock = DefaultClock> {
    clock: C,
    budgets: [Counted<C>; Budget::ALL.len()],
}

struct Counted<C: Clock> {
    limiter: RateLimiter<Arc<str>, HashMapStateStore<Arc<str>>, C, StateInformationMiddleware>,
    quota: NonZeroU32,
    most_callers: usize,
    uses: AtomicU32,
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
            let store: HashMapStateStore<Arc<str>> = HashMapStateStore::default();
            let limiter = RateLimiter::<_, _, _, NoOpMiddleware<C::Instant>>::new(
                rate.allow_burst(quota),
                store,
                clock.clone(),
            );
            Counted { limiter: limiter.with_middleware(), quota, most_callers, uses: AtomicU32::new(0) }
        });
        Self { clock, budgets }
    }
}

impl<C: Clock> OwnCounts<C> {
    /// Takes from a budget what fits.
    pub fn take(&self, wanted: Use<'_>) -> Verdict {
        let counted = &self.budgets[wanted.budget as usize];
        let whose = counted.counted_as(wanted.whose);
        let amount = wanted.amount.min(counted.quota);
        let taken = counted.limiter.check_key_n(&whose, amount);
        counted.clean_now_and_then();
        match taken {
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

impl<C: Clock> Counted<C> {
    /// The caller's own name, or the shared one where there are too many.
    fn counted_as(&self, whose: &str) -> Arc<str> {
        if self.limiter.len() < self.most_callers {
            return whose.into();
        }
        self.limiter.retain_recent();
        match self.limiter.len() < self.most_callers {
            true => whose.into(),
            false => EVERYBODY_ELSE.into(),
        }
    }

    fn clean_now_and_then(&self) {
        if self.uses.fetch_add(1, Ordering::Relaxed) % USES_BETWEEN_CLEANINGS == USES_BETWEEN_CLEANINGS - 1 {
            self.limiter.retain_recent();
        }
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
    fn callers_beyond_the_bound_share_a_quota_and_those_who_rest_are_forgotten() {
        let (counts, clock) = counts(2);
        for whose in ["ann", "bob"] {
            assert!(counts.take(one(Budget::Requests, whose)).fits);
        }
        let shared: Vec<u32> =
            ["cid", "dan", "eve"].map(|whose| counts.take(one(Budget::Requests, whose)).left).into();
        assert_eq!(shared, [9, 8, 7]);
        clock.advance(Duration::from_secs(120));
        assert_eq!(counts.take(one(Budget::Requests, "cid")).left, 9);
        assert_eq!(counts.take(one(Budget::Requests, "dan")).left, 9);
    }
}
