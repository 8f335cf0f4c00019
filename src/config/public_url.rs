//! Where people reach this Kelly.

use reqwest::Url;

/// An address without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl(pub String);

/// Reads one; the error says what would be right.
pub fn public_url(text: &str) -> Result<PublicUrl, String> {
    const WANTED: &str = "write http://host or https://host, with a port or a path if there is one";
    let url = Url::parse(text.trim()).map_err(|error| format!("no address ({error}): {WANTED}"))?;
    let has_rest = url.query().is_some() || url.fragment().is_some();
    let has_user = !url.username().is_empty() || url.password().is_some();
    if !matches!(url.scheme(), "http" | "https") || has_rest || has_user {
        return Err(format!("no address of a Kelly: {WANTED}"));
    }
    Ok(PublicUrl(url.as_str().trim_end_matches('/').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        assert_eq!(
            public_url("https://kelly.example.com/"),
            Ok(PublicUrl("https://kelly.example.com".into()))
        );
        assert_eq!(public_url("http://host:8000/kelly/"), Ok(PublicUrl("http://host:8000/kelly".into())));
        for wrong in ["", "kelly.example.com", "ftp://x", "https://x/?a=1", "https://u:hunter2@x/"] {
            let error = public_url(wrong).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
