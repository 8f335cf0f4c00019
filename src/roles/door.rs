//! Where the HTTP interface is found, whom it answers to, and what encrypts it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use kelly_api::{Door, TlsIdentity};
use kelly_cli::{LocalServer, Usage};
use tokio::sync::watch;

use crate::config::{Config, Http};

/// How often the files of the certificate are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Whom the interface answers to.
pub fn door(config: &Config) -> Door {
    let (http, listen) = (&config.http, config.general.listen);
    let loopback = Door::loopback(listen.port());
    let mut hosts = http.hosts.clone();
    if let Some(address) = own_address(listen) {
        hosts.extend(address.to_string().parse());
    }
    let is_tls = http.certificate.is_some();
    Door {
        hosts,
        origins: http.origins.clone(),
        trusted_proxies: http.proxies.clone(),
        is_tls,
        // The prefix makes browsers refuse it where it is not encrypted, or of another host.
        session_cookie: if is_tls { "__Host-kelly-session".to_owned() } else { loopback.session_cookie },
    }
}

/// The address that others reach it at, if it is one.
fn own_address(listen: SocketAddr) -> Option<IpAddr> {
    let address = listen.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

/// Where a person finds the interface: by its first name where it has one and is not on loopback.
pub fn url_for_people(config: &Config) -> String {
    let listen = config.general.listen;
    match config.http.hosts.first() {
        Some(host) if !listen.ip().is_loopback() || config.http.certificate.is_some() => {
            format!("{}://{host}:{}", scheme(config), listen.port())
        }
        _ => on_this_machine(config, listen).url,
    }
}

/// Where the tools on this machine find it: on loopback, unless it listens elsewhere. Where a certificate has to have its name, they
/// ask for the first one that can be this machine's, and connect to the same address all the same.
pub fn on_this_machine(config: &Config, listen: SocketAddr) -> LocalServer {
    let mut address = listen;
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    if config.http.certificate.is_some() {
        for host in &config.http.hosts {
            match host.as_address() {
                Some(own) if listen.ip().is_unspecified() && is_of_this_machine(own) => address.set_ip(own),
                Some(own) if own == address.ip() => {}
                Some(_) => continue,
                None => {}
            }
            return LocalServer { url: format!("https://{host}:{}", listen.port()), address };
        }
    }
    LocalServer { url: format!("{}://{address}", scheme(config)), address }
}

/// Only an address of its own can be bound to.
fn is_of_this_machine(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

fn scheme(config: &Config) -> &'static str {
    if config.http.certificate.is_some() { "https" } else { "http" }
}

/// What is allowed, and what somebody who starts it so should know; behind a semicolon how to fix it.
pub fn remarks(config: &Config) -> Vec<String> {
    let (http, listen) = (&config.http, config.general.listen);
    let mut remarks = Vec::new();
    if listen.ip().is_loopback() {
        return remarks;
    }
    if http.certificate.is_none() && http.proxies.is_empty() {
        remarks.push(format!(
            "{listen} is reachable from other machines and speaks plain HTTP: whoever is on the way reads tokens and sessions; \
             set KELLY_TLS_CERTIFICATE and KELLY_TLS_KEY, or put a proxy that speaks TLS in front and name it in KELLY_TRUSTED_PROXIES"
        ));
    }
    if http.hosts.is_empty() && own_address(listen).is_none() {
        remarks.push(format!(
            "{listen} is every address of this machine, and no host name is allowed: it answers to loopback only; set \
             KELLY_ALLOWED_HOSTS to the names by which others reach it"
        ));
    }
    remarks
}

/// What encrypts connections, where something does, and the task that reads it again when it changes.
pub fn tls(
    http: &Http,
) -> anyhow::Result<Option<(watch::Receiver<TlsIdentity>, impl Future<Output = ()> + use<>)>> {
    let (Some(certificate), Some(key)) = (http.certificate.clone(), http.key.clone()) else {
        return Ok(None);
    };
    let mut seen = (stamp(&certificate), stamp(&key));
    let (identity, receiver) = watch::channel(read(&certificate, &key)?);
    let watching = async move {
        let mut is_reported = false;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let found = (stamp(&certificate), stamp(&key));
            if found == seen {
                continue;
            }
            // While one of the two files is replaced and the other is not they do not go together; then it is tried again.
            match read(&certificate, &key) {
                Ok(new) => {
                    (seen, is_reported) = (found, false);
                    identity.send_replace(new);
                    tracing::info!("the TLS certificate was read again");
                }
                Err(error) if !is_reported => {
                    is_reported = true;
                    tracing::error!("the new TLS certificate cannot be used, the old one stays: {error:#}");
                }
                Err(_) => {}
            }
        }
    };
    Ok(Some((receiver, watching)))
}

fn read(certificate: &Path, key: &Path) -> anyhow::Result<TlsIdentity> {
    let text = |path: &Path| fs::read(path).with_context(|| format!("reading {}", path.display()));
    TlsIdentity::of_pem(&text(certificate)?, &text(key)?).map_err(|error| {
        Usage(format!("TLS with {} and {}: {error}", certificate.display(), key.display())).into()
    })
}

/// What changes with a file's content.
fn stamp(path: &Path) -> Option<(u64, u64, i64, i64)> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wherever its name leads.
    #[test]
    fn the_tools_connect_to_where_it_listens() {
        let tls = [("KELLY_TLS_CERTIFICATE", "/c"), ("KELLY_TLS_KEY", "/k")];
        for (listen, hosts, url, address) in [
            ("127.0.0.1:80", "kelly.example.com", "https://kelly.example.com:80", "127.0.0.1:80"),
            ("0.0.0.0:80", "kelly.example.com", "https://kelly.example.com:80", "127.0.0.1:80"),
            ("[::]:80", "kelly.example.com", "https://kelly.example.com:80", "[::1]:80"),
            ("10.0.0.5:80", "kelly.example.com", "https://kelly.example.com:80", "10.0.0.5:80"),
            // An address has no name to be found by: only one of this machine is asked.
            ("10.0.0.5:80", "10.0.0.5", "https://10.0.0.5:80", "10.0.0.5:80"),
            ("10.0.0.5:80", "10.0.0.6,k", "https://k:80", "10.0.0.5:80"),
            ("0.0.0.0:80", "127.0.0.2", "https://127.0.0.2:80", "127.0.0.2:80"),
            ("0.0.0.0:80", "192.0.2.1", "https://127.0.0.1:80", "127.0.0.1:80"),
        ] {
            let mut pairs = tls.to_vec();
            pairs.extend([("KELLY_LISTEN", listen), ("KELLY_ALLOWED_HOSTS", hosts)]);
            let config = Config::of(&pairs);
            let expected = LocalServer { url: url.to_owned(), address: address.parse().unwrap() };
            assert_eq!(on_this_machine(&config, config.general.listen), expected, "{listen} {hosts}");
        }
    }

    #[test]
    fn a_person_and_the_tools_find_it_by_what_it_answers_to() {
        let tls = [("KELLY_TLS_CERTIFICATE", "/c"), ("KELLY_TLS_KEY", "/k")];
        let named = ("KELLY_ALLOWED_HOSTS", "kelly.example.com,k");
        let open = ("KELLY_LISTEN", "0.0.0.0:8000");
        for (pairs, people, tools, remarks_expected) in [
            (vec![], "http://127.0.0.1:8000", "http://127.0.0.1:8000", 0),
            (vec![named], "http://127.0.0.1:8000", "http://127.0.0.1:8000", 0),
            (vec![open], "http://127.0.0.1:8000", "http://127.0.0.1:8000", 2),
            (vec![open, named], "http://kelly.example.com:8000", "http://127.0.0.1:8000", 1),
            (vec![("KELLY_LISTEN", "10.0.0.5:80")], "http://10.0.0.5:80", "http://10.0.0.5:80", 1),
            (vec![("KELLY_LISTEN", "[::]:80")], "http://[::1]:80", "http://[::1]:80", 2),
            (
                vec![open, named, ("KELLY_TRUSTED_PROXIES", "10.0.0.1")],
                "http://kelly.example.com:8000",
                "http://127.0.0.1:8000",
                0,
            ),
            (
                vec![open, named, tls[0], tls[1]],
                "https://kelly.example.com:8000",
                "https://kelly.example.com:8000",
                0,
            ),
        ] {
            let config = Config::of(&pairs);
            assert_eq!(url_for_people(&config), people, "{pairs:?}");
            assert_eq!(on_this_machine(&config, config.general.listen).url, tools, "{pairs:?}");
            assert_eq!(remarks(&config).len(), remarks_expected, "{pairs:?}");
        }
        assert_eq!(door(&Config::of(&[("KELLY_LISTEN", "10.0.0.5:80")])).hosts.len(), 1);
        assert_eq!(door(&Config::of(&[])).session_cookie, "kelly-session-8000");
        assert_eq!(door(&Config::of(&tls)).session_cookie, "__Host-kelly-session");
    }
}
