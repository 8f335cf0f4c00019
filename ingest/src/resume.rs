//! Where to go on in a partition whose committed position is gone: it expired while every instance was away, or there
//! never was one. What is known then is what the store has.
//!
//! The newest marker of the rollups names the newest range `[X, Y)` with metrics of this generation of the partition. Ranges are
//! written one after the other, so everything before `X` is in every table and nothing from `Y` on is in the rollups. So `X` with the declaration of `[X, Y)` stands for the position: whoever takes a
//! declared range up compares it with the store and completes it. From `Y` on, and everywhere in a topic without rollups,
//! there may be rows and dead letters of ranges that left no marker; those are known by their places on the log, so the
//! ranges up to the newest of them are compared with the store, too.

use kelly_sql::evidence::MarkedGeneration;
use kelly_stream::{Committed, SetTo, Unpositioned};

use crate::journal::{Horizon, Journal};
use crate::shape::{Nonce, Range};

/// Why nobody but a person can say where to go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResumeError {
    /// What the store has does not name its topic, or the log gives the topic no id.
    #[error(
        "the store has metrics of a topic of this name up to offset {end}, and nothing says whether it was this one; {help}"
    )]
    Unidentified {
        /// The greatest end of a range in the store.
        end: u64,
        /// How to set the position.
        help: String,
    },
    /// Its newest range is this topic's, and where it begins is not to be read.
    #[error(
        "the store has metrics of it up to offset {end}, and not where the last of its ranges began; {help}"
    )]
    Unbegun {
        /// End of the newest range in the store.
        end: u64,
        /// How to set the position.
        help: String,
    },
    /// Its position was set by hand before, so offsets do not say which of the ranges is the newest.
    #[error(
        "the store has metrics of it from {epochs} beginnings, and nothing says which was the last; {help}"
    )]
    Several {
        /// How many.
        epochs: usize,
        /// How to set the position.
        help: String,
    },
    /// The log is shorter than what was read of it.
    #[error(
        "the store has metrics of it up to offset {end}, and it ends at {high}: brokers lost records, or were restored from \
         a backup; {help}"
    )]
    BehindTheEnd {
        /// End of the newest range in the store.
        end: u64,
        /// Offset after the last record.
        high: u64,
        /// How to set the position.
        help: String,
    },
}

/// What a person does: for each purpose the way to set the position.
fn help(choices: &[(&str, String)]) -> String {
    let choices: Vec<String> = choices.iter().map(|(purpose, how)| format!("{purpose}: {how}")).collect();
    format!("stop every instance, set the position and start again; {}", choices.join("; "))
}

/// The newest range with metrics that the store has of a partition, and under which nonce.
pub(crate) fn newest_range(
    generations: &[MarkedGeneration],
    at: &Unpositioned,
    how_to_set: &dyn Fn(SetTo) -> String,
) -> Result<Option<(Nonce, Range)>, ResumeError> {
    let go_on_at = |purpose, offset| help(&[(purpose, how_to_set(SetTo::Offset(offset)))]);
    let end = |generations: &[(Option<Nonce>, &MarkedGeneration)]| {
        generations.iter().map(|(_, generation)| generation.end).max().unwrap_or_default()
    };
    let is_own = |nonce: &Option<Nonce>| nonce.and_then(|nonce| nonce.is_of(at.topic_id));
    let generations: Vec<_> =
        generations.iter().map(|generation| (Nonce::parse(&generation.generation), generation)).collect();
    let own: Vec<_> = generations.iter().filter(|(nonce, _)| is_own(nonce) == Some(true)).copied().collect();
    match own[..] {
        // Those of other generations of the topic are of no concern; those of an unknown one might be this one's.
        [] if generations.iter().all(|(nonce, _)| is_own(nonce) == Some(false)) => Ok(None),
        [] => {
            let unknown: Vec<_> =
                generations.iter().filter(|(nonce, _)| is_own(nonce).is_none()).copied().collect();
            let end = end(&unknown);
            let choices = [
                ("to go on behind them", how_to_set(SetTo::Offset(end))),
                ("for a topic made anew", how_to_set(SetTo::Earliest)),
            ];
            Err(ResumeError::Unidentified { end, help: help(&choices) })
        }
        [(Some(nonce), MarkedGeneration { start: Some(start), end, .. })] if *end <= at.ends.high => {
            Ok(Some((nonce, Range { start: *start, end: *end })))
        }
        [(_, MarkedGeneration { end, .. })] if *end > at.ends.high => {
            let high = at.ends.high;
            let help = go_on_at("to leave out what is there now", high);
            Err(ResumeError::BehindTheEnd { end: *end, high, help })
        }
        [(_, MarkedGeneration { end, .. })] => {
            Err(ResumeError::Unbegun { end: *end, help: go_on_at("to go on behind it", *end) })
        }
        _ => {
            let help = go_on_at("to go on behind them all", end(&own));
            Err(ResumeError::Several { epochs: own.len(), help })
        }
    }
}

/// From which offset on there may be rows in the store that no marker tells of; `None` when there are none.
pub(crate) fn unmarked_from(
    newest: Option<&(Nonce, Range)>,
    generations: &[MarkedGeneration],
    at: &Unpositioned,
) -> Option<u64> {
    let from = match newest {
        Some((_, range)) => range.end.max(at.ends.low),
        // A topic made anew: the rows that are there are of its generations before.
        None if !generations.is_empty() => return None,
        None => at.ends.low,
    };
    (from < at.ends.high).then_some(from)
}

/// What stands for the position; `None` when the partition is begun at its beginning.
pub(crate) fn position(
    newest: Option<(Nonce, Range)>,
    rows_end: u64,
    at: &Unpositioned,
    horizon: Horizon,
) -> Option<Committed> {
    // What is appended from now on cannot be in the store.
    let doubtful_after = |offset: u64| Some(rows_end.min(at.ends.high)).filter(|to| *to > offset);
    let (offset, journal) = match newest {
        None => {
            let doubtful_to = doubtful_after(at.ends.low);
            doubtful_to?;
            (at.ends.low, Journal::Idle { nonce: Nonce::fresh(at.topic_id), doubtful_to })
        }
        // What was left of the range is not on the log any more.
        Some((nonce, Range { end, .. })) if end <= at.ends.low => {
            (end, Journal::Idle { nonce, doubtful_to: doubtful_after(end) })
        }
        Some((nonce, Range { start, end })) => (
            start.max(at.ends.low),
            Journal::Declared { nonce, end, horizon, doubtful_to: doubtful_after(end) },
        ),
    };
    Some(Committed { offset, metadata: journal.to_string() })
}

#[cfg(test)]
mod tests {
    use kelly_stream::{TopicId, TopicPartition, Watermarks};

    use super::*;
    use crate::shape::SHAPE;

    const TOPIC: TopicId = TopicId(7);
    const HORIZON: Horizon = Horizon { max_age_ms: 2, raw_retention_ms: 1 };

    fn at(topic_id: Option<TopicId>, low: u64, high: u64) -> Unpositioned {
        let partition = TopicPartition { topic: "t".into(), partition: 3 };
        Unpositioned { partition, topic_id, ends: Watermarks { low, high } }
    }

    fn generation(nonce: &str, start: u64, end: u64) -> MarkedGeneration {
        MarkedGeneration { generation: nonce.to_owned(), start: Some(start), end }
    }

    const OWN: &str = "00000007aaaaaaaa";
    const OWN_TOO: &str = "00000007bbbbbbbb";
    const ANEW: &str = "00000008aaaaaaaa";
    const NAMELESS: &str = "aaaaaaaa";

    #[test]
    fn only_the_one_generation_of_this_topic_is_continued() {
        let known = at(Some(TOPIC), 0, 100);
        let how = |to| format!("set it to {to:?}");
        let newest =
            |generations: &[MarkedGeneration], at: &Unpositioned| match newest_range(generations, at, &how) {
                Ok(newest) => newest.map_or("begin".to_owned(), |(nonce, range)| {
                    format!("{nonce} {}-{}", range.start, range.end)
                }),
                Err(fault) => fault.to_string(),
            };
        let (own, anew, nameless) =
            (generation(OWN, 40, 60), generation(ANEW, 70, 90), generation(NAMELESS, 50, 80));
        assert_eq!(newest(&[], &known), "begin");
        assert_eq!(newest(&[], &at(None, 0, 100)), "begin");
        assert_eq!(newest(std::slice::from_ref(&anew), &known), "begin");
        assert_eq!(newest(&[nameless.clone(), own.clone(), anew.clone()], &known), format!("{OWN} 40-60"));
        assert_eq!(newest(std::slice::from_ref(&own), &at(Some(TOPIC), 0, 60)), format!("{OWN} 40-60"));
        insta::assert_snapshot!(
            [
                newest(&[nameless, anew.clone()], &known),
                newest(&[generation("what is this", 1, 2)], &known),
                newest(std::slice::from_ref(&own), &at(None, 0, 100)),
                newest(&[own.clone(), generation(OWN_TOO, 10, 70), anew], &known),
                newest(&[own], &at(Some(TOPIC), 0, 59)),
                newest(&[MarkedGeneration { start: None, ..generation(OWN, 0, 60) }], &known),
            ]
            .join("\n\n")
        );
    }

    #[test]
    fn what_no_marker_tells_of_is_compared() {
        let newest = (Nonce::parse(OWN).unwrap(), Range { start: 40, end: 60 });
        let generations = [generation(OWN, 40, 60)];
        for (newest, generations, at, from) in [
            (Some(&newest), &generations[..], at(Some(TOPIC), 0, 100), Some(60)),
            (Some(&newest), &generations, at(Some(TOPIC), 70, 100), Some(70)),
            // Nothing is on the log behind it.
            (Some(&newest), &generations, at(Some(TOPIC), 0, 60), None),
            // A range that was interrupted before its first marker, or events.
            (None, &[], at(Some(TOPIC), 5, 100), Some(5)),
            (None, &[], at(Some(TOPIC), 0, 0), None),
            // Made anew.
            (None, &[generation(ANEW, 40, 60)], at(Some(TOPIC), 0, 100), None),
        ] {
            assert_eq!(unmarked_from(newest, generations, &at), from, "{newest:?} {at:?}");
        }
    }

    #[test]
    fn what_stands_for_a_position() {
        let newest = Some((Nonce::parse(OWN).unwrap(), Range { start: 40, end: 60 }));
        let resumed = |newest, rows_end, low| {
            position(newest, rows_end, &at(Some(TOPIC), low, 100), HORIZON)
                .map(|position| format!("{} {}", position.offset, position.metadata))
        };
        let declared = format!("kelly1;nonce=00000007aaaaaaaa;end=60;shape={SHAPE};age=2;raw=1");
        let idle = "kelly1;nonce=00000007aaaaaaaa";
        for (rows_end, low, wanted) in [
            (0, 0, format!("40 {declared}")),
            (60, 0, format!("40 {declared}")),
            (61, 0, format!("40 {declared};doubt=61")),
            // What is appended from now on cannot be there.
            (u64::MAX, 0, format!("40 {declared};doubt=100")),
            // Retention took a part of the range, all of it, and more.
            (0, 50, format!("50 {declared}")),
            (70, 60, format!("60 {idle};doubt=70")),
            (0, 80, format!("60 {idle}")),
        ] {
            assert_eq!(resumed(newest, rows_end, low), Some(wanted));
        }
        assert_eq!(resumed(None, 0, 5), None);
        assert_eq!(resumed(None, 5, 5), None);
        let fresh = resumed(None, 70, 5).unwrap();
        assert!(fresh.starts_with("5 kelly1;nonce=00000007") && fresh.ends_with(";doubt=70"), "{fresh}");
    }
}
