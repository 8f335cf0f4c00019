//! Ctrl-C, SIGTERM and a terminal that goes away: the first asks everything to drain, the second ends the process at once.

use std::process;

use anyhow::Context;
use futures_util::{Stream, StreamExt, stream};
use kelly_cli::INTERRUPTED;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Listens from now on. The token is cancelled by the first signal. A second one ends the process
/// where it stands: what was acknowledged is on the log, and the engine's process ends by itself
/// when its parent is gone.
pub fn listen() -> anyhow::Result<CancellationToken> {
    let signals = Signals {
        interrupts: signal(SignalKind::interrupt()).context("listening for Ctrl-C")?,
        terminations: signal(SignalKind::terminate()).context("listening for SIGTERM")?,
        // Under `nohup` it stays ignored.
        hangups: match is_ignored(libc::SIGHUP) {
            true => None,
            false => Some(signal(SignalKind::hangup()).context("listening for SIGHUP")?),
        },
    };
    let token = CancellationToken::new();
    let stop = token.clone();
    let signals = stream::unfold(signals, |mut signals| async move {
        signals.next().await;
        Some(((), signals))
    });
    tokio::spawn(obey(Box::pin(signals), stop, || process::exit(i32::from(INTERRUPTED))));
    Ok(token)
}

/// The first signal cancels the token, the second one ends everything.
async fn obey(mut signals: impl Stream<Item = ()> + Unpin, stop: CancellationToken, end: impl FnOnce()) {
    if signals.next().await.is_none() {
        return;
    }
    tracing::info!("stopping; once more ends at once");
    stop.cancel();
    if signals.next().await.is_some() {
        end();
    }
}

struct Signals {
    interrupts: Signal,
    terminations: Signal,
    hangups: Option<Signal>,
}

impl Signals {
    async fn next(&mut self) {
        let Self { interrupts, terminations, hangups } = self;
        let hangup = async {
            match hangups {
                Some(hangups) => hangups.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = interrupts.recv() => {}
            _ = terminations.recv() => {}
            _ = hangup => {}
        }
    }
}

fn is_ignored(number: libc::c_int) -> bool {
    let mut found = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: a null action changes nothing; the old one is read only when the call says it was given.
    unsafe {
        libc::sigaction(number, std::ptr::null(), found.as_mut_ptr()) == 0
            && found.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::sync::{mpsc, oneshot};

    use super::*;
    use crate::roles::parts::{self, Part};

    #[tokio::test]
    async fn a_second_signal_ends_what_the_first_could_not_stop() {
        let stop = CancellationToken::new();
        let (signal, signals) = mpsc::channel(2);
        let signals =
            stream::unfold(
                signals,
                |mut signals| async move { signals.recv().await.map(|()| ((), signals)) },
            );
        let has_ended = Arc::new(AtomicBool::new(false));
        let (end, ended) = oneshot::channel();
        let noted = has_ended.clone();
        tokio::spawn(obey(Box::pin(signals), stop.clone(), move || {
            noted.store(true, Ordering::Relaxed);
            let _ = end.send(());
        }));
        let (stopping, is_stopping) = oneshot::channel();
        let role = parts::run(&stop, async |parts| {
            parts.add(Part::new("ingest", "a store that is away", move || async move {
                let _ = stopping.send(());
                std::future::pending().await
            }));
            signal.send(()).await?;
            Ok(())
        });
        tokio::select! {
            _ = role => panic!("the part never stops"),
            () = async {
                is_stopping.await.unwrap();
                assert!(!has_ended.load(Ordering::Relaxed), "one signal asks, and does not end");
                signal.send(()).await.unwrap();
                ended.await.unwrap();
            } => {}
        }
    }
}
