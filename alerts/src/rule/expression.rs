//! The condition of a composite rule: ids of rules joined by `and`, `or`, `not` and brackets.

use std::collections::BTreeSet;

/// A condition over rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// The alert of a rule fires.
    Rule(String),
    /// It does not hold.
    Not(Box<Expression>),
    /// All of them hold.
    All(Vec<Expression>),
    /// One of them holds.
    Any(Vec<Expression>),
}

/// Brackets and `not` within one another beyond all need.
const DEPTH: usize = 32;

impl Expression {
    /// Reads one; the error says what was found where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { words: words(text), next: 0, depth: 0 };
        let expression = parser.any()?;
        match parser.peek() {
            None => Ok(expression),
            Some(word) => Err(format!("`{word}` is not expected there")),
        }
    }

    /// Whether it holds, when `fires` says which rules do.
    pub fn holds(&self, fires: &mut impl FnMut(&str) -> bool) -> bool {
        match self {
            Self::Rule(id) => fires(id),
            Self::Not(inner) => !inner.holds(fires),
            Self::All(parts) => parts.iter().all(|part| part.holds(fires)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(fires)),
        }
    }

    /// The rules it names.
    #[must_use]
    pub fn rules(&self) -> BTreeSet<&str> {
        match self {
            Self::Rule(id) => BTreeSet::from([id.as_str()]),
            Self::Not(inner) => inner.rules(),
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::rules).collect(),
        }
    }
}

fn words(text: &str) -> Vec<String> {
    text.replace('(', " ( ").replace(')', " ) ").split_whitespace().map(str::to_owned).collect()
}

struct Parser {
    words: Vec<String>,
    next: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<&str> {
        self.words.get(self.next).map(String::as_str)
    }

    fn takes(&mut self, word: &str) -> bool {
        let is_it = self.peek() == Some(word);
        self.next += usize::from(is_it);
        is_it
    }

    fn any(&mut self) -> Result<Expression, String> {
        let mut parts = vec![self.all()?];
        while self.takes("or") {
            parts.push(self.all()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::Any(parts) })
    }

    fn all(&mut self) -> Result<Expression, String> {
        let mut parts = vec![self.one()?];
        while self.takes("and") {
            parts.push(self.one()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::All(parts) })
    }

    fn one(&mut self) -> Result<Expression, String> {
        if self.depth == DEPTH {
            return Err(format!("it is nested deeper than {DEPTH} levels"));
        }
        self.depth += 1;
        let found = self.one_within();
        self.depth -= 1;
        found
    }

    fn one_within(&mut self) -> Result<Expression, String> {
        if self.takes("not") {
            return Ok(Expression::Not(Box::new(self.one()?)));
        }
        if self.takes("(") {
            let inner = self.any()?;
            return if self.takes(")") { Ok(inner) } else { Err("a `)` is missing".to_owned()) };
        }
        match self.peek() {
            None => Err("a rule is missing at its end".to_owned()),
            Some(word @ (")" | "and" | "or")) => Err(format!("a rule is missing before `{word}`")),
            Some(word) => {
                let rule = Expression::Rule(word.to_owned());
                self.next += 1;
                Ok(rule)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(text: &str, firing: &[&str]) -> bool {
        Expression::parse(text).expect(text).holds(&mut |id| firing.contains(&id))
    }

    #[test]
    fn and_binds_closer_than_or() {
        assert!(holds("a or b and c", &["a"]));
        assert!(!holds("(a or b) and c", &["a"]));
        assert!(holds("(a or b) and c", &["b", "c"]));
        assert!(holds("a and not b", &["a"]));
        assert!(!holds("a and not (b or c)", &["a", "c"]));
        assert!(holds("not not a", &["a"]));
    }

    #[test]
    fn the_rules_it_names() {
        let expression = Expression::parse("a and (b.c or not a)").unwrap();
        assert_eq!(expression.rules(), BTreeSet::from(["a", "b.c"]));
    }

    #[test]
    fn what_is_none_says_why() {
        let deep = "(".repeat(100);
        for (text, expected) in [
            ("", "missing at its end"),
            ("a and", "missing at its end"),
            ("and a", "before `and`"),
            ("a b", "`b` is not expected"),
            ("(a or b", "a `)` is missing"),
            ("a)", "`)` is not expected"),
            (deep.as_str(), "deeper"),
        ] {
            let error = Expression::parse(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
