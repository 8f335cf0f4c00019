//! Keeps foreign web pages out and says who is really asking. The Host must be a name that this server answers to (a page
//! that rebinds its own DNS name to this address still sends its own name as Host); a browser may change something, or open
//! a WebSocket, only from a page that this server delivered or that is allowed. Forwarded headers count only where a proxy
//! that is trusted sent them.

use std::net::IpAddr;

use axum::extract::Request;
use axum::extract::connect_info::ConnectInfo;
use axum::http::header::{HOST, ORIGIN, STRICT_TRANSPORT_SECURITY};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, Uri, Version};
use axum::response::{IntoResponse, Response};

use crate::caller::ForwardedAddress;
use crate::connection::ConnectionInfo;
use crate::door::{Door, LOOPBACK_NAME, is_loopback};
use crate::problem::{Code, Problem};
use crate::sign_in::credentials::is_upgrade;
use crate::state::HandlerState;

/// What browsers are told over TLS: for a year only that way.
const STRICT_TRANSPORT: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Whether the client's connection is encrypted: by this server, or by a trusted proxy in front of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IsEncrypted(pub(crate) bool);

/// Refuses requests that a foreign page may have made, and notes who asks and how.
pub(crate) async fn guard(
    shared: &HandlerState,
    mut request: Request,
    next: impl AsyncFnOnce(Request) -> Response,
) -> Response {
    let door = &shared.app.settings.door;
    let peer = request.extensions().get::<ConnectInfo<ConnectionInfo>>();
    let peer = peer.map(|ConnectInfo(connection)| connection.peer.ip());
    let is_proxied = peer.is_some_and(|peer| door.trusts(peer));
    let is_encrypted = door.is_tls || (is_proxied && is_forwarded_encrypted(request.headers()));
    let host = match check(door, &Asking::of(&request, is_encrypted)) {
        Ok(host) => host,
        Err(problem) => return problem.into_response(),
    };
    if is_proxied && let Some(address) = forwarded_address(door, request.headers()) {
        request.extensions_mut().insert(ForwardedAddress(address));
    }
    request.extensions_mut().insert(IsEncrypted(is_encrypted));
    let mut response = next(request).await;
    // A browser would apply it to every port of localhost.
    if is_encrypted && !is_loopback(host.host()) {
        response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, STRICT_TRANSPORT);
    }
    response
}

/// What of a request says whether a foreign page made it.
struct Asking<'a> {
    method: &'a Method,
    version: Version,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    is_encrypted: bool,
}

impl<'a> Asking<'a> {
    fn of(request: &'a Request, is_encrypted: bool) -> Self {
        let (method, version) = (request.method(), request.version());
        Self { method, version, uri: request.uri(), headers: request.headers(), is_encrypted }
    }
}

fn check(door: &Door, asking: &Asking<'_>) -> Result<Authority, Problem> {
    let Asking { method, headers, .. } = *asking;
    let host = host_of(asking.version, asking.uri, headers)?;
    if !door.answers_to(host.host()) {
        return Err(Problem::new(
            Code::HostNotAllowed,
            "The Host header names a host that this server does not answer to. Use 127.0.0.1 or localhost on its own \
             machine; other names are allowed with KELLY_ALLOWED_HOSTS.",
        ));
    }
    let only_reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) && !is_upgrade(headers);
    if !only_reads && is_foreign_page(door, &host, asking) {
        return Err(Problem::new(
            Code::OriginNotAllowed,
            "The request comes from a web page of another origin (Origin, Sec-Fetch-Site), and \
             such pages may not change anything here, nor open a WebSocket.",
        ));
    }
    Ok(host)
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

/// Browsers send Origin with every request that is not GET or HEAD, and with every WebSocket; programs send neither header.
fn is_foreign_page(door: &Door, host: &Authority, asking: &Asking<'_>) -> bool {
    if let Some(origin) = asking.headers.get(ORIGIN) {
        return !origin.to_str().is_ok_and(|origin| door.is_own_page(origin, host, asking.is_encrypted));
    }
    asking.headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none")
}

/// The client's address by X-Forwarded-For: the last one that no trusted proxy has. What stands before it anybody may have
/// written.
fn forwarded_address(door: &Door, headers: &HeaderMap) -> Option<IpAddr> {
    let told: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|addresses| addresses.split(','))
        .map(str::trim)
        .collect();
    let mut last = None;
    for address in told.iter().rev() {
        let address: IpAddr = address.parse().ok()?;
        last = Some(address);
        if !door.trusts(address) {
            break;
        }
    }
    last
}

fn is_forwarded_encrypted(headers: &HeaderMap) -> bool {
    let mut schemes = headers.get_all("x-forwarded-proto").iter();
    let last = schemes.next_back().and_then(|value| value.to_str().ok());
    last.and_then(|schemes| schemes.rsplit(',').next())
        .is_some_and(|scheme| scheme.trim().eq_ignore_ascii_case("https"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door() -> Door {
        Door {
            hosts: vec!["kelly.example".parse().unwrap(), "10.0.0.5".parse().unwrap()],
            origins: vec!["https://front.example".parse().unwrap()],
            trusted_proxies: vec!["10.1.0.0/16".parse().unwrap()],
            ..Door::loopback(8_000)
        }
    }

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
        let uri = uri.parse().unwrap();
        let asking =
            Asking { method: &method, version, uri: &uri, headers: &map, is_encrypted: door().is_tls };
        match check(&door(), &asking) {
            Ok(_) => "pass",
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
            ("Kelly.Example:8000", "pass"),
            ("10.0.0.5", "pass"),
            ("10.0.0.6", "host_not_allowed"),
            ("kelly.example.evil.example", "host_not_allowed"),
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
        let cases: [(Option<(&'static str, &str)>, &str); 11] = [
            (None, "pass"),
            (Some(("origin", "http://localhost:8000")), "pass"),
            (Some(("origin", "http://localhost:3000")), "origin_not_allowed"),
            (Some(("origin", "http://127.0.0.1:8000")), "origin_not_allowed"),
            (Some(("origin", "http://evil.example")), "origin_not_allowed"),
            (Some(("origin", "null")), "origin_not_allowed"),
            (Some(("origin", "https://front.example")), "pass"),
            (Some(("origin", "http://front.example")), "origin_not_allowed"),
            (Some(("sec-fetch-site", "same-origin")), "pass"),
            (Some(("sec-fetch-site", "same-site")), "origin_not_allowed"),
            (Some(("sec-fetch-site", "cross-site")), "origin_not_allowed"),
        ];
        for (header, expected) in cases {
            let mut headers = vec![("host", "localhost:8000")];
            headers.extend(header);
            assert_eq!(verdict(Method::POST, "/", &headers), expected, "{header:?}");
            assert_eq!(verdict(Method::GET, "/", &headers), "pass", "{header:?}");
            headers.push(("upgrade", "websocket"));
            assert_eq!(verdict(Method::GET, "/", &headers), expected, "{header:?}");
        }
    }

    #[test]
    fn an_unencrypted_page_may_not_write_over_tls() {
        let host = Authority::from_static("kelly.example");
        for (origin, is_encrypted, expected) in [
            ("https://kelly.example", true, true),
            ("http://kelly.example", true, false),
            ("http://kelly.example", false, true),
            // A proxy that does not say that its client's connection is encrypted.
            ("https://kelly.example", false, true),
            ("https://front.example", true, true),
            ("kelly.example", true, false),
        ] {
            assert_eq!(door().is_own_page(origin, &host, is_encrypted), expected, "{origin} {is_encrypted}");
        }
    }

    fn forwarded(values: &[&str]) -> Option<String> {
        let mut map = HeaderMap::new();
        for value in values {
            map.append("x-forwarded-for", value.parse().unwrap());
        }
        forwarded_address(&door(), &map).map(|address| address.to_string())
    }

    #[test]
    fn the_address_is_what_the_outermost_trusted_proxy_saw() {
        for (values, expected) in [
            (&[][..], None),
            (&["192.0.2.9"], Some("192.0.2.9")),
            (&["1.1.1.1, 192.0.2.9"], Some("192.0.2.9")),
            (&["1.1.1.1", "192.0.2.9, 10.1.2.3"], Some("192.0.2.9")),
            (&["10.1.2.3"], Some("10.1.2.3")),
            (&["unknown, 10.1.2.3"], None),
            (&["192.0.2.9:80"], None),
        ] {
            assert_eq!(forwarded(values).as_deref(), expected, "{values:?}");
        }
    }

    #[test]
    fn the_scheme_is_what_the_nearest_proxy_says() {
        for (value, expected) in
            [("https", true), ("http", false), ("https, http", false), ("http,HTTPS", true)]
        {
            let headers =
                HeaderMap::from_iter([("x-forwarded-proto".parse().unwrap(), value.parse().unwrap())]);
            assert_eq!(is_forwarded_encrypted(&headers), expected, "{value}");
        }
        assert!(!is_forwarded_encrypted(&HeaderMap::new()));
    }
}
