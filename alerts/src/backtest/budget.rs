//! How many alerts somebody is ready to be told of.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::rule::Span;

/// How many alerts there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// So many.
    pub alerts: u32,
    /// In this time.
    pub per: Span,
}

/// A text that is no budget.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no budget of alerts; write how many in which time: 2/week, 5/day, 1/12h")]
pub struct BudgetError(String);

/// Times with a name.
const NAMED: [(&str, u32); 4] = [("hour", 60), ("day", 1_440), ("week", 7 * 1_440), ("month", 30 * 1_440)];

impl FromStr for Budget {
    type Err = BudgetError;

    fn from_str(text: &str) -> Result<Self, BudgetError> {
        let refused = || BudgetError(text.to_owned());
        let (alerts, per) = text.split_once('/').ok_or_else(refused)?;
        let (alerts, per) = (alerts.trim(), per.trim());
        if !alerts.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(refused());
        }
        let alerts = alerts.parse().map_err(|_| refused())?;
        let per = match NAMED.into_iter().find(|(name, _)| *name == per) {
            Some((_, minutes)) => Span::minutes(minutes),
            None => per.parse().ok().filter(|per| *per > Span::ZERO).ok_or_else(refused)?,
        };
        Ok(Self { alerts, per })
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMED.into_iter().find(|(_, minutes)| Span::minutes(*minutes) == self.per) {
            Some((name, _)) => write!(f, "{}/{name}", self.alerts),
            None => write!(f, "{}/{}", self.alerts, self.per),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_read_and_written() {
        for (text, alerts, minutes, shown) in [
            ("2/week", 2, 10_080, "2/week"),
            ("2/7d", 2, 10_080, "2/week"),
            ("0 / day", 0, 1_440, "0/day"),
            ("1/90m", 1, 90, "1/1h30m"),
        ] {
            let budget: Budget = text.parse().expect(text);
            assert_eq!(budget, Budget { alerts, per: Span::minutes(minutes) }, "{text}");
            assert_eq!(budget.to_string(), shown);
        }
        for text in [
            "",
            "2",
            "week",
            "/week",
            "2/",
            "2/0s",
            "-1/day",
            "+1/day",
            "2/fortnight",
            "4294967296/day",
            "1.5/day",
        ] {
            let error = text.parse::<Budget>().expect_err(text);
            assert!(error.to_string().contains("2/week"), "{error}");
        }
    }
}
