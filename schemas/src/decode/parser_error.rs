//! What the JSON parser says of a text.

/// Its words. In a text of one line they name the column alone: the line is that of an NDJSON body, and the parser does
/// not know it.
pub(super) fn described(error: &serde_json::Error, text: &str) -> String {
    let what = error.to_string();
    if text.trim().contains('\n') { what } else { what.replace(" at line 1 column ", " at column ") }
}
