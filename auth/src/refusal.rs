//! Why a caller is not signed in.

/// Why a token or a session is not accepted. It says what is wrong and never repeats what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// Neither a token nor a session came with the request.
    #[error("the request brings neither a token nor a session")]
    Missing,
    /// What should carry the token is not of the right form, or there are several.
    #[error("the credentials are not one bearer token")]
    Credentials,
    /// More text than a token may have.
    #[error("the token is longer than {} bytes", crate::MAX_TOKEN_BYTES)]
    TooLarge,
    /// Not three parts of base64url with JSON in them, or cut off.
    #[error("the text is no whole JWT: three parts of base64url with dots between them")]
    Malformed,
    /// The header says that nothing was signed (`alg: none`).
    #[error("the token is not signed")]
    Unsigned,
    /// Another algorithm than the issuer's.
    #[error("the token is signed with another algorithm than its issuer uses")]
    Algorithm,
    /// The header's `typ` is missing or of another kind of token.
    #[error("the token is of another type (`typ`)")]
    Type,
    /// The header asks for extensions (`crit`), of which Kelly has none.
    #[error("the token's header has `crit`, and Kelly knows no extension")]
    CriticalHeader,
    /// No issuer of this name is configured.
    #[error("the token's issuer (`iss`) is not one that this Kelly accepts")]
    Issuer,
    /// The issuer has no key of this `kid`.
    #[error("the token names a key (`kid`) that its issuer does not have")]
    UnknownKey,
    /// The signature is not the issuer's.
    #[error("the token's signature is not its issuer's")]
    Signature,
    /// A claim is missing or of the wrong type.
    #[error("the claim `{0}` is missing, empty, too long, or not of its type")]
    Claim(&'static str),
    /// It is for somebody else.
    #[error("the token is for another audience (`aud`)")]
    Audience,
    /// It is over.
    #[error("the token has expired (`exp`)")]
    Expired,
    /// It has not begun.
    #[error("the token is not valid yet (`nbf`)")]
    NotYetValid,
    /// The token or the user was denied.
    #[error("the token or its user was revoked")]
    Revoked,
    /// A sign-in link that was used, is over, or never was.
    #[error("the sign-in link was used before, has expired, or is of another Kelly")]
    Link,
}

impl Refusal {
    /// Every one, for tables and tests.
    pub const ALL: [Self; 17] = [
        Self::Missing,
        Self::Credentials,
        Self::TooLarge,
        Self::Malformed,
        Self::Unsigned,
        Self::Algorithm,
        Self::Type,
        Self::CriticalHeader,
        Self::Issuer,
        Self::UnknownKey,
        Self::Signature,
        Self::Claim("exp"),
        Self::Audience,
        Self::Expired,
        Self::NotYetValid,
        Self::Revoked,
        Self::Link,
    ];
}
