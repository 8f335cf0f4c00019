//! The alert rules in force, for everybody in the process who judges by them or tells of them.

use std::sync::Arc;

use kelly_alerts::Rule;
use kelly_control::Replica;
use kelly_evaluate::rules::{InForce, RuleFiles, Thresholds, follow};
use kelly_query::RulesInForce;
use tokio::sync::watch;

use super::parts::Part;
use crate::config::{Config, written_out};

/// The rules in force, now and from now on.
#[derive(Clone)]
pub struct Rules(pub watch::Receiver<Arc<InForce>>);

impl RulesInForce for Rules {
    fn rules(&self) -> Vec<Rule> {
        self.0.borrow().rules.iter().map(|sourced| sourced.rule.clone()).collect()
    }
}

/// Follows files and decisions.
pub async fn start(config: &Config, decisions: &Arc<Replica>) -> anyhow::Result<(Rules, Part)> {
    let following = follow(rule_files(config), decisions.clone()).await;
    let rules = Rules(following.rules());
    let part = Part::new("alert rules", "nothing", move || async move {
        drop(following);
        Ok(())
    });
    Ok((rules, part))
}

/// What the operator wrote about alerts.
fn rule_files(config: &Config) -> RuleFiles {
    let thresholds = config.monitoring.thresholds.as_ref().map(|path| match written_out(path) {
        Some(text) => Thresholds::Text(text.to_owned()),
        None => Thresholds::File(path.clone()),
    });
    RuleFiles { thresholds, rules: config.alerts.rules.clone() }
}
