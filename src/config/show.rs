//! What `kelly config` prints: every setting, what is in force, and where it came from.

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Value, json};

use super::Loaded;
use super::setting::Setting;
use super::tables::all;
use super::values::Config;

/// Shown in place of a secret.
const HIDDEN: &str = "(hidden)";

/// One line of the listing.
struct Line {
    setting: &'static Setting,
    value: Option<String>,
    origin: String,
}

/// The running Kelly that the tools ask. It is no setting: every configuration has its own.
#[derive(Debug)]
pub struct Server {
    /// Where it is.
    pub url: String,
    /// Who said so.
    pub from: &'static str,
}

/// For people: a table, and below it which Kelly the tools ask and what has no effect yet.
pub fn as_table(loaded: &Loaded, server: &Server) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(["SETTING", "VALUE", "FROM", "VARIABLE"]);
    for line in lines(loaded) {
        table.add_row([
            line.setting.name.to_owned(),
            line.value.unwrap_or_else(|| "(unset)".to_owned()),
            line.origin,
            line.setting.variable.to_owned(),
        ]);
    }
    for (name, value) in &loaded.config.kafka_properties {
        table.add_row([
            format!("kafka.properties.{name}"),
            property(name, value).to_owned(),
            properties_origin(&loaded.config),
            String::new(),
        ]);
    }
    // The table pads both sides of a cell; the left margin is not wanted.
    let mut text: String = table
        .lines()
        .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(&line).trim_end()))
        .collect();
    text.push_str(&format!("\nThe tools ask the Kelly at {} ({}).\n", server.url, server.from));
    for setting in all() {
        if let Some(part) = setting.waits_for {
            text.push_str(&format!(
                "{} is accepted and has no effect yet: it belongs to {part}.\n",
                setting.variable
            ));
        }
    }
    text
}

/// For programs: one object, `settings` by name.
pub fn as_json(loaded: &Loaded, server: &Server) -> String {
    let settings: serde_json::Map<String, Value> = lines(loaded)
        .map(|line| {
            let entry = json!({
                "value": line.value,
                "from": line.origin,
                "variable": line.setting.variable,
                "about": line.setting.about,
                "has_effect": line.setting.waits_for.is_none(),
            });
            (line.setting.name.to_owned(), entry)
        })
        .collect();
    let properties: serde_json::Map<String, Value> = loaded
        .config
        .kafka_properties
        .iter()
        .map(|(name, value)| (name.clone(), property(name, value).into()))
        .collect();
    let whole = json!({
        "settings": settings,
        "kafka_properties": properties,
        "server": { "value": server.url, "from": server.from },
    });
    format!("{whole:#}")
}

fn lines(loaded: &Loaded) -> impl Iterator<Item = Line> {
    all().map(|setting| {
        let raw = loaded.merged.values.get(setting.name);
        let value = raw.map(|raw| if setting.secret { HIDDEN.to_owned() } else { raw.text.clone() });
        let derived = || derived(setting, &loaded.config);
        Line {
            setting,
            value: value.or_else(derived),
            origin: raw.map_or_else(|| "default".to_owned(), |raw| raw.origin.to_string()),
        }
    })
}

/// The value of a setting whose default follows from another one.
fn derived(setting: &Setting, config: &Config) -> Option<String> {
    match setting.name {
        "log" => Some(config.log.to_string()),
        "store" => Some(config.store.to_string()),
        _ => None,
    }
}

fn properties_origin(config: &Config) -> String {
    config
        .kafka
        .properties_file
        .as_ref()
        .map_or_else(|| "[kafka.properties]".to_owned(), |path| path.display().to_string())
}

/// A librdkafka property as it may be shown.
fn property<'v>(name: &str, value: &'v str) -> &'v str {
    if kelly_stream::kafka::may_be_shown(name) { value } else { HIDDEN }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::sources::{Given, merge};
    use crate::config::values::typed;

    fn loaded() -> Loaded {
        let environment: BTreeMap<String, String> = [
            ("KELLY_STORE_PASSWORD", "hunter2"),
            ("KELLY_STORE", "http://kelly@ch:8123/kelly"),
            ("KELLY_DATA", "/data"),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
        let text = "[kafka.properties]\nsasl.password = \"hunter2\"\nsasl.pasword = \"hunter2\"\nsasl.mechanism = \"PLAIN\"";
        let merged = merge(&Given { file: Some(("kelly.toml", text)), environment, ..Given::default() });
        Loaded { config: typed(&merged).unwrap(), merged, thresholds: None, warnings: Vec::new() }
    }

    fn server() -> Server {
        Server { url: "http://127.0.0.1:9000".into(), from: "--server" }
    }

    #[test]
    fn secrets_are_hidden_in_both_forms() {
        for text in [as_table(&loaded(), &server()), as_json(&loaded(), &server())] {
            assert!(!text.contains("hunter2"), "{text}");
            assert!(text.contains("(hidden)") && text.contains("PLAIN"), "{text}");
        }
    }

    #[test]
    fn values_derived_from_others_are_shown() {
        let text = as_table(&loaded(), &server());
        assert!(text.contains("embedded:/data/log"), "{text}");
        assert!(
            text.contains("KELLY_EMERGENCY_CONFIRMATION_REQUIRED is accepted and has no effect yet"),
            "{text}"
        );
    }

    #[test]
    fn the_json_form_names_value_and_origin() {
        let value: Value = serde_json::from_str(&as_json(&loaded(), &server())).unwrap();
        assert_eq!(value["server"]["value"], "http://127.0.0.1:9000");
        let store = &value["settings"]["store"];
        assert_eq!(store["value"], "http://kelly@ch:8123/kelly");
        assert_eq!(store["from"], "KELLY_STORE");
        assert_eq!(value["settings"]["websocket.timeout"]["has_effect"], true);
        assert_eq!(value["settings"]["emergency.confirmation_required"]["has_effect"], false);
    }
}
