//! What a router is made from.

use std::ops::Deref;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use kelly_schemas::Catalogue;

use crate::access::RouteTable;
use crate::answers::Answers;
use crate::decisions::Decisions;
use crate::door::Door;
use crate::health_look::HealthLook;
use crate::limits::{Gates, Limits};
use crate::live::{Live, ShareSeats};
use crate::log_levels::LogLevels;
use crate::notifications::Notifications;
use crate::ports::{Accept, Authenticate, Expose, Health, ManageAccess, Measure, Observe};
use crate::queries::Queries;
use crate::rates::CountUse;
use crate::route_times::RouteTimes;

/// The parts behind the API and its settings.
#[derive(Clone)]
pub struct AppState {
    /// Answers questions; [`kelly_query::QueryService`] is one.
    pub queries: Arc<dyn Queries>,
    /// Takes recorded rows.
    pub acceptor: Arc<dyn Accept>,
    /// Tells how the parts are.
    pub health: Arc<dyn Health>,
    /// Tells how fast the parts are.
    pub measure: Arc<dyn Measure>,
    /// Tells Kelly's own metrics.
    pub own_metrics: Arc<dyn Expose>,
    /// Changes how much is logged.
    pub log_levels: Arc<dyn LogLevels>,
    /// The metric catalogue that is in force.
    pub catalogue: Arc<Catalogue>,
    /// What is decided.
    pub decisions: Arc<dyn Decisions>,
    /// Tells people of alerts.
    pub notifications: Arc<dyn Notifications>,
    /// Live push.
    pub live: Arc<Live>,
    /// Tells whose a request is.
    pub authenticate: Arc<dyn Authenticate>,
    /// Counts what callers use of their budgets.
    pub counts: Arc<dyn CountUse>,
    /// Counts live connections over several instances, where there are.
    pub seats: Option<Arc<dyn ShareSeats>>,
    /// Takes access away, and gives out sign-in links.
    pub access: Arc<dyn ManageAccess>,
    /// Sees every request.
    pub observer: Arc<dyn Observe>,
    /// Settings.
    pub settings: Settings,
}

/// Settings of a router.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Kelly's version, for health and the OpenAPI document.
    pub version: String,
    /// When the process started.
    pub started_at: DateTime<Utc>,
    /// The clock.
    pub clock: fn() -> DateTime<Utc>,
    /// Bounds.
    pub limits: Limits,
    /// Whom the server answers to.
    pub door: Door,
    /// The issuer whose users are named without it.
    pub issuer: String,
}

/// What handlers see, as one pointer: every layer of every request clones it.
#[derive(Clone)]
pub(crate) struct HandlerState(Arc<Shared>);

/// The parts, the counters behind the limits, and the answers that handlers share.
pub(crate) struct Shared {
    pub(crate) app: AppState,
    pub(crate) gates: Arc<Gates>,
    pub(crate) answers: Arc<Answers>,
    pub(crate) health: HealthLook,
    pub(crate) route_times: Arc<RouteTimes>,
    /// The routes' paths, of which a path without a route may have meant one.
    pub(crate) templates: Vec<String>,
    /// What each route needs of its caller.
    pub(crate) routes: RouteTable,
}

impl HandlerState {
    pub(crate) fn new(app: AppState, templates: Vec<String>, routes: RouteTable) -> Self {
        let gates = Arc::new(Gates::new(app.settings.limits.clone()));
        let answers = Arc::new(Answers::new(app.settings.limits.kept_answers));
        let (health, route_times) = Default::default();
        Self(Arc::new(Shared { app, gates, answers, health, route_times, templates, routes }))
    }
}

impl Deref for HandlerState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}
