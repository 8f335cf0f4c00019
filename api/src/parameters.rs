//! Query parameters, read strictly: an unknown, repeated, empty or wrong one is refused with what is
//! allowed, all of them at once. A misspelt filter that is ignored would answer another question.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use axum::extract::Query;
use axum::http::Uri;

use crate::problem::{Code, Fault, ParameterFault, Problem};

/// Faults shown at most; a URL can hold thousands of names.
const MAX_FAULTS: usize = 20;
/// Characters of a client's own text that a reason repeats at most.
const MAX_ECHO: usize = 40;

/// The parameters of one request, taken one by one.
#[derive(Debug)]
pub(crate) struct Parameters {
    values: BTreeMap<String, String>,
    faults: Vec<ParameterFault>,
}

impl Parameters {
    /// Reads the query of a URI of which only these names are known.
    pub(crate) fn read(uri: &Uri, known: &[&str]) -> Self {
        let mut parameters = Self { values: BTreeMap::new(), faults: Vec::new() };
        if !is_utf8(uri.query().unwrap_or_default()) {
            let reason = "holds bytes that are no UTF-8; escape text as UTF-8, e.g. %C3%A9 for é".to_owned();
            parameters.fault("query", reason);
            return parameters;
        }
        // Pairs of strings always deserialise: an escape that is none stands for itself.
        let pairs =
            Query::<Vec<(String, String)>>::try_from_uri(uri).map(|Query(pairs)| pairs).unwrap_or_default();
        for (name, value) in pairs {
            if !known.contains(&name.as_str()) {
                parameters.fault(&echo(&name), unknown(known));
            } else if value.is_empty() {
                parameters.fault(&name, "is empty; give a value or leave the parameter out".into());
            } else {
                match parameters.values.entry(name) {
                    Entry::Vacant(vacant) => {
                        vacant.insert(value);
                    }
                    Entry::Occupied(occupied) => {
                        let name = occupied.key().clone();
                        parameters.fault(&name, "is given twice; give it once".into());
                    }
                }
            }
        }
        parameters
    }

    /// Whether a parameter is given and not taken yet.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// A parameter as it stands.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        self.values.remove(name)
    }

    /// A parameter turned into what it means; the reason must say what is allowed.
    pub(crate) fn parse<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.take(name)?;
        match parse(&value) {
            Ok(parsed) => Some(parsed),
            Err(reason) => {
                self.fault(name, reason);
                None
            }
        }
    }

    /// A name or id, of at most so many characters.
    pub(crate) fn identifier(&mut self, name: &str, max_characters: usize) -> Option<String> {
        self.parse(name, |value| check_identifier(value, max_characters).map(|()| value.to_owned()))
    }

    /// Notes a fault.
    pub(crate) fn fault(&mut self, name: &str, reason: String) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(ParameterFault { parameter: name.to_owned(), reason });
        }
    }

    /// Everything was right, or the problem that names all that was not.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        let Some(first) = self.faults.first() else { return Ok(()) };
        let more = match self.faults.len() {
            1 => String::new(),
            count => format!(" `errors` names all {count} faults."),
        };
        let detail = format!("`{}` {}.{more}", first.parameter, first.reason);
        let errors = self.faults.into_iter().map(Fault::Parameter).collect();
        Err(Problem::new(Code::InvalidParameter, detail).with_errors(errors, None))
    }
}

/// Whether a text can be a stored id at all.
pub(crate) fn check_identifier(value: &str, max_characters: usize) -> Result<(), String> {
    if value.chars().count() > max_characters {
        return Err(format!("is longer than {max_characters} characters; no stored value is"));
    }
    if value.chars().any(char::is_control) {
        return Err("holds a control character; no stored value does".to_owned());
    }
    Ok(())
}

/// A client's own text, cut, without what could break a terminal.
pub(crate) fn echo(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(MAX_ECHO).collect()
}

/// Whether the text is UTF-8 once its escapes are undone. The reader of queries would put a replacement
/// character in place of a wrong byte, and the question would be another one.
fn is_utf8(escaped: &str) -> bool {
    let mut bytes = escaped.bytes();
    let mut plain = Vec::with_capacity(escaped.len());
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        let digits = (byte == b'%').then(|| (ahead.next().and_then(hex), ahead.next().and_then(hex)));
        match digits {
            Some((Some(high), Some(low))) => {
                plain.push(high << 4 | low);
                bytes = ahead;
            }
            _ => plain.push(byte),
        }
    }
    std::str::from_utf8(&plain).is_ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn unknown(known: &[&str]) -> String {
    if known.is_empty() {
        return "is not known; this route takes no parameters".to_owned();
    }
    format!("is not known; this route takes {}", known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons(query: &str) -> Vec<String> {
        let uri = format!("/x?{query}").parse().unwrap();
        let mut parameters = Parameters::read(&uri, &["limit", "account_id"]);
        parameters.parse("limit", |text| text.parse::<u8>().map_err(|_| "is bad".to_owned()));
        parameters.identifier("account_id", 5);
        let faults = parameters.faults.clone();
        assert_eq!(parameters.finish().is_ok(), faults.is_empty());
        faults.into_iter().map(|fault| format!("{} {}", fault.parameter, fault.reason)).collect()
    }

    #[test]
    fn every_fault_is_named() {
        assert_eq!(reasons("limit=7&account_id=a%20b"), [""; 0]);
        assert_eq!(
            reasons("limit=x&Limit=1&account_id=&limit=2&account_id=abcdef"),
            [
                "Limit is not known; this route takes limit, account_id",
                "account_id is empty; give a value or leave the parameter out",
                "limit is given twice; give it once",
                "limit is bad",
                "account_id is longer than 5 characters; no stored value is",
            ]
        );
        assert_eq!(reasons("account_id=%00"), ["account_id holds a control character; no stored value does"]);
    }

    #[test]
    fn bytes_that_are_no_utf8_are_refused() {
        let refused = "query holds bytes that are no UTF-8; escape text as UTF-8, e.g. %C3%A9 for é";
        for query in ["account_id=%FF", "account_id=a%c3", "%ff=1", "account_id=%C3x"] {
            assert_eq!(reasons(query), [refused], "{query}");
        }
        for query in
            ["account_id=%C3%A9", "account_id=%c3%a9", "account_id=%zz", "account_id=50%", "account_id=%2"]
        {
            assert_eq!(reasons(query), [""; 0], "{query}");
        }
    }

    #[test]
    fn faults_and_echoes_are_bounded() {
        let many: Vec<String> = (0..500).map(|n| format!("{n}{}=1", "x".repeat(60))).collect();
        let faults = reasons(&many.join("&"));
        assert_eq!(faults.len(), MAX_FAULTS);
        assert!(faults.iter().all(|fault| fault.chars().count() < 120));
    }
}
