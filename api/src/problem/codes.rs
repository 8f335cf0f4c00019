//! The stable table of error codes. A code, once published, keeps its meaning; clients branch on
//! it, people look it up under `/api/problems/{code}`.

use axum::http::StatusCode;
use kelly_auth::Refusal;

/// What went wrong, in a form that programs may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// A query parameter is wrong or unknown.
    InvalidParameter,
    /// The range of a query is longer than what is kept.
    RangeTooLong,
    /// More is asked for than one answer holds.
    QueryTooLarge,
    /// A cursor that this server did not issue, or that belongs to another question.
    InvalidCursor,
    /// The body is not JSON, not NDJSON, empty, or broken off.
    MalformedBody,
    /// The request has no usable Host.
    InvalidHost,
    /// The Host is not one this server answers to.
    HostNotAllowed,
    /// A browser page of another origin tried to change something.
    OriginNotAllowed,
    /// No role of the caller may do this.
    NotPermitted,
    /// The account is not one that the caller may see.
    AccountNotPermitted,
    /// No token and no session came with the request.
    NotSignedIn,
    /// What should carry a token is not of the right form.
    CredentialsMalformed,
    /// The token is longer than is looked at.
    TokenTooLarge,
    /// The text is no JWT, or not a whole one.
    TokenMalformed,
    /// The token is not signed.
    TokenUnsigned,
    /// Another algorithm than the issuer's.
    TokenAlgorithm,
    /// The header's `typ` is missing or of another kind of token.
    TokenType,
    /// The header asks for extensions that Kelly does not know.
    TokenCriticalHeader,
    /// The issuer is not one that this Kelly accepts.
    TokenIssuer,
    /// The issuer has no key of this name.
    TokenKey,
    /// The signature is not the issuer's.
    TokenSignature,
    /// A claim is missing or not of its type.
    TokenClaim,
    /// The token is for somebody else.
    TokenAudience,
    /// The token or the session is over.
    TokenExpired,
    /// The token has not begun.
    TokenNotYetValid,
    /// The token or its user was denied.
    TokenRevoked,
    /// The sign-in link was used, is over, or is of another Kelly.
    SignInLinkInvalid,
    /// The session would be larger than a browser keeps.
    SessionTooLarge,
    /// The issuer's keys cannot be fetched.
    KeysUnavailable,
    /// Nobody can be denied, or not one more.
    AccessNotChanged,
    /// Nobody is told of alerts.
    NotificationsOff,
    /// No such route.
    RouteNotFound,
    /// The thing named in the path does not exist.
    NotFound,
    /// The route exists, not for this method.
    MethodNotAllowed,
    /// The client took too long to send its body.
    BodyTimeout,
    /// The body is larger than what is taken in one request.
    BodyTooLarge,
    /// The body is of a type that is not understood.
    UnsupportedMediaType,
    /// The body is compressed in a way that is not taken.
    UnsupportedContentEncoding,
    /// The user has marked as much as is kept of one.
    TooManyMarks,
    /// Rows of the body are bad.
    RowsRefused,
    /// A WebSocket route was asked without one.
    NotAWebSocket,
    /// The user has as many live connections open as one may.
    TooManySockets,
    /// The caller has its share of what may go on at once.
    TooManyAtOnce,
    /// The request cannot be processed for a reason without a code of its own.
    BadRequest,
    /// A defect of Kelly.
    Internal,
    /// The caller's budget is used up.
    TooManyRequests,
    /// A bound of this server is reached.
    ServerBusy,
    /// The log has no room.
    LogFull,
    /// The log cannot be reached.
    LogUnavailable,
    /// It is not known whether the log has the rows.
    RecordOutcomeUnknown,
    /// The store cannot be reached.
    StoreUnavailable,
    /// The store responds to nothing.
    StoreNotResponding,
    /// The query took too long.
    QueryTimeout,
    /// A part this process needs is not ready.
    NotReady,
    /// Somebody else decided before.
    AlreadyDecided,
    /// What was asked for cannot be decided so.
    DecisionRefused,
    /// Another command has the key.
    CommandIdReused,
    /// A rule is wrong, or needed.
    RuleRefused,
    /// It is not known whether a command is done.
    DecisionUnknown,
    /// A command was taken back.
    DecisionTakenBack,
    /// The control log cannot be reached.
    DecisionsUnavailable,
}

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// As it stands in the document.
    pub name: &'static str,
    /// HTTP status it is sent with.
    pub status: StatusCode,
    /// The document's title: the same for each occurrence.
    pub title: &'static str,
    /// What the client can do about it.
    pub remedy: &'static str,
}

impl Code {
    /// Every code, in the order of the table.
    pub const ALL: [Self; 61] = [
        Self::InvalidParameter,
        Self::RangeTooLong,
        Self::QueryTooLarge,
        Self::InvalidCursor,
        Self::MalformedBody,
        Self::InvalidHost,
        Self::HostNotAllowed,
        Self::OriginNotAllowed,
        Self::NotPermitted,
        Self::AccountNotPermitted,
        Self::NotSignedIn,
        Self::CredentialsMalformed,
        Self::TokenTooLarge,
        Self::TokenMalformed,
        Self::TokenUnsigned,
        Self::TokenAlgorithm,
        Self::TokenType,
        Self::TokenCriticalHeader,
        Self::TokenIssuer,
        Self::TokenKey,
        Self::TokenSignature,
        Self::TokenClaim,
        Self::TokenAudience,
        Self::TokenExpired,
        Self::TokenNotYetValid,
        Self::TokenRevoked,
        Self::SignInLinkInvalid,
        Self::SessionTooLarge,
        Self::KeysUnavailable,
        Self::AccessNotChanged,
        Self::NotificationsOff,
        Self::RouteNotFound,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::BodyTimeout,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::UnsupportedContentEncoding,
        Self::TooManyMarks,
        Self::RowsRefused,
        Self::NotAWebSocket,
        Self::TooManySockets,
        Self::TooManyAtOnce,
        Self::BadRequest,
        Self::Internal,
        Self::TooManyRequests,
        Self::ServerBusy,
        Self::LogFull,
        Self::LogUnavailable,
        Self::RecordOutcomeUnknown,
        Self::StoreUnavailable,
        Self::StoreNotResponding,
        Self::QueryTimeout,
        Self::NotReady,
        Self::AlreadyDecided,
        Self::DecisionRefused,
        Self::CommandIdReused,
        Self::RuleRefused,
        Self::DecisionUnknown,
        Self::DecisionTakenBack,
        Self::DecisionsUnavailable,
    ];

    /// Its line of the table.
    pub const fn definition(self) -> Definition {
        let (name, status, title, remedy) = match self {
            Self::InvalidParameter => (
                "invalid_parameter",
                StatusCode::BAD_REQUEST,
                "A parameter is wrong",
                "`errors` names each wrong parameter and what is allowed. Correct them and send the request again.",
            ),
            Self::RangeTooLong => (
                "range_too_long",
                StatusCode::BAD_REQUEST,
                "The range is longer than can be answered",
                "Ask for a shorter range: `detail` names what is kept, or what makes the question too large.",
            ),
            Self::QueryTooLarge => (
                "query_too_large",
                StatusCode::BAD_REQUEST,
                "The question asks for more than one answer holds",
                "`errors` names the limit, what was asked for, what is allowed, and the nearest question that is.",
            ),
            Self::InvalidCursor => (
                "invalid_cursor",
                StatusCode::BAD_REQUEST,
                "The cursor is not valid",
                "Pass `next_cursor` of the page before unchanged and with the same filters, or leave the cursor out to begin at the newest event.",
            ),
            Self::MalformedBody => (
                "malformed_body",
                StatusCode::BAD_REQUEST,
                "The body cannot be read",
                "Send one JSON object, a JSON array of objects, or NDJSON (one object a line), in UTF-8; of metrics also an Arrow IPC stream with the columns of a metric.",
            ),
            Self::InvalidHost => (
                "invalid_host",
                StatusCode::BAD_REQUEST,
                "The Host header is missing or broken",
                "Send the Host header that HTTP/1.1 asks for, e.g. `Host: 127.0.0.1:8000`.",
            ),
            Self::HostNotAllowed => (
                "host_not_allowed",
                StatusCode::FORBIDDEN,
                "This server does not answer to that host name",
                "Use 127.0.0.1 or localhost in the URL: this server answers to names of loopback only.",
            ),
            Self::OriginNotAllowed => (
                "origin_not_allowed",
                StatusCode::FORBIDDEN,
                "Pages of other origins may not change anything here",
                "Send the request from a page of this server, or from a program that is no browser.",
            ),
            Self::NotPermitted => (
                "not_permitted",
                StatusCode::FORBIDDEN,
                "You may not do this",
                "`detail` names the permission that is missing and the roles that have it. Ask who gave you the token for one with such a role, or without a limit to accounts.",
            ),
            Self::AccountNotPermitted => (
                "account_not_permitted",
                StatusCode::FORBIDDEN,
                "The account is not one that you may see",
                "Leave `account_id` out for all the accounts that your token is for, or name one of those.",
            ),
            Self::NotSignedIn => (
                "not_signed_in",
                StatusCode::UNAUTHORIZED,
                "You are not signed in",
                "In a browser open the sign-in link that Kelly printed when it started, or that `kelly sign-in` prints. A program sends `Authorization: Bearer TOKEN`; `kelly token` makes one on Kelly's machine.",
            ),
            Self::CredentialsMalformed => (
                "credentials_malformed",
                StatusCode::UNAUTHORIZED,
                "The credentials are not one bearer token",
                "Send exactly one header `Authorization: Bearer TOKEN`; for a WebSocket of a browser the subprotocols `kelly.v1` and `bearer.TOKEN`. Never put a token into a URL.",
            ),
            Self::TokenTooLarge => (
                "token_too_large",
                StatusCode::UNAUTHORIZED,
                "The token is too large",
                "Ask the issuer for a token with fewer claims: 8192 bytes is the limit.",
            ),
            Self::TokenMalformed => (
                "token_malformed",
                StatusCode::UNAUTHORIZED,
                "The token is not a whole JWT",
                "Send the token unchanged and whole: three parts with dots between them.",
            ),
            Self::TokenUnsigned => (
                "token_unsigned",
                StatusCode::UNAUTHORIZED,
                "The token is not signed",
                "Ask the issuer for a signed token: `alg: none` is never accepted.",
            ),
            Self::TokenAlgorithm => (
                "token_algorithm_not_allowed",
                StatusCode::UNAUTHORIZED,
                "The token is signed with an algorithm that its issuer does not use",
                "Ask the issuer for a token, or have the algorithm of this issuer corrected in Kelly's configuration.",
            ),
            Self::TokenType => (
                "token_type_not_allowed",
                StatusCode::UNAUTHORIZED,
                "The token is of another type",
                "Send an access token: its header says `typ: JWT` or `typ: at+jwt`.",
            ),
            Self::TokenCriticalHeader => (
                "token_critical_header",
                StatusCode::UNAUTHORIZED,
                "The token asks for an extension that is not known",
                "Ask the issuer for a token without `crit` in its header.",
            ),
            Self::TokenIssuer => (
                "token_issuer_unknown",
                StatusCode::UNAUTHORIZED,
                "The token's issuer is not accepted here",
                "Send a token of an issuer that this Kelly knows; `kelly config` lists them, and `iss` must match to the letter.",
            ),
            Self::TooManyRequests => (
                "too_many_requests",
                StatusCode::TOO_MANY_REQUESTS,
                "You have used up what you may ask for within a minute",
                "Wait for the seconds of Retry-After. `RateLimit-Policy` and `RateLimit` say how much there is and what is left.",
            ),
            Self::TokenKey => (
                "token_key_unknown",
                StatusCode::UNAUTHORIZED,
                "The token's key is not known",
                "Get a new token: the issuer may have changed its keys. Kelly asks it again for keys after a pause.",
            ),
            Self::TokenSignature => (
                "token_signature_wrong",
                StatusCode::UNAUTHORIZED,
                "The token's signature is wrong",
                "Send the token unchanged. One made with `kelly token` is good only where the same secret is.",
            ),
            Self::TokenClaim => (
                "token_claim_invalid",
                StatusCode::UNAUTHORIZED,
                "A claim of the token is missing or wrong",
                "`detail` names the claim. `exp`, `iss`, `aud` and `sub` are required; times are numbers, not texts.",
            ),
            Self::TokenAudience => (
                "token_audience_wrong",
                StatusCode::UNAUTHORIZED,
                "The token is for another audience",
                "Ask the issuer for a token whose `aud` is this Kelly's; `kelly config` shows it.",
            ),
            Self::TokenExpired => (
                "token_expired",
                StatusCode::UNAUTHORIZED,
                "The token or the session has expired",
                "Get a new token, or sign in again.",
            ),
            Self::TokenNotYetValid => (
                "token_not_yet_valid",
                StatusCode::UNAUTHORIZED,
                "The token is not valid yet",
                "Wait until `nbf`, and compare the clocks of the issuer and of Kelly.",
            ),
            Self::TokenRevoked => (
                "token_revoked",
                StatusCode::UNAUTHORIZED,
                "The token or its user was revoked",
                "Ask an administrator of this Kelly; a new token helps only if the user was not denied.",
            ),
            Self::SignInLinkInvalid => (
                "sign_in_link_invalid",
                StatusCode::UNAUTHORIZED,
                "The sign-in link does not work any more",
                "Each link works once; `kelly sign-in` on Kelly's machine prints another one.",
            ),
            Self::SessionTooLarge => (
                "session_too_large",
                StatusCode::UNPROCESSABLE_ENTITY,
                "The session is larger than a browser keeps",
                "The token names so many accounts that no browser keeps its session. Sign in with a token of fewer accounts, or send the \
                 token with every request (`Authorization: Bearer …`).",
            ),
            Self::KeysUnavailable => (
                "keys_unavailable",
                StatusCode::SERVICE_UNAVAILABLE,
                "The issuer's keys are not there",
                "Nothing was done. Try again after the seconds of Retry-After; an administrator finds the reason in Kelly's log.",
            ),
            Self::AccessNotChanged => (
                "access_not_changed",
                StatusCode::CONFLICT,
                "Who gets in cannot be changed so",
                "Nothing was changed. `detail` says why: authentication is off, or the deny list is full; take entries away, or deny in the file of KELLY_AUTH_DENIED.",
            ),
            Self::NotificationsOff => (
                "notifications_off",
                StatusCode::CONFLICT,
                "Notifications are not set up",
                "Nobody is told of alerts: name a file of destinations and routes in KELLY_NOTIFICATIONS and start Kelly again.",
            ),
            Self::RouteNotFound => (
                "route_not_found",
                StatusCode::NOT_FOUND,
                "There is no such route",
                "Look the path up under /api/docs or in /api/openapi.json.",
            ),
            Self::NotFound => {
                ("not_found", StatusCode::NOT_FOUND, "There is no such thing", "Check the name in the path.")
            }
            Self::MethodNotAllowed => (
                "method_not_allowed",
                StatusCode::METHOD_NOT_ALLOWED,
                "The route does not take this method",
                "Use a method of the Allow header.",
            ),
            Self::BodyTimeout => (
                "body_timeout",
                StatusCode::REQUEST_TIMEOUT,
                "The body took too long to arrive",
                "Nothing was recorded. Send the body again, in smaller pieces when the connection is slow.",
            ),
            Self::BodyTooLarge => (
                "body_too_large",
                StatusCode::PAYLOAD_TOO_LARGE,
                "The body or a row of it is too large",
                "Nothing was recorded. Send fewer rows a request, or a smaller row, within the limit that `detail` names.",
            ),
            Self::UnsupportedMediaType => (
                "unsupported_media_type",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "The body's type is not understood",
                "Send `Content-Type: application/json` or `application/x-ndjson`, or for metrics `application/vnd.apache.arrow.stream`.",
            ),
            Self::UnsupportedContentEncoding => (
                "unsupported_content_encoding",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "The body's compression is not taken",
                "Send the body with one `Content-Encoding`, `zstd` or `gzip`, or uncompressed without that header. The answer's Accept-Encoding lists them.",
            ),
            Self::TooManyMarks => (
                "too_many_marks",
                StatusCode::CONFLICT,
                "You have marked too many events one by one",
                "Nothing was marked. Mark everything up to a cursor in place of single events; your oldest marks expire with their events.",
            ),
            Self::RowsRefused => (
                "rows_refused",
                StatusCode::UNPROCESSABLE_ENTITY,
                "Rows of the body are bad",
                "Nothing was recorded, the good rows neither. `errors` names the bad rows and why; correct them or leave them out and send the body again.",
            ),
            Self::NotAWebSocket => (
                "not_a_websocket",
                StatusCode::UPGRADE_REQUIRED,
                "The route speaks WebSocket",
                "Connect with a WebSocket client, or read the same rooms as server-sent events from /api/v1/kelly/live/events.",
            ),
            Self::TooManySockets => (
                "too_many_sockets",
                StatusCode::TOO_MANY_REQUESTS,
                "You have too many live connections open",
                "Close one, or share one connection among the pages of a browser; `detail` names the limit.",
            ),
            Self::TooManyAtOnce => (
                "too_many_at_once",
                StatusCode::TOO_MANY_REQUESTS,
                "You have your share of what may go on at once",
                "Nothing was done. Wait until something of yours has ended, at least for the seconds of Retry-After; `detail` says of what \
                 there is too much. Send less at once.",
            ),
            Self::BadRequest => (
                "bad_request",
                StatusCode::BAD_REQUEST,
                "The request cannot be understood",
                "Compare it with /api/docs.",
            ),
            Self::Internal => (
                "internal",
                StatusCode::INTERNAL_SERVER_ERROR,
                "Kelly failed",
                "This is a defect of Kelly, not of the request. Look for the trace_id in Kelly's log and report what stands there.",
            ),
            Self::ServerBusy => (
                "server_busy",
                StatusCode::SERVICE_UNAVAILABLE,
                "The server is busy",
                "Nothing was done. Try again after the seconds of Retry-After, with growing pauses.",
            ),
            Self::LogFull => (
                "log_full",
                StatusCode::SERVICE_UNAVAILABLE,
                "The log has no room",
                "Nothing was recorded. Try again after the seconds of Retry-After; if it lasts, free disk space or shorten the log's retention.",
            ),
            Self::LogUnavailable => (
                "log_unavailable",
                StatusCode::SERVICE_UNAVAILABLE,
                "The log cannot be reached",
                "Nothing was recorded. Keep the rows and send them again; /api/v1/kelly/monitoring/health tells how the log is.",
            ),
            Self::RecordOutcomeUnknown => (
                "record_outcome_unknown",
                StatusCode::SERVICE_UNAVAILABLE,
                "It is not known whether the rows were recorded",
                "Events that carry an id of yours can be sent again without harm: they show once. Metrics, and events without an id, would count twice if the first try did arrive.",
            ),
            Self::StoreUnavailable => (
                "store_unavailable",
                StatusCode::SERVICE_UNAVAILABLE,
                "The store cannot answer",
                "Recording still works. Try again after a moment; /health/database tells how the store is.",
            ),
            Self::StoreNotResponding => (
                "store_not_responding",
                StatusCode::SERVICE_UNAVAILABLE,
                "The store does not respond",
                "Recording still works. Nothing is wrong with the question: look whether the store's process is stopped, or its machine or disk stands still.",
            ),
            Self::QueryTimeout => (
                "query_timeout",
                StatusCode::GATEWAY_TIMEOUT,
                "The query took too long",
                "Ask for a shorter timeframe or narrow the question to one account or conversation.",
            ),
            Self::NotReady => (
                "not_ready",
                StatusCode::SERVICE_UNAVAILABLE,
                "This process is not ready",
                "Wait until the parts that `errors` names are up; each says what it waits for.",
            ),
            Self::AlreadyDecided => (
                "already_decided",
                StatusCode::CONFLICT,
                "Somebody else was first",
                "Nothing was changed. `errors` names who, since when, and the version in force: look at it, and send the request with that \
                 version as `expected` if it still is to be done.",
            ),
            Self::DecisionRefused => (
                "decision_refused",
                StatusCode::UNPROCESSABLE_ENTITY,
                "It cannot be done so",
                "Nothing was changed. `detail` says why, and `errors` has a word for it that does not change.",
            ),
            Self::CommandIdReused => (
                "command_id_reused",
                StatusCode::UNPROCESSABLE_ENTITY,
                "Another request had this Idempotency-Key",
                "Nothing was changed. Choose a new key for each request that is another one; only the same request sent again has the same.",
            ),
            Self::RuleRefused => (
                "rule_refused",
                StatusCode::UNPROCESSABLE_ENTITY,
                "The rule cannot be used so",
                "Nothing was changed. `errors` says what is wrong, in which field, and how to fix it.",
            ),
            Self::DecisionUnknown => (
                "decision_unknown",
                StatusCode::SERVICE_UNAVAILABLE,
                "It is not known whether it is done",
                "Ask the `status_url` of `errors` later, or send the same request again with the `command_id` as Idempotency-Key: it counts \
                 once.",
            ),
            Self::DecisionTakenBack => (
                "decision_taken_back",
                StatusCode::SERVICE_UNAVAILABLE,
                "It was not done in time, and was taken back",
                "Nothing was changed, and nothing will be. Send the request again after the seconds of Retry-After, under another \
                 Idempotency-Key.",
            ),
            Self::DecisionsUnavailable => (
                "decisions_unavailable",
                StatusCode::SERVICE_UNAVAILABLE,
                "Nothing can be decided at the moment",
                "Nothing was changed. Try again after the seconds of Retry-After; /api/v1/kelly/monitoring/health tells how the control log is.",
            ),
        };
        Definition { name, status, title, remedy }
    }

    /// The code of a caller who is not signed in.
    pub(crate) const fn of_refusal(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Missing => Self::NotSignedIn,
            Refusal::Credentials => Self::CredentialsMalformed,
            Refusal::TooLarge => Self::TokenTooLarge,
            Refusal::Malformed => Self::TokenMalformed,
            Refusal::Unsigned => Self::TokenUnsigned,
            Refusal::Algorithm => Self::TokenAlgorithm,
            Refusal::Type => Self::TokenType,
            Refusal::CriticalHeader => Self::TokenCriticalHeader,
            Refusal::Issuer => Self::TokenIssuer,
            Refusal::UnknownKey => Self::TokenKey,
            Refusal::Signature => Self::TokenSignature,
            Refusal::Claim(_) => Self::TokenClaim,
            Refusal::Audience => Self::TokenAudience,
            Refusal::Expired => Self::TokenExpired,
            Refusal::NotYetValid => Self::TokenNotYetValid,
            Refusal::Revoked => Self::TokenRevoked,
            Refusal::Link => Self::SignInLinkInvalid,
        }
    }

    /// Name as it stands in documents.
    pub const fn name(self) -> &'static str {
        self.definition().name
    }

    /// The code of a bare status, for answers that some layer below made without a problem.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::RouteNotFound,
            StatusCode::METHOD_NOT_ALLOWED => Self::MethodNotAllowed,
            StatusCode::PAYLOAD_TOO_LARGE => Self::BodyTooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::UnsupportedMediaType,
            status if status.is_client_error() => Self::BadRequest,
            _ => Self::Internal,
        }
    }
}
