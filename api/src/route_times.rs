//! How fast requests were answered lately: a ring of slots, each with a histogram a route. The time is a parameter.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use kelly_schemas::histogram;
use serde::Serialize;
use utoipa::ToSchema;

/// Length of a slot.
const SLOT_SECONDS: i64 = 10;
/// Slots shown together; the one that is filling is not among them.
const SLOTS: i64 = 6;

/// Requests of one route over the last minute.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct RoutePerformance {
    /// Method.
    #[schema(example = "GET")]
    pub(crate) method: &'static str,
    /// The route's template.
    #[schema(example = "/api/v1/kelly/monitoring/metrics")]
    pub(crate) route: String,
    /// Requests answered.
    pub(crate) requests: u64,
    /// The same a second of the window; null while that has no length.
    pub(crate) requests_per_second: Option<f64>,
    /// Those answered with a status of 500 or above.
    pub(crate) server_errors: u64,
    /// Median time from a request's head to its answer's head, milliseconds; within one percent, as the two below.
    pub(crate) p50_ms: f64,
    /// 95th percentile.
    pub(crate) p95_ms: f64,
    /// 99th percentile.
    pub(crate) p99_ms: f64,
    /// The longest, exactly.
    pub(crate) max_ms: f64,
}

/// Counts requests. Routes are templates and methods a fixed set, so a slot is bounded by both times the buckets of a
/// histogram; there are never more than [`SLOTS`] and the one that is filling.
#[derive(Debug, Default)]
pub(crate) struct RouteTimes {
    slots: Mutex<BTreeMap<i64, Slot>>,
}

type Slot = HashMap<String, HashMap<&'static str, Requests>>;

#[derive(Debug, Clone, Default)]
struct Requests {
    count: u64,
    server_errors: u64,
    max_ms: f64,
    buckets: BTreeMap<i16, u64>,
}

impl RouteTimes {
    /// Counts one request.
    pub(crate) fn note(
        &self,
        (method, route): (&'static str, &str),
        status: u16,
        milliseconds: f64,
        now: DateTime<Utc>,
    ) {
        let number = slot(now);
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        // What is over, and what a clock that was set back left in the future.
        slots.retain(|kept, _| (number - SLOTS..=number).contains(kept));
        let slot = slots.entry(number).or_default();
        if !slot.contains_key(route) {
            slot.insert(route.to_owned(), HashMap::new());
        }
        let Some(methods) = slot.get_mut(route) else { return };
        let requests = methods.entry(method).or_default();
        requests.count += 1;
        requests.server_errors += u64::from(status >= 500);
        requests.max_ms = requests.max_ms.max(milliseconds);
        *requests.buckets.entry(histogram::bucket(milliseconds)).or_default() += 1;
    }

    /// The last whole slots, by route and method, of a window of so many seconds.
    pub(crate) fn routes(&self, now: DateTime<Utc>, window_seconds: f64) -> Vec<RoutePerformance> {
        let number = slot(now);
        let mut routes: BTreeMap<(String, &'static str), Requests> = BTreeMap::new();
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, slot) in slots.range(number - SLOTS..number) {
            for (route, methods) in slot {
                for (method, requests) in methods {
                    routes.entry((route.clone(), method)).or_default().add(requests);
                }
            }
        }
        drop(slots);
        routes
            .into_iter()
            .map(|((route, method), requests)| RoutePerformance {
                method,
                route,
                requests: requests.count,
                requests_per_second: (window_seconds > 0.0).then(|| requests.count as f64 / window_seconds),
                server_errors: requests.server_errors,
                p50_ms: requests.quantile(0.5),
                p95_ms: requests.quantile(0.95),
                p99_ms: requests.quantile(0.99),
                max_ms: requests.max_ms,
            })
            .collect()
    }
}

/// Seconds that figures given at `now` are of: the last whole slots, which ended less than a slot ago, as far as this process ran.
pub(crate) fn window_seconds(now: DateTime<Utc>, started_at: DateTime<Utc>) -> f64 {
    let ends_ms = slot(now) * SLOT_SECONDS * 1_000;
    let begins_ms = (ends_ms - SLOTS * SLOT_SECONDS * 1_000).max(started_at.timestamp_millis());
    (ends_ms - begins_ms).max(0) as f64 / 1_000.0
}

fn slot(now: DateTime<Utc>) -> i64 {
    now.timestamp().div_euclid(SLOT_SECONDS)
}

impl Requests {
    fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.server_errors += other.server_errors;
        self.max_ms = self.max_ms.max(other.max_ms);
        for (bucket, count) in &other.buckets {
            *self.buckets.entry(*bucket).or_default() += count;
        }
    }

    fn quantile(&self, quantile: f64) -> f64 {
        let rank = (self.count as f64 * quantile).ceil() as u64;
        let mut below = 0;
        self.buckets
            .iter()
            .find(|(_, count)| {
                below += **count;
                below >= rank
            })
            .map_or(self.max_ms, |(bucket, _)| histogram::value(*bucket).min(self.max_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_726_068_600 + seconds, 0).unwrap()
    }

    #[test]
    fn figures_are_of_the_last_whole_minute() {
        let times = RouteTimes::default();
        for millisecond in 1..=100 {
            times.note(("GET", "/livez"), 200, f64::from(millisecond), at(5));
        }
        times.note(("GET", "/livez"), 503, 500.0, at(19));
        times.note(("POST", "/x"), 202, 1.0, at(21));
        assert_eq!(times.routes(at(9), 60.0), [], "the slot is filling yet");
        let routes = times.routes(at(20), 60.0);
        let [livez] = &routes[..] else { panic!("{routes:?}") };
        assert_eq!((livez.method, livez.requests, livez.server_errors, livez.max_ms), ("GET", 101, 1, 500.0));
        assert!((livez.p50_ms - 51.0).abs() <= 0.52 && (livez.p99_ms - 100.0).abs() <= 1.01, "{livez:?}");
        assert_eq!(livez.requests_per_second, Some(101.0 / 60.0));
        assert_eq!(times.routes(at(65), 60.0).len(), 2);
        let late = times.routes(at(70), 60.0);
        assert_eq!(late[0].requests, 1, "the first slot is over");
        assert_eq!(times.routes(at(90), 60.0), []);
    }

    #[test]
    fn a_young_process_counts_by_the_time_it_ran() {
        let cases =
            [(9, 0.0), (10, 6.0), (19, 6.0), (25, 16.0), (59, 46.0), (64, 56.0), (70, 60.0), (700, 60.0)];
        for (now, expected) in cases {
            assert_eq!(window_seconds(at(now), at(4)), expected, "{now}");
        }
        let times = RouteTimes::default();
        times.note(("GET", "/livez"), 200, 1.0, at(5));
        times.note(("GET", "/livez"), 200, 1.0, at(9));
        times.note(("GET", "/livez"), 200, 1.0, at(9));
        let rate = |window| times.routes(at(10), window)[0].requests_per_second;
        assert_eq!(rate(window_seconds(at(10), at(4))), Some(0.5));
        // A clock that was set back.
        assert_eq!(rate(window_seconds(at(10), at(11))), None);
    }

    #[test]
    fn what_is_over_is_let_go() {
        let times = RouteTimes::default();
        for slot in 0..100 {
            times.note(("GET", "/livez"), 200, 1.0, at(slot * 10));
            assert!(times.slots.lock().unwrap().len() <= SLOTS as usize + 1);
        }
        times.note(("GET", "/livez"), 200, 1.0, at(0));
        assert_eq!(times.slots.lock().unwrap().len(), 1);
    }
}
