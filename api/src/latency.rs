//! A bounded book of request latencies, from which Kelly's own metrics are made.

use std::sync::{Mutex, PoisonError};

use crate::ports::{Observation, Observe};

/// Single latencies kept between two [`LatencyBook::take`]s. At it every second one is dropped and
/// from then on only every second request is kept, and so on: an even sample, each sample standing
/// for [`Latencies::requests_per_sample`] requests. The number of requests stays exact.
pub const MAX_SAMPLES: usize = 2_048;

/// Collects observations until they are taken.
#[derive(Debug, Default)]
pub struct LatencyBook {
    page: Mutex<Latencies>,
}

/// What was observed between two takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Latencies {
    /// Requests; exact.
    pub requests: u64,
    /// Sampled latencies, in the order of the requests.
    pub samples: Vec<Sample>,
    /// How many requests each sample stands for; a power of two.
    pub requests_per_sample: u64,
}

/// What a request was, in bounded terms.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestClass {
    /// Template of the route.
    pub route: String,
    /// Method.
    pub method: String,
    /// First digit of the status, 1 to 5.
    pub status_class: u16,
}

/// One latency.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// What the request was.
    pub class: RequestClass,
    /// How long it took.
    pub milliseconds: f64,
}

impl LatencyBook {
    /// Takes what was collected and begins anew.
    pub fn take(&self) -> Latencies {
        let mut page = self.page.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *page)
    }
}

impl Observe for LatencyBook {
    fn observe(&self, request: &Observation<'_>) {
        let sample = Sample {
            class: RequestClass {
                route: request.route.to_owned(),
                method: request.method.to_owned(),
                status_class: request.status / 100,
            },
            milliseconds: request.duration.as_secs_f64() * 1_000.0,
        };
        let mut page = self.page.lock().unwrap_or_else(PoisonError::into_inner);
        page.add(sample);
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self { requests: 0, samples: Vec::new(), requests_per_sample: 1 }
    }
}

impl Latencies {
    fn add(&mut self, sample: Sample) {
        if self.requests.is_multiple_of(self.requests_per_sample) {
            self.samples.push(sample);
        }
        self.requests += 1;
        if self.samples.len() >= MAX_SAMPLES {
            let mut index = 0;
            self.samples.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.requests_per_sample *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn observe(book: &LatencyBook, requests: u64) {
        for request in 0..requests {
            book.observe(&Observation::of(("GET", "/livez"), 204, Duration::from_millis(request)));
        }
    }

    #[test]
    fn keeps_every_latency_while_there_is_room() {
        let book = LatencyBook::default();
        observe(&book, 3);
        let taken = book.take();
        let latencies: Vec<f64> = taken.samples.iter().map(|s| s.milliseconds).collect();
        assert_eq!(latencies, [0.0, 1.0, 2.0]);
        assert_eq!(taken.requests_per_sample, 1);
        assert_eq!(book.take(), Latencies::default());
    }

    #[test]
    fn stays_bounded_and_even_beyond_its_room() {
        let book = LatencyBook::default();
        observe(&book, 100_000);
        let taken = book.take();
        assert!(taken.samples.len() < MAX_SAMPLES, "{}", taken.samples.len());
        assert_eq!(taken.requests, 100_000);
        let stride = taken.requests_per_sample as f64;
        for (index, sample) in taken.samples.iter().enumerate() {
            assert_eq!(sample.milliseconds.round(), index as f64 * stride);
        }
    }
}
