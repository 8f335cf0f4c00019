//! An issuer of tokens: what its tokens must be, and who a token that is right is of.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::accounts::Accounts;
use crate::algorithm::Algorithm;
use crate::identity::Identity;
use crate::keys::Keys;
use crate::refusal::Refusal;
use crate::role::{Role, Roles};
use crate::token::Unverified;

/// Most seconds by which clocks may differ.
pub const MAX_LEEWAY_SECONDS: i64 = 30;
/// Longest `iss`, `sub` and `jti`, in bytes.
pub const MAX_NAME_BYTES: usize = 256;
/// The types of a token that are accepted when nobody says otherwise (RFC 7519, RFC 9068).
pub const USUAL_TYPES: [&str; 2] = ["JWT", "at+jwt"];

/// An issuer whose tokens are accepted.
#[derive(Debug, Clone)]
pub struct Issuer {
    /// Its name: what `iss` must say.
    pub name: Arc<str>,
    /// What `aud` must say, or have in its list.
    pub audience: String,
    /// How its tokens are signed.
    pub algorithm: Algorithm,
    /// What `typ` may say, in whatever case.
    pub types: Vec<String>,
    /// The claim with the roles: its name, or a path with dots between names.
    pub roles_claim: String,
    /// The claim with the accounts. A token without it is of all accounts, unless it is required.
    pub accounts_claim: String,
    /// Whether every token must say which accounts it is for.
    pub accounts_required: bool,
    /// Seconds by which clocks may differ; [`MAX_LEEWAY_SECONDS`] at most.
    pub leeway_seconds: i64,
}

impl Issuer {
    /// Who a token is of, at a time in seconds since 1970. Deny lists are looked at elsewhere ([`crate::Denied`]).
    ///
    /// # Errors
    /// Why it is not accepted.
    pub fn verify(&self, token: &Unverified<'_>, keys: &Keys, now: i64) -> Result<Identity, Refusal> {
        self.check_form(token)?;
        keys.check(token, self.algorithm)?;
        let claims = &token.claims;
        let leeway = self.leeway_seconds.clamp(0, MAX_LEEWAY_SECONDS);
        let subject = name(claims, "sub")?.ok_or(Refusal::Claim("sub"))?;
        let expires_at = time(claims, "exp")?.ok_or(Refusal::Claim("exp"))?;
        let begins_at = time(claims, "nbf")?;
        time(claims, "iat")?;
        let token_id = name(claims, "jti")?;
        self.check_audience(claims)?;
        if expires_at.saturating_add(leeway) <= now {
            return Err(Refusal::Expired);
        }
        if begins_at.is_some_and(|begins_at| begins_at.saturating_sub(leeway) > now) {
            return Err(Refusal::NotYetValid);
        }
        Ok(Identity {
            issuer: self.name.clone(),
            subject: subject.into(),
            roles: self.roles(claims)?,
            accounts: self.accounts(claims)?,
            token_id: Some(token_id.map_or_else(|| token.hash(), Arc::from)),
            expires_at: Some(expires_at),
            origin_ends_at: None,
        })
    }

    /// Whether a token can be one of this issuer, before anything is known of its keys.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn check_form(&self, token: &Unverified<'_>) -> Result<(), Refusal> {
        if token.issuer()? != &*self.name {
            return Err(Refusal::Issuer);
        }
        self.check_type(token)?;
        if token.algorithm == Some(self.algorithm) { Ok(()) } else { Err(Refusal::Algorithm) }
    }

    fn check_type(&self, token: &Unverified<'_>) -> Result<(), Refusal> {
        let kind = token.kind.as_deref().ok_or(Refusal::Type)?;
        // RFC 7515, 4.1.9: `application/` may be left out.
        let kind = kind.strip_prefix("application/").unwrap_or(kind);
        match self.types.iter().any(|known| known.eq_ignore_ascii_case(kind)) {
            true => Ok(()),
            false => Err(Refusal::Type),
        }
    }

    fn check_audience(&self, claims: &Map<String, Value>) -> Result<(), Refusal> {
        let is_ours = match claims.get("aud") {
            Some(Value::String(one)) => *one == self.audience,
            Some(Value::Array(several)) => {
                let mut is_ours = false;
                for one in several {
                    is_ours |= one.as_str().ok_or(Refusal::Claim("aud"))? == self.audience;
                }
                is_ours
            }
            _ => return Err(Refusal::Claim("aud")),
        };
        if is_ours { Ok(()) } else { Err(Refusal::Audience) }
    }

    /// The roles of the token that Kelly has; an issuer also names roles of other programs. None at all is no fault: it
    /// permits nothing.
    fn roles(&self, claims: &Map<String, Value>) -> Result<Roles, Refusal> {
        let wrong = Refusal::Claim("roles");
        let names: Vec<&str> = match at(claims, &self.roles_claim).map_err(|_| wrong)? {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::String(names)) => names.split_whitespace().collect(),
            Some(Value::Array(names)) => {
                names.iter().map(|name| name.as_str().ok_or(wrong)).collect::<Result<_, _>>()?
            }
            Some(_) => return Err(wrong),
        };
        Ok(names.into_iter().filter_map(|name| name.parse::<Role>().ok()).collect())
    }

    fn accounts(&self, claims: &Map<String, Value>) -> Result<Accounts, Refusal> {
        let wrong = Refusal::Claim("accounts");
        match at(claims, &self.accounts_claim).map_err(|_| wrong)? {
            None if self.accounts_required => Err(wrong),
            None => Ok(Accounts::All),
            Some(Value::Array(names)) => {
                let named = |name: &Value| {
                    let name = name.as_str().filter(|name| !name.is_empty());
                    name.map(str::to_owned).ok_or(wrong)
                };
                let names = names.iter().map(named).collect::<Result<Vec<_>, _>>()?;
                Accounts::only(names).map_err(|_| wrong)
            }
            Some(_) => Err(wrong),
        }
    }
}

/// On the way to a claim stands something that is no object: what the claim would say is not known, so nothing may be taken for it.
struct BrokenPath;

/// The claim of this name, else the one at this path; `None` where it is not there.
fn at<'c>(claims: &'c Map<String, Value>, path: &str) -> Result<Option<&'c Value>, BrokenPath> {
    if let Some(claim) = claims.get(path) {
        return Ok(Some(claim));
    }
    let Some((objects, name)) = path.rsplit_once('.') else { return Ok(None) };
    let mut object = claims;
    for name in objects.split('.') {
        object = match object.get(name) {
            None => return Ok(None),
            Some(Value::Object(inner)) => inner,
            Some(_) => return Err(BrokenPath),
        };
    }
    Ok(object.get(name))
}

/// Whether a text can name an issuer, a user or a token: not empty, not too long, without control characters.
#[must_use]
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_NAME_BYTES && !text.chars().any(char::is_control)
}

/// A claim that names something.
fn name<'c>(claims: &'c Map<String, Value>, claim: &'static str) -> Result<Option<&'c str>, Refusal> {
    match claims.get(claim) {
        None => Ok(None),
        Some(Value::String(name)) if is_name(name) => Ok(Some(name)),
        Some(_) => Err(Refusal::Claim(claim)),
    }
}

/// A claim that is a time in seconds since 1970, with or without a fraction. A text that looks like one is none.
pub(crate) fn time(claims: &Map<String, Value>, claim: &'static str) -> Result<Option<i64>, Refusal> {
    /// A double counts whole seconds up to here.
    const LATEST: f64 = 9_007_199_254_740_992.0;
    let wrong = Refusal::Claim(claim);
    let number = match claims.get(claim) {
        None => return Ok(None),
        Some(Value::Number(number)) => number,
        Some(_) => return Err(wrong),
    };
    let seconds = match (number.as_i64(), number.as_f64()) {
        (Some(seconds), _) => seconds,
        (None, Some(seconds)) if (0.0..=LATEST).contains(&seconds) => seconds as i64,
        _ => return Err(wrong),
    };
    if seconds < 0 { Err(wrong) } else { Ok(Some(seconds)) }
}
