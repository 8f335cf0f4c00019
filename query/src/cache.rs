//! Answers kept until their time bucket ends. Pure: the time is a parameter.
//!
//! Time is cut into buckets of a question's [`lifetime`]. Windows are aligned to whole units of which every lifetime
//! is a divisor, so equal questions of one bucket have the same window and can share one answer. An answer is never given
//! to who asks after the end of the bucket it was asked for in: that is how stale one can be.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use chrono::{DateTime, TimeDelta, Utc};

use crate::range::RangeRequest;

/// Answers kept at once. At it the answer whose bucket ends first makes room.
pub const MAX_ANSWERS: usize = 4_096;
/// Bytes of the answers kept at once. At it the answer whose bucket ends first makes room; one that is larger by itself
/// is given to who asked and not kept.
pub const MAX_ANSWER_BYTES: usize = 32 << 20;

/// How stale an answer may be where the newest minutes matter.
pub const SHORT_LIFETIME: TimeDelta = TimeDelta::seconds(1);
/// How stale an answer may be where they are a small part of it.
pub const LONG_LIFETIME: TimeDelta = TimeDelta::seconds(5);
/// Ranges shorter than this have steps of seconds or few minutes.
const LONG_RANGE: TimeDelta = TimeDelta::hours(6);

/// How long equal questions about a range share an answer: a second below six hours, five seconds from there on. Never longer than
/// a step of the answer.
#[must_use]
pub fn lifetime(range: &RangeRequest, now: DateTime<Utc>) -> TimeDelta {
    let length = match *range {
        RangeRequest::Last(timeframe) => timeframe.length(),
        RangeRequest::Between { from, to } => to.unwrap_or(now) - from,
    };
    if length < LONG_RANGE { SHORT_LIFETIME } else { LONG_LIFETIME }
}

/// A stretch of time: its start included, its end excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bucket {
    start_ms: i64,
    end_ms: i64,
}

impl Bucket {
    /// The bucket of `length` that `now` lies in.
    #[must_use]
    pub fn of(now: DateTime<Utc>, length: TimeDelta) -> Self {
        let length_ms = length.num_milliseconds().max(1);
        let start_ms = now.timestamp_millis().div_euclid(length_ms) * length_ms;
        Self { start_ms, end_ms: start_ms + length_ms }
    }

    /// What is left of it at `now`; nothing when it is over.
    #[must_use]
    pub fn left(&self, now: DateTime<Utc>) -> TimeDelta {
        TimeDelta::milliseconds((self.end_ms - now.timestamp_millis()).max(0))
    }

    /// A clock that was set back is before the bucket: its answer is of another time too.
    fn holds(&self, now: DateTime<Utc>) -> bool {
        (self.start_ms..self.end_ms).contains(&now.timestamp_millis())
    }
}

/// What may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheBounds {
    /// Answers.
    pub answers: usize,
    /// Their bytes together.
    pub bytes: usize,
}

impl Default for CacheBounds {
    fn default() -> Self {
        Self { answers: MAX_ANSWERS, bytes: MAX_ANSWER_BYTES }
    }
}

/// Answers by their questions.
#[derive(Debug)]
pub struct AnswerCache<K, V> {
    bounds: CacheBounds,
    kept: HashMap<K, Kept<V>>,
    /// Questions by the end of their bucket, then by age.
    by_end: BTreeMap<(i64, u64), K>,
    bytes: usize,
    answers_made: u64,
}

#[derive(Debug)]
struct Kept<V> {
    answer: V,
    bytes: usize,
    bucket: Bucket,
    number: u64,
}

impl<K: Clone + Eq + Hash, V: Clone> AnswerCache<K, V> {
    /// An empty cache.
    #[must_use]
    pub fn new(bounds: CacheBounds) -> Self {
        Self { bounds, kept: HashMap::new(), by_end: BTreeMap::new(), bytes: 0, answers_made: 0 }
    }

    /// The answer of the bucket that `now` lies in.
    #[must_use]
    pub fn get(&self, question: &K, now: DateTime<Utc>) -> Option<V> {
        self.kept.get(question).filter(|kept| kept.bucket.holds(now)).map(|kept| kept.answer.clone())
    }

    /// Keeps an answer of so many bytes in place of an earlier one, and lets go of what is over.
    pub fn keep(&mut self, question: K, answer: V, bytes: usize, bucket: Bucket, now: DateTime<Utc>) {
        while let Some((&(end_ms, _), _)) = self.by_end.first_key_value()
            && end_ms <= now.timestamp_millis()
        {
            self.forget_first();
        }
        // After the clock was set back those of the time to come, which end last, would hold their places until then.
        while let Some((_, question)) = self.by_end.last_key_value()
            && self.kept.get(question).is_some_and(|kept| kept.bucket.start_ms > now.timestamp_millis())
        {
            let question = question.clone();
            self.forget(&question);
        }
        // One that comes late takes no later one's place.
        if !bucket.holds(now) {
            return;
        }
        self.forget(&question);
        if bytes > self.bounds.bytes || self.bounds.answers == 0 {
            return;
        }
        while self.kept.len() >= self.bounds.answers || self.bytes + bytes > self.bounds.bytes {
            self.forget_first();
        }
        self.answers_made += 1;
        let number = self.answers_made;
        self.by_end.insert((bucket.end_ms, number), question.clone());
        self.bytes += bytes;
        self.kept.insert(question, Kept { answer, bytes, bucket, number });
    }

    fn forget_first(&mut self) {
        if let Some((_, question)) = self.by_end.pop_first()
            && let Some(kept) = self.kept.remove(&question)
        {
            self.bytes -= kept.bytes;
        }
    }

    fn forget(&mut self, question: &K) {
        if let Some(kept) = self.kept.remove(question) {
            self.bytes -= kept.bytes;
            self.by_end.remove(&(kept.bucket.end_ms, kept.number));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::timeframe::Timeframe;

    fn at(milliseconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_773_146_096_000 + milliseconds).unwrap()
    }

    fn cache(answers: usize, bytes: usize) -> AnswerCache<&'static str, i32> {
        AnswerCache::new(CacheBounds { answers, bytes })
    }

    #[test]
    fn an_answer_is_kept_until_its_bucket_ends() {
        let mut cache = cache(9, 9);
        let bucket = Bucket::of(at(300), SHORT_LIFETIME);
        cache.keep("a", 1, 1, bucket, at(300));
        let cases = [(300, Some(1)), (0, Some(1)), (999, Some(1)), (1_000, None), (-1, None)];
        for (now, expected) in cases {
            assert_eq!(cache.get(&"a", at(now)), expected, "{now}");
        }
        assert_eq!(cache.get(&"b", at(300)), None);
        assert_eq!(bucket.left(at(300)), TimeDelta::milliseconds(700));
        assert_eq!(bucket.left(at(2_000)), TimeDelta::zero());
        // An answer that took longer than its bucket lasts is kept by nobody.
        cache.keep("slow", 2, 1, bucket, at(1_000));
        assert_eq!(cache.kept.len(), 0);
        // Nor does it take the place of the next bucket's, which was faster.
        cache.keep("a", 3, 1, Bucket::of(at(1_000), SHORT_LIFETIME), at(1_100));
        cache.keep("a", 2, 1, bucket, at(1_200));
        assert_eq!(cache.get(&"a", at(1_300)), Some(3));
    }

    #[test]
    fn what_ends_first_makes_room() {
        let mut cache = cache(2, 100);
        let (short, long) = (Bucket::of(at(0), SHORT_LIFETIME), Bucket::of(at(0), LONG_LIFETIME));
        cache.keep("long", 1, 10, long, at(0));
        cache.keep("short", 2, 10, short, at(0));
        cache.keep("next", 3, 10, long, at(0));
        assert_eq!([cache.get(&"long", at(0)), cache.get(&"short", at(0))], [Some(1), None]);
        // By bytes the same; of equal ends the older goes.
        cache.keep("large", 4, 95, long, at(0));
        assert_eq!([cache.get(&"long", at(0)), cache.get(&"next", at(0))], [None, None]);
        cache.keep("too large", 5, 101, long, at(0));
        assert_eq!([cache.get(&"large", at(0)), cache.get(&"too large", at(0))], [Some(4), None]);
        cache.keep("large", 6, 1, long, at(0));
        assert_eq!((cache.get(&"large", at(0)), cache.bytes), (Some(6), 1));
    }

    #[test]
    fn an_answer_is_never_older_than_a_step_of_a_timeframe() {
        for (timeframe, seconds) in Timeframe::ALL.into_iter().zip([1, 5, 5, 5, 5]) {
            assert_eq!(lifetime(&RangeRequest::Last(timeframe), at(0)).num_seconds(), seconds);
        }
        let from = at(0) - TimeDelta::minutes(5);
        assert_eq!(lifetime(&RangeRequest::Between { from, to: None }, at(0)), SHORT_LIFETIME);
    }

    proptest! {
        #[test]
        fn the_bounds_hold_and_the_books_agree(
            steps in prop::collection::vec((0_u8..12, 1_usize..40, 0_i64..3_000, any::<bool>()), 1..200),
        ) {
            let mut cache = AnswerCache::new(CacheBounds { answers: 5, bytes: 100 });
            let mut now = 0;
            for (question, bytes, later, is_long) in steps {
                now += later;
                let lifetime = if is_long { LONG_LIFETIME } else { SHORT_LIFETIME };
                cache.keep(question, bytes, bytes, Bucket::of(at(now), lifetime), at(now));
                prop_assert_eq!(cache.get(&question, at(now)), Some(bytes));
                prop_assert!(cache.kept.len() <= 5 && cache.bytes <= 100);
                prop_assert_eq!(cache.kept.len(), cache.by_end.len());
                prop_assert_eq!(cache.bytes, cache.kept.values().map(|kept| kept.bytes).sum::<usize>());
            }
        }
    }
}
