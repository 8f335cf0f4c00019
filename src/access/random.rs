//! Texts that nobody can guess.

/// Bytes of randomness in one.
const RANDOM_BYTES: usize = 32;

/// Such a text, fit for a URL and a file name.
pub fn text() -> anyhow::Result<String> {
    use std::fmt::Write as _;
    let mut bytes = [0; RANDOM_BYTES];
    getrandom::fill(&mut bytes)
        .map_err(|error| anyhow::anyhow!("the system gives no randomness: {error}"))?;
    let mut text = String::with_capacity(2 * RANDOM_BYTES);
    for byte in bytes {
        // Writing to a String never fails.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}
