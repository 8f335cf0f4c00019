//! What is usual for one series, learned while it streams: its level of late and over long, its day, its week, how much it
//! varies, and how often it is off by how much.
//!
//! Nothing is trained beforehand, nothing is looked up ahead, and the range of the values need not be known. A value is scored by
//! what was learned from those before it, and then learned. One set of constants for all series.

use serde::{Deserialize, Serialize};

use super::rarity::Rarity;
use super::surprise::{Aspect, Habit, Surprise};
use super::table::Table;

const QUARTERS_A_DAY: usize = 96;
const HOURS_A_WEEK: usize = 168;
const QUARTER_MS: i64 = 900_000;
const HOUR_MS: i64 = 3_600_000;
/// 1970 began on a Thursday.
const HOURS_FROM_MONDAY: i64 = 72;

/// How much of the distance to a value is learned from it.
const LATE: f64 = 0.067;
const LONG: f64 = 0.012;
const SPREAD: f64 = 0.014;
const WEEK: f64 = 0.3;
const DAY: f64 = 0.12;
const VARIATION: f64 = 0.006;
/// Values over which it may be off for a short and for a long time.
const SHORT_RUN: f64 = 8.0;
const LONG_RUN: f64 = 128.0;
/// A value counts as so many times the usual spread at most, so that one does not ruin what was learned.
const CLIP: f64 = 11.0;
/// Less than this part of the spread is no difference.
const NO_DIFFERENCE: f64 = 0.06;
/// Before so many values everything is learned and nothing doubted.
const WARM: u32 = 50;

/// How much each aspect counts.
const WEIGHTS: [f64; 6] = [0.86, 1.2, 0.75, 0.945, 0.36, 0.52];
/// How much aspects count besides the one that surprises most.
const OTHERS: f64 = 0.31 / 5.0;

/// A surprise of this much is told, and what follows it within so many values is a part of it, unless it surprises clearly more: it
/// counts half of what it would at most, and more with time.
const TOLD: f64 = 6.17;
const REST: f64 = 76.0;
const CLEARLY_MORE: f64 = 2.0;

const ASPECTS: [Aspect; 6] =
    [Aspect::Value, Aspect::Recently, Aspect::ForLong, Aspect::Level, Aspect::Variation, Aspect::Jump];

/// What is usual for one series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    count: u32,
    newest_ms: i64,
    last: f64,
    /// Expected values: of late, over long. Those of the day and the week are in their tables.
    late: f64,
    long: f64,
    day: Table<QUARTERS_A_DAY>,
    day_known: Table<QUARTERS_A_DAY>,
    week: Table<HOURS_A_WEEK>,
    week_known: Table<HOURS_A_WEEK>,
    /// How far each of the four expectations is off as a rule.
    off: [f64; 4],
    spread: f64,
    /// How far off it was in the last short and long run.
    short_run: f64,
    long_run: f64,
    /// The level of the last long run.
    run_level: f64,
    /// How much it varies from value to value: of late, and over long.
    varies: f64,
    varies_long: f64,
    rarities: [Rarity; 6],
    /// Values since the last surprise that was told, and how much it was.
    rested: f64,
    told: f64,
}

impl Default for Baseline {
    fn default() -> Self {
        Self {
            count: 0,
            newest_ms: i64::MIN,
            last: 0.0,
            late: 0.0,
            long: 0.0,
            day: Table::default(),
            day_known: Table::default(),
            week: Table::default(),
            week_known: Table::default(),
            off: [0.0; 4],
            spread: 0.0,
            short_run: 0.0,
            long_run: 0.0,
            run_level: 0.0,
            varies: 0.0,
            varies_long: 0.0,
            rarities: Default::default(),
            rested: REST,
            told: 0.0,
        }
    }
}

/// The places of a time in the tables.
struct When {
    quarter: usize,
    hour: usize,
}

impl When {
    fn of(at_ms: i64) -> Self {
        Self {
            quarter: at_ms.div_euclid(QUARTER_MS).rem_euclid(QUARTERS_A_DAY as i64) as usize,
            hour: (at_ms.div_euclid(HOUR_MS) + HOURS_FROM_MONDAY).rem_euclid(HOURS_A_WEEK as i64) as usize,
        }
    }
}

impl Baseline {
    /// Scores a value by those before it, and learns it. `None` for a value that is older than one before it.
    pub fn observe(&mut self, at_ms: i64, value: f64) -> Option<Surprise> {
        if at_ms < self.newest_ms {
            return None;
        }
        self.newest_ms = at_ms;
        let when = When::of(at_ms);
        if self.count == 0 {
            self.count = 1;
            (self.last, self.late, self.long, self.run_level) = (value, value, value, value);
            return Some(Surprise {
                score: 0.0,
                expected: value,
                habit: Habit::Level,
                aspect: Aspect::Value,
            });
        }
        let expected = self.expected(&when);
        let floor = NO_DIFFERENCE * self.spread + 1e-9 + 1e-6 * self.long.abs();
        let seasonal = self.seasonal(&expected);
        self.follow(value, expected[seasonal].unwrap_or(self.long), self.off[seasonal] + floor, floor);
        let magnitudes = self.magnitudes(value, &expected, floor);
        let (score, aspect) = self.score(&magnitudes);
        for (rarity, magnitude) in self.rarities.iter_mut().zip(magnitudes) {
            rarity.learn(magnitude);
        }
        let habit = [Habit::Level, Habit::Level, Habit::Day, Habit::Week][seasonal];
        let surprise = Surprise { score, expected: expected[seasonal].unwrap_or(self.long), habit, aspect };
        self.learn(value, &when, &expected, floor);
        Some(surprise)
    }

    /// The values expected: of late, over long, by the day, by the week.
    fn expected(&self, when: &When) -> [Option<f64>; 4] {
        let known = |is_known: f32, value: f32| (is_known > 0.0).then_some(f64::from(value));
        [
            Some(self.late),
            Some(self.long),
            known(self.day_known[when.quarter], self.day[when.quarter]),
            known(self.week_known[when.hour], self.week[when.hour]),
        ]
    }

    /// The better one of the day's and the week's expectation, else the one over long.
    fn seasonal(&self, expected: &[Option<f64>; 4]) -> usize {
        match (expected[2], expected[3]) {
            (_, Some(_)) if self.off[3] < self.off[2] => 3,
            (Some(_), _) => 2,
            _ => 1,
        }
    }

    /// Follows how far off the values have been.
    fn follow(&mut self, value: f64, expected: f64, usual_off: f64, floor: f64) {
        let off = ((value - expected) / usual_off).clamp(-CLIP, CLIP);
        self.short_run += (off - self.short_run) / SHORT_RUN;
        self.long_run += (off - self.long_run) / LONG_RUN;
        self.run_level += (value - self.run_level) / LONG_RUN;
        let step = (value - self.last).abs();
        let step = step.min(CLIP * 3.0 * self.varies_long + floor.min(1e-9) + self.spread);
        self.varies += (step - self.varies) / LONG_RUN;
        let rate = self.rate(VARIATION);
        self.varies_long += (step - self.varies_long) * rate;
    }

    /// How far off each aspect is.
    fn magnitudes(&self, value: f64, expected: &[Option<f64>; 4], floor: f64) -> [f64; 6] {
        // A value that any of the expectations explains is explained.
        let unexplained = expected
            .iter()
            .zip(self.off)
            .filter_map(|(expected, off)| expected.map(|expected| (value - expected).abs() / (off + floor)))
            .fold(f64::INFINITY, f64::min);
        [
            unexplained,
            self.short_run.abs(),
            self.long_run.abs(),
            (self.run_level - self.long).abs() / (self.spread + floor),
            ((self.varies + floor) / (self.varies_long + floor)).ln().abs(),
            (value - self.last).abs() / (self.varies_long + floor),
        ]
    }

    fn score(&mut self, magnitudes: &[f64; 6]) -> (f64, Aspect) {
        let (mut most, mut sum, mut aspect) = (0.0_f64, 0.0, Aspect::Value);
        for (index, magnitude) in magnitudes.iter().enumerate() {
            let rare = WEIGHTS[index] * self.rarities[index].of(*magnitude);
            sum += rare;
            if rare > most {
                (most, aspect) = (rare, ASPECTS[index]);
            }
        }
        let score = most + OTHERS * (sum - most);
        if self.rested < REST && score < self.told + CLEARLY_MORE {
            let score = score * 0.5 * self.rested / REST;
            self.rested += 1.0;
            return (score, aspect);
        }
        if score >= TOLD {
            self.rested = 0.0;
            self.told = score;
        }
        (score, aspect)
    }

    fn learn(&mut self, value: f64, when: &When, expected: &[Option<f64>; 4], floor: f64) {
        let warm = self.count >= WARM;
        let rate = self.rate(SPREAD);
        for (index, expected) in expected.iter().enumerate() {
            match expected {
                Some(expected) => {
                    let off = (value - expected).abs();
                    let off = if warm { off.min(CLIP * (self.off[index] + floor)) } else { off };
                    self.off[index] += (off - self.off[index]) * rate;
                }
                None => self.off[index] = self.off[1],
            }
        }
        let spread = (value - self.long).abs();
        let spread = if warm { spread.min(CLIP * (self.spread + 1e-9)) } else { spread };
        self.spread += (spread - self.spread) * rate;
        let (late, long) = (self.rate(LATE), self.rate(LONG));
        self.late += (value - self.late) * late;
        self.long += (value - self.long) * long;
        let off =
            [self.off[2], self.off[3]].map(|off| if warm { CLIP * (off + floor) } else { f64::INFINITY });
        learn_at(&mut self.day[when.quarter], &mut self.day_known[when.quarter], (DAY, off[0]), value);
        learn_at(&mut self.week[when.hour], &mut self.week_known[when.hour], (WEEK, off[1]), value);
        self.last = value;
        self.count = self.count.saturating_add(1);
    }

    /// At first every value counts alike.
    fn rate(&self, rate: f64) -> f64 {
        rate.max(1.0 / (f64::from(self.count) + 1.0))
    }
}

/// Learns a value of a time: a part of the distance to it, of so much at most, but all of it the first time.
fn learn_at(usual: &mut f32, known: &mut f32, (rate, most): (f64, f64), value: f64) {
    let distance = value - f64::from(*usual);
    let distance = if *known > 1.0 { distance.clamp(-most, most) } else { distance };
    *known = (*known + 1.0).min(1e6);
    let rate = rate.max(1.0 / f64::from(*known));
    *usual += (distance * rate) as f32;
}
