//! What a setting is: one row of its part's table (`tables`), from which follow its field in the
//! configuration, its reading, `kelly config`, the names that are known, and what is offered for a slip.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use kelly_api::{BadName, HostName, Network, PageOrigin};
use kelly_notify::Allowed;

use super::Secret;
use super::collector::{CollectorHeaders, CollectorUrl, collector_headers, collector_url, ratio};
use super::public_url::{PublicUrl, public_url};
use super::targets::{LogTarget, StoreTarget, log_target, store_target};
use crate::traces::Ratio;

/// Which whole numbers a setting takes, both bounds included, and what one of them is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    least: u64,
    most: u64,
    unit: Unit,
}

/// What a whole number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// Things.
    One,
    /// Bytes; `64MiB` and the like are understood.
    Byte,
    Millisecond,
    Second,
    Hour,
}

/// So many things.
pub const fn count(least: u64, most: u64) -> Bounds {
    Bounds { least, most, unit: Unit::One }
}

/// So many bytes.
pub const fn bytes(least: u64, most: u64) -> Bounds {
    Bounds { least, most, unit: Unit::Byte }
}

/// So many milliseconds.
pub const fn milliseconds(least: u64, most: u64) -> Bounds {
    Bounds { least, most, unit: Unit::Millisecond }
}

/// So many seconds.
pub const fn seconds(least: u64, most: u64) -> Bounds {
    Bounds { least, most, unit: Unit::Second }
}

/// So many hours.
pub const fn hours(least: u64, most: u64) -> Bounds {
    Bounds { least, most, unit: Unit::Hour }
}

/// One row of a table.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Dotted name in the TOML file; also what the rest of the program calls it by.
    pub name: &'static str,
    /// Environment variable.
    pub variable: &'static str,
    /// Value when nobody says anything; `None` means unset.
    pub default: Option<&'static str>,
    /// Which numbers it takes, where it is one.
    pub bounds: Option<Bounds>,
    /// Never shown.
    pub secret: bool,
    /// `None` when it has effect, else which part it waits for.
    pub waits_for: Option<&'static str>,
    /// One line for people.
    pub about: &'static str,
}

/// A row without default and bounds.
pub const fn setting(name: &'static str, variable: &'static str) -> Setting {
    Setting { name, variable, default: None, bounds: None, secret: false, waits_for: None, about: "" }
}

impl Setting {
    /// Its value when nobody says anything. No other place repeats it.
    pub const fn default(mut self, value: &'static str) -> Self {
        self.default = Some(value);
        self
    }

    /// The numbers it takes.
    pub const fn within(mut self, bounds: Bounds) -> Self {
        self.bounds = Some(bounds);
        self
    }

    /// Never shown.
    pub const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// Taken, and without effect until that part is there.
    pub const fn waits_for(mut self, part: &'static str) -> Self {
        self.waits_for = Some(part);
        self
    }

    /// What it is for.
    pub const fn about(mut self, about: &'static str) -> Self {
        self.about = about.trim_ascii();
        self
    }

    /// The number of a text, if it is within the bounds.
    fn number(&self, text: &str) -> Result<u64, String> {
        let Some(Bounds { least, most, unit }) = self.bounds else {
            return Err("has no bounds in its table".to_owned());
        };
        let (number, note) = match unit {
            Unit::Byte => (byte_count(text), " bytes (64MiB also is one)"),
            _ => (u64::from_str(text.trim()).ok(), ""),
        };
        number
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| format!("{text:?} is no whole number from {least} to {most}{note}"))
    }
}

/// What a setting's text can become.
pub trait FromSetting: Sized {
    /// The value, or what is wrong with the text and what is right.
    fn from_setting(setting: &Setting, text: &str) -> Result<Self, String>;

    /// What stands for a value that nobody gave, or that is wrong: that is reported, so it is never used.
    fn absent() -> Self;
}

impl<T: FromSetting> FromSetting for Option<T> {
    fn from_setting(setting: &Setting, text: &str) -> Result<Self, String> {
        T::from_setting(setting, text).map(Some)
    }

    fn absent() -> Self {
        None
    }
}

/// A type's reading, and what stands for it when it is absent.
macro_rules! from_setting {
    ($($kind:ty, absent $absent:expr, |$setting:ident, $text:ident| $read:expr;)*) => {$(
        impl FromSetting for $kind {
            fn from_setting($setting: &Setting, $text: &str) -> Result<Self, String> {
                $read
            }

            fn absent() -> Self {
                $absent
            }
        }
    )*};
}

from_setting! {
    bool, absent false, |_setting, text| switch(text);
    u32, absent 0, |setting, text| narrow(setting.number(text)?);
    u64, absent 0, |setting, text| setting.number(text);
    usize, absent 0, |setting, text| narrow(setting.number(text)?);
    Duration, absent Duration::ZERO, |setting, text| duration(setting, text);
    String, absent String::new(), |_setting, text| given(text).map(str::to_owned);
    PathBuf, absent PathBuf::new(), |_setting, text| given(text).map(PathBuf::from);
    Secret, absent Secret::new(String::new()), |_setting, text| given(text).map(|text| Secret::new(text.to_owned()));
    SocketAddr, absent SocketAddr::from(([127, 0, 0, 1], 8_000)), |_setting, text| address(text);
    Vec<HostName>, absent Vec::new(), |_setting, text| list(text);
    Vec<PageOrigin>, absent Vec::new(), |_setting, text| list(text);
    Vec<Network>, absent Vec::new(), |_setting, text| list(text);
    Allowed, absent Allowed::default(), |_setting, text| text.parse().map_err(|error| format!("{text:?}: {error}"));
    PublicUrl, absent PublicUrl(String::new()), |_setting, text| public_url(text);
    Logging, absent Logging::Text, |_setting, text| text.parse();
    ClusterName, absent ClusterName(String::new()), |_setting, text| cluster(text);
    LogTarget, absent LogTarget::Embedded(PathBuf::new()), |_setting, text| log_target(text);
    CollectorHeaders, absent CollectorHeaders::none(), |_setting, text| collector_headers(text);
    CollectorUrl, absent CollectorUrl::nowhere(), |_setting, text| collector_url(text);
    Ratio, absent Ratio::NOTHING, |_setting, text| ratio(text);
    StoreTarget, absent StoreTarget::Embedded(PathBuf::new()), |_setting, text| store_target(text);
}

/// How diagnostics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logging {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

impl FromStr for Logging {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            other => Err(format!("{other:?} is neither text nor json")),
        }
    }
}

/// The name of a ClickHouse cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterName(pub String);

fn cluster(name: &str) -> Result<ClusterName, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    match !name.is_empty() && name.chars().all(is_plain) {
        true => Ok(ClusterName(name.to_owned())),
        false => Err(format!("{name:?} is no cluster name: letters, digits, '_', '-' and '.' only")),
    }
}

fn given(text: &str) -> Result<&str, String> {
    if text.trim().is_empty() { Err("must not be empty".to_owned()) } else { Ok(text) }
}

fn switch(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

/// Bounds that a table gives to a narrow type are within it; a wrong table is a fault of the setting.
fn narrow<T: TryFrom<u64>>(number: u64) -> Result<T, String> {
    T::try_from(number).map_err(|_| format!("{number} is more than this machine counts"))
}

fn duration(setting: &Setting, text: &str) -> Result<Duration, String> {
    let number = setting.number(text)?;
    Ok(match setting.bounds.map(|bounds| bounds.unit) {
        Some(Unit::Millisecond) => Duration::from_millis(number),
        Some(Unit::Hour) => Duration::from_secs(number.saturating_mul(3_600)),
        _ => Duration::from_secs(number),
    })
}

/// What stands between commas.
fn list<T: FromStr<Err = BadName>>(text: &str) -> Result<Vec<T>, String> {
    given(text)?
        .split(',')
        .map(str::trim)
        .map(|one| one.parse().map_err(|error| format!("{one:?}: {error}")))
        .collect()
}

fn address(text: &str) -> Result<SocketAddr, String> {
    // `localhost` is how people name loopback; everything else is an address, so that no resolver
    // decides what Kelly is reachable on.
    let address = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    match SocketAddr::from_str(address.as_deref().unwrap_or(text)) {
        Ok(address) => Ok(address),
        Err(_) => Err(format!("{text:?} is no address: write host:port, e.g. 127.0.0.1:8000")),
    }
}

fn byte_count(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number = u64::from_str(&text[..digits]).ok()?;
    let unit: u64 = match text[digits..].trim() {
        "" | "B" => 1,
        "KiB" | "K" | "k" => 1 << 10,
        "MiB" | "M" | "m" => 1 << 20,
        "GiB" | "G" | "g" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(unit)
}

/// The table of a part: a row a setting, from which its field and its reading follow. The comment of a row is
/// what people read of it.
macro_rules! settings {
    ($(#[$meta:meta])* pub struct $part:ident {
        $(#[doc = $about:literal] $field:ident: $kind:ty = $setting:expr,)*
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone)]
        pub struct $part {
            $(#[doc = $about] pub $field: $kind,)*
        }

        impl $part {
            /// Its rows.
            pub const SETTINGS: &'static [$crate::config::setting::Setting] = &[$($setting.about($about)),*];

            /// Reads every setting; what is wrong is noted.
            pub fn read(reader: &mut $crate::config::values::SettingReader<'_>) -> Self {
                Self { $($field: reader.read(&$setting.about($about)),)* }
            }
        }
    };
}
pub(super) use settings;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_understood_with_units() {
        for (text, expected) in [
            ("1", Some(1)),
            ("64MiB", Some(64 << 20)),
            ("2 GiB", Some(2 << 30)),
            ("3k", Some(3 << 10)),
            ("1TB", None),
            ("-1", None),
            ("", None),
            ("99999999999GiB", None),
        ] {
            assert_eq!(byte_count(text), expected, "{text:?}");
        }
    }

    #[test]
    fn durations_are_of_their_unit() {
        for (bounds, expected) in [
            (milliseconds(1, 9), Duration::from_millis(7)),
            (seconds(1, 9), Duration::from_secs(7)),
            (hours(1, 9), Duration::from_secs(7 * 3_600)),
        ] {
            assert_eq!(Duration::from_setting(&setting("x", "X").within(bounds), "7"), Ok(expected));
        }
    }
}
