//! What can be typed after the name of each tool, and the help that says so.

#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "the doc comments here are the help texts, brackets and all"
)]

mod look;
mod parse;
mod send;

use std::net::SocketAddr;

use clap::Args;

pub use look::*;
pub use parse::{Place, Since, told_place};
pub use send::*;

/// Where a running Kelly is.
#[derive(Debug, Args)]
pub struct Server {
    /// A running Kelly [default: http:// and the configured listen address]
    #[arg(long, value_name = "URL", visible_alias = "url")]
    pub server: Option<String>,
}

impl Server {
    /// Where it is: what was typed, else where the configuration has a Kelly listen.
    pub fn url(&self, listen: SocketAddr) -> String {
        self.server.clone().unwrap_or_else(|| format!("http://{listen}"))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use clap::Parser;

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

    #[test]
    fn the_server_is_where_kelly_is_configured_to_listen() {
        let listen = SocketAddr::from(([127, 0, 0, 1], 9_000));
        assert_eq!(Server { server: None }.url(listen), "http://127.0.0.1:9000");
        assert_eq!(Server { server: Some("http://k/x".into()) }.url(listen), "http://k/x");
    }
}
