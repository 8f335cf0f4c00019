//! Examples of answers, as the document shows them.

use serde_json::Value;

macro_rules! examples {
    ($($(#[$meta:meta])* $name:ident = $file:literal;)*) => {$(
        $(#[$meta])*
        pub(crate) fn $name() -> Value {
            // A test of the document fails on a file that is no JSON: its null fits no schema.
            serde_json::from_str(include_str!($file)).unwrap_or_default()
        }
    )*};
}

examples! {
    /// The live figures.
    overview = "examples/overview.json";
    /// A drill-down into one metric.
    one_series = "examples/one_series.json";
    /// The same with `group_by`.
    groups = "examples/groups.json";
    /// What a rule would have done.
    rule_preview = "examples/rule_preview.json";
    /// A page of events.
    page = "examples/page.json";
}
