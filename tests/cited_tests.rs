//! Tests that documents name as proof exist under that name.

use std::collections::BTreeSet;
use std::path::Path;

const DOCUMENTS: [&str; 1] = ["docs/exactly-once.md"];

/// Fewer words may be the name of anything.
const WORDS_OF_A_TEST: usize = 4;

fn cited(document: &str) -> BTreeSet<&str> {
    let in_code = document.split('`').skip(1).step_by(2);
    in_code.filter(|code| is_name(code) && code.split('_').count() >= WORDS_OF_A_TEST).collect()
}

fn is_name(code: &str) -> bool {
    code.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// The names of the functions of every source below a folder.
fn add_functions(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder is readable") {
        let path = entry.expect("an entry is readable").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            add_functions(&path, names);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source is readable");
            let functions = text.split("fn ").skip(1);
            names.extend(functions.filter_map(|rest| rest.split(['(', '<']).next()).map(str::to_owned));
        }
    }
}

#[test]
fn every_test_that_a_document_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut functions = BTreeSet::new();
    add_functions(root, &mut functions);
    for document in DOCUMENTS {
        let text = std::fs::read_to_string(root.join(document)).expect("the document is there");
        let cited = cited(&text);
        assert!(cited.len() > 20, "{document} names {} tests", cited.len());
        let missing: Vec<&&str> = cited.iter().filter(|name| !functions.contains(**name)).collect();
        assert!(missing.is_empty(), "{document} names tests that there are not: {missing:?}");
    }
}
