//! Keeps the rules in force as files and the control log have them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kelly_alerts::{Rule, builtin};
use kelly_control::Replica;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::files::{RuleFiles, Stamp, rules_of};
use super::merge::{InForce, Layer, Origin, Problem, THRESHOLDS, api_alert, file_alert, merge};

/// How often it is looked whether anything changed. Files are taken once two looks found the same: none is read half written.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Rules that are followed. Dropping it ends that; the rules of then stay.
pub struct Following {
    rules: watch::Receiver<Arc<InForce>>,
    _guard: DropGuard,
}

impl Following {
    /// The rules in force, now and from now on.
    #[must_use]
    pub fn rules(&self) -> watch::Receiver<Arc<InForce>> {
        self.rules.clone()
    }
}

/// Reads everything, and follows it from then on. What is wrong at the start is a problem as what becomes wrong later: nobody is left
/// without being watched.
pub async fn follow(files: RuleFiles, replica: Arc<Replica>) -> Following {
    let mut read = Read::new(files);
    let stamp = read.files.stamp();
    let (documents, changed) = documents(&replica);
    let first = read.all(&documents);
    log(&first, None);
    let (tell, rules) = watch::channel(Arc::new(first));
    let stop = CancellationToken::new();
    let until = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = until.cancelled() => {}
            () = look(read, replica, tell, (stamp, changed)) => {}
        }
    });
    Following { rules, _guard: stop.drop_guard() }
}

async fn look(
    mut read: Read,
    replica: Arc<Replica>,
    tell: watch::Sender<Arc<InForce>>,
    (mut taken, mut changed): (Stamp, Option<u64>),
) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = taken.clone();
    loop {
        looks.tick().await;
        let looked = {
            let replica = replica.clone();
            tokio::task::spawn_blocking(move || {
                let stamp = read.files.stamp();
                let is_settled = stamp == std::mem::replace(&mut seen, stamp.clone());
                let is_other = is_settled && stamp != taken;
                let now = replica.read(|state| state.rules().changed());
                if !is_other && now == changed {
                    return (read, seen, taken, changed, None);
                }
                let (documents, at) = documents(&replica);
                let rules = read.all(&documents);
                let taken = if is_settled { stamp } else { taken };
                (read, seen, taken, at, Some(rules))
            })
            .await
        };
        let Ok((read_on, seen_on, taken_on, changed_on, rules)) = looked else { return };
        (read, seen, taken, changed) = (read_on, seen_on, taken_on, changed_on);
        if let Some(rules) = rules {
            log(&rules, Some(&tell.borrow()));
            tell.send_replace(Arc::new(rules));
        }
    }
}

/// Says what is new.
fn log(now: &InForce, before: Option<&InForce>) {
    tracing::info!(rules = now.rules.len(), "alert rules are in force");
    let is_known = |problem: &Problem| before.is_some_and(|before| before.problems.contains(problem));
    for Problem { what, problem } in now.problems.iter().filter(|problem| !is_known(problem)) {
        tracing::error!(what, problem, "alert rules are wrong");
    }
}

/// The rules of the API, and where on the control log they last changed.
fn documents(replica: &Replica) -> (Vec<(String, String)>, Option<u64>) {
    replica.read(|state| {
        let rules = state.rules();
        let documents = rules.iter().map(|(id, rule)| (id.to_owned(), rule.document.clone())).collect();
        (documents, rules.changed())
    })
}

/// What was read, with what was good before.
struct Read {
    files: RuleFiles,
    /// The thresholds that were good last.
    thresholds: Option<String>,
    /// The rules of files that were good last.
    good: BTreeMap<PathBuf, Vec<Rule>>,
}

impl Read {
    fn new(files: RuleFiles) -> Self {
        Self { files, thresholds: None, good: BTreeMap::new() }
    }

    /// Reads everything anew.
    fn all(&mut self, documents: &[(String, String)]) -> InForce {
        let mut problems = Vec::new();
        let mut layers =
            vec![Layer { origin: Origin::Builtin, rules: self.builtin(&mut problems), before: None }];
        let paths = self.files.paths().unwrap_or_else(|(path, problem)| {
            let what = file_alert(&path.display().to_string());
            problems.push(Problem { what, problem: format!("{problem}; its rules of before stay in force") });
            self.good.keys().cloned().collect()
        });
        for path in &paths {
            let before = self.good.get(path).cloned();
            let rules = rules_of(path).unwrap_or_else(|problem| {
                let meanwhile = match &before {
                    Some(_) => "its rules of before stay in force",
                    None => "none of its rules is in force",
                };
                let what = file_alert(&path.display().to_string());
                problems.push(Problem { what, problem: format!("{problem}; {meanwhile}") });
                before.clone().unwrap_or_default()
            });
            layers.push(Layer { origin: Origin::File(path.display().to_string()), rules, before });
        }
        layers.push(Layer { origin: Origin::Api, rules: of_api(documents, &mut problems), before: None });
        let (in_force, layers) = merge(layers, problems);
        let kept = layers.into_iter().filter(|layer| matches!(layer.origin, Origin::File(_)));
        self.good = paths.into_iter().zip(kept).map(|(path, layer)| (path, layer.rules)).collect();
        in_force
    }

    /// The built-in rules under the operator's thresholds.
    fn builtin(&mut self, problems: &mut Vec<Problem>) -> Vec<Rule> {
        let wrong = match self.files.thresholds() {
            None => return builtin::rules(None).unwrap_or_default(),
            Some(Ok(text)) => match builtin::rules(Some(&text)) {
                Ok(rules) => {
                    self.thresholds = Some(text);
                    return rules;
                }
                Err(fault) => fault.to_string(),
            },
            Some(Err(fault)) => fault,
        };
        let meanwhile = match &self.thresholds {
            Some(_) => "those of before stay in force",
            None => "the built-in ones are in force",
        };
        problems.push(Problem { what: THRESHOLDS.to_owned(), problem: format!("{wrong}; {meanwhile}") });
        builtin::rules(self.thresholds.as_deref()).or_else(|_| builtin::rules(None)).unwrap_or_default()
    }
}

fn of_api(documents: &[(String, String)], problems: &mut Vec<Problem>) -> Vec<Rule> {
    documents
        .iter()
        .filter_map(|(id, document)| {
            let problem = match serde_json::from_str::<Rule>(document) {
                Ok(rule) if rule.id == *id => return Some(rule),
                Ok(rule) => format!("its document has the name `{}`", rule.id),
                Err(error) => error.to_string(),
            };
            let problem = format!("{problem}; it is not in force");
            problems.push(Problem { what: api_alert(id), problem });
            None
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::files::Thresholds;
    use super::*;

    fn rule(id: &str, warning: f64) -> String {
        format!("[[rule]]\nid = \"{id}\"\nmetric = \"m\"\ndirection = \"above\"\nwarning = {warning:?}\n")
    }

    fn warning(rules: &InForce, id: &str) -> Option<f64> {
        rules.rules.iter().find(|one| one.rule.id == id)?.rule.warning
    }

    #[test]
    fn a_file_that_breaks_keeps_its_rules_and_one_that_goes_takes_them_along() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("a.toml"), rule("a", 1.0)).unwrap();
        std::fs::write(
            path("b.json"),
            r#"{"rule":[{"id":"b","metric":"m","direction":"above","warning":2.0}]}"#,
        )
        .unwrap();
        std::fs::write(path("notes.txt"), "none").unwrap();
        let files = RuleFiles { thresholds: None, rules: Some(directory.path().to_owned()) };
        let mut read = Read::new(files.clone());
        let first = read.all(&[]);
        assert_eq!(first.problems, []);
        assert_eq!((warning(&first, "a"), warning(&first, "b")), (Some(1.0), Some(2.0)));
        assert_eq!(warning(&first, "high_system_load"), Some(80.0));

        let stamp = files.stamp();
        std::fs::write(path("a.toml"), "[[rule]]\nid = ").unwrap();
        assert!(files.stamp() != stamp);
        let broken = read.all(&[]);
        assert_eq!(warning(&broken, "a"), Some(1.0), "those of before");
        assert_eq!(broken.problems.len(), 1, "{:?}", broken.problems);
        assert!(
            broken.problems[0].what.starts_with("rule file ") && broken.problems[0].what.ends_with("a.toml")
        );
        let again = read.all(&[]);
        assert_eq!((warning(&again, "a"), &again.problems), (Some(1.0), &broken.problems));

        // Broken in itself, and by what it names.
        std::fs::write(path("a.toml"), "[[rule]]\nid = \"a\"\nkind = \"composite\"\nwhen = \"x\"").unwrap();
        let wrong = read.all(&[]);
        assert_eq!((warning(&wrong, "a"), wrong.problems.len()), (Some(1.0), 1), "{:?}", wrong.problems);

        std::fs::write(path("a.toml"), rule("a", 3.0)).unwrap();
        std::fs::remove_file(path("b.json")).unwrap();
        let mended = read.all(&[]);
        assert_eq!((warning(&mended, "a"), warning(&mended, "b")), (Some(3.0), None));
        assert_eq!(mended.problems, []);
    }

    #[test]
    fn thresholds_are_a_file_or_text_and_wrong_ones_change_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("thresholds.json");
        std::fs::write(&path, r#"{"system_load":{"warning":60}}"#).unwrap();
        let mut read = Read::new(RuleFiles { thresholds: Some(Thresholds::File(path.clone())), rules: None });
        assert_eq!(warning(&read.all(&[]), "high_system_load"), Some(60.0));
        std::fs::write(&path, r#"{"system_load":{"warning":99}}"#).unwrap();
        let wrong = read.all(&[]);
        assert_eq!(warning(&wrong, "high_system_load"), Some(60.0));
        assert_eq!(wrong.problems[0].what, THRESHOLDS);
        assert!(wrong.problems[0].problem.contains("system_load"), "{:?}", wrong.problems);

        let text = Thresholds::Text(r#"{"system_load":{"warning":50}}"#.to_owned());
        let mut read = Read::new(RuleFiles { thresholds: Some(text), rules: None });
        assert_eq!(warning(&read.all(&[]), "high_system_load"), Some(50.0));
        let text = Thresholds::Text("{".to_owned());
        let mut read = Read::new(RuleFiles { thresholds: Some(text), rules: None });
        let wrong = read.all(&[]);
        assert_eq!((warning(&wrong, "high_system_load"), wrong.problems.len()), (Some(80.0), 1));
    }

    #[test]
    fn rules_of_the_api_count_last_and_bad_documents_are_told() {
        let mut read = Read::new(RuleFiles::default());
        let good = r#"{"id":"high_system_load","metric":"system_load","direction":"above","warning":42.0}"#;
        let documents = [
            ("high_system_load".to_owned(), good.to_owned()),
            ("other".to_owned(), good.to_owned()),
            ("none".to_owned(), "[]".to_owned()),
        ];
        let rules = read.all(&documents);
        assert_eq!(warning(&rules, "high_system_load"), Some(42.0));
        assert_eq!(rules.problems.len(), 2, "{:?}", rules.problems);
    }
}
