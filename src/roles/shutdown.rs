//! Ctrl-C and SIGTERM: the first asks everything to drain, the second ends the process at once.

use std::process;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code of a process that a second signal ended.
pub const INTERRUPTED: u8 = 130;

/// Listens from now on. The token is cancelled by the first signal. A second one ends the process
/// where it stands: what was acknowledged is on the log, and the engine's process ends by itself
/// when its parent is gone.
pub fn listen() -> anyhow::Result<CancellationToken> {
    let mut interrupts = signal(SignalKind::interrupt()).context("listening for Ctrl-C")?;
    let mut terminations = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let token = CancellationToken::new();
    let asked = token.clone();
    tokio::spawn(async move {
        either(&mut interrupts, &mut terminations).await;
        tracing::info!("stopping; once more ends at once");
        asked.cancel();
        either(&mut interrupts, &mut terminations).await;
        process::exit(i32::from(INTERRUPTED));
    });
    Ok(token)
}

async fn either(interrupts: &mut Signal, terminations: &mut Signal) {
    tokio::select! {
        _ = interrupts.recv() => {}
        _ = terminations.recv() => {}
    }
}
