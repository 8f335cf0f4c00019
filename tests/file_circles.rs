//! No two files of a crate use one another, directly or by way of others: each can be read and changed after those it
//! rests on. A file that only re-exports from another does not use it, and tests may use what they test.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The crates that are held to it.
const CRATES: [&str; 5] = ["alerts", "evaluate", "ingest", "query", "schemas"];

/// A module by the names on its path in the crate; the crate's root has none.
type Module = Vec<String>;

struct Crate {
    /// The text of each module, without comments and tests.
    sources: BTreeMap<Module, String>,
    /// What each module re-exports: the last name, and the path behind it.
    exports: BTreeMap<Module, BTreeMap<String, Vec<String>>>,
}

impl Crate {
    fn read(root: &Path) -> Self {
        let mut sources = BTreeMap::new();
        for file in rust_files(root) {
            let place = file.strip_prefix(root).expect("it lies below").with_extension("");
            let mut module: Module =
                place.iter().map(|name| name.to_str().expect("plain names").to_owned()).collect();
            match module.last().map(String::as_str) {
                Some("tests") => continue,
                Some("mod" | "lib") => drop(module.pop()),
                _ => {}
            }
            let text = std::fs::read_to_string(&file).expect("a source is readable");
            sources.insert(module, without_comments_and_tests(&text));
        }
        let exports = sources
            .iter()
            .map(|(module, text)| {
                let paths = uses(text).into_iter().filter(|found| found.is_export);
                let named = paths.flat_map(|found| paths_of(&found.tree));
                let exports =
                    named.filter_map(|path| Some((path.last()?.clone(), path))).collect::<BTreeMap<_, _>>();
                (module.clone(), exports)
            })
            .collect();
        Self { sources, exports }
    }

    /// The module that a path means, as it is written in another one; `None` when it is of another crate.
    fn resolve(&self, within: &Module, path: &[String], depth: usize) -> Option<Module> {
        let (mut module, mut rest) = match path.first()?.as_str() {
            "crate" => (Module::new(), &path[1..]),
            "self" => (within.clone(), &path[1..]),
            "super" => {
                let ups = path.iter().take_while(|name| *name == "super").count();
                (within[..within.len().checked_sub(ups)?].to_vec(), &path[ups..])
            }
            name if self.child(within, name).is_some() => (within.clone(), path),
            _ => return None,
        };
        while let Some(name) = rest.first() {
            if let Some(child) = self.child(&module, name) {
                (module, rest) = (child, &rest[1..]);
                continue;
            }
            if let Some(behind) = self.exports[&module].get(name)
                && depth < 8
            {
                let whole: Vec<String> = behind.iter().chain(&rest[1..]).cloned().collect();
                return self.resolve(&module, &whole, depth + 1).or(Some(module));
            }
            break;
        }
        Some(module)
    }

    fn child(&self, module: &Module, name: &str) -> Option<Module> {
        let child = [module.as_slice(), &[name.to_owned()]].concat();
        self.sources.contains_key(&child).then_some(child)
    }

    /// The modules that one uses.
    fn used_by(&self, module: &Module) -> BTreeSet<Module> {
        let text = &self.sources[module];
        let mut paths: Vec<Vec<String>> = Vec::new();
        let mut rest = text.clone();
        for found in uses(text) {
            rest = rest.replacen(&found.statement, "", 1);
            if !found.is_export {
                paths.extend(paths_of(&found.tree));
            }
        }
        paths.extend(paths_in_code(&rest));
        let used = paths.iter().filter_map(|path| self.resolve(module, path, 0));
        used.filter(|used| used != module).collect()
    }

    /// Modules that use one another, in groups.
    fn circles(&self) -> Vec<Vec<Module>> {
        let used: BTreeMap<&Module, BTreeSet<Module>> =
            self.sources.keys().map(|module| (module, self.used_by(module))).collect();
        let reached = |from: &Module| {
            let (mut reached, mut open) = (BTreeSet::new(), vec![from.clone()]);
            while let Some(module) = open.pop() {
                for next in &used[&module] {
                    if reached.insert(next.clone()) {
                        open.push(next.clone());
                    }
                }
            }
            reached
        };
        let reach: BTreeMap<&Module, BTreeSet<Module>> =
            self.sources.keys().map(|module| (module, reached(module))).collect();
        let mut circles: Vec<Vec<Module>> = Vec::new();
        for module in self.sources.keys().filter(|module| reach[*module].contains(*module)) {
            let is_same = |other: &Module| reach[module].contains(other) && reach[other].contains(module);
            match circles.iter_mut().find(|circle| is_same(&circle[0])) {
                Some(circle) => circle.push(module.clone()),
                None => circles.push(vec![module.clone()]),
            }
        }
        circles
    }
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).expect("a directory of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn without_comments_and_tests(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

struct Use {
    statement: String,
    tree: String,
    is_export: bool,
}

/// The `use` statements of a text.
fn uses(text: &str) -> Vec<Use> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = text[at..].find("use ").map(|offset| at + offset) {
        at = start + 4;
        let line = &text[text[..start].rfind('\n').map_or(0, |end| end + 1)..start];
        // Not the end of another word, as of an enum of causes.
        let is_a_word = line.is_empty() || line.ends_with(char::is_whitespace);
        if !is_a_word || !(line.trim().is_empty() || line.trim().starts_with("pub")) {
            continue;
        }
        let Some(end) = text[start..].find(';').map(|offset| start + offset) else { break };
        let statement = format!("{line}{}", &text[start..=end]);
        let tree = text[at..end].to_owned();
        found.push(Use { statement, tree, is_export: line.trim().starts_with("pub") });
        at = end;
    }
    found
}

/// The paths a tree of names stands for.
fn paths_of(tree: &str) -> Vec<Vec<String>> {
    let names = |path: &str| -> Vec<String> {
        let path = path.split(" as ").next().unwrap_or_default();
        path.split("::").map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
    };
    let Some((head, rest)) = tree.split_once('{') else { return vec![names(tree)] };
    let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
    let (mut parts, mut depth) = (vec![String::new()], 0_usize);
    for letter in inner.chars() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().expect("one is there").push(letter);
    }
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(|part| paths_of(part)).map(|path| [names(head), path].concat()).collect()
}

/// Paths of more than one name that stand in code.
fn paths_in_code(text: &str) -> Vec<Vec<String>> {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    let words = text.split(|letter| !is_part(letter)).filter(|word| word.contains("::"));
    words.map(|word| word.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect()).collect()
}

#[test]
fn no_files_use_one_another() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for name in CRATES {
        let read = Crate::read(&root.join(name).join("src"));
        assert!(read.sources.len() > 10, "{name} has sources");
        for circle in read.circles() {
            let files = circle.iter().map(|module| match module.as_slice() {
                [] => "lib".to_owned(),
                names => names.join("/"),
            });
            found.push(format!("{name}: {}", files.collect::<Vec<_>>().join(", ")));
        }
    }
    assert!(found.is_empty(), "files that use one another:\n{}", found.join("\n"));
}

#[test]
fn a_circle_is_found() {
    let module = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Module>();
    let sources = BTreeMap::from([
        (module(&[]), "mod a;\nmod b;\npub use b::Thing;\n".to_owned()),
        (module(&["a"]), "use crate::Thing;\n".to_owned()),
        (module(&["b"]), "pub struct Thing;\nfn back() { super::c::run() }\n".to_owned()),
        (module(&["c"]), "use crate::{a::{Other as One}, d};\n".to_owned()),
        (module(&["d"]), String::new()),
    ]);
    let mut exports: BTreeMap<_, BTreeMap<_, _>> =
        sources.keys().map(|module| (module.clone(), BTreeMap::new())).collect();
    let thing = module(&["b", "Thing"]);
    exports.insert(module(&[]), BTreeMap::from([("Thing".to_owned(), thing)]));
    let found = Crate { sources, exports }.circles();
    assert_eq!(found, [vec![module(&["a"]), module(&["b"]), module(&["c"])]]);
}
