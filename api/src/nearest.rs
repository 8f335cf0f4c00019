//! The route that a path without one probably meant.

use strsim::normalized_damerau_levenshtein;

/// How alike two segments are that may be one misspelt, from 0 to 1.
const ALIKE: f64 = 0.6;
/// What a segment costs that is missing, or that is one too many.
const ONE_SEGMENT: f64 = 1.0;
/// What a segment costs that is missing at the beginning: people leave prefixes out.
const ONE_OF_THE_PREFIX: f64 = 0.2;
/// A route that costs more is not named.
const FARTHEST: f64 = 1.0;
/// Segments of a path that are compared; no route has so many.
const MAX_SEGMENTS: usize = 12;

/// Of these templates the one that the path comes nearest to. A slash at the end and the case of letters
/// cost nothing; `{…}` in a template stands for any segment.
pub(crate) fn nearest<'a>(path: &str, templates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = segments(path);
    if given.is_empty() || given.len() > MAX_SEGMENTS {
        return None;
    }
    templates
        .into_iter()
        .map(|template| (distance(&given, &segments(template)), template))
        .filter(|(distance, _)| *distance <= FARTHEST)
        .min_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, template)| template)
}

fn segments(path: &str) -> Vec<&str> {
    path.split('/').filter(|segment| !segment.is_empty()).collect()
}

/// The least cost of changes by which the path becomes the template, segment by segment.
fn distance(given: &[&str], template: &[&str]) -> f64 {
    // Before any given segment stands only what is missing of the prefix.
    let mut before: Vec<f64> =
        (0..=template.len()).map(|missing| missing as f64 * ONE_OF_THE_PREFIX).collect();
    for segment in given {
        let mut row = Vec::with_capacity(before.len());
        row.push(before[0] + ONE_SEGMENT);
        for (place, expected) in template.iter().enumerate() {
            let changed = before[place] + change(segment, expected);
            let missing = row[place] + ONE_SEGMENT;
            let too_many = before[place + 1] + ONE_SEGMENT;
            row.push(changed.min(missing).min(too_many));
        }
        before = row;
    }
    before.last().copied().unwrap_or(f64::INFINITY)
}

/// What it costs to take one segment for the other.
fn change(given: &str, expected: &str) -> f64 {
    if expected.starts_with('{') {
        return 0.0;
    }
    match normalized_damerau_levenshtein(&given.to_ascii_lowercase(), expected) {
        alike if alike >= ALIKE => 1.0 - alike,
        _ => f64::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = "/api/v1/kelly/monitoring/metrics";
    const DETAILED: &str = "/api/v1/kelly/monitoring/metrics/detailed/{metric_type}";
    const HEALTH: &str = "/api/v1/kelly/monitoring/health";
    const FEED: &str = "/api/v1/kelly/monitoring/activity/feed";
    const TEMPLATES: [&str; 8] =
        [METRICS, DETAILED, HEALTH, FEED, "/health/database", "/livez", "/readyz", "/api/docs"];

    #[test]
    fn a_near_miss_finds_its_route() {
        for (path, expected) in [
            ("/api/v1/kelly/monitoring/metrics/", METRICS),
            ("/API/V1/Kelly/Monitoring/Metrics", METRICS),
            ("/api/v1/kelly/monitoring/metric", METRICS),
            ("/api/v1/monitoring/metrics", METRICS),
            ("/monitoring/metrics", METRICS),
            ("/metrics", METRICS),
            ("/api/v1/kelly/monitoring/metrics/detailled/ai_confidence", DETAILED),
            ("/metrics/detailed/ai_confidence/", DETAILED),
            ("/api/v1/kelly/monitoring/activity/fed", FEED),
            ("/health", HEALTH),
            ("/healthz", HEALTH),
            ("/live", "/livez"),
            ("/ready", "/readyz"),
            ("/api/doc", "/api/docs"),
        ] {
            assert_eq!(nearest(path, TEMPLATES), Some(expected), "{path}");
        }
    }

    #[test]
    fn what_is_far_from_all_finds_none() {
        let long = "/metrics".repeat(MAX_SEGMENTS + 1);
        for path in ["/", "", "/no/such/%3Cscript%3E", "/wp-login.php", "/.git/config", long.as_str()] {
            assert_eq!(nearest(path, TEMPLATES), None, "{path}");
        }
    }
}
