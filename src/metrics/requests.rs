//! Requests: how long they took, and which problems they were answered with.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError, RwLock};

use kelly_api::{Code, OTHER_METHOD, Observation, Observe};

use super::catalogue::{HTTP_DURATION, HTTP_PROBLEMS};
use super::exposition::{Gathered, Times, Value};

/// The largest time of each class but the last, in seconds: from what a cached answer takes to the longest query.
const CLASSES: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Counts requests. Routes are templates, methods and classes of statuses are few, so it is bounded.
#[derive(Debug, Default)]
pub struct RequestMetrics {
    routes: RwLock<HashMap<String, Vec<(Class, Times)>>>,
    problems: Mutex<BTreeMap<&'static str, (u16, u64)>>,
}

/// What a request of a route was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Class {
    method: &'static str,
    status: u16,
}

impl Observe for RequestMetrics {
    fn observe(&self, request: &Observation<'_>) {
        // Whoever tries all methods on all routes must not make a series of each.
        let is_taken = request.code != Some(Code::MethodNotAllowed);
        let method = if is_taken { request.method } else { OTHER_METHOD };
        let times = self.times(request.route, Class { method, status: request.status / 100 });
        let trace = [("trace_id", request.trace.trace_id.to_string())];
        times.observe(request.duration.as_secs_f64(), Some(trace), Some(request.began));
        if let Some(code) = request.code {
            let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
            problems.entry(code.name()).or_insert((request.status, 0)).1 += 1;
        }
    }
}

impl RequestMetrics {
    fn times(&self, route: &str, class: Class) -> Times {
        let find = |known: &[(Class, Times)]| {
            known.iter().find(|(known, _)| *known == class).map(|(_, times)| times.clone())
        };
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(times) = routes.get(route).and_then(|known| find(known)) {
            return times;
        }
        drop(routes);
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        let known = routes.entry(route.to_owned()).or_default();
        // Another request of the kind may have been first.
        find(known).unwrap_or_else(|| {
            let times = Times::new(CLASSES.into_iter());
            known.push((class, times.clone()));
            times
        })
    }

    /// Adds what was counted.
    pub fn gather(&self, into: &mut Gathered) {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<(&String, &Class, &Times)> = routes
            .iter()
            .flat_map(|(route, known)| known.iter().map(move |(class, times)| (route, class, times)))
            .collect();
        found.sort_by_key(|(route, class, _)| (*route, class.method, class.status));
        for (route, Class { method, status }, times) in found {
            let labels: [Cow<'static, str>; 3] =
                [route.clone().into(), (*method).into(), format!("{status}xx").into()];
            into.add(&HTTP_DURATION, labels, Value::Times(times.clone()));
        }
        for (code, (status, count)) in &*self.problems.lock().unwrap_or_else(PoisonError::into_inner) {
            into.count(&HTTP_PROBLEMS, [(*code).into(), status.to_string().into()], *count);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kelly_api::MetricsForm;

    use super::*;

    #[test]
    fn requests_are_counted_by_what_they_were() {
        let metrics = RequestMetrics::default();
        let request = |method, status| Observation::of((method, "/livez"), status, Duration::from_millis(3));
        metrics.observe(&request("GET", 200));
        metrics.observe(&request("GET", 204));
        for method in ["PUT", "PATCH", "TRACE"] {
            let refused = request(method, 405);
            metrics.observe(&Observation { code: Some(Code::MethodNotAllowed), ..refused });
        }
        let mut gathered = Gathered::default();
        metrics.gather(&mut gathered);
        let text = gathered.write(MetricsForm::Prometheus);
        for line in [
            "kelly_http_request_duration_seconds_count{route=\"/livez\",method=\"GET\",status_class=\"2xx\"} 2",
            "kelly_http_request_duration_seconds_count{route=\"/livez\",method=\"OTHER\",status_class=\"4xx\"} 3",
            "kelly_http_problems_total{code=\"method_not_allowed\",status=\"405\"} 3",
        ] {
            assert!(text.lines().any(|written| written == line), "{line}\n{text}");
        }
        assert_eq!(text.matches("_count{").count(), 2, "{text}");
    }
}
