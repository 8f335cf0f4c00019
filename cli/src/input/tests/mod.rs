//! Files as people have them, read from disk: what goes in, what is asked for, what is left out.

mod csv;
mod files;
mod json;
mod tables;
mod times;

use kelly_schemas::Limits;

use super::*;

/// What a file of this name with these bytes yields: rows as JSON, bad rows, or why it is refused.
fn read_with(name: &str, bytes: &[u8], options: &Options) -> Result<(Vec<String>, Vec<String>), String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let shown = format!("{}: ", path.display());
    let message = |error: anyhow::Error| {
        let usage = if error.is::<Usage>() { "usage: " } else { "" };
        format!("{usage}{error:#}").replace(&shown, "")
    };
    let source = Source::new(&path, options).map_err(message)?;
    let mut found = source.open().map_err(message)?;
    let (mut rows, mut bad) = (Vec::new(), Vec::new());
    while let Some(found) = found.next().map_err(message)? {
        match found {
            Found::Row(row) => {
                let json = row.json(row.at_ms);
                let now = row.at_ms.unwrap_or_default();
                match row.check(&json, now, &Limits::default()) {
                    Ok(_) => rows.push(String::from_utf8(json.into_owned()).unwrap()),
                    Err(fault) => bad.push(format!("{fault} ({})", fault.code)),
                }
            }
            Found::Bad(row) => bad.push(row.to_string()),
        }
    }
    Ok((rows, bad))
}

fn read(name: &str, text: &str) -> Result<(Vec<String>, Vec<String>), String> {
    read_with(name, text.as_bytes(), &Options::default())
}

/// The rows of a file in which nothing is wrong.
fn rows(name: &str, text: &str, options: &Options) -> Vec<String> {
    let (rows, bad) = read_with(name, text.as_bytes(), options).unwrap_or_else(|why| panic!("{name}: {why}"));
    assert_eq!(bad, Vec::<String>::new(), "{name}");
    rows
}

fn asked(name: &str, text: &str, options: &Options) -> String {
    let why = read_with(name, text.as_bytes(), options).expect_err(name);
    why.strip_prefix("usage: ").unwrap_or_else(|| panic!("no wrong usage: {why}")).to_owned()
}

#[test]
fn no_sentence_is_shown() {
    let sung = "the canary sang";
    let lines = [
        format!("\"{sung}\""),
        format!("{{\"value\":\"{sung}\",\"timestamp\":\"{sung}\"}}"),
        format!("[\"{sung}\"]"),
        format!("{{\"value\":\"{sung}\" \"{sung}\"}}"),
    ];
    let (found, bad) = read("m.ndjson", &lines.join("\n")).unwrap();
    assert_eq!((found.len(), bad.len()), (0, lines.len()));
    let text = format!(
        "timestamp,value,metadata\n{sung},1,\n0,{sung},\n0,1,\"\"\"{sung}\"\"\"\n0,1,{sung}\n\"{sung}\"x,1\n"
    );
    let (found, more) = read("m.csv", &text).unwrap();
    assert_eq!((found.len(), more.len()), (0, 5));
    assert!(bad.iter().chain(&more).all(|message| !message.contains("canary")), "{bad:?} {more:?}");
}
