//! Where traces go: the settings of OpenTelemetry that Kelly knows, under OpenTelemetry's own names.

use std::fmt;

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::traces::Ratio;

/// The address of a collector, to which the path of a signal is appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectorUrl(Url);

impl CollectorUrl {
    /// Stands for one that is wrong until that is said.
    pub fn nowhere() -> Self {
        Self(Url::parse("http://localhost").expect("it is an address"))
    }

    /// Where it takes traces.
    pub fn traces(&self) -> Url {
        let mut url = self.0.clone();
        let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url
    }
}

/// Headers that a collector wants, which no message, log line or listing shows.
#[derive(Clone, PartialEq, Eq)]
pub struct CollectorHeaders(HeaderMap);

impl CollectorHeaders {
    /// None.
    pub fn none() -> Self {
        Self(HeaderMap::new())
    }

    /// The headers, for the one place that sends them.
    pub fn reveal(&self) -> &HeaderMap {
        &self.0
    }
}

impl fmt::Debug for CollectorHeaders {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("(hidden)")
    }
}

/// Reads the address; the error says what would be right. Nothing of it is repeated: it may hold a password.
pub fn collector_url(text: &str) -> Result<CollectorUrl, String> {
    const WANTED: &str =
        "write http://host:port of a collector that takes OTLP over HTTP, which most do at port 4318";
    let url = Url::parse(text).map_err(|error| format!("no address ({error}): {WANTED}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(format!("no address of a collector: {WANTED}"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "credentials do not belong in the address: put them into OTEL_EXPORTER_OTLP_HEADERS".to_owned()
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("nothing may follow the path: {WANTED}"));
    }
    Ok(CollectorUrl(url))
}

/// Reads `name=value,name=value`, with values in percent encoding. Nothing of it is repeated.
pub fn collector_headers(text: &str) -> Result<CollectorHeaders, String> {
    let mut headers = HeaderMap::new();
    for (place, pair) in text.split(',').map(str::trim).enumerate().filter(|(_, pair)| !pair.is_empty()) {
        let read = pair.split_once('=').and_then(|(name, value)| {
            let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
            let mut value = HeaderValue::from_bytes(&decoded(value.trim())?).ok()?;
            value.set_sensitive(true);
            Some((name, value))
        });
        let (name, value) =
            read.ok_or_else(|| format!("part {} is no header: write name=value,name=value", place + 1))?;
        headers.append(name, value);
    }
    Ok(CollectorHeaders(headers))
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut found = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        found.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => other,
        });
    }
    Some(found)
}

/// Reads a share.
pub fn ratio(text: &str) -> Result<Ratio, String> {
    text.trim()
        .parse()
        .ok()
        .and_then(Ratio::new)
        .ok_or_else(|| format!("{text:?} is no share: write a number from 0 to 1, e.g. 0.1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gets_the_path_of_traces() {
        for (text, expected) in [
            ("http://localhost:4318", "http://localhost:4318/v1/traces"),
            ("http://localhost:4318/", "http://localhost:4318/v1/traces"),
            ("https://traces.example.com", "https://traces.example.com/v1/traces"),
            ("http://[::1]:4318/otlp/", "http://[::1]:4318/otlp/v1/traces"),
        ] {
            assert_eq!(collector_url(text).unwrap().traces().as_str(), expected);
        }
        for (wrong, says) in [
            ("grpc://c:4317", "OTLP over HTTP"),
            ("c:4318", "http://host:port"),
            ("http://", "http://host:port"),
            ("http://me:hunter2@c:4318", "OTEL_EXPORTER_OTLP_HEADERS"),
            ("http://c:4318?key=hunter2", "nothing may follow"),
            ("", "http://host:port"),
        ] {
            let fault = collector_url(wrong).unwrap_err();
            assert!(fault.contains(says) && !fault.contains("hunter2"), "{wrong}: {fault}");
        }
    }

    #[test]
    fn headers_are_read_and_never_shown() {
        let headers = collector_headers("api-key=hunter2, authorization=Bearer%20x%3D1,").unwrap();
        assert_eq!(format!("{headers:?}"), "(hidden)");
        let headers = headers.reveal();
        assert_eq!(
            (&headers["api-key"], &headers["authorization"]),
            (&"hunter2".parse().unwrap(), &"Bearer x=1".parse().unwrap())
        );
        assert!(headers.values().all(HeaderValue::is_sensitive));
        for wrong in ["hunter2", "a=b,=hunter2", "a=%2", "a=%zz", "ä=hunter2"] {
            let fault = collector_headers(wrong).unwrap_err();
            assert!(!fault.contains("hunter2"), "{fault}");
        }
    }

    #[test]
    fn a_share_is_a_number_from_0_to_1() {
        assert_eq!(ratio("0.1").unwrap(), Ratio::new(0.1).unwrap());
        for wrong in ["-1", "1.5", "NaN", "half", ""] {
            assert!(ratio(wrong).unwrap_err().contains("from 0 to 1"));
        }
    }
}
