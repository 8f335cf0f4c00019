//! `kelly alerts follow`: server-sent events, which go on where they were when the line breaks.

use std::time::Duration;

use anyhow::Context;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::show;
use crate::arguments::FollowAlerts;
use crate::client::Client;
use crate::output::{self, Paint};

/// Pause before the line is opened again, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Longest message that is waited for. What is longer ends the line, which begins anew.
const MAX_EVENT_BYTES: usize = 4 << 20;

pub(super) async fn run(
    client: &Client,
    arguments: &FollowAlerts,
    stop: CancellationToken,
) -> anyhow::Result<u8> {
    let mut following = Following {
        json: arguments.json,
        paint: Paint::stdout(),
        left: arguments.count.unwrap_or(u64::MAX),
        position: None,
        pause: FIRST_PAUSE,
        is_first: true,
    };
    loop {
        let goes_on = tokio::select! {
            () = stop.cancelled() => return Ok(0),
            goes_on = following.follow(client) => goes_on?,
        };
        if !goes_on {
            return Ok(0);
        }
        let pause = following.pause;
        following.pause = (pause * 2).min(LONGEST_PAUSE);
        tokio::select! {
            () = stop.cancelled() => return Ok(0),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

struct Following {
    json: bool,
    paint: Paint,
    /// Changes still wanted.
    left: u64,
    /// Where to go on.
    position: Option<String>,
    pause: Duration,
    /// Whether no line has been open yet: then what keeps it from opening is told.
    is_first: bool,
}

impl Following {
    /// Follows until the line breaks; false when there is nothing more to do.
    async fn follow(&mut self, client: &Client) -> anyhow::Result<bool> {
        let opened = client.events("alerts_monitoring", self.position.as_deref()).await;
        let mut line = match opened {
            Ok(line) => line,
            Err(error) if self.is_first => return Err(error).context("following alerts"),
            Err(error) => {
                tracing::debug!("the line cannot be opened: {error:#}");
                return Ok(true);
            }
        };
        self.is_first = false;
        let mut events = Events::default();
        while let Ok(Some(piece)) = line.chunk().await {
            if !events.push(&piece) {
                tracing::warn!("a message is longer than any that Kelly sends; beginning anew");
                self.position = None;
                return Ok(true);
            }
            self.pause = FIRST_PAUSE;
            while let Some(event) = events.next() {
                if event.id.is_some() {
                    self.position = event.id;
                }
                if !self.show(&event.data)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Shows a message; false when no more are wanted.
    fn show(&mut self, data: &str) -> anyhow::Result<bool> {
        let Ok(message) = serde_json::from_str::<Value>(data) else { return Ok(true) };
        let kind = message["type"].as_str().unwrap_or_default();
        let is_change = matches!(kind, "alert_notification" | "alert_update");
        let lines: Vec<String> = match kind {
            "alert_snapshot" if !self.json => {
                let alerts = message["data"]["alerts"].as_array().into_iter().flatten();
                alerts.map(|alert| show::open(self.paint, alert)).collect()
            }
            "alert_snapshot" | "reset" if self.json => vec![data.to_owned()],
            _ if is_change && self.json => vec![data.to_owned()],
            _ if is_change => vec![show::pushed(self.paint, &message)],
            _ => Vec::new(),
        };
        for line in lines {
            if !output::try_line(line)? {
                return Ok(false);
            }
        }
        self.left -= u64::from(is_change);
        Ok(self.left > 0)
    }
}

/// One server-sent event.
struct Event {
    id: Option<String>,
    data: String,
}

/// Pieces of a stream on their way to be events.
#[derive(Default)]
struct Events {
    bytes: Vec<u8>,
}

impl Events {
    /// Adds a piece; false when no event can be so long.
    fn push(&mut self, piece: &[u8]) -> bool {
        self.bytes.extend_from_slice(piece);
        self.bytes.len() <= MAX_EVENT_BYTES
    }

    /// The next whole one that has data.
    fn next(&mut self) -> Option<Event> {
        loop {
            let end = self.bytes.windows(2).position(|pair| pair == b"\n\n")?;
            let block: Vec<u8> = self.bytes.drain(..end + 2).collect();
            let block = String::from_utf8_lossy(&block);
            let field = |name: &str| {
                let mut lines = block.lines();
                lines.find_map(|line| line.strip_prefix(name).map(|value| value.trim_start().to_owned()))
            };
            if let Some(data) = field("data:") {
                return Some(Event { id: field("id:"), data });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_whatever_the_pieces() {
        let stream = b"retry: 2000\n\n:\n\nid: a=b:1\ndata: {\"x\":1}\n\ndata: {\"y\":2}\n\n";
        for size in 1..stream.len() {
            let mut events = Events::default();
            let mut found = Vec::new();
            for piece in stream.chunks(size) {
                assert!(events.push(piece));
                while let Some(Event { id, data }) = events.next() {
                    found.push((id, data));
                }
            }
            let expected =
                [(Some("a=b:1".to_owned()), "{\"x\":1}".to_owned()), (None, "{\"y\":2}".to_owned())];
            assert_eq!(found, expected, "in pieces of {size}");
        }
        assert!(!Events::default().push(&vec![b'x'; MAX_EVENT_BYTES + 1]));
    }
}
