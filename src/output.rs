//! The commands' own answers on stdout. A reader that went away (`kelly config | head`) is no error.

use std::io::{self, Write};

use anyhow::Context;

/// Prints a line.
pub fn line(text: impl AsRef<str>) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{}", text.as_ref()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.context("writing to stdout"),
    }
}
