//! Numbers as spreadsheets write them. What could be a decimal or a group of thousands is not guessed. Pure.

use clap::ValueEnum;

/// What stands before the fraction of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Decimal {
    /// 1,234.5
    Point,
    /// 1.234,5
    Comma,
}

/// A text that is no finite number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberProblem {
    /// A comma or a point that may stand before a fraction or before thousands.
    Ambiguous,
    /// Nothing stands there.
    Empty,
    /// Something else.
    NotANumber,
}

/// Reads the numbers of one column and remembers what stands before their fractions.
#[derive(Debug, Clone, Copy, Default)]
pub struct Numbers {
    /// What a person said, or what the first number showed that can be read in one way only.
    decimal: Option<Decimal>,
    is_said: bool,
}

impl Numbers {
    /// A reader of numbers of this kind, or one that finds out.
    pub fn new(said: Option<Decimal>) -> Self {
        Self { decimal: said, is_said: said.is_some() }
    }

    /// Reads the next one.
    pub fn read(&mut self, text: &str) -> Result<f64, NumberProblem> {
        let text = text.trim();
        if text.is_empty() {
            return Err(NumberProblem::Empty);
        }
        let decimal = self.decimal_of(text)?;
        let (thousands, point) = match decimal {
            Some(Decimal::Comma) => ('.', ','),
            Some(Decimal::Point) | None => (',', '.'),
        };
        let plain = if text.contains(thousands) {
            is_grouped(text, thousands, point)
                .then(|| text.replace(thousands, ""))
                .ok_or(NumberProblem::NotANumber)?
        } else {
            text.to_owned()
        };
        let plain = plain.replace(point, ".");
        let looks_like_one = plain.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
        let number: f64 = plain.parse().ok().filter(|_| looks_like_one).ok_or(NumberProblem::NotANumber)?;
        if !number.is_finite() {
            return Err(NumberProblem::NotANumber);
        }
        if let (Some(decimal), false) = (decimal, self.is_said) {
            self.decimal = Some(decimal);
        }
        Ok(number)
    }

    /// What stands before the fraction of this number; `None` where it has neither comma nor point.
    fn decimal_of(&self, text: &str) -> Result<Option<Decimal>, NumberProblem> {
        let (comma, point) = (text.rfind(','), text.rfind('.'));
        if self.is_said {
            return Ok(self.decimal);
        }
        let commas = text.matches(',').count();
        let points = text.matches('.').count();
        let shown = match (comma, point) {
            (None, None) => return Ok(None),
            (Some(comma), Some(point)) if comma > point => Decimal::Comma,
            (Some(_), Some(_)) => Decimal::Point,
            // More than one can only part thousands.
            (Some(_), None) if commas > 1 => Decimal::Point,
            (None, Some(_)) if points > 1 => Decimal::Comma,
            (Some(at), None) if !may_part_thousands(text, at) => Decimal::Comma,
            (None, Some(at)) if !may_part_thousands(text, at) => Decimal::Point,
            // 1,234 says the same as the numbers before it, or nothing.
            (Some(_), None) => return self.decimal.map(Some).ok_or(NumberProblem::Ambiguous),
            // 1.234 is a fraction everywhere but among numbers with decimal commas.
            (None, Some(_)) if self.decimal == Some(Decimal::Comma) => return Err(NumberProblem::Ambiguous),
            (None, Some(_)) => return Ok(Some(Decimal::Point)),
        };
        match self.decimal {
            Some(before) if before != shown => Err(NumberProblem::Ambiguous),
            _ => Ok(Some(shown)),
        }
    }
}

/// Whether what follows the sign at this place, and what stands before it, may be thousands: 1,234 may, 0,5 may not.
fn may_part_thousands(text: &str, at: usize) -> bool {
    let (before, after) = (&text[..at], &text[at + 1..]);
    let before = before.trim_start_matches(['+', '-']);
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    after.len() == 3
        && is_digits(after)
        && (1..=3).contains(&before.len())
        && is_digits(before)
        && !before.starts_with('0')
}

/// Whether the whole part is written in groups of three.
fn is_grouped(text: &str, thousands: char, point: char) -> bool {
    let whole = text.split(point).next().unwrap_or_default().trim_start_matches(['+', '-']);
    let rest_has_none = !text[text.find(point).unwrap_or(text.len())..].contains(thousands);
    let mut groups = whole.split(thousands);
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let first = groups.next().unwrap_or_default();
    rest_has_none
        && (1..=3).contains(&first.len())
        && is_digits(first)
        && groups.all(|group| group.len() == 3 && is_digits(group))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alone(text: &str) -> Result<f64, NumberProblem> {
        Numbers::default().read(text)
    }

    #[test]
    fn numbers_that_can_be_read_in_one_way_only() {
        for (text, expected) in [
            ("1", 1.0),
            (" -1.5 ", -1.5),
            ("+2", 2.0),
            (".5", 0.5),
            ("1e-3", 1e-3),
            ("1.234", 1.234),
            ("83.3557407714307", 83.3557407714307),
            ("0,5", 0.5),
            ("1,5", 1.5),
            ("0,125", 0.125),
            ("-12,25", -12.25),
            ("1234,567", 1234.567),
            ("1.234,5", 1_234.5),
            ("1.234.567", 1_234_567.0),
            ("1,234.5", 1_234.5),
            ("1,234,567", 1_234_567.0),
            ("1,5e3", 1_500.0),
        ] {
            assert_eq!(alone(text), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in [
            "much", "NaN", "inf", "1 000", "12,34,5", "1.2.3", "1,23.4", "5 %", "€5", "0x10", "1_000", "--1",
            "1e400",
        ] {
            assert_eq!(alone(text), Err(NumberProblem::NotANumber), "{text:?}");
        }
        assert_eq!(alone(" "), Err(NumberProblem::Empty));
    }

    #[test]
    fn thousands_or_a_fraction_is_not_guessed() {
        assert_eq!(alone("1,234"), Err(NumberProblem::Ambiguous));
        assert_eq!(alone("-12,345"), Err(NumberProblem::Ambiguous));
        let mut european = Numbers::default();
        assert_eq!(european.read("0,5"), Ok(0.5));
        assert_eq!(european.read("1,234"), Ok(1.234), "as the number before it");
        assert_eq!(european.read("1.234"), Err(NumberProblem::Ambiguous));
        assert_eq!(european.read("1.5"), Err(NumberProblem::Ambiguous), "another way to write than before");
        assert_eq!(european.read("7"), Ok(7.0));
        let mut american = Numbers::default();
        assert_eq!(american.read("1,234.5"), Ok(1_234.5));
        assert_eq!(american.read("1,234"), Ok(1_234.0));
        assert_eq!(american.read("1,5"), Err(NumberProblem::Ambiguous));
    }

    #[test]
    fn what_was_said_holds() {
        let mut comma = Numbers::new(Some(Decimal::Comma));
        assert_eq!((comma.read("1,234"), comma.read("1.234")), (Ok(1.234), Ok(1_234.0)));
        let mut point = Numbers::new(Some(Decimal::Point));
        assert_eq!((point.read("1,234"), point.read("1.234")), (Ok(1_234.0), Ok(1.234)));
        assert_eq!(point.read("1,5"), Err(NumberProblem::NotANumber));
    }
}
