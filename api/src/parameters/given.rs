//! What a request gives: the texts of its parameters, and what is wrong with them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use axum::extract::{Query, RawPathParams};
use axum::http::Uri;

use super::Value;
use crate::problem::{Code, Fault, ParameterFault, Problem};

/// Faults shown at most; a URL can hold thousands of names.
const MAX_FAULTS: usize = 20;
/// Characters of a client's own text that a reason repeats at most.
const MAX_ECHO: usize = 40;

/// The parameters of one request as texts, and the faults found so far.
#[derive(Debug)]
pub(crate) struct Given {
    /// `None` where an escape in the path is not UTF-8.
    path: Option<BTreeMap<String, String>>,
    query: BTreeMap<String, String>,
    faults: Vec<ParameterFault>,
}

impl Given {
    /// Reads path and query of a URI of which only these names are known.
    pub(crate) fn read(uri: &Uri, path: Option<&RawPathParams>, known: &[&str]) -> Self {
        let path =
            path.map(|path| path.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect());
        let mut given = Self { path, query: BTreeMap::new(), faults: Vec::new() };
        given.read_query(uri, known);
        given
    }

    fn read_query(&mut self, uri: &Uri, known: &[&str]) {
        if !is_utf8(uri.query().unwrap_or_default()) {
            self.fault("query", "holds bytes that are no UTF-8; escape text as UTF-8, e.g. %C3%A9 for é");
            return;
        }
        // Pairs of strings always deserialise: an escape that is none stands for itself.
        let pairs =
            Query::<Vec<(String, String)>>::try_from_uri(uri).map(|Query(pairs)| pairs).unwrap_or_default();
        for (name, value) in pairs {
            if !known.contains(&name.as_str()) {
                self.fault(&echo(&name), unknown(known));
            } else if value.is_empty() {
                self.fault(&name, "is empty; give a value or leave the parameter out");
            } else {
                match self.query.entry(name) {
                    Entry::Vacant(vacant) => {
                        vacant.insert(value);
                    }
                    Entry::Occupied(occupied) => {
                        let name = occupied.key().clone();
                        self.fault(&name, "is given twice; give it once");
                    }
                }
            }
        }
    }

    /// Whether the query has a parameter, right or wrong.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.query.contains_key(name)
    }

    /// The text of a parameter of the query.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        self.query.get(name).cloned()
    }

    /// The text of a part of the path; a fault when its escapes are not UTF-8.
    pub(super) fn path_value(&mut self, name: &str) -> Option<String> {
        let value = self.path.as_ref().and_then(|path| path.get(name).cloned());
        if value.is_none() {
            self.fault(
                name,
                "in the path holds bytes that are no UTF-8; escape text as UTF-8, e.g. %C3%A9 for é",
            );
        }
        value
    }

    /// A text turned into what it means; a fault when it means nothing.
    pub(super) fn parse<T: Value>(&mut self, name: &str, text: &str) -> Option<T> {
        T::parse(text).map_err(|reason| self.fault(name, reason)).ok()
    }

    /// Notes a fault of a parameter unless it has one already: an empty value is no missing one.
    pub(crate) fn fault_if_not_given(&mut self, name: &str, reason: &str) {
        if !self.faults.iter().any(|fault| fault.parameter == name) {
            self.fault(name, reason);
        }
    }

    /// Notes a fault.
    pub(crate) fn fault(&mut self, name: &str, reason: impl Into<String>) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(ParameterFault { parameter: name.to_owned(), reason: reason.into() });
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

/// The problem of one parameter that does not go together with what the handler found.
pub(crate) fn wrong_parameter(name: &str, reason: &str) -> Problem {
    let fault = ParameterFault { parameter: name.to_owned(), reason: reason.to_owned() };
    Problem::new(Code::InvalidParameter, format!("`{name}` {reason}."))
        .with_errors(vec![Fault::Parameter(fault)], None)
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
    use super::super::{Field, Identifier, PageSize, parameters};
    use super::*;

    parameters! {
        /// Two parameters that do not go together with a third.
        #[derive(Debug)]
        struct Few {
            /// Rows.
            limit: Option<PageSize>,
            /// An account.
            account_id: Option<Identifier<5>>,
        }
    }

    fn reasons(query: &str) -> Vec<String> {
        let uri = format!("/x?{query}").parse().unwrap();
        let mut names = Vec::new();
        Few::names("", &mut names);
        let mut given = Given::read(&uri, None, &names);
        let read = Few::read(&mut given, "");
        let faults = given.faults.clone();
        assert_eq!(given.finish().is_ok(), faults.is_empty());
        assert!(read.is_some() || !faults.is_empty());
        if let Some(Few { limit: Some(limit), account_id: Some(account) }) = read {
            assert_eq!((limit, account.0.as_str()), (PageSize(7), "a b"));
        }
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
                "limit (`x`) must be a whole number from 1 to 200; without it a page has 50",
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
