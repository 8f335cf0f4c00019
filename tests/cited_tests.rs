//! The tests that `docs/exactly-once.md` names are there, in the files it names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where a file lies that is named without a folder.
const FOLDER: &str = "ingest/tests/exactly_once";

/// What stands between backticks in a text.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Whether it is written as the name of a test: words of small letters with underscores.
fn is_name(word: &str) -> bool {
    let is_plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    word.matches('_').count() >= 3 && word.chars().all(is_plain)
}

/// The files and names in the last column of the page's tables, each name with the file before it, and the names elsewhere.
fn named(page: &str) -> (Vec<PathBuf>, Vec<(PathBuf, String)>, Vec<String>) {
    let (mut files, mut in_files, mut elsewhere) = (Vec::new(), Vec::new(), Vec::new());
    for line in page.lines() {
        let cells: Vec<&str> = line.trim().trim_matches('|').split(" | ").collect();
        if !line.starts_with('|') || cells.len() != 3 {
            elsewhere.extend(quoted(line).filter(|word| is_name(word)).map(str::to_owned));
            continue;
        }
        let mut file = PathBuf::new();
        for word in quoted(cells[2]) {
            if word.ends_with(".rs") {
                file = if word.contains('/') { PathBuf::from(word) } else { Path::new(FOLDER).join(word) };
                files.push(file.clone());
            } else if is_name(word) {
                in_files.push((file.clone(), word.to_owned()));
            }
        }
    }
    (files, in_files, elsewhere)
}

#[test]
fn every_test_that_is_named_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/exactly-once.md")).expect("the page is there");
    let (files, in_files, elsewhere) = named(&page);
    assert!(in_files.len() >= 30 && elsewhere.len() >= 4, "the page is read: {in_files:?} {elsewhere:?}");
    let read = |file: &PathBuf| std::fs::read_to_string(root.join(file)).unwrap_or_default();
    let texts: BTreeMap<&PathBuf, String> = files.iter().map(|file| (file, read(file))).collect();
    let is_in = |text: &str, name: &str| text.contains(&format!("fn {name}("));
    let mut missing: Vec<String> = Vec::new();
    missing
        .extend(texts.iter().filter(|(_, text)| text.is_empty()).map(|(file, _)| file.display().to_string()));
    missing.extend(
        in_files
            .iter()
            .filter(|(file, name)| !is_in(&texts[file], name))
            .map(|(file, name)| format!("{name} in {}", file.display())),
    );
    missing.extend(elsewhere.into_iter().filter(|name| !texts.values().any(|text| is_in(text, name))));
    assert!(missing.is_empty(), "docs/exactly-once.md names what is not there:\n{}", missing.join("\n"));
}

#[test]
fn what_a_page_names_is_read() {
    let page = "a `name_of_some_test` here\n\n| failure | what | test |\n|---|---|---|\n| it `dies_in_a_row` | no | \
                `a.rs`: `one_of_the_tests`, `bench --kills 2`; `b/c.rs`: `another_of_the_tests` |\n";
    let (files, in_files, elsewhere) = named(page);
    assert_eq!(files, [Path::new(FOLDER).join("a.rs"), PathBuf::from("b/c.rs")]);
    let name = |file: &Path, name: &str| (file.to_owned(), name.to_owned());
    assert_eq!(in_files, [name(&files[0], "one_of_the_tests"), name(&files[1], "another_of_the_tests")]);
    assert_eq!(elsewhere, ["name_of_some_test"]);
}
