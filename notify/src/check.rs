//! What is wrong with settings, said so that a person can mend it.

use std::collections::BTreeSet;
use std::fmt;

use crate::settings::{Destination, Encryption, Heartbeat, Kind, Route, Settings};

/// Most destinations, and most routes. A file with more is refused.
pub const MAX_ENTRIES: usize = 200;

/// Longest name, in characters.
const MAX_NAME_CHARS: usize = 100;

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where: `destination "ops"`, `route "all"`, `heartbeat`.
    pub place: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.place, self.problem)
    }
}

/// Everything that is wrong.
pub(crate) fn check(settings: &Settings) -> Vec<Fault> {
    let mut faults = Faults { place: String::new(), found: Vec::new() };
    faults.at("the file");
    faults.unless(
        settings.destinations.len() <= MAX_ENTRIES && settings.routes.len() <= MAX_ENTRIES,
        "it has more than 200 destinations or routes",
    );
    let mut names = BTreeSet::new();
    for destination in &settings.destinations {
        faults.at(format!("destination {:?}", destination.id));
        faults.unless(is_name(&destination.id), NAME);
        faults.unless(names.insert(&destination.id), "another destination has this id");
        faults.destination(destination);
    }
    let mut routes = BTreeSet::new();
    for route in &settings.routes {
        faults.at(format!("route {:?}", route.id));
        faults.unless(is_name(&route.id), NAME);
        faults.unless(routes.insert(&route.id), "another route has this id");
        faults.route(route, &names);
    }
    faults.at("digest");
    let digest = &settings.digest;
    faults.unless(digest.over >= 1, "over must be at least 1");
    for (field, value) in [("window_seconds", digest.window_seconds), ("every_seconds", digest.every_seconds)]
    {
        faults.unless((10..=86_400).contains(&value), format!("{field} must be from 10 to 86400"));
    }
    if let Some(heartbeat) = &settings.heartbeat {
        faults.at("heartbeat");
        faults.heartbeat(heartbeat);
    }
    faults.found
}

const NAME: &str = "an id has 1 to 100 letters, digits, '-', '_' or '.'";

fn is_name(text: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    !text.is_empty() && text.len() <= MAX_NAME_CHARS && text.chars().all(plain)
}

/// Whether it is an address that can be sent to. Its text is not repeated anywhere: it may be a secret.
pub(crate) fn is_url(text: &str) -> bool {
    reqwest::Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.host_str().is_some_and(|host| !host.is_empty())
            && url.username().is_empty()
            && url.password().is_none()
    })
}

/// Host and port of `host:port`.
pub(crate) fn host_and_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
    (!host.is_empty() && !host.contains(['/', ' ', '@'])).then_some((host, port))
}

struct Faults {
    place: String,
    found: Vec<Fault>,
}

impl Faults {
    fn at(&mut self, place: impl Into<String>) {
        self.place = place.into();
    }

    fn unless(&mut self, is_right: bool, problem: impl Into<String>) {
        if !is_right {
            self.found.push(Fault { place: self.place.clone(), problem: problem.into() });
        }
    }

    /// At most one of them.
    fn not_twice(&mut self, what: &str, places: &[&Option<String>]) {
        let given = places.iter().filter(|place| place.is_some()).count();
        self.unless(given <= 1, format!("{what} is given twice: keep one"));
    }

    fn destination(&mut self, destination: &Destination) {
        let Destination { kind, url, url_file, url_variable, channel, server, user, from, to, .. } =
            destination;
        self.not_twice("the secret", &[&destination.secret_file, &destination.secret_variable]);
        self.not_twice("the address", &[url, url_file, url_variable]);
        let has_secret = destination.secret().is_some();
        let unused =
            |given: bool, field: &str| given.then(|| format!("{field} means nothing for {}", kind.code()));
        let is_email = *kind == Kind::Email;
        let strange = [
            unused(channel.is_some() && *kind != Kind::Slack, "channel"),
            unused(server.is_some() && !is_email, "server"),
            unused(user.is_some() && !is_email, "user"),
            unused(from.is_some() && !is_email, "from"),
            unused(!to.is_empty() && !is_email, "to"),
            unused(destination.encryption != Encryption::default() && !is_email, "encryption"),
            unused(url.is_some() && is_email, "url"),
            unused(destination.secret_url().is_some() && *kind != Kind::Webhook, "url_file or url_variable"),
        ];
        strange.into_iter().flatten().for_each(|problem| self.unless(false, problem));
        if let Some(url) = url {
            self.unless(
                is_url(url),
                "url must be http://host/… or https://host/…, without a user and a password",
            );
        }
        self.unless(
            destination.per_minute.is_none_or(|rate| (1..=6_000).contains(&rate)),
            "per_minute must be from 1 to 6000",
        );
        match kind {
            Kind::Pagerduty => {
                self.unless(has_secret, "the routing key is missing: name secret_file or secret_variable");
            }
            Kind::Slack => {
                self.unless(has_secret, "the bot token is missing: name secret_file or secret_variable");
                let is_id = |channel: &str| {
                    channel.len() > 1 && channel.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
                };
                self.unless(
                    channel.as_deref().is_some_and(is_id),
                    "channel must be the channel's id, e.g. C024BE91L: a message is changed under it",
                );
            }
            Kind::Webhook => {
                self.unless(
                    url.is_some() || destination.secret_url().is_some(),
                    "the address is missing: name url, url_file or url_variable",
                );
            }
            Kind::Email => self.email(destination, has_secret),
        }
    }

    fn email(&mut self, destination: &Destination, has_secret: bool) {
        let server = destination.server.as_deref().and_then(host_and_port);
        self.unless(server.is_some(), "server must be host:port, e.g. smtp.example.com:587");
        self.unless(
            destination.from.as_deref().is_some_and(is_mailbox),
            "from must be an address, e.g. Kelly <kelly@example.com>",
        );
        self.unless(
            !destination.to.is_empty()
                && destination.to.len() <= 50
                && destination.to.iter().all(|to| is_mailbox(to)),
            "to must be 1 to 50 addresses",
        );
        self.unless(
            destination.user.is_some() == has_secret,
            "user and password belong together: name both, or neither",
        );
        self.unless(
            !(has_secret && destination.encryption == Encryption::None),
            "a password would be sent in plain text: use starttls or tls",
        );
    }

    fn route(&mut self, route: &Route, destinations: &BTreeSet<&String>) {
        self.unless(!route.destinations.is_empty(), "destinations is empty");
        for name in &route.destinations {
            self.unless(destinations.contains(name), format!("there is no destination {name:?}"));
        }
        self.unless(route.wait_seconds <= 3_600, "wait_seconds must be at most 3600");
        self.unless((1..=86_400).contains(&route.more_seconds), "more_seconds must be from 1 to 86400");
        self.unless(
            route.renotify_minutes <= 10_080,
            "renotify_minutes must be at most 10080, a week; 0 is never",
        );
    }

    fn heartbeat(&mut self, heartbeat: &Heartbeat) {
        self.not_twice("the address", &[&heartbeat.url, &heartbeat.url_file, &heartbeat.url_variable]);
        self.unless(
            heartbeat.url.is_some() || heartbeat.secret_url().is_some(),
            "the address is missing: name url, url_file or url_variable",
        );
        self.unless(
            heartbeat.url.as_deref().is_none_or(is_url),
            "url must be http://host/… or https://host/…",
        );
        self.unless((5..=86_400).contains(&heartbeat.every_seconds), "every_seconds must be from 5 to 86400");
    }
}

fn is_mailbox(text: &str) -> bool {
    text.parse::<lettre::message::Mailbox>().is_ok()
}
