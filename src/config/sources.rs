//! From file, environment and flags to one raw value a setting, each with its origin. Pure: the
//! file's text and the environment are handed in.

use std::collections::BTreeMap;
use std::fmt;

use super::tables::{self, all};

/// What the outside said, as it said it.
#[derive(Debug, Default, Clone)]
pub struct Given<'a> {
    /// Path (for messages) and text of the configuration file.
    pub file: Option<(&'a str, &'a str)>,
    /// The environment.
    pub environment: BTreeMap<String, String>,
    /// Settings named on the command line: the setting's name, the flag and its value.
    pub flags: Vec<(&'static str, &'static str, String)>,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The table's default.
    Default,
    /// The configuration file, with its path.
    File(String),
    /// An environment variable.
    Environment(&'static str),
    /// A flag of the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => out.write_str("default"),
            Self::File(path) => out.write_str(path),
            Self::Environment(variable) => out.write_str(variable),
            Self::Flag(flag) => out.write_str(flag),
        }
    }
}

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    /// As written.
    pub text: String,
    /// Where it was given.
    pub origin: Origin,
}

/// One thing wrong with the configuration: where, what, and how to fix it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct Fault {
    /// Variable, flag or file and key.
    pub place: String,
    /// What is wrong and what would be right.
    pub what: String,
}

impl Fault {
    pub(super) fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into() }
    }

    /// A fault in a value of a known setting.
    fn of(name: &str, origin: &Origin, what: impl Into<String>) -> Self {
        let place = match origin {
            Origin::Default => format!("{name} (default)"),
            Origin::File(path) => format!("{path}: {name}"),
            Origin::Environment(variable) => (*variable).to_owned(),
            Origin::Flag(flag) => (*flag).to_owned(),
        };
        Self::new(place, what)
    }
}

/// Every raw value, and the table handed through to librdkafka.
#[derive(Debug, Default)]
pub struct Merged {
    /// By the setting's name; a setting without a default that nobody set is absent.
    pub values: BTreeMap<&'static str, Raw>,
    /// `[kafka.properties]` of the file.
    pub kafka_properties: BTreeMap<String, String>,
    /// What was wrong. All of it is reported, not only the first.
    pub faults: Vec<Fault>,
}

/// Lays the environment over the file and the flags over both.
pub fn merge(given: &Given<'_>) -> Merged {
    let mut merged = Merged::default();
    for setting in all() {
        if let Some(default) = setting.default {
            merged.put(setting.name, default.to_owned(), Origin::Default);
        }
    }
    if let Some((path, text)) = given.file {
        merged.read_file(path, text);
    }
    merged.read_environment(&given.environment);
    for (name, flag, value) in &given.flags {
        merged.put(name, value.clone(), Origin::Flag(flag));
    }
    merged
}

impl Merged {
    fn put(&mut self, name: &'static str, text: String, origin: Origin) {
        self.values.insert(name, Raw { text, origin });
    }

    /// A fault in the value of a setting, at the place where the value was given.
    pub fn fault_of(&self, name: &str, what: impl Into<String>) -> Fault {
        let origin = self.values.get(name).map_or(Origin::Default, |raw| raw.origin.clone());
        Fault::of(name, &origin, what)
    }

    fn read_file(&mut self, path: &str, text: &str) {
        let table: toml::Table = match text.parse() {
            Ok(table) => table,
            Err(error) => {
                let line = error.span().map_or(0, |span| line_of(text, span.start));
                let what = format!("line {line}: not TOML: {}", error.message());
                self.faults.push(Fault::new(path, what));
                return;
            }
        };
        self.read_table(path, "", &table);
    }

    fn read_table(&mut self, path: &str, prefix: &str, table: &toml::Table) {
        for (name, value) in table {
            let dotted = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            if dotted == tables::KAFKA_PROPERTIES_TABLE {
                self.read_kafka_properties(path, value);
                continue;
            }
            if let Some(setting) = all().find(|setting| setting.name == dotted) {
                match scalar(value) {
                    Some(text) => self.put(setting.name, text, Origin::File(path.to_owned())),
                    None => self.faults.push(Fault::new(
                        format!("{path}: {dotted}"),
                        format!("is {}, and takes one value", article(value.type_str())),
                    )),
                }
                continue;
            }
            let below = format!("{dotted}.");
            let is_group = all().any(|setting| setting.name.starts_with(&below));
            match value {
                toml::Value::Table(inner) if is_group => self.read_table(path, &dotted, inner),
                _ => self.faults.push(Fault::new(
                    format!("{path}: {dotted}"),
                    format!(
                        "no such setting{}; `kelly config` lists them all",
                        did_you_mean(&dotted, all().map(|setting| setting.name))
                    ),
                )),
            }
        }
    }

    fn read_kafka_properties(&mut self, path: &str, value: &toml::Value) {
        let toml::Value::Table(table) = value else {
            self.faults.push(Fault::new(
                format!("{path}: {}", tables::KAFKA_PROPERTIES_TABLE),
                "must be a table of librdkafka properties, e.g. \"security.protocol\" = \"SSL\"",
            ));
            return;
        };
        flatten("", table, &mut |name, value| match scalar(value) {
            Some(text) => {
                self.kafka_properties.insert(name, text);
            }
            None => self.faults.push(Fault::new(
                format!("{path}: {}.{name}", tables::KAFKA_PROPERTIES_TABLE),
                "a librdkafka property is one text, number or switch",
            )),
        });
    }

    fn read_environment(&mut self, environment: &BTreeMap<String, String>) {
        for (variable, value) in environment {
            if let Some(setting) = all().find(|setting| setting.variable == *variable) {
                // An empty variable is how scripts and compose files say "unset".
                if !value.is_empty() {
                    let origin = Origin::Environment(setting.variable);
                    self.put(setting.name, value.clone(), origin);
                }
                continue;
            }
            if is_ours(variable) && !is_known_stranger(variable, value) {
                let known = all().map(|setting| setting.variable);
                self.faults.push(Fault::new(
                    variable.clone(),
                    format!(
                        "no such variable{}; `kelly config` lists them all",
                        did_you_mean(variable, known.chain([tables::CONFIG_VARIABLE]))
                    ),
                ));
            }
        }
    }
}

/// Whether a variable claims to be one of Kelly's, so that a slip in its name must not pass in silence.
fn is_ours(variable: &str) -> bool {
    ["KELLY_", "MONITORING_", "WEBSOCKET_"].iter().any(|prefix| variable.starts_with(prefix))
}

/// Variables under Kelly's prefixes that others set: the tests' and tools' own, and those Kubernetes
/// puts into every container for a service called kelly or monitoring.
fn is_known_stranger(variable: &str, value: &str) -> bool {
    if variable == tables::CONFIG_VARIABLE
        || variable.starts_with(tables::TEST_PREFIX)
        || tables::TOOL_VARIABLES.contains(&variable)
    {
        return true;
    }
    if variable.ends_with("_SERVICE_HOST")
        || variable.ends_with("_SERVICE_PORT")
        || variable.contains("_SERVICE_PORT_")
    {
        return true;
    }
    let names_a_port = variable.ends_with("_PORT") || variable.contains("_PORT_");
    let part_of_a_link = ["_ADDR", "_PORT", "_PROTO"].iter().any(|end| variable.ends_with(end))
        && (variable.contains("_TCP_") || variable.contains("_UDP_"));
    names_a_port && (value.starts_with("tcp://") || value.starts_with("udp://") || part_of_a_link)
}

fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(switch) => Some(switch.to_string()),
        _ => None,
    }
}

/// TOML reads `security.protocol = "SSL"` as nested tables; librdkafka's names have the dots.
fn flatten(prefix: &str, table: &toml::Table, found: &mut impl FnMut(String, &toml::Value)) {
    for (name, value) in table {
        let dotted = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            toml::Value::Table(inner) => flatten(&dotted, inner, found),
            _ => found(dotted, value),
        }
    }
}

fn article(kind: &str) -> String {
    let vowel = kind.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {kind}", if vowel { "an" } else { "a" })
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}

/// How alike two names must be before one is offered for the other: about one slip in four letters.
const LIKENESS: f64 = 0.75;

/// `; did you mean …?`, or nothing when no known name is near. A name cut short or drawn out is near.
pub(super) fn did_you_mean<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> String {
    known
        .map(|candidate| (strsim::normalized_damerau_levenshtein(name, candidate), candidate))
        .filter(|(likeness, candidate)| {
            *likeness >= LIKENESS || candidate.starts_with(name) || name.starts_with(candidate)
        })
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map_or_else(String::new, |(_, candidate)| format!("; did you mean {candidate}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn faults(given: &Given<'_>) -> Vec<String> {
        merge(given).faults.iter().map(Fault::to_string).collect()
    }

    #[test]
    fn flags_win_over_environment_over_file_over_default() {
        let text = "listen = \"127.0.0.1:1\"\ndata = \"/file\"\n[monitoring]\nmetrics_interval = 7";
        let merged = merge(&Given {
            file: Some(("kelly.toml", text)),
            environment: environment(&[("KELLY_LISTEN", "127.0.0.1:2"), ("KELLY_DATA", "/env")]),
            flags: vec![("listen", "--listen", "127.0.0.1:3".to_owned())],
        });
        let read = |name| {
            let raw: &Raw = &merged.values[name];
            (raw.text.clone(), raw.origin.to_string())
        };
        assert_eq!(read("listen"), ("127.0.0.1:3".into(), "--listen".into()));
        assert_eq!(read("data"), ("/env".into(), "KELLY_DATA".into()));
        assert_eq!(read("monitoring.metrics_interval"), ("7".into(), "kelly.toml".into()));
        assert_eq!(read("monitoring.retention_days"), ("90".into(), "default".into()));
        assert!(!merged.values.contains_key("log"));
        assert_eq!(merged.faults, []);
    }

    #[test]
    fn an_empty_variable_is_an_unset_one() {
        let given = Given { environment: environment(&[("KELLY_METRICS_INTERVAL", "")]), ..Given::default() };
        assert_eq!(merge(&given).values["monitoring.metrics_interval"].text, "15");
    }

    #[test]
    fn unknown_names_are_faults_with_the_nearest_known_one() {
        let cases: &[(&str, &str)] = &[
            ("KELLY_METRIC_INTERVAL", "did you mean KELLY_METRICS_INTERVAL?"),
            ("MONITORING_DB_RETENTION", "did you mean MONITORING_DB_RETENTION_DAYS?"),
            ("WEBSOCKET_PING", "did you mean WEBSOCKET_PING_INTERVAL?"),
            ("KELLY_CONFIGURATION", "did you mean KELLY_CONFIG?"),
        ];
        for (variable, expected) in cases {
            let given = Given { environment: environment(&[(variable, "1")]), ..Given::default() };
            let found = faults(&given);
            assert_eq!(found.len(), 1, "{variable}");
            assert!(found[0].starts_with(variable) && found[0].contains(expected), "{found:?}");
        }
        let strange =
            Given { environment: environment(&[("KELLY_SOMETHING_ELSE", "1")]), ..Given::default() };
        assert!(!faults(&strange)[0].contains("did you mean"), "{:?}", faults(&strange));
        let file = "[monitoring]\nmetric_interval = 3\n[kafak]\nx = 1";
        let found = faults(&Given { file: Some(("k.toml", file)), ..Given::default() });
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.iter().any(|fault| fault.contains("did you mean monitoring.metrics_interval?")));
    }

    #[test]
    fn what_kubernetes_and_the_tools_set_is_left_alone() {
        let given = Given {
            environment: environment(&[
                ("KELLY_CACHE", "/c"),
                ("KELLY_TEST_KAFKA", "x:1"),
                ("KELLY_SERVICE_HOST", "10.0.0.1"),
                ("KELLY_SERVE_SERVICE_PORT_HTTP", "8000"),
                ("KELLY_PORT", "tcp://10.0.0.1:8000"),
                ("KELLY_PORT_8000_TCP_ADDR", "10.0.0.1"),
                ("PATH", "/bin"),
            ]),
            ..Given::default()
        };
        assert_eq!(faults(&given), Vec::<String>::new());
        // The same name as a slip of a person is a fault.
        let given = Given { environment: environment(&[("KELLY_PORT", "8000")]), ..Given::default() };
        assert_eq!(faults(&given).len(), 1);
    }

    #[test]
    fn kafka_properties_pass_through_in_both_spellings() {
        let text = "[kafka.properties]\n\"security.protocol\" = \"SSL\"\nsasl.username = \"kelly\"\n";
        let merged = merge(&Given { file: Some(("k.toml", text)), ..Given::default() });
        assert_eq!(merged.faults, []);
        assert_eq!(merged.kafka_properties["security.protocol"], "SSL");
        assert_eq!(merged.kafka_properties["sasl.username"], "kelly");
    }

    #[test]
    fn a_file_that_is_no_toml_names_its_line() {
        let found = faults(&Given { file: Some(("k.toml", "a = 1\nb = = 2")), ..Given::default() });
        assert!(found[0].starts_with("k.toml: line 2: not TOML"), "{found:?}");
    }

    #[test]
    fn a_list_where_one_value_belongs_is_a_fault() {
        let found = faults(&Given { file: Some(("k.toml", "listen = [1]")), ..Given::default() });
        assert_eq!(found, ["k.toml: listen: is an array, and takes one value"]);
    }
}
