//! Thresholds that a row brings in its metadata: `threshold_warning` and `threshold_critical`.

use kelly_schemas::catalogue::{Bad, Catalogue};
use kelly_schemas::check;

use crate::rule::Metadata;

/// What every row with thresholds of its own has in the text of its metadata.
const MARK: &str = "threshold_";

/// Thresholds of a row: by level, and whether more is worse.
pub(super) type OwnThresholds = ([Option<f64>; 2], bool);

/// The thresholds of a row; `None` where it brings none; an error where they make no sense.
pub(super) fn own_thresholds(
    metric: &str,
    text: &str,
    metadata: &mut Metadata<'_>,
) -> Option<Result<OwnThresholds, String>> {
    if text.len() < MARK.len() || !text.contains(MARK) {
        return None;
    }
    let mut read = |name: &str| {
        metadata.field(name).filter(|text| *text != "null").map(|text| {
            let number = text.parse::<f64>().ok().filter(|number| check::value(*number).is_ok());
            number.ok_or_else(|| format!("`{name}` must be a number between -1e130 and 1e130"))
        })
    };
    let (warning, critical) = (read("threshold_warning"), read("threshold_critical"));
    if warning.is_none() && critical.is_none() {
        return None;
    }
    Some(warning.transpose().and_then(|warning| Ok((warning, critical.transpose()?))).and_then(
        |(warning, critical)| {
            let more_is_worse = direction(metric, warning, critical)?;
            Ok(([warning, critical], more_is_worse))
        },
    ))
}

/// Whether more is worse: by the order of the thresholds, else by the catalogue.
fn direction(metric: &str, warning: Option<f64>, critical: Option<f64>) -> Result<bool, String> {
    let known = match Catalogue::builtin().get(metric).bad {
        Bad::Up => Some(true),
        Bad::Down => Some(false),
        Bad::Neither => None,
    };
    let ordered = match (warning, critical) {
        (Some(warning), Some(critical)) if warning != critical => Some(warning < critical),
        _ => None,
    };
    match (ordered, known) {
        (Some(ordered), Some(known)) if ordered != known => Err(format!(
            "by their order {} would be worse, but of `{metric}` {} is; swap `threshold_warning` and `threshold_critical`",
            if ordered { "more" } else { "less" },
            if known { "more" } else { "less" },
        )),
        (Some(more), _) | (None, Some(more)) => Ok(more),
        (None, None) => Err(
            "nobody knows which side is bad; give both `threshold_warning` and `threshold_critical`, different from each other"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(metric: &str, text: &str) -> Option<Result<OwnThresholds, String>> {
        own_thresholds(metric, text, &mut Metadata::of(text))
    }

    #[test]
    fn the_direction_follows_from_their_order() {
        let example = r#"{"threshold_warning":0.05,"threshold_critical":0.02}"#;
        assert_eq!(read("business_conversion_rate", example), Some(Ok(([Some(0.05), Some(0.02)], false))));
        let up = r#"{"a":1,"threshold_warning":5,"threshold_critical":9}"#;
        assert_eq!(read("m", up), Some(Ok(([Some(5.0), Some(9.0)], true))));
        assert_eq!(read("errors", r#"{"threshold_critical":9}"#), Some(Ok(([None, Some(9.0)], true))));
    }

    #[test]
    fn most_rows_bring_none() {
        for text in ["", "{}", r#"{"a":1}"#, r#"{"threshold_":1}"#, r#"{"threshold_warning":null}"#] {
            assert_eq!(read("m", text), None, "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_says_why() {
        for (metric, text, expected) in [
            ("m", r#"{"threshold_warning":"5"}"#, "`threshold_warning` must be a number"),
            ("m", r#"{"threshold_warning":1,"threshold_critical":1e200}"#, "`threshold_critical` must be"),
            ("m", r#"{"threshold_warning":5}"#, "nobody knows which side"),
            ("m", r#"{"threshold_warning":5,"threshold_critical":5}"#, "nobody knows which side"),
            (
                "ai_confidence",
                r#"{"threshold_warning":0.4,"threshold_critical":0.6}"#,
                "of `ai_confidence` less is",
            ),
        ] {
            let problem = read(metric, text).expect(text).expect_err(text);
            assert!(problem.contains(expected), "{text}: {problem}");
        }
    }
}
