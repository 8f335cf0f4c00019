//! Entity tags: what a client already has is not sent again.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::http::header::IF_NONE_MATCH;
use axum::http::{HeaderMap, HeaderValue};

/// The tag of a body. Equal bodies have equal tags in every process of one build.
pub(crate) fn entity_tag(body: &[u8]) -> HeaderValue {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    HeaderValue::try_from(format!("\"{:016x}\"", hasher.finish()))
        .expect("quoted hexadecimal digits are a header's value")
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
    tags.split(',')
        .map(str::trim)
        .any(|candidate| candidate == "*" || candidate.strip_prefix("W/").unwrap_or(candidate) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

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
