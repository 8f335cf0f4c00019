//! Since when the parts are in the state they are in. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use kelly_api::PartStatus;

/// The states that were seen last, by the names of the parts, of which there are few.
#[derive(Debug, Default)]
pub struct StateTimes {
    states: BTreeMap<String, (PartStatus, DateTime<Utc>)>,
}

impl StateTimes {
    /// A part was seen in a state: since when it is in it, as far as was seen.
    pub fn note(&mut self, part: &str, status: PartStatus, now: DateTime<Utc>) -> DateTime<Utc> {
        match self.states.get_mut(part) {
            Some((known, since)) => {
                if *known != status {
                    (*known, *since) = (status, now);
                }
                // A clock that was set back: it is so now already.
                *since = (*since).min(now);
                *since
            }
            None => {
                self.states.insert(part.to_owned(), (status, now));
                now
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_lasts_until_another_is_seen() {
        use PartStatus::{Degraded, Down, Healthy, Starting};
        let at = |second: i64| DateTime::from_timestamp(1_726_068_600 + second, 0).unwrap();
        let mut times = StateTimes::default();
        for (now, part, status, since) in [
            (0, "store", Starting, 0),
            (1, "store", Starting, 0),
            (2, "store", Healthy, 2),
            (3, "log", Healthy, 3),
            (9, "store", Healthy, 2),
            (10, "store", Degraded, 10),
            (11, "store", Down, 11),
            (12, "log", Healthy, 3),
            (15, "store", Down, 11),
            (16, "store", Degraded, 16),
            (17, "store", Healthy, 17),
            // The clock is set back.
            (5, "store", Healthy, 5),
            (18, "store", Healthy, 5),
            (4, "log", Down, 4),
        ] {
            assert_eq!(times.note(part, status, at(now)), at(since), "{part} {status:?} at {now}");
        }
    }
}
