//! Keeps foreign web pages out while the API has no authentication: the Host must be a name of this
//! machine (a page that rebinds its own DNS name to 127.0.0.1 still sends its own name as Host), and
//! a browser may change something only from a page this server itself delivered.

use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN, UPGRADE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, Uri, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::problem::{Code, Problem};

/// Names of loopback; the addresses 127.0.0.0/8 and ::1 count too.
const LOOPBACK_NAME: &str = "localhost";

/// Refuses requests that a foreign page may have made.
pub(crate) async fn guard(request: Request, next: Next) -> Response {
    match check(request.method(), request.version(), request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn check(method: &Method, version: Version, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let host = host_of(version, uri, headers)?;
    if !is_allowed(host.host()) {
        return Err(Problem::new(
            Code::HostNotAllowed,
            "The Host header names a host that this server does not answer to: it answers to names of \
             loopback only. Use 127.0.0.1 or localhost.",
        ));
    }
    // A WebSocket is opened by a GET, and no browser asks a page's permission for it.
    let only_reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    if only_reads && !headers.contains_key(UPGRADE) {
        return Ok(());
    }
    if is_foreign_page(&host, headers) {
        return Err(Problem::new(
            Code::OriginNotAllowed,
            "The request comes from a web page of another origin (Origin, Sec-Fetch-Site), and \
             such pages may not change anything here.",
        ));
    }
    Ok(())
}

/// The one host a request is for: of an absolute URI if there is one (RFC 9112, 3.2.2), else Host. HTTP/1.0 knows no Host;
/// who leaves it out there (old health checks, `ab`) is no browser, which all send one, and is on this machine.
fn host_of(version: Version, uri: &Uri, headers: &HeaderMap) -> Result<Authority, Problem> {
    if let Some(authority) = uri.authority() {
        return Ok(authority.clone());
    }
    if version <= Version::HTTP_10 && !headers.contains_key(HOST) {
        return Ok(Authority::from_static(LOOPBACK_NAME));
    }
    let mut hosts = headers.get_all(HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    first
        .filter(|_| second.is_none())
        .and_then(|host| host.to_str().ok())
        .and_then(|host| host.parse::<Authority>().ok())
        .filter(|host| !host.as_str().contains('@'))
        .ok_or_else(|| {
            Problem::new(
                Code::InvalidHost,
                "The request must carry exactly one valid Host header, e.g. `Host: 127.0.0.1:8000`.",
            )
        })
}

fn is_allowed(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        || host.eq_ignore_ascii_case(LOOPBACK_NAME)
}

/// Browsers send Origin with every request that is not GET or HEAD; programs send neither header.
fn is_foreign_page(host: &Authority, headers: &HeaderMap) -> bool {
    if let Some(origin) = headers.get(ORIGIN) {
        return !origin
            .to_str()
            .ok()
            .and_then(|origin| origin.parse::<Uri>().ok())
            .and_then(|origin| origin.into_parts().authority)
            .is_some_and(|authority| authority == *host);
    }
    headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(method: Method, uri: &str, headers: &[(&'static str, &str)]) -> &'static str {
        verdict_of(Version::HTTP_11, method, uri, headers)
    }

    fn verdict_of(
        version: Version,
        method: Method,
        uri: &str,
        headers: &[(&'static str, &str)],
    ) -> &'static str {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        match check(&method, version, &uri.parse().unwrap(), &map) {
            Ok(()) => "pass",
            Err(problem) => problem.code().name(),
        }
    }

    #[test]
    fn only_names_of_this_machine_are_answered() {
        let cases = [
            ("127.0.0.1:8000", "pass"),
            ("127.0.0.1", "pass"),
            ("127.8.9.1:80", "pass"),
            ("localhost:8000", "pass"),
            ("LocalHost", "pass"),
            ("[::1]:8000", "pass"),
            ("kelly.internal:8000", "host_not_allowed"),
            ("evil.example", "host_not_allowed"),
            ("localhost.evil.example", "host_not_allowed"),
            ("127.0.0.1.evil.example", "host_not_allowed"),
            ("192.168.0.7:8000", "host_not_allowed"),
            ("0.0.0.0:8000", "host_not_allowed"),
            ("user@127.0.0.1", "invalid_host"),
            ("", "invalid_host"),
            ("a b", "invalid_host"),
        ];
        for (host, expected) in cases {
            assert_eq!(verdict(Method::GET, "/livez", &[("host", host)]), expected, "{host}");
        }
    }

    #[test]
    fn the_host_must_be_one() {
        assert_eq!(verdict(Method::GET, "/", &[]), "invalid_host");
        let two = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(verdict(Method::GET, "/", &two), "invalid_host");
        let absolute = verdict(Method::GET, "http://evil.example/", &[("host", "localhost")]);
        assert_eq!(absolute, "host_not_allowed");
    }

    #[test]
    fn the_oldest_http_needs_no_host() {
        let old =
            |method, headers: &[(&'static str, &str)]| verdict_of(Version::HTTP_10, method, "/", headers);
        assert_eq!(old(Method::GET, &[]), "pass");
        assert_eq!(old(Method::POST, &[]), "pass");
        assert_eq!(old(Method::GET, &[("host", "evil.example")]), "host_not_allowed");
        assert_eq!(old(Method::GET, &[("host", "")]), "invalid_host");
        assert_eq!(old(Method::POST, &[("origin", "http://evil.example")]), "origin_not_allowed");
        assert_eq!(old(Method::POST, &[("sec-fetch-site", "cross-site")]), "origin_not_allowed");
    }

    #[test]
    fn foreign_pages_may_not_write() {
        let cases: [(Option<(&'static str, &str)>, &str); 9] = [
            (None, "pass"),
            (Some(("origin", "http://localhost:8000")), "pass"),
            (Some(("origin", "http://localhost:3000")), "origin_not_allowed"),
            (Some(("origin", "http://127.0.0.1:8000")), "origin_not_allowed"),
            (Some(("origin", "http://evil.example")), "origin_not_allowed"),
            (Some(("origin", "null")), "origin_not_allowed"),
            (Some(("sec-fetch-site", "same-origin")), "pass"),
            (Some(("sec-fetch-site", "same-site")), "origin_not_allowed"),
            (Some(("sec-fetch-site", "cross-site")), "origin_not_allowed"),
        ];
        for (header, expected) in cases {
            let mut headers = vec![("host", "localhost:8000")];
            headers.extend(header);
            assert_eq!(verdict(Method::POST, "/", &headers), expected, "{header:?}");
            assert_eq!(verdict(Method::GET, "/", &headers), "pass", "{header:?}");
        }
    }
}
