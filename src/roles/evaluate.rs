//! The evaluation of alerts as a part of a role.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use kelly_control::Replica;
use kelly_evaluate::{Evaluator, EvaluatorConfig, EvaluatorError, EvaluatorStats};
use kelly_schemas::error_chain;
use kelly_stream::{Log, Retention};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::open;
use super::parts::Part;
use super::rules::Rules;
use crate::config::{Config, LogTarget};

/// Starts it. Its stop has decided and stores what was read; where it ended by itself, that says why.
pub async fn start(
    config: &Config,
    log: &Arc<dyn Log>,
    decisions: &Arc<Replica>,
    Rules(rules): Rules,
) -> anyhow::Result<(Arc<EvaluatorStats>, Part)> {
    let settings = EvaluatorConfig {
        retention: Retention {
            time: Some(config.topics.retention_time),
            bytes: Some(config.topics.retention_bytes),
        },
        ..EvaluatorConfig::new(decisions.clone(), rules, open::limits(config))
    };
    let evaluator = patiently(config, log, &settings).await.context("starting the evaluation of alerts")?;
    let stats = evaluator.stats();
    let (stop, (ended, has_ended)) = (CancellationToken::new(), oneshot::channel::<()>());
    let running = tokio::spawn({
        let stop = stop.clone();
        async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = evaluator.ended() => {
                    // Nobody waits for it any more once the role stops.
                    let _ = ended.send(());
                    stop.cancelled().await;
                }
            }
            evaluator.shutdown().await
        }
    });
    let part = Part::new(
        "alert evaluation",
        "the log to take what happened to alerts; what it does not take within 10 s is found again at the next start",
        move || async move {
            stop.cancel();
            let counts = running
                .await
                .context("the evaluation of alerts ended with a defect")?
                .context("the evaluation of alerts failed")?;
            tracing::info!(rows = counts.rows, transitions = counts.transitions, "alerts are evaluated no more");
            Ok(())
        },
    )
    .ends_when(async move { drop(has_ended.await) });
    Ok((stats, part))
}

/// Pause before brokers that do not answer are asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Starts it, and waits for brokers that do not answer; that is logged once. The embedded log is there or it is not.
async fn patiently(
    config: &Config,
    log: &Arc<dyn Log>,
    settings: &EvaluatorConfig,
) -> Result<Evaluator, EvaluatorError> {
    let mut is_logged = false;
    loop {
        match Evaluator::start(log.clone(), settings.clone()).await {
            Err(EvaluatorError::Log(error))
                if error.is_retryable() && matches!(config.log, LogTarget::Kafka(_)) =>
            {
                if !std::mem::replace(&mut is_logged, true) {
                    let error = error_chain(&error);
                    tracing::warn!(log = %config.log, error, "waiting for the log to judge metrics; Ctrl-C stops");
                }
                tokio::time::sleep(ASK_AGAIN).await;
            }
            outcome => return outcome,
        }
    }
}
