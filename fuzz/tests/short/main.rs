//! The short run: every input of the corpus and every example, then inputs made of them at random.
//!
//! Without libFuzzer and so without its sense for what an input reaches, but on any toolchain and in seconds. The seed
//! is another one each time; a failure tells it, and keeps the input.

mod mutation;

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use kelly_fuzz::{TARGETS, Target};
use mutation::Mutator;

/// What a target may cost here, in the unit of `Target::cost`: a second or two unoptimised.
const BUDGET: u32 = 100_000;

/// Chooses the inputs; printed when something fails.
const SEED: &str = "KELLY_FUZZ_SEED";

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files of a folder in the order of their names.
fn files(folder: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let mut inputs = files(&here().join("corpus").join(target.name));
    assert!(!inputs.is_empty(), "{} has no corpus", target.name);
    for folder in target.examples {
        inputs.extend(files(&here().join("../schemas/examples").join(folder)));
    }
    inputs
}

/// Whether a thread panicked that is no test's own: those of the log are not seen by who opens it.
fn panicked() -> &'static AtomicBool {
    static PANICKED: AtomicBool = AtomicBool::new(false);
    static HOOK: OnceLock<()> = OnceLock::new();
    HOOK.get_or_init(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !thread::current().name().is_some_and(|name| TESTED.contains(&name)) {
                PANICKED.store(true, Ordering::SeqCst);
            }
            before(info);
        }));
    });
    &PANICKED
}

/// Checks an input, and keeps it where it can be found when it fails.
fn check(target: &Target, input: &[u8], origin: &str) {
    let panicked = panicked();
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| (target.check)(input)));
    if outcome.is_ok() && !panicked.load(Ordering::SeqCst) {
        return;
    }
    let kept = std::env::temp_dir().join(format!("kelly-fuzz-{}-{}", target.name, std::process::id()));
    fs::write(&kept, input).unwrap();
    panic!(
        "{} does not hold for {origin}: {:?}; the input is kept in {}. Fix it, and put the input into fuzz/corpus/{}",
        target.name,
        String::from_utf8_lossy(input),
        kept.display(),
        target.name
    );
}

/// The target of that name, by its corpus and by what becomes of it at random.
fn hold(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let seed = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    let seed =
        seed.unwrap_or_else(|| u64::from_le_bytes(*uuid::Uuid::new_v4().as_bytes().first_chunk().unwrap()));
    let inputs = corpus(target);
    for input in &inputs {
        check(target, input, "its corpus");
    }
    let mut mutator = Mutator::new(seed, &inputs);
    for _ in 0..BUDGET / target.cost {
        check(target, &mutator.next_input(), &format!("a random input of {SEED}={seed}"));
    }
}

/// One test a target.
macro_rules! short_runs {
    ($($name:ident)*) => {
        $(#[test] fn $name() { hold(stringify!($name)); })*

        const TESTED: &[&str] = &[$(stringify!($name)),*];
    };
}

short_runs! {
    metrics activities arrow body metadata redaction timestamp histogram cursor commit_metadata token live_message
    live_position decompression log_recovery
}

#[test]
fn every_target_has_its_program_and_every_corpus_its_target() {
    let names = |folder: &str| {
        let entries = fs::read_dir(here().join(folder)).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    let mut targets: Vec<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(TESTED, targets);
    targets.sort();
    assert_eq!(names("fuzz_targets"), targets);
    assert_eq!(names("corpus"), targets);
    let manifest = fs::read_to_string(here().join("Cargo.toml")).unwrap();
    for target in targets {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{target}.rs\"")), "{target} is no program");
    }
}
