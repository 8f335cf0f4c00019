//! The start page: which URLs there are, the live figures and the newest events. Embedded files, nothing from elsewhere.

use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::conditional::{entity_tag, is_known};

const HTML: Asset =
    Asset { body: include_str!("../../assets/start.html"), content_type: "text/html; charset=utf-8" };
const STYLE: Asset =
    Asset { body: include_str!("../../assets/start.css"), content_type: "text/css; charset=utf-8" };
const SCRIPT: Asset =
    Asset { body: include_str!("../../assets/start.js"), content_type: "text/javascript; charset=utf-8" };
const LIVE: Asset =
    Asset { body: include_str!("../../assets/live.js"), content_type: "text/javascript; charset=utf-8" };

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

pub(crate) async fn live(headers: HeaderMap) -> Response {
    LIVE.answer(&headers)
}

struct Asset {
    body: &'static str,
    content_type: &'static str,
}

impl Asset {
    /// The file, or 304 when the client's copy is this one. Always revalidated: a new binary shows at once.
    fn answer(&self, headers: &HeaderMap) -> Response {
        let tag = entity_tag(self.body.as_bytes());
        let mut response = match is_known(headers, &tag) {
            true => StatusCode::NOT_MODIFIED.into_response(),
            false => self.body.into_response(),
        };
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(ETAG, tag);
        response
    }
}
