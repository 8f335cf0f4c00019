//! The log-gamma histogram: a value becomes the number of its bucket, a bucket stands for one value, and the two differ by at most one
//! per cent, or for magnitudes below [`SMALLEST_MAGNITUDE`], which count as zero, by less than that magnitude. Ingest counts
//! with it, SQL reads it with the same constants.
//!
//! Bucket `i` of the positive values covers `(GAMMA^(i-1), GAMMA^i]` and stands for `2·GAMMA^i / (1 + GAMMA)`.
//! Its key is `i + OFFSET`, which is positive for every value a metric may have; zero has the key 0 and
//! a negative value the negated key of its magnitude. So keys order as values do, and fit an Int16: down to the smallest number
//! a float can be they would not, and twice the bytes in every rollup is much for numbers that nobody measures.

/// Ratio of the ends of a bucket; what makes the relative error one per cent.
pub const GAMMA: f64 = 1.01 / 0.99;

/// Bound of the error of a bucket's value, relative to any value in it, of magnitudes from [`SMALLEST_MAGNITUDE`] on.
pub const RELATIVE_ERROR: f64 = 0.01;

/// Added to the index of a bucket to make its key positive.
pub const OFFSET: i16 = 15_500;

/// Magnitudes below count as zero, so that their error is less than this; the counterpart of [`VALUE_MAGNITUDE`](crate::limits::VALUE_MAGNITUDE).
pub const SMALLEST_MAGNITUDE: f64 = 1e-130;

/// `ln(GAMMA)`, for which there is no constant function.
pub const LN_GAMMA: f64 = 0.020_000_666_706_669_435;

/// The key of the bucket of a value. A magnitude beyond the largest a metric may have counts as that
/// one, and NaN, which decoding refuses, as zero.
#[must_use]
pub fn bucket(value: f64) -> i16 {
    let magnitude = value.abs().min(crate::limits::VALUE_MAGNITUDE);
    if value.is_nan() || magnitude < SMALLEST_MAGNITUDE {
        return 0;
    }
    // Between -14,967 and 14,967 here, so neither the cast nor the sum leaves an i16.
    let key = (magnitude.ln() / LN_GAMMA).ceil() as i16 + OFFSET;
    if value < 0.0 { -key } else { key }
}

/// The value that a bucket stands for.
#[must_use]
pub fn value(bucket: i16) -> f64 {
    if bucket == 0 {
        return 0.0;
    }
    let index = i32::from(bucket).abs() - i32::from(OFFSET);
    let magnitude = 2.0 * (f64::from(index) * LN_GAMMA).exp() / (1.0 + GAMMA);
    if bucket < 0 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::VALUE_MAGNITUDE;
    use proptest::prelude::*;

    /// Floating point at the edge of a bucket may add this much to the bound.
    const SLACK: f64 = 1e-10;

    fn accepted_value() -> impl Strategy<Value = f64> {
        prop_oneof![
            (prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO)
                .prop_filter("of an accepted magnitude", |value| value.abs() <= VALUE_MAGNITUDE),
            (-14_900_i32..14_900, any::<bool>()).prop_map(|(index, negative)| {
                let edge = GAMMA.powi(index);
                if negative { -edge } else { edge }
            }),
            -1e6..1e6,
            0.0..1.0,
            // About the smallest magnitude that has a bucket.
            (-133.0..-127.0, any::<bool>()).prop_map(|(exponent, negative)| {
                let magnitude = 10.0_f64.powf(exponent);
                if negative { -magnitude } else { magnitude }
            }),
        ]
    }

    #[test]
    fn the_constant_is_the_logarithm() {
        assert_eq!(LN_GAMMA, GAMMA.ln());
    }

    #[test]
    fn zero_extremes_and_what_is_refused_elsewhere() {
        assert_eq!(bucket(0.0), 0);
        assert_eq!(bucket(-0.0), 0);
        assert_eq!(bucket(1e-131), 0);
        assert_eq!(bucket(f64::NAN), 0);
        assert_eq!(bucket(f64::INFINITY), bucket(VALUE_MAGNITUDE));
        assert_eq!(bucket(f64::NEG_INFINITY), bucket(-VALUE_MAGNITUDE));
        assert_eq!(bucket(VALUE_MAGNITUDE), 30_467);
        assert_eq!(bucket(SMALLEST_MAGNITUDE), 534);
        assert_eq!(bucket(1.0), OFFSET);
        assert_eq!(value(0), 0.0);
    }

    proptest! {
        #[test]
        fn a_bucket_stands_for_its_values_within_one_per_cent(exact in accepted_value()) {
            let approximate = value(bucket(exact));
            let error = (approximate - exact).abs();
            if exact.abs() < SMALLEST_MAGNITUDE {
                prop_assert!(approximate == 0.0 && error < SMALLEST_MAGNITUDE);
            } else {
                prop_assert!(error <= exact.abs() * (RELATIVE_ERROR + SLACK), "{exact} became {approximate}");
            }
        }

        #[test]
        fn keys_order_as_values_do(one in accepted_value(), other in accepted_value()) {
            let (low, high) = if one <= other { (one, other) } else { (other, one) };
            prop_assert!(bucket(low) <= bucket(high));
            prop_assert!(value(bucket(low)) <= value(bucket(high)));
        }

        #[test]
        fn a_bucket_of_a_buckets_value_is_that_bucket(exact in accepted_value()) {
            prop_assert_eq!(bucket(value(bucket(exact))), bucket(exact));
        }

        #[test]
        fn signs_mirror(exact in accepted_value()) {
            prop_assert_eq!(bucket(-exact), -bucket(exact));
        }
    }
}
