//! Live push as a part of a role: what reads the log for it, and its settings.

use std::sync::Arc;

use anyhow::Context;
use kelly_api::{Live, LiveSettings};
use kelly_control::Replica;
use kelly_live::{Bounds, Feed, FeedConfig, Hub};
use kelly_stream::{Log, LogKind};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::open;
use super::parts::Part;
use crate::config::Config;

/// Files and connections that a process has open beside its WebSockets, generously.
const OTHER_FILES: u64 = 4_096;

/// Begins to follow the log. Its stop ends that; sockets are ended before, with the HTTP interface.
pub async fn start(config: &Config, log: &Arc<dyn Log>) -> anyhow::Result<(Arc<Live>, Part)> {
    make_room_for_sockets(u64::from(config.websocket.max_connections));
    // Names this process: figures are counted by each for itself.
    let hub = Arc::new(Hub::new(Bounds::default(), &uuid::Uuid::new_v4().simple().to_string()));
    let feed_config = FeedConfig { under: under(&**log), ..FeedConfig::new(open::limits(config)) };
    let feed = Feed::start(log.clone(), hub.clone(), feed_config)
        .await
        .context("starting to follow the log for live push")?;
    let settings = LiveSettings {
        max_connections: config.websocket.max_connections as usize,
        ping_interval: config.websocket.ping_interval,
        timeout: config.websocket.timeout,
        figures_interval: config.monitoring.interval,
        ..LiveSettings::default()
    };
    let part = Part::new("live push", "a look at the log to end", move || async move {
        tokio::task::spawn_blocking(move || feed.stop()).await.context("ending to follow the log")
    });
    Ok((Arc::new(Live::new(hub, settings)), part))
}

/// Pushes what is decided about alerts.
pub fn push_alerts(log: &dyn Log, live: &Arc<Live>, decisions: &Arc<Replica>) -> Part {
    let (live, decisions, under) = (live.clone(), decisions.clone(), under(log));
    Part::task("pushed alerts", move |stop| async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = live.push_alerts(&decisions, under) => {}
        }
    })
}

/// What positions on this log are only good under, beside its topics' ids.
fn under(log: &dyn Log) -> u64 {
    match log.kind() {
        LogKind::ApacheKafka => 0,
        LogKind::Embedded => this_boot(),
    }
}

/// Names the time since the machine started; zero where the system does not tell. Only when it stops can a disk lose what it
/// said it had, and new records then get the offsets of those that were shown.
fn this_boot() -> u64 {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    uuid::Uuid::parse_str(id.trim()).map_or(0, |id| {
        let (high, low) = id.as_u64_pair();
        high ^ low
    })
}

/// Raises the limit on open files as far as it goes: a socket is one, and the usual 1,024 are fewer than the sockets
/// that are taken by default.
fn make_room_for_sockets(sockets: u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let needed = sockets.saturating_add(OTHER_FILES);
    // `None` is no limit.
    if current.is_none_or(|current| current >= needed) {
        return;
    }
    let raised = maximum.map_or(needed, |maximum| maximum.min(needed));
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }) {
        tracing::warn!(%error, "the limit on open files cannot be raised");
    }
    if raised < needed {
        tracing::warn!(
            limit = raised,
            sockets,
            "this process may open fewer files than WEBSOCKET_MAX_CONNECTIONS needs: raise the limit (ulimit -n), or lower the setting"
        );
    }
}
