//! The file of further issuers (`KELLY_AUTH_ISSUERS`): a TOML table `[[issuer]]` for each.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use kelly_auth::{Algorithm, Issuer, MAX_NAME_BYTES, USUAL_TYPES, is_name};
use kelly_cli::Usage;
use serde::Deserialize;

use crate::config::Config;

/// One that is configured, and where its keys are.
#[derive(Debug)]
pub struct Configured {
    pub issuer: Issuer,
    pub keys: KeyPlace,
}

/// Where the keys of an issuer are.
#[derive(Debug)]
pub enum KeyPlace {
    /// A set at a URL.
    Url(reqwest::Url),
    /// A set in a file.
    File(PathBuf),
    /// A secret that issuer and Kelly share, in a file.
    Secret(PathBuf),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    issuer: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    iss: String,
    algorithm: String,
    jwks: Option<String>,
    jwks_file: Option<PathBuf>,
    secret_file: Option<PathBuf>,
    audience: Option<String>,
    types: Option<Vec<String>>,
    roles_claim: Option<String>,
    accounts_claim: Option<String>,
    #[serde(default)]
    accounts_required: bool,
}

/// The issuers of the file that the configuration names.
pub fn read(path: &Path, config: &Config) -> anyhow::Result<Vec<Configured>> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("reading the issuers, {shown} (KELLY_AUTH_ISSUERS)"))?;
    parse(&text, config).map_err(|what| Usage(format!("the issuers in {shown}: {what}")).into())
}

fn parse(text: &str, config: &Config) -> Result<Vec<Configured>, String> {
    let file: File = toml::from_str(text).map_err(|error| format!("not right: {}", error.message()))?;
    let mut found: Vec<Configured> = Vec::new();
    for entry in file.issuer {
        let name = entry.iss.clone();
        if !is_name(&name) {
            return Err(format!(
                "`iss` has 1 to {MAX_NAME_BYTES} bytes and no control characters: it is what `iss` says in tokens"
            ));
        }
        if name == config.auth.issuer || found.iter().any(|known| *known.issuer.name == *name) {
            return Err(format!("{name}: there are two issuers of this name (KELLY_AUTH_ISSUER is one too)"));
        }
        found.push(one(entry, config).map_err(|what| format!("{name}: {what}"))?);
    }
    Ok(found)
}

fn one(entry: Entry, config: &Config) -> Result<Configured, String> {
    let algorithm: Algorithm =
        entry.algorithm.parse().map_err(|error| format!("algorithm {:?}: {error}", entry.algorithm))?;
    let keys = match (entry.jwks, entry.jwks_file, entry.secret_file) {
        (Some(url), None, None) => KeyPlace::Url(key_url(&url)?),
        (None, Some(file), None) => KeyPlace::File(file),
        (None, None, Some(file)) => KeyPlace::Secret(file),
        _ => return Err("say one of jwks, jwks_file and secret_file".to_owned()),
    };
    if (algorithm == Algorithm::Hs256) != matches!(keys, KeyPlace::Secret(_)) {
        return Err("HS256 goes with secret_file, and nothing else does".to_owned());
    }
    let types = entry.types.unwrap_or_else(|| USUAL_TYPES.map(str::to_owned).into());
    if types.is_empty() {
        return Err(
            "`types` is empty, and no token would be of any; leave it out for the usual ones".to_owned()
        );
    }
    let auth = &config.auth;
    let issuer = Issuer {
        name: Arc::from(entry.iss),
        audience: entry.audience.unwrap_or_else(|| auth.audience.clone()),
        algorithm,
        types,
        roles_claim: entry.roles_claim.unwrap_or_else(|| auth.roles_claim.clone()),
        accounts_claim: entry.accounts_claim.unwrap_or_else(|| auth.accounts_claim.clone()),
        accounts_required: entry.accounts_required,
        leeway_seconds: i64::try_from(auth.leeway.as_secs()).unwrap_or(i64::MAX),
    };
    Ok(Configured { issuer, keys })
}

/// Who could change the keys on their way could sign in as anybody.
fn key_url(text: &str) -> Result<reqwest::Url, String> {
    const WANTED: &str =
        "jwks is an address that begins with https:// (http:// on loopback only), without a password";
    let url = reqwest::Url::parse(text).map_err(|_| WANTED.to_owned())?;
    let is_loopback = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    let is_safe = url.scheme() == "https" || (url.scheme() == "http" && is_loopback);
    if is_safe && url.password().is_none() && url.username().is_empty() {
        Ok(url)
    } else {
        Err(WANTED.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuers_are_read_with_the_configurations_own_names_as_defaults() {
        let config = Config::of(&[("KELLY_AUTH_AUDIENCE", "ops"), ("KELLY_AUTH_ROLES_CLAIM", "r")]);
        let text = r#"
            [[issuer]]
            iss = "https://login.example.com"
            algorithm = "RS256"
            jwks = "https://login.example.com/certs"
            [[issuer]]
            iss = "other"
            algorithm = "HS256"
            secret_file = "/run/secrets/other"
            audience = "kelly"
            types = ["at+jwt"]
            roles_claim = "realm_access.roles"
            accounts_required = true
        "#;
        let found = parse(text, &config).unwrap();
        let [first, second] = &found[..] else { panic!("two issuers: {found:?}") };
        assert_eq!((first.issuer.audience.as_str(), first.issuer.roles_claim.as_str()), ("ops", "r"));
        assert!(matches!(&first.keys, KeyPlace::Url(url) if url.path() == "/certs"));
        assert_eq!((second.issuer.types.len(), second.issuer.accounts_required), (1, true));
        assert!(matches!(second.keys, KeyPlace::Secret(_)));
        assert!(parse("", &config).unwrap().is_empty());
    }

    #[test]
    fn what_is_wrong_is_said_with_the_issuers_name() {
        let config = Config::of(&[]);
        let entry = |lines: &str| format!("[[issuer]]\niss = \"i\"\n{lines}\n");
        let right = "algorithm = \"ES256\"\njwks_file = \"f\"";
        assert!(parse(&entry(right), &config).is_ok());
        for (text, expected) in [
            ("issuer = 7".to_owned(), "not right"),
            (entry("algorithm = \"ES256\""), "i: say one of"),
            (entry("algorithm = \"ES256\"\njwks = \"https://k\"\njwks_file = \"f\""), "i: say one of"),
            (entry("algorithm = \"none\"\njwks_file = \"f\""), "no such algorithm; there are HS256"),
            (entry("algorithm = \"HS256\"\njwks_file = \"f\""), "HS256 goes with secret_file"),
            (entry("algorithm = \"RS256\"\nsecret_file = \"f\""), "HS256 goes with secret_file"),
            (entry("algorithm = \"RS256\"\njwks = \"http://login.example.com\""), "begins with https://"),
            (entry("algorithm = \"RS256\"\njwks = \"https://u:hunter2@k\""), "without a password"),
            (entry("algorithm = \"RS256\"\njwks = \"file:///k\""), "begins with https://"),
            (entry(&format!("{right}\ntypes = []")), "`types` is empty"),
            (entry(&format!("{right}\nroles_clam = \"r\"")), "not right"),
            (format!("{}{}", entry(right), entry(right)), "two issuers"),
            (entry(right).replace("\"i\"", "\"kelly\""), "two issuers"),
            (entry(right).replace("\"i\"", "\"\""), "`iss` has 1 to 256 bytes"),
            (entry(right).replace("\"i\"", "\"a\\nb\""), "no control characters"),
        ] {
            let error = parse(&text, &config).unwrap_err();
            assert!(error.contains(expected) && !error.contains("hunter2"), "{text}: {error}");
        }
    }
}
