//! What goes wrong in the demo, and when: at most one incident a day, a function of seed and day.

use super::chance::Chance;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The model's provider is slow: everybody's answers are late.
    SlowProvider,
    /// One account's prompt change went wrong: the AI is unsure.
    Unsure,
    /// One account's users push the AI where it should not go.
    Unsafe,
    /// One account has a campaign: far more conversations.
    Rush,
}

/// One incident.
#[derive(Debug, Clone, PartialEq)]
pub struct Incident {
    /// When it begins.
    pub from_ms: i64,
    /// When it is over.
    pub until_ms: i64,
    /// What it is.
    pub trouble: Trouble,
    /// Index of the account it strikes, for those that strike one.
    pub account: usize,
    /// How hard, above 0, up to 1.
    pub strength: f64,
}

const DAY_MS: i64 = 86_400_000;
const MINUTE_MS: i64 = 60_000;

/// How many days have one.
const SHARE_OF_DAYS: f64 = 0.35;

/// Longest incident; they may reach over midnight.
const LONGEST_MINUTES: f64 = 100.0;

/// The incident that begins on a day (days since the epoch), if there is one.
pub fn of_day(seed: u64, day: i64, accounts: usize) -> Option<Incident> {
    let mut chance = Chance::of(&[seed, 0x1bc1, day as u64]);
    if !chance.happens(SHARE_OF_DAYS) {
        return None;
    }
    let trouble = *chance.pick(&[Trouble::SlowProvider, Trouble::Unsure, Trouble::Unsafe, Trouble::Rush]);
    let from_ms = day * DAY_MS + chance.below(DAY_MS as u64) as i64;
    let minutes = chance.between(15.0, LONGEST_MINUTES);
    Some(Incident {
        from_ms,
        until_ms: from_ms + (minutes * MINUTE_MS as f64) as i64,
        trouble,
        // The first few accounts are the large ones: an incident should be seen.
        account: chance.below(accounts.min(8) as u64) as usize,
        strength: chance.between(0.4, 1.0),
    })
}

/// The incidents that are going on at some time in `[from_ms, until_ms)`.
pub fn overlapping(seed: u64, from_ms: i64, until_ms: i64, accounts: usize) -> Vec<Incident> {
    let first = from_ms.div_euclid(DAY_MS) - 1;
    let last = until_ms.div_euclid(DAY_MS);
    (first..=last)
        .filter_map(|day| of_day(seed, day, accounts))
        .filter(|incident| incident.from_ms < until_ms && incident.until_ms > from_ms)
        .collect()
}

impl Incident {
    /// How hard it strikes this account with this trouble at this instant: 0 when it does not. It
    /// builds up and fades over the first and last fifth.
    pub fn strikes(&self, trouble: Trouble, account: usize, at_ms: i64) -> f64 {
        let everybody = self.trouble == Trouble::SlowProvider;
        if self.trouble != trouble || (!everybody && self.account != account) {
            return 0.0;
        }
        let through = (at_ms - self.from_ms) as f64 / (self.until_ms - self.from_ms) as f64;
        if !(0.0..1.0).contains(&through) {
            return 0.0;
        }
        self.strength * (through / 0.2).min((1.0 - through) / 0.2).min(1.0)
    }

    /// One line for the feed.
    pub fn title(&self, account: &str) -> String {
        match self.trouble {
            Trouble::SlowProvider => "Model provider answers slowly".to_owned(),
            Trouble::Unsure => format!("AI confidence drops for {account}"),
            Trouble::Unsafe => format!("Unsafe requests rise for {account}"),
            Trouble::Rush => format!("Traffic rush at {account}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_days_have_one_and_most_have_none() {
        let days = 2_000;
        let count = (0..days).filter(|day| of_day(3, *day, 20).is_some()).count();
        let share = count as f64 / days as f64;
        assert!((share - SHARE_OF_DAYS).abs() < 0.05, "{share}");
    }

    #[test]
    fn an_incident_over_midnight_is_found_on_both_days() {
        let long = (0..5_000)
            .filter_map(|day| of_day(3, day, 20))
            .find(|incident| incident.from_ms.div_euclid(DAY_MS) != incident.until_ms.div_euclid(DAY_MS))
            .unwrap();
        for at in [long.from_ms, long.until_ms - 1] {
            assert!(overlapping(3, at, at + 1, 20).contains(&long));
        }
        assert!(!overlapping(3, long.until_ms, long.until_ms + 1, 20).contains(&long));
    }

    #[test]
    fn it_strikes_only_where_and_when_it_should() {
        let incident =
            Incident { from_ms: 1_000, until_ms: 2_000, trouble: Trouble::Unsure, account: 2, strength: 0.8 };
        let cases = [
            (Trouble::Unsure, 2, 1_500, 0.8),
            (Trouble::Unsure, 2, 1_100, 0.4),
            (Trouble::Unsure, 2, 999, 0.0),
            (Trouble::Unsure, 2, 2_000, 0.0),
            (Trouble::Unsure, 1, 1_500, 0.0),
            (Trouble::Unsafe, 2, 1_500, 0.0),
        ];
        for (trouble, account, at, expected) in cases {
            let found = incident.strikes(trouble, account, at);
            assert!((found - expected).abs() < 1e-9, "{trouble:?} {account} {at}: {found}");
        }
        let everywhere = Incident { trouble: Trouble::SlowProvider, ..incident };
        assert!(everywhere.strikes(Trouble::SlowProvider, 7, 1_500) > 0.0);
    }
}
