//! Entity tags: what a client already has is not sent again.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::http::header::IF_NONE_MATCH;
use axum::http::{HeaderMap, HeaderValue};
use serde::Serialize;
use serde_json::Value;

/// What `Vary` says of answers: what makes the answer to one client another than that to the next, its token among it.
pub(crate) const VARIES_BY: &str = "accept, accept-encoding, authorization, cookie";

/// The tag of a body. Equal bodies have equal tags in every process of one build.
pub(crate) fn entity_tag(body: &[u8]) -> HeaderValue {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    HeaderValue::try_from(format!("\"{:016x}\"", hasher.finish()))
        .expect("quoted hexadecimal digits are a header's value")
}

/// The tag of what an answer tells, whenever it was made: an answer made again of unchanged data has the same. So the tag is a
/// weak one, and the clock readings in the answer of whoever keeps it are those of when it was sent.
pub(crate) fn data_tag<T: Serialize>(answer: &T) -> Result<HeaderValue, serde_json::Error> {
    let mut data = serde_json::to_value(answer)?;
    forget_clock(&mut data);
    for metric in data.get_mut("metrics").and_then(Value::as_array_mut).into_iter().flatten() {
        forget_clock(metric);
    }
    Ok(weak(&entity_tag(&serde_json::to_vec(&data)?)))
}

/// The weak tag of what a strong one stands for: the same content, in other bytes.
pub(crate) fn weak(tag: &HeaderValue) -> HeaderValue {
    if tag.as_bytes().starts_with(b"W/") {
        return tag.clone();
    }
    let weak = [b"W/", tag.as_bytes()].concat();
    HeaderValue::from_bytes(&weak).expect("a tag with two letters before it is a header's value")
}

/// Only by these paths: a series has timestamps too, and an event's metadata any name.
fn forget_clock(answer: &mut Value) {
    if let Some(answer) = answer.as_object_mut() {
        answer.remove("timestamp");
    }
    if let Some(freshness) = answer.get_mut("freshness").and_then(Value::as_object_mut) {
        freshness.remove("computed_at");
        freshness.remove("age_seconds");
    }
}

/// Whether the client says that it has the body of this tag.
pub(crate) fn is_known(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|tags| matches_tag(tags, tag.to_str().unwrap_or_default()))
}

/// Weak comparison, as If-None-Match wants it.
fn matches_tag(tags: &str, tag: &str) -> bool {
    let tag = opaque(tag);
    tags.split(',').map(str::trim).any(|candidate| candidate == "*" || opaque(candidate) == tag)
}

fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_tag_is_of_the_data_and_not_of_the_clock() {
        let tag = |answer: Value| data_tag(&answer).unwrap();
        let detailed = |computed_at: i32, at: i32, value: f64| {
            json!({"value": value, "historical_data": [{"timestamp": at, "value": 1.0}],
                "freshness": {"newest_sample": 5, "age_seconds": computed_at - 5, "computed_at": computed_at}})
        };
        let first = tag(detailed(10, 5, 1.0));
        assert!(first.to_str().unwrap().starts_with("W/\""), "{first:?}");
        assert_eq!(first, tag(detailed(15, 5, 1.0)));
        assert_ne!(first, tag(detailed(15, 6, 1.0)), "another time in the series");
        assert_ne!(first, tag(detailed(15, 5, 2.0)), "another value");
        let several = |computed_at| json!({"metrics": [detailed(computed_at, 5, 1.0)]});
        assert_eq!(tag(several(10)), tag(several(15)));
        let overview = |at, alerts| json!({"timestamp": at, "alert_count": alerts});
        assert_eq!(tag(overview(1, 2)), tag(overview(9, 2)));
        assert_ne!(tag(overview(1, 2)), tag(overview(1, 3)));
        let feed = |at| json!({"events": [{"metadata": {"freshness": {"computed_at": at}}}]});
        assert_ne!(tag(feed(1)), tag(feed(2)));
        assert!(matches_tag("W/\"1\"", "W/\"1\"") && matches_tag("\"1\"", "W/\"1\""));
    }

    #[test]
    fn tags_are_compared_as_lists() {
        let tag = entity_tag(b"body");
        let tag = tag.to_str().unwrap();
        for (tags, expected) in [
            (tag.to_owned(), true),
            (format!("W/{tag}"), true),
            (format!("\"other\", {tag}"), true),
            ("*".to_owned(), true),
            ("\"other\"".to_owned(), false),
            (tag.trim_matches('"').to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(matches_tag(&tags, tag), expected, "{tags}");
        }
        assert_ne!(entity_tag(b"body"), entity_tag(b"Body"));
    }
}
