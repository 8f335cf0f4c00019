//! The accounts of the demo and their habits: how much they talk, when, and how well it goes.

use super::chance::Chance;

/// One customer of the demo.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its id.
    pub id: &'static str,
    /// Conversations on an ordinary weekday.
    pub conversations_a_day: f64,
    /// Hour (UTC) at which most of them begin.
    pub peak_hour: f64,
    /// Share of a weekday that is left on Saturday and Sunday.
    pub weekend: f64,
    /// Usual confidence of the AI.
    pub confidence: f64,
    /// Usual safety score.
    pub safety: f64,
    /// Median response time in milliseconds, at rest.
    pub response_ms: f64,
    /// Cost of one request in US dollars.
    pub request_cost: f64,
    /// How many people write on its behalf.
    pub users: u64,
    /// Whether its conversations are a VIP's.
    pub vip: bool,
}

/// Names, with where their people live (the peak in UTC) and whether they are VIPs.
const NAMES: [(&str, f64, bool); 20] = [
    ("acme-retail", 15.0, false),
    ("northwind-bank", 10.0, true),
    ("globex-travel", 18.0, false),
    ("initech", 16.0, false),
    ("umbrella-health", 13.0, true),
    ("stark-energy", 17.0, false),
    ("wayne-insurance", 16.0, false),
    ("hooli-cloud", 20.0, false),
    ("soylent-foods", 12.0, false),
    ("vandelay-imports", 15.0, false),
    ("pied-piper", 21.0, false),
    ("oceanic-air", 8.0, true),
    ("tyrell-robotics", 3.0, false),
    ("cyberdyne", 4.0, false),
    ("gringotts", 9.0, false),
    ("monarch-hotels", 19.0, false),
    ("bluth-homes", 22.0, false),
    ("dunder-paper", 14.0, false),
    ("prestige-motors", 6.0, false),
    ("aperture-labs", 17.0, false),
];

/// Conversations of all accounts together on an ordinary weekday.
const CONVERSATIONS_A_DAY: f64 = 1_000.0;

/// The accounts of one seed.
pub fn accounts(seed: u64) -> Vec<Account> {
    // A few large customers and a long tail, as everywhere: shares fall as 1/rank.
    let total: f64 = (1..=NAMES.len()).map(|rank| 1.0 / rank as f64).sum();
    NAMES
        .iter()
        .enumerate()
        .map(|(index, (id, peak_hour, vip))| {
            let mut chance = Chance::of(&[seed, 0xacc0, index as u64]);
            Account {
                id,
                conversations_a_day: CONVERSATIONS_A_DAY / ((index + 1) as f64 * total),
                peak_hour: *peak_hour,
                weekend: chance.between(0.25, 0.9),
                confidence: chance.between(0.80, 0.92),
                safety: chance.between(0.94, 0.985),
                response_ms: chance.between(350.0, 1_100.0),
                request_cost: chance.between(0.004, 0.018),
                users: 40 + chance.below(400),
                vip: *vip,
            }
        })
        .collect()
}

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

impl Account {
    /// Conversations that begin in an hour around this instant, on average. Smooth over the day,
    /// its daily mean is `conversations_a_day / 24`.
    pub fn conversations_an_hour(&self, at_ms: i64) -> f64 {
        /// How pronounced the day is: the peak has e^2 times the mean of a flat day's logarithm.
        const SHARPNESS: f64 = 1.3;
        /// Mean of exp(SHARPNESS * cos) over a turn, the Bessel function I0(1.3).
        const MEAN: f64 = 1.468_9;
        let hour = at_ms.rem_euclid(DAY_MS) as f64 / HOUR_MS as f64;
        let turn = (hour - self.peak_hour) / 24.0 * std::f64::consts::TAU;
        let rhythm = (SHARPNESS * turn.cos()).exp() / MEAN;
        // Day 0 of the epoch was a Thursday: 2 and 3 are Saturday and Sunday.
        let is_weekend = matches!(at_ms.div_euclid(DAY_MS).rem_euclid(7), 2 | 3);
        let week = if is_weekend { self.weekend } else { 1.0 };
        self.conversations_a_day / 24.0 * rhythm * week
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weekday_has_the_promised_number_of_conversations() {
        let monday = 4 * DAY_MS;
        for account in accounts(1) {
            let day: f64 = (0..24 * 60)
                .map(|minute| account.conversations_an_hour(monday + minute * 60_000) / 60.0)
                .sum();
            let wanted = account.conversations_a_day;
            assert!((day - wanted).abs() < wanted * 0.01, "{}: {day} of {wanted}", account.id);
        }
    }

    #[test]
    fn the_day_peaks_where_it_should_and_the_weekend_is_calmer() {
        let account = &accounts(1)[0];
        let monday = 4 * DAY_MS;
        let at = |day: i64, hour: f64| {
            account.conversations_an_hour(monday + day * DAY_MS + (hour * HOUR_MS as f64) as i64)
        };
        assert!(at(0, account.peak_hour) > 3.0 * at(0, account.peak_hour + 12.0));
        assert!(at(5, 12.0) < at(0, 12.0));
        assert_eq!(at(7, 12.0), at(0, 12.0));
    }

    #[test]
    fn ids_are_unique_and_fit_the_column() {
        let ids: std::collections::BTreeSet<&str> = NAMES.iter().map(|name| name.0).collect();
        assert_eq!(ids.len(), NAMES.len());
        assert!(ids.iter().all(|id| id.len() <= kelly_schemas::limits::ACCOUNT_ID_CHARACTERS));
    }
}
