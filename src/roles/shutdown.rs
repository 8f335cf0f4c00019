//! Ctrl-C, SIGTERM and a terminal that goes away: the first asks everything to drain, the second ends the process at once.

use std::process;

use anyhow::Context;
use kelly_cli::INTERRUPTED;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Listens from now on. The token is cancelled by the first signal. A second one ends the process
/// where it stands: what was acknowledged is on the log, and the engine's process ends by itself
/// when its parent is gone.
pub fn listen() -> anyhow::Result<CancellationToken> {
    let mut signals = Signals {
        interrupts: signal(SignalKind::interrupt()).context("listening for Ctrl-C")?,
        terminations: signal(SignalKind::terminate()).context("listening for SIGTERM")?,
        // Under `nohup` it stays ignored.
        hangups: match is_ignored(libc::SIGHUP) {
            true => None,
            false => Some(signal(SignalKind::hangup()).context("listening for SIGHUP")?),
        },
    };
    let token = CancellationToken::new();
    let asked = token.clone();
    tokio::spawn(async move {
        signals.next().await;
        tracing::info!("stopping; once more ends at once");
        asked.cancel();
        signals.next().await;
        process::exit(i32::from(INTERRUPTED));
    });
    Ok(token)
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
