//! What a request brings along to say whose it is. Never from the URL: URLs are logged, kept in histories and passed on.

use axum::http::header::{AUTHORIZATION, COOKIE, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use axum::http::{HeaderMap, HeaderValue};
use kelly_auth::Refusal;

use crate::ports::Credentials;

/// The subprotocol of Kelly's WebSockets. A browser, which can set no header there, offers it together with
/// `bearer.` and its token; the server chooses this one and never repeats the other.
pub(crate) const SUBPROTOCOL: &str = "kelly.v1";
/// What stands before the token in the second subprotocol.
const BEARER_SUBPROTOCOL: &str = "bearer.";

/// Whether the request asks for a WebSocket.
pub(crate) fn is_upgrade(headers: &HeaderMap) -> bool {
    headers
        .get_all(UPGRADE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(','))
        .any(|name| name.trim().eq_ignore_ascii_case("websocket"))
}

/// The credentials of a request: of the Authorization header, else for a WebSocket of the subprotocol, else the session
/// in the cookie of this name.
pub(crate) fn of_request<'a>(headers: &'a HeaderMap, cookie: &str) -> Result<Credentials<'a>, Refusal> {
    let mut authorizations = headers.get_all(AUTHORIZATION).iter();
    if let Some(first) = authorizations.next() {
        let one = if authorizations.next().is_none() { bearer(first) } else { None };
        return one.map(Credentials::Token).ok_or(Refusal::Credentials);
    }
    if is_upgrade(headers)
        && let Some(token) = of_subprotocols(headers)?
    {
        return Ok(Credentials::Token(token));
    }
    let mut sessions = cookies(headers).filter(|(name, _)| *name == cookie).map(|(_, value)| value);
    match (sessions.next(), sessions.next()) {
        (None, _) => Ok(Credentials::Nothing),
        (Some(session), None) => Ok(Credentials::Session(session)),
        // Whoever set the second one is not known.
        (Some(_), Some(_)) => Err(Refusal::Credentials),
    }
}

fn bearer(header: &HeaderValue) -> Option<&str> {
    let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
    let token = token.trim_start_matches(' ');
    let is_token = !token.is_empty() && !token.contains([' ', ',']);
    (scheme.eq_ignore_ascii_case("bearer") && is_token).then_some(token)
}

/// The token among the subprotocols. It counts only beside Kelly's own, which is what the server can choose.
fn of_subprotocols(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut token = None;
    let mut has_ours = false;
    for offered in headers.get_all(SEC_WEBSOCKET_PROTOCOL) {
        for name in offered.to_str().map_err(|_| Refusal::Credentials)?.split(',').map(str::trim) {
            has_ours |= name == SUBPROTOCOL;
            if let Some(bearer) = name.strip_prefix(BEARER_SUBPROTOCOL)
                && (bearer.is_empty() || token.replace(bearer).is_some())
            {
                return Err(Refusal::Credentials);
            }
        }
    }
    if token.is_some() && !has_ours { Err(Refusal::Credentials) } else { Ok(token) }
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|pairs| pairs.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(headers: &[(&'static str, &str)]) -> Result<String, Refusal> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        of_request(&map, "kelly").map(|credentials| match credentials {
            Credentials::Nothing => "nothing".to_owned(),
            Credentials::Token(token) => format!("token {token}"),
            Credentials::Session(session) => format!("session {session}"),
        })
    }

    #[test]
    fn a_header_comes_before_a_cookie() {
        for (headers, expected) in [
            (&[][..], Ok("nothing")),
            (&[("authorization", "Bearer a.b.c")], Ok("token a.b.c")),
            (&[("authorization", "bearer  a.b.c")], Ok("token a.b.c")),
            (&[("authorization", "Bearer a.b.c"), ("cookie", "kelly=s")], Ok("token a.b.c")),
            (&[("cookie", "x=1; kelly=s.t=; y")], Ok("session s.t=")),
            (&[("cookie", "x=1"), ("cookie", "kelly=s")], Ok("session s")),
            (&[("cookie", "kelly2=s; akelly=s")], Ok("nothing")),
            (&[("cookie", "kelly=s; kelly=t")], Err(Refusal::Credentials)),
            (&[("authorization", "Bearer")], Err(Refusal::Credentials)),
            (&[("authorization", "Bearer ")], Err(Refusal::Credentials)),
            (&[("authorization", "Bearer a b")], Err(Refusal::Credentials)),
            (&[("authorization", "Basic eDp5")], Err(Refusal::Credentials)),
            (&[("authorization", ""), ("cookie", "kelly=s")], Err(Refusal::Credentials)),
            (&[("authorization", "Bearer a"), ("authorization", "Bearer b")], Err(Refusal::Credentials)),
        ] {
            assert_eq!(found(headers), expected.map(str::to_owned), "{headers:?}");
        }
    }

    #[test]
    fn a_subprotocol_counts_for_a_web_socket_only() {
        const PROTOCOL: &str = "sec-websocket-protocol";
        let socket = ("upgrade", "websocket");
        for (headers, expected) in [
            (&[socket, (PROTOCOL, "kelly.v1, bearer.a.b.c")][..], Ok("token a.b.c")),
            (&[socket, (PROTOCOL, "kelly.v1"), (PROTOCOL, "bearer.a")], Ok("token a")),
            (&[("upgrade", "h2c, WebSocket"), (PROTOCOL, "bearer.a,kelly.v1")], Ok("token a")),
            (&[(PROTOCOL, "kelly.v1, bearer.a")], Ok("nothing")),
            (&[socket, (PROTOCOL, "kelly.v1"), ("cookie", "kelly=s")], Ok("session s")),
            (&[socket, (PROTOCOL, "bearer.a")], Err(Refusal::Credentials)),
            (&[socket, (PROTOCOL, "kelly.v1, bearer.")], Err(Refusal::Credentials)),
            (&[socket, (PROTOCOL, "kelly.v1, bearer.a, bearer.b")], Err(Refusal::Credentials)),
        ] {
            assert_eq!(found(headers), expected.map(str::to_owned), "{headers:?}");
        }
    }
}
