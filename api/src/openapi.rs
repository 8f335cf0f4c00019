//! The OpenAPI document: what the derives cannot say, namely the problems each route may answer with,
//! and the document's head.

pub(crate) mod examples;
mod rows;

use std::collections::BTreeMap;

use axum::http::Method;
use utoipa::IntoResponses;
use utoipa::OpenApi as _;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{ContentBuilder, Object, OpenApi, Ref, RefOr, Response, ResponseBuilder, Type};

use crate::files::FILE_FORMS;
use crate::ports::MetricsForm;
use crate::problem::{Code, Definition, PROBLEM_JSON, ProblemDocument};
use crate::trace::TRACE_HEADER;

pub(crate) use rows::{ActivityLines, ActivityRows, MetricLines, MetricRows};

/// Where the document is served.
pub(crate) const DOCUMENT_PATH: &str = "/api/openapi.json";
/// Where its pages for people are served.
pub(crate) const DOCS_PATH: &str = "/api/docs";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Kelly",
        description = "Real-time monitoring of AI conversations. Errors are `application/problem+json` (RFC 9457) with a \
            stable `code` (all of them: `/api/problems`) and a `trace_id`; every answer carries the trace id in the header \
            `x-trace-id`, taken from a `traceparent` header when the request has one. Times are RFC 3339 in UTC. Unknown \
            query parameters are refused. The body of a request may be compressed (`Content-Encoding: zstd` or `gzip`); its limits are \
            those of what it is once it is decompressed. Text answers of a KiB and more are compressed for who says `Accept-Encoding: zstd` or `gzip`. Every route but the probes and the sign-in exchange wants a token \
            (`Authorization: Bearer …`) or the session of a browser; who sends neither is answered 401. The server answers to \
            host names of loopback (127.0.0.1, localhost, [::1]) and to those that are allowed. \
            A request that is no HTTP at all, or whose head is too large, is answered by the HTTP library with a bare status (400, 414, 431) and no document.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags(
        (name = "metrics", description = "Figures, percentiles, trends and drill-downs."),
        (name = "activity", description = "The feed of events."),
        (name = "alerts", description = "Alerts, and what people do about them."),
        (name = "live", description = "Figures and events as they come, over WebSockets and server-sent events."),
        (name = "recording", description = "Sending metrics and events."),
        (name = "health", description = "How Kelly and its parts are."),
        (name = "sign-in", description = "The session of a browser."),
        (name = "notifications", description = "How people are told of alerts."),
        (name = "access", description = "Taking access away."),
        (name = "errors", description = "The table of error codes."),
    ),
    components(schemas(ProblemDocument, kelly_live::ClientMessage, kelly_live::ServerMessage)),
)]
struct Head;

/// The document without its paths; the router adds those.
pub(crate) fn head(version: &str) -> OpenApi {
    let mut document = Head::openapi();
    document.info.version = version.to_owned();
    document
}

/// Describes that every route but the open ones wants a token or a session, and what is answered without.
pub(crate) fn require_sign_in(document: &mut OpenApi, is_open: impl Fn(&Method, &str) -> bool) {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("A token of an issuer that this Kelly accepts; `kelly token` makes one."))
        .build();
    let session = ApiKeyValue::with_description(
        "kelly-session-8000",
        "The session of a browser; the name ends with the port, and is `__Host-kelly-session` over TLS.",
    );
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("token", SecurityScheme::Http(bearer));
    components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(session)));
    let required = || {
        vec![
            SecurityRequirement::new("token", Vec::<String>::new()),
            SecurityRequirement::new("session", Vec::<String>::new()),
        ]
    };
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in [
            (Method::GET, &mut item.get),
            (Method::POST, &mut item.post),
            (Method::PUT, &mut item.put),
            (Method::PATCH, &mut item.patch),
            (Method::DELETE, &mut item.delete),
        ] {
            let Some(operation) = operation.as_mut().filter(|_| !is_open(&method, path)) else { continue };
            operation.security = Some(required());
            let responses = &mut operation.responses.responses;
            responses.extend(problem_responses(&SIGN_IN_CODES));
            let too_many = match responses.contains_key("429") {
                // What has live connections, beside what every route has.
                true => &[Code::TooManyRequests, Code::TooManyAtOnce, Code::TooManySockets][..],
                false => &[Code::TooManyRequests, Code::TooManyAtOnce],
            };
            responses.extend(problem_responses(too_many));
            // Without the issuer's keys nobody can say whose a token is: beside what else is answered with that status.
            let described = problem_responses(&[Code::KeysUnavailable]);
            for (status, response) in described {
                responses.entry(status).or_insert(response);
            }
        }
    }
}

/// What who is not signed in may be told.
const SIGN_IN_CODES: [Code; 16] = [
    Code::NotSignedIn,
    Code::CredentialsMalformed,
    Code::TokenTooLarge,
    Code::TokenMalformed,
    Code::TokenUnsigned,
    Code::TokenAlgorithm,
    Code::TokenType,
    Code::TokenCriticalHeader,
    Code::TokenIssuer,
    Code::TokenKey,
    Code::TokenSignature,
    Code::TokenClaim,
    Code::TokenAudience,
    Code::TokenExpired,
    Code::TokenNotYetValid,
    Code::TokenRevoked,
];

/// Problems of a group of routes, for `responses(…)`.
macro_rules! problem_sets {
    ($($(#[$meta:meta])* $name:ident = [$($code:ident),* $(,)?];)*) => {$(
        $(#[$meta])*
        pub(crate) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                problem_responses(&[$(Code::$code),*])
            }
        }
    )*};
}

problem_sets! {
    /// Queries with parameters.
    QueryProblems = [
        InvalidParameter, RangeTooLong, QueryTooLarge, InvalidCursor, InvalidHost, HostNotAllowed, NotPermitted,
        AccountNotPermitted, Internal, ServerBusy, StoreUnavailable, StoreNotResponding, QueryTimeout,
    ];
    /// Queries without parameters.
    PlainQueryProblems = [
        InvalidParameter, InvalidHost, HostNotAllowed, NotPermitted, Internal, ServerBusy, StoreUnavailable,
        StoreNotResponding, QueryTimeout,
    ];
    /// Marking events as read.
    MarkProblems = [
        InvalidParameter, MalformedBody, InvalidCursor, RangeTooLong, InvalidHost, HostNotAllowed, OriginNotAllowed, NotPermitted,
        AccountNotPermitted, NotFound, BodyTimeout, TooManyMarks, BodyTooLarge, UnsupportedMediaType, UnsupportedContentEncoding,
        Internal, ServerBusy, StoreUnavailable, StoreNotResponding, QueryTimeout,
    ];
    /// Previews over history: a body in, a heavy query.
    PreviewProblems = [
        InvalidParameter, MalformedBody, RangeTooLong, QueryTooLarge, InvalidHost, HostNotAllowed, OriginNotAllowed, NotPermitted,
        BodyTimeout, BodyTooLarge, UnsupportedMediaType, UnsupportedContentEncoding, RuleRefused, Internal, ServerBusy,
        StoreUnavailable, StoreNotResponding, QueryTimeout,
    ];
    /// Recording.
    RecordProblems = [
        MalformedBody, InvalidHost, HostNotAllowed, OriginNotAllowed, NotPermitted, BodyTimeout, BodyTooLarge,
        UnsupportedMediaType, UnsupportedContentEncoding, RowsRefused, Internal, ServerBusy, LogFull, LogUnavailable,
        RecordOutcomeUnknown,
    ];
    /// The health report; its 503 is described where it is.
    HealthProblems = [InvalidParameter, InvalidHost, HostNotAllowed, NotPermitted, Internal];
    /// Readiness.
    ReadyProblems = [InvalidParameter, InvalidHost, HostNotAllowed, TooManyAtOnce, Internal, ServerBusy, NotReady];
    /// Liveness, which stands outside the bound on requests.
    LivenessProblems = [InvalidParameter, InvalidHost, HostNotAllowed, Internal];
    /// Things looked up by name.
    MissingProblems = [
        InvalidParameter, InvalidHost, HostNotAllowed, NotPermitted, NotFound, Internal, ServerBusy,
    ];
    /// Lists of alerts.
    AlertProblems = [
        InvalidParameter, InvalidCursor, InvalidHost, HostNotAllowed, NotPermitted, AccountNotPermitted, Internal, ServerBusy,
    ];
    /// What is put on the control log.
    DecisionProblems = [
        InvalidParameter, MalformedBody, InvalidHost, HostNotAllowed, OriginNotAllowed, NotPermitted, AccountNotPermitted, NotFound,
        BodyTimeout, AlreadyDecided, BodyTooLarge, UnsupportedMediaType, UnsupportedContentEncoding, DecisionRefused, CommandIdReused,
        Internal, ServerBusy, DecisionUnknown, DecisionTakenBack, DecisionsUnavailable,
    ];
    /// Alerts of others.
    IngestProblems = [
        InvalidParameter, MalformedBody, InvalidHost, HostNotAllowed, OriginNotAllowed, NotPermitted, BodyTimeout, BodyTooLarge,
        UnsupportedMediaType, UnsupportedContentEncoding, RowsRefused, CommandIdReused, Internal, ServerBusy, DecisionUnknown,
        DecisionTakenBack, DecisionsUnavailable,
    ];
    /// Rules that are put there.
    RuleProblems = [
        InvalidParameter, MalformedBody, InvalidHost, HostNotAllowed, OriginNotAllowed, NotPermitted, NotFound, BodyTimeout,
        AlreadyDecided, BodyTooLarge, UnsupportedMediaType, UnsupportedContentEncoding, DecisionRefused, CommandIdReused, RuleRefused,
        Internal, ServerBusy, DecisionUnknown, DecisionTakenBack, DecisionsUnavailable,
    ];
    /// WebSockets.
    SocketProblems = [
        InvalidParameter, InvalidCursor, InvalidHost, HostNotAllowed, OriginNotAllowed, NotPermitted, NotAWebSocket, TooManySockets,
        Internal, ServerBusy,
    ];
    /// Streams of server-sent events.
    StreamProblems =
        [InvalidParameter, InvalidCursor, InvalidHost, HostNotAllowed, NotPermitted, TooManySockets, Internal, ServerBusy];
    /// Changing who gets in.
    AccessProblems = [
        InvalidParameter, MalformedBody, InvalidHost, HostNotAllowed, OriginNotAllowed, NotPermitted, BodyTimeout,
        AccessNotChanged, BodyTooLarge, UnsupportedMediaType, UnsupportedContentEncoding, Internal, ServerBusy,
    ];
    /// Notifications.
    NotificationProblems = [
        InvalidParameter, InvalidHost, HostNotAllowed, OriginNotAllowed, NotPermitted, NotFound, NotificationsOff, Internal, ServerBusy,
        LogUnavailable,
    ];
    /// The sign-in exchange.
    SignInProblems = [
        MalformedBody, InvalidHost, TokenTooLarge, TokenMalformed, TokenUnsigned, TokenAlgorithm, TokenType, TokenCriticalHeader,
        TokenIssuer, TokenKey, TokenSignature, TokenClaim, TokenAudience, TokenExpired, TokenNotYetValid, TokenRevoked,
        SignInLinkInvalid, SessionTooLarge, HostNotAllowed, OriginNotAllowed, BodyTimeout, BodyTooLarge, UnsupportedMediaType, UnsupportedContentEncoding,
        Internal, TooManyRequests, TooManyAtOnce, ServerBusy, KeysUnavailable,
    ];
    /// Routes that look nothing up.
    PlainProblems = [InvalidParameter, InvalidHost, HostNotAllowed, NotPermitted, Internal, ServerBusy];
}

/// Rows as a file, in each form there is.
pub(crate) struct ExportedFile;

impl IntoResponses for ExportedFile {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let kept_from = "Only where the range that is asked for begins before what the store keeps: since when it keeps everything. \
                         The file and its name begin there.";
        let mut response = ResponseBuilder::new()
            .description("The rows as a file.")
            .header("kelly-kept-from", header(kept_from, Type::String));
        for form in FILE_FORMS {
            let text = Object::with_type(Type::String);
            response = response.content(form.media_type, ContentBuilder::new().schema(Some(text)).build());
        }
        BTreeMap::from([("200".to_owned(), response.build().into())])
    }
}

/// A connection that speaks WebSocket from now on.
pub(crate) struct SwitchingProtocols;

impl IntoResponses for SwitchingProtocols {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let response = ResponseBuilder::new()
            .description(
                "The connection is a WebSocket. It takes LiveClientMessage and sends LiveServerMessage, each a text frame of JSON.",
            )
            .build();
        BTreeMap::from([("101".to_owned(), response.into())])
    }
}

/// A stream of server-sent events.
pub(crate) struct EventStream;

impl IntoResponses for EventStream {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let text = Object::with_type(Type::String);
        let response = ResponseBuilder::new()
            .description(
                "The data of each event is a LiveServerMessage as JSON, its id the position behind it.",
            )
            .content("text/event-stream", ContentBuilder::new().schema(Some(text)).build())
            .build();
        BTreeMap::from([("200".to_owned(), response.into())])
    }
}

/// Kelly's own metrics, in each form there is.
pub(crate) struct MetricsText;

impl IntoResponses for MetricsText {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let text = Object::with_type(Type::String);
        let response = [MetricsForm::OpenMetrics, MetricsForm::Prometheus].into_iter().fold(
            ResponseBuilder::new().description("Every metric as it is now."),
            |response, form| {
                let content = ContentBuilder::new().schema(Some(text.clone())).build();
                response.content(form.media_type(), content)
            },
        );
        BTreeMap::from([("200".to_owned(), response.build().into())])
    }
}

/// What a client already has.
pub(crate) struct NotModified;

impl IntoResponses for NotModified {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let response = ResponseBuilder::new()
            .description(
                "The data is that of If-None-Match; only when it was asked for (`timestamp`, `freshness.computed_at`, \
                 `freshness.age_seconds`) may be later.",
            )
            .header("etag", header("The tag of the answer's data, a weak one.", Type::String))
            .header("age", header("Seconds since the answer was made.", Type::Integer))
            .build();
        BTreeMap::from([("304".to_owned(), response.into())])
    }
}

/// One response a status, with an example for each code that has it.
fn problem_responses(codes: &[Code]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<u16, Vec<Definition>> = BTreeMap::new();
    for code in codes {
        let definition = code.definition();
        by_status.entry(definition.status.as_u16()).or_default().push(definition);
    }
    by_status
        .into_iter()
        .map(|(status, definitions)| (status.to_string(), problem_response(&definitions).into()))
        .collect()
}

fn problem_response(definitions: &[Definition]) -> Response {
    let names: Vec<String> = definitions.iter().map(|definition| format!("`{}`", definition.name)).collect();
    let examples = definitions.iter().map(|definition| {
        let example =
            ExampleBuilder::new().summary(definition.title).value(Some(example_of(definition))).build();
        (definition.name, example)
    });
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("ProblemDocument")))
        .examples_from_iter(examples)
        .build();
    let mut response = ResponseBuilder::new()
        .description(names.join(", "))
        .content(PROBLEM_JSON, content)
        .header(TRACE_HEADER, header("The request's id in Kelly's log.", Type::String));
    if definitions.iter().any(|definition| definition.name == Code::UnsupportedContentEncoding.name()) {
        let listed = "With `unsupported_content_encoding`: what the body may be compressed with.";
        response = response.header("accept-encoding", header(listed, Type::String));
    }
    if definitions.iter().any(|definition| matches!(definition.status.as_u16(), 429 | 503)) {
        response = response.header("retry-after", header("Seconds after which to try again.", Type::Integer));
    }
    response.build()
}

fn header(description: &str, kind: Type) -> utoipa::openapi::header::Header {
    HeaderBuilder::new().description(Some(description)).schema(Some(Object::with_type(kind))).build()
}

fn example_of(definition: &Definition) -> serde_json::Value {
    serde_json::json!({
        "type": format!("/api/problems/{}", definition.name),
        "title": definition.title,
        "status": definition.status.as_u16(),
        "detail": definition.remedy,
        "code": definition.name,
        "trace_id": "0198f3c2a4b77e21b0c3d9a1f2e4c6d8",
    })
}
