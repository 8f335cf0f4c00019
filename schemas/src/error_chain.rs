//! An error with its causes, for people.

use std::error::Error;

/// An error and its causes in one line. A cause that only repeats what was said before is left out.
#[must_use]
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{words}")]
    struct Step {
        words: &'static str,
        source: Option<Box<Step>>,
    }

    fn chain(words: &[&'static str]) -> Step {
        let (first, rest) = words.split_first().unwrap();
        Step { words: first, source: (!rest.is_empty()).then(|| Box::new(chain(rest))) }
    }

    #[test]
    fn causes_follow_and_repetitions_are_left_out() {
        for (words, line) in [
            (&["not stored"][..], "not stored"),
            (&["not stored", "the store is away", "refused"], "not stored: the store is away: refused"),
            (
                &["not stored: the store is away", "the store is away", "refused"],
                "not stored: the store is away: refused",
            ),
        ] {
            assert_eq!(error_chain(&chain(words)), line);
        }
    }
}
