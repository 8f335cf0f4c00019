//! The start page: which URLs there are, and the live figures. Three embedded files, nothing from elsewhere.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

const HTML: Asset =
    Asset { body: include_str!("../../assets/start.html"), content_type: "text/html; charset=utf-8" };
const STYLE: Asset =
    Asset { body: include_str!("../../assets/start.css"), content_type: "text/css; charset=utf-8" };
const SCRIPT: Asset =
    Asset { body: include_str!("../../assets/start.js"), content_type: "text/javascript; charset=utf-8" };

/// The page may load and call this server only, and runs no inline script.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(crate) async fn html(headers: HeaderMap) -> Response {
    HTML.answer(&headers)
}

pub(crate) async fn style(headers: HeaderMap) -> Response {
    STYLE.answer(&headers)
}

pub(crate) async fn script(headers: HeaderMap) -> Response {
    SCRIPT.answer(&headers)
}

struct Asset {
    body: &'static str,
    content_type: &'static str,
}

impl Asset {
    /// The file, or 304 when the client's copy is this one. Always revalidated: a new binary shows at once.
    fn answer(&self, headers: &HeaderMap) -> Response {
        let tag = self.tag();
        let known = headers
            .get_all(IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|tags| matches_tag(tags, &tag));
        let mut response = match known {
            true => StatusCode::NOT_MODIFIED.into_response(),
            false => self.body.into_response(),
        };
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            headers.insert(ETAG, tag);
        }
        response
    }

    /// Equal within one binary for equal content, which is all an ETag promises.
    fn tag(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.body.hash(&mut hasher);
        format!("\"{:016x}\"", hasher.finish())
    }
}

/// Weak comparison, as If-None-Match wants it.
fn matches_tag(tags: &str, tag: &str) -> bool {
    tags.split(',')
        .map(str::trim)
        .any(|candidate| candidate == "*" || candidate.strip_prefix("W/").unwrap_or(candidate) == tag)
}
