//! Alerts that are decided, for engines whose rules depend on those of others.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kelly_alerts::{Change, End, Transition};
use kelly_control::replica::WatchEnd;
use kelly_control::{Alert, Replica, heard};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// News that wait for the reading thread at most: at it following waits, and the control log's own ring keeps the rest.
pub(crate) const NEWS_WAITING: usize = 1_024;

/// Tells of every alert whose condition begins to hold or ends, beginning with those that hold now.
pub(crate) async fn follow(replica: Arc<Replica>, news: mpsc::Sender<Transition>, stop: CancellationToken) {
    let following = async {
        // Before the look at the state: what is decided meanwhile is told twice, not never.
        let mut watcher = replica.watch(None);
        let mut firing = HashMap::new();
        tell_all(&replica, &mut firing, &news).await?;
        loop {
            match watcher.next().await {
                Ok(decision) => {
                    for alert in &decision.alerts {
                        tell(alert, &mut firing, &news).await?;
                    }
                }
                Err(WatchEnd::Missed(_)) => tell_all(&replica, &mut firing, &news).await?,
                Err(WatchEnd::Stopped(_)) => return Some(()),
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        _ = following => {}
    }
}

/// Brings who listens to where the state is.
async fn tell_all(
    replica: &Replica,
    firing: &mut HashMap<Uuid, Transition>,
    news: &mpsc::Sender<Transition>,
) -> Option<()> {
    let holds = |alert: &&Alert| alert.holds && concerns(alert);
    let alerts: Vec<Alert> =
        replica.read(|state| state.alerts().book().iter().filter(holds).cloned().collect());
    let known: HashSet<Uuid> = alerts.iter().map(|alert| alert.id).collect();
    let over: Vec<Uuid> = firing.keys().filter(|alert| !known.contains(*alert)).copied().collect();
    for alert in over {
        if let Some(raised) = firing.remove(&alert) {
            let ended = Transition { change: Change::Resolved(End::Recovered), ..raised };
            news.send(ended).await.ok()?;
        }
    }
    for alert in &alerts {
        tell(alert, firing, news).await?;
    }
    Some(())
}

async fn tell(
    alert: &Alert,
    firing: &mut HashMap<Uuid, Transition>,
    news: &mpsc::Sender<Transition>,
) -> Option<()> {
    if !concerns(alert) {
        return Some(());
    }
    let now = heard(alert);
    let is_news = match (alert.holds, firing.get(&alert.id)) {
        (true, Some(before)) => before.level != now.level,
        (true, None) => true,
        (false, before) => before.is_some(),
    };
    if !is_news {
        return Some(());
    }
    if alert.holds {
        firing.insert(alert.id, now.clone());
    } else {
        firing.remove(&alert.id);
    }
    news.send(now).await.ok()
}

/// Alerts about a conversation concern nobody but the engine that raised them.
fn concerns(alert: &Alert) -> bool {
    alert.conversation_id.is_none()
}
