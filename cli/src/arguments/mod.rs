//! What can be typed after the name of each tool, and the help that says so.

#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "the doc comments here are the help texts, brackets and all"
)]

mod alerts;
mod look;
mod notify;
mod parse;
mod rules;
mod send;

pub use alerts::*;
pub use look::*;
pub use notify::*;
pub use parse::{Place, Since, place_text};
pub use rules::*;
pub use send::*;

#[cfg(test)]
pub(crate) mod tests {
    use clap::{Args, Parser};

    /// What a tool's arguments are when these words follow its name.
    pub(crate) fn parsed<A: Args>(words: &[&str]) -> Result<A, clap::Error> {
        #[derive(Parser)]
        struct Only<A: Args> {
            #[command(flatten)]
            arguments: A,
        }
        let words = std::iter::once("tool").chain(words.iter().copied());
        Only::try_parse_from(words).map(|only| only.arguments)
    }
}
