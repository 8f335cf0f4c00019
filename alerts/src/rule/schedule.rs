//! When a rule may raise, from a schedule as it is written.

use super::data::{Day, Schedule};

const MINUTE_MS: i64 = 60_000;
const DAY_MINUTES: i64 = 24 * 60;
const DAY_MS: i64 = DAY_MINUTES * MINUTE_MS;

/// Times at which a rule may raise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    /// By [`Day`].
    days: [bool; 7],
    from_minute: i64,
    until_minute: i64,
    offset_ms: i64,
}

impl Hours {
    /// Reads a schedule; errors are a field and what is wrong with it.
    pub(super) fn of(schedule: &Schedule) -> Result<Self, (&'static str, String)> {
        let from_minute =
            minute(&schedule.from).ok_or_else(|| wrong_time("schedule.from", &schedule.from))?;
        let until_minute =
            minute(&schedule.until).ok_or_else(|| wrong_time("schedule.until", &schedule.until))?;
        if from_minute == until_minute {
            return Err((
                "schedule.until",
                "it ends when it begins, so the rule would never raise".to_owned(),
            ));
        }
        let offset_ms = match &schedule.utc_offset {
            None => 0,
            Some(text) => offset_ms(text)
                .ok_or_else(|| ("schedule.utc_offset", format!("`{text}` is no offset such as +02:00")))?,
        };
        let mut days = [schedule.days.is_empty(); 7];
        for day in &schedule.days {
            days[index(*day)] = true;
        }
        Ok(Self { days, from_minute, until_minute, offset_ms })
    }

    /// Whether it may raise at a time.
    #[must_use]
    pub fn contain(&self, at_ms: i64) -> bool {
        let local = at_ms + self.offset_ms;
        let (day, minute) = (local.div_euclid(DAY_MS), local.rem_euclid(DAY_MS) / MINUTE_MS);
        let is_on = |day: i64| self.days[(day + 3).rem_euclid(7) as usize];
        if self.from_minute < self.until_minute {
            is_on(day) && (self.from_minute..self.until_minute).contains(&minute)
        } else {
            // Past midnight: the evening is the day's, the morning that of the day before.
            (is_on(day) && minute >= self.from_minute) || (is_on(day - 1) && minute < self.until_minute)
        }
    }

    /// The next time after this one at which it may or may no longer raise.
    #[must_use]
    pub fn next_change(&self, at_ms: i64) -> i64 {
        let local = at_ms + self.offset_ms;
        let midnight = local.div_euclid(DAY_MS) * DAY_MS;
        let now = self.contain(at_ms);
        (0..=8)
            .flat_map(|day| {
                let mut edges = [self.from_minute, self.until_minute];
                edges.sort_unstable();
                edges.map(|edge| midnight + day * DAY_MS + edge * MINUTE_MS - self.offset_ms)
            })
            .find(|edge| *edge > at_ms && self.contain(*edge) != now)
            // Every day, all day: nothing ever changes. A day later it is asked again.
            .unwrap_or(at_ms + DAY_MS)
    }
}

fn wrong_time(field: &'static str, text: &str) -> (&'static str, String) {
    (field, format!("`{text}` is no time of day such as 08:30"))
}

fn index(day: Day) -> usize {
    match day {
        Day::Mon => 0,
        Day::Tue => 1,
        Day::Wed => 2,
        Day::Thu => 3,
        Day::Fri => 4,
        Day::Sat => 5,
        Day::Sun => 6,
    }
}

/// `24:00` is the end of the day.
fn minute(text: &str) -> Option<i64> {
    let (hours, minutes) = two_numbers(text)?;
    let minute = hours * 60 + minutes;
    (minutes < 60 && minute <= DAY_MINUTES).then_some(minute)
}

fn offset_ms(text: &str) -> Option<i64> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let (hours, minutes) = two_numbers(rest)?;
    (hours <= 14 && minutes < 60).then_some(sign * (hours * 60 + minutes) * MINUTE_MS)
}

fn two_numbers(text: &str) -> Option<(i64, i64)> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |part: &str| {
        (part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit())).then(|| part.parse().ok())?
    };
    Some((number(hours)?, number(minutes)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-30 00:00 UTC, a Monday.
    const MONDAY_MS: i64 = 20_787 * DAY_MS;

    fn at(day: i64, hour: i64, minute: i64) -> i64 {
        MONDAY_MS + day * DAY_MS + (hour * 60 + minute) * MINUTE_MS
    }

    fn hours(days: &[Day], from: &str, until: &str, offset: Option<&str>) -> Hours {
        Hours::of(&Schedule {
            days: days.to_vec(),
            from: from.into(),
            until: until.into(),
            utc_offset: offset.map(str::to_owned),
        })
        .expect("a schedule")
    }

    #[test]
    fn working_hours() {
        let work = hours(&[Day::Mon, Day::Fri], "08:00", "18:00", None);
        assert!(!work.contain(at(0, 7, 59)));
        assert!(work.contain(at(0, 8, 0)));
        assert!(!work.contain(at(0, 18, 0)));
        assert!(!work.contain(at(1, 12, 0)), "Tuesday");
        assert!(work.contain(at(4, 12, 0)), "Friday");
        assert_eq!(work.next_change(at(0, 7, 0)), at(0, 8, 0));
        assert_eq!(work.next_change(at(0, 8, 0)), at(0, 18, 0));
        assert_eq!(work.next_change(at(0, 18, 0)), at(4, 8, 0));
        assert_eq!(work.next_change(at(4, 19, 0)), at(7, 8, 0), "next Monday");
    }

    #[test]
    fn past_midnight_and_elsewhere() {
        let night = hours(&[Day::Mon], "22:00", "06:00", None);
        assert!(night.contain(at(0, 23, 0)) && night.contain(at(1, 5, 59)));
        assert!(!night.contain(at(0, 5, 0)) && !night.contain(at(1, 22, 0)));
        let east = hours(&[], "08:00", "18:00", Some("+02:00"));
        assert!(east.contain(at(0, 6, 0)) && !east.contain(at(0, 16, 0)));
        let all_day = hours(&[], "00:00", "24:00", None);
        assert!(all_day.contain(at(0, 23, 59)) && all_day.contain(at(1, 0, 0)));
        assert!(all_day.next_change(at(0, 0, 0)) > at(0, 0, 0));
    }

    #[test]
    fn what_is_none_says_where() {
        let broken = |from: &str, until: &str, offset: Option<&str>| {
            let schedule = Schedule {
                days: vec![],
                from: from.into(),
                until: until.into(),
                utc_offset: offset.map(str::to_owned),
            };
            Hours::of(&schedule).expect_err("no schedule").0
        };
        assert_eq!(broken("8:00", "18:00", None), "schedule.from");
        assert_eq!(broken("08:00", "24:01", None), "schedule.until");
        assert_eq!(broken("08:00", "08:00", None), "schedule.until");
        assert_eq!(broken("08:00", "18:00", Some("CET")), "schedule.utc_offset");
        assert_eq!(broken("08:00", "18:00", Some("")), "schedule.utc_offset");
    }
}
