//! Numbers for people.

/// Four digits that count, and no more zeros than needed.
pub(crate) fn number(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-4..1e15).contains(&magnitude) {
        return format!("{value:.3e}");
    }
    let decimals = if magnitude >= 1_000.0 || magnitude == 0.0 {
        0
    } else {
        (3 - magnitude.log10().floor() as i32).max(0) as usize
    };
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_digits_that_count() {
        for (value, expected) in [
            (0.0, "0"),
            (0.85, "0.85"),
            (2312.4, "2312"),
            (86.1234, "86.12"),
            (-0.012_345, "-0.01235"),
            (1e20, "1.000e20"),
            (1e-9, "1.000e-9"),
            (100.0, "100"),
        ] {
            assert_eq!(number(value), expected);
        }
    }
}
