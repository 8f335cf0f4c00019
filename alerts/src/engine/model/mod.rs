//! The engine against a naive reference: random rows, duplicates, late rows, ticks, restarts and crashes between storing and
//! committing, and the same alerts. And the other way round: with a fault in the engine the two differ.

mod reference;
mod world;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use crate::mutation::{Mutation, with};
use crate::step::State;
use world::{Plan, plans};

/// What differs between the engine and the reference; `None` if nothing does.
fn difference(plan: &Plan) -> Option<String> {
    let expected = reference::transitions(plan);
    let found = world::transitions(plan);
    (expected != found).then(|| {
        let place = expected.iter().zip(&found).position(|(one, other)| one != other);
        let place = place.unwrap_or(expected.len().min(found.len()));
        format!(
            "{} expected, {} found; the first that differs:\n  expected {:?}\n  found    {:?}",
            expected.len(),
            found.len(),
            expected.get(place),
            found.get(place)
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, max_shrink_iters: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn the_same_alerts_as_a_naive_reference(plan in plans()) {
        prop_assert_eq!(difference(&plan), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_state_is_read_as_it_was_written(plan in plans()) {
        for stored in world::stored_states(&plan) {
            let state = State::from_bytes(&stored).expect("it can be read");
            prop_assert_eq!(state.to_bytes(), stored);
        }
    }
}

/// Plans enough to find each fault; the plainest is found within a few.
const PLANS: usize = 600;

#[test]
fn every_fault_of_the_engine_is_noticed() {
    let mut unnoticed = Vec::new();
    for mutation in Mutation::ALL {
        let mut runner = TestRunner::deterministic_with(Config::default());
        let noticed = (0..PLANS).any(|_| {
            let plan = plans().new_tree(&mut runner).expect("a plan").current();
            with(Some(mutation), || difference(&plan)).is_some()
        });
        if !noticed {
            unnoticed.push(mutation);
        }
    }
    assert_eq!(unnoticed, vec![], "the property would not notice these faults");
}

#[test]
fn the_plans_raise_alerts_of_every_kind() {
    let mut runner = TestRunner::deterministic_with(Config::default());
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    for _ in 0..60 {
        let plan = plans().new_tree(&mut runner).expect("a plan").current();
        for told in reference::transitions(&plan) {
            *seen.entry(format!("{} {:?}", told.rule, told.change)).or_default() += 1;
        }
    }
    for rule in ["newest", "mean", "few", "sum", "median", "quiet", "silent", "largest"] {
        for change in ["Raised", "Resolved"] {
            let count: usize = seen
                .iter()
                .filter(|(name, _)| name.starts_with(&format!("{rule} {change}")))
                .map(|(_, count)| count)
                .sum();
            assert!(count >= 5, "{rule} {change}: {count}, of {seen:?}");
        }
    }
    assert!(
        seen.keys().any(|name| name.contains("Worsened"))
            && seen.keys().any(|name| name.contains("Improved"))
    );
}

/// A runner whose plans are the same at every run.
trait Deterministic {
    fn deterministic_with(config: Config) -> Self;
}

impl Deterministic for TestRunner {
    fn deterministic_with(config: Config) -> Self {
        use proptest::test_runner::{RngAlgorithm, TestRng};
        Self::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
    }
}
