//! Kelly's HTTP API: routes by resource, limits, problem documents, the OpenAPI document.
//!
//! [`router`] makes a router from an [`AppState`]: the query service and the ports the binary
//! implements ([`Accept`], [`Authenticate`], [`Decisions`], [`Expose`], [`Health`], [`LogLevels`], [`Measure`], [`Observe`], [`rates::CountUse`]); [`serve`] runs it. The way of a request,
//! from the outside in: compression (`compressed_answers`), trace id, problem documents and latency (`edge`), Host and Origin (`guard`), whose it is
//! (`sign_in`), whether its caller may use the route and has budget left (`authorise`, `rates`), the bound on requests (`limits`), then its handler under
//! `routes`.

mod access;
mod alert_views;
mod answers;
mod authorise;
mod bodies;
mod caller;
mod client;
mod compressed_answers;
mod conditional;
mod connection;
pub mod content_coding;
mod decisions;
mod door;
mod edge;
mod exports;
mod files;
mod guard;
mod health_look;
mod latency;
mod limits;
mod live;
mod log_levels;
mod nearest;
mod notifications;
mod openapi;
mod parameters;
mod peers;
mod ports;
mod problem;
mod queries;
pub mod rates;
mod route_list;
mod route_times;
mod router;
mod routes;
mod serve;
mod shares;
mod sign_in;
mod signed_out;
mod state;
mod tls;
mod trace;

pub use access::{Access, RouteAccess};
pub use decisions::Decisions;
pub use door::{BadName, Door, HostName, Network, PageOrigin};
pub use edge::{OTHER_METHOD, UNMATCHED_ROUTE};
pub use exports::ReadingPace;
pub use latency::{Latencies, LatencyBook, MAX_SAMPLES, RequestClass, Sample};
pub use limits::{DRAIN_TIME, HEAD_TIME, IDLE_CONNECTION, Limits, MAX_CONNECTIONS, MAX_ROW_FAULTS};
pub use live::{Live, LiveSettings, SOCKETS_OF_A_USER, SeatName, ShareSeats, Transport, TransportCounts};
pub use log_levels::{ChangedLevel, LogComponent, LogLevel, LogLevels};
pub use notifications::{
    DeadNotification, DestinationHealth, DestinationReport, NotNotified, Notifications, NotificationsReport,
    ReplayOutcome, TestOutcome,
};
pub use peers::PeerBounds;
pub use ports::{
    Accept, Accepted, Authenticate, BodyForm, Credentials, Expose, Health, IngestPerformance, ManageAccess,
    Measure, MetricsForm, NotAccepted, NotKept, NotSignedIn, Observation, Observe, Part, PartStatus, Proof,
    RowFault, RowKind, SignInCode, Submission,
};
pub use problem::{Code, Definition, PROBLEM_JSON, Problem, ProblemDocument};
pub use queries::Queries;
pub use router::{openapi_document, route_access, router};
pub use serve::{Drained, Listening, serve};
pub use state::{AppState, Settings};
pub use tls::{BadTls, TlsIdentity};
pub use trace::{Parent, SpanId, TRACE_HEADER, TraceContext, TraceId};
