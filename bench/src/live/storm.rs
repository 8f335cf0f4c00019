//! All sockets are cut at one instant while events come, and each connects again at once where it was.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use super::sockets::{self, Events, PATIENCE, Way, milliseconds};
use crate::kelly::Kelly;
use crate::machine;

/// Events a second while it goes on.
const PER_SECOND: u64 = 10;
/// Seconds of events, in the middle of which all are cut.
const SECONDS: u64 = 10;
/// Pause of a client that was refused.
const TRY_AGAIN: Duration = Duration::from_millis(50);

/// What one client tells at its end.
struct Outcome {
    resumed_after: Duration,
    refused: u64,
    resets: u64,
    /// Events that came not at all, and again.
    missed: usize,
    repeated: usize,
}

pub async fn run(clients: usize) -> Result<Value> {
    let kelly = Kelly::start(&["up"], &[("WEBSOCKET_MAX_CONNECTIONS", &clients.to_string())]).await?;
    sockets::fill(&kelly).await?;
    let events = Events::new(PER_SECOND * SECONDS);
    let (cut, is_cut) = watch::channel(None::<Instant>);
    let (inside, mut entered) = mpsc::channel(clients);
    let mut following = JoinSet::new();
    for number in 0..clients {
        let client = Client::new(Way::of(&kelly, number)?, events.clone());
        following.spawn(client.run(is_cut.clone(), inside.clone()));
    }
    for _ in 0..clients {
        tokio::time::timeout(PATIENCE, entered.recv()).await.context("not every socket got in")?;
    }
    let producing = sockets::record(&kelly, PER_SECOND, &events);
    let cutting = async {
        tokio::time::sleep(Duration::from_secs(SECONDS / 2)).await;
        cut.send_replace(Some(Instant::now()));
    };
    let (produced, ()) = tokio::join!(producing, cutting);
    produced?;
    let mut resumed = Histogram::<u64>::new(3)?;
    let mut all = Outcome { resumed_after: Duration::ZERO, refused: 0, resets: 0, missed: 0, repeated: 0 };
    while let Some(outcome) = following.join_next().await {
        let outcome = outcome.context("a client panicked")??;
        resumed.record(outcome.resumed_after.as_micros() as u64)?;
        all.refused += outcome.refused;
        all.resets += outcome.resets;
        all.missed += outcome.missed;
        all.repeated += outcome.repeated;
    }
    kelly.end().await.context("ending kelly")?;
    Ok(json!({
        "case": "storm",
        "sockets": clients,
        "offered_per_s": PER_SECOND,
        "events": events.count(),
        "p50_ms": milliseconds(&resumed, 0.5),
        "p99_ms": milliseconds(&resumed, 0.99),
        "all_resumed_ms": resumed.max() as f64 / 1e3,
        "refused": all.refused,
        "resets": all.resets,
        "missed": all.missed,
        "repeated": all.repeated,
        "errors": all.missed + all.repeated,
        "machine": machine::describe(),
    }))
}

struct Client {
    way: Way,
    events: Arc<Events>,
    position: Option<Value>,
    came: Vec<u32>,
    refused: u64,
    resets: u64,
}

impl Client {
    fn new(way: Way, events: Arc<Events>) -> Self {
        let came = vec![0; events.count()];
        Self { way, events, position: None, came, refused: 0, resets: 0 }
    }

    async fn run(
        mut self,
        mut cut: watch::Receiver<Option<Instant>>,
        inside: mpsc::Sender<()>,
    ) -> Result<Outcome> {
        tokio::select! {
            ended = self.connect(Some(&inside)) => {
                ended?;
                bail!("a socket ended before it was cut");
            }
            _ = cut.wait_for(Option::is_some) => {}
        }
        // Its socket went with the future above, without a farewell.
        let cut_at = cut.borrow().context("it was cut")?;
        let (resumed, mut has_resumed) = mpsc::channel(1);
        let resumed_after = async { has_resumed.recv().await.map(|()| cut_at.elapsed()) };
        let following = async {
            loop {
                if self.connect(Some(&resumed)).await.is_ok() {
                    return;
                }
                self.refused += 1;
                tokio::time::sleep(TRY_AGAIN).await;
            }
        };
        let (resumed_after, ended) = tokio::join!(resumed_after, tokio::time::timeout(PATIENCE, following));
        let missed = self.came.iter().filter(|count| **count == 0).count();
        if ended.is_err() && missed == 0 {
            bail!("a client had every event and did not end");
        }
        Ok(Outcome {
            resumed_after: resumed_after.unwrap_or(PATIENCE),
            refused: self.refused,
            resets: self.resets,
            missed,
            repeated: self.came.iter().filter(|count| **count > 1).count(),
        })
    }

    /// Follows the room from where it was, until it has every event. Says when it is inside.
    async fn connect(&mut self, inside: Option<&mpsc::Sender<()>>) -> Result<()> {
        let mut socket = self.way.connect().await?;
        let mut subscribe = json!({"type": "subscribe", "rooms": ["activity_feed"]});
        if let Some(position) = &self.position {
            subscribe["resume"] = json!({"activity_feed": position});
        }
        socket.send(Message::text(subscribe.to_string())).await?;
        while let Some(message) = socket.next().await {
            let Message::Text(text) = message? else { continue };
            let message: Value = serde_json::from_str(&text).context("reading a message")?;
            match message["type"].as_str().unwrap_or_default() {
                "subscribed" => {
                    if let Some(inside) = inside {
                        let _ = inside.try_send(());
                    }
                }
                "reset" => {
                    self.resets += 1;
                    self.position = None;
                }
                "activity_snapshot" => {
                    self.position = Some(json!({"epoch": message["epoch"], "offsets": message["offsets"]}));
                }
                "activity_event" => {
                    let partition = message["partition"].as_u64().context("a partition")? as usize;
                    if let Some(position) = &mut self.position {
                        position["offsets"][partition] = message["next"].clone();
                    }
                    if let Some(count) = self.events.note(&text).and_then(|number| self.came.get_mut(number))
                    {
                        *count += 1;
                    }
                    if self.came.iter().all(|count| *count > 0) {
                        return Ok(());
                    }
                }
                _ => {}
            }
        }
        bail!("the socket ended")
    }
}
