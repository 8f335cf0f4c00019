//! The HTTP interface of a role: bound early, served late, stopped first.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use anyhow::Context;
use chrono::Utc;
use kelly_api::rates::Quotas;
use kelly_api::{
    AppState, Drained, LatencyBook, Limits, Listening, Live, Observation, Observe, PeerBounds, Settings,
};
use kelly_cli::Usage;
use kelly_control::Replica;
use kelly_evaluate::EvaluatorStats;
use kelly_ingest::accept::Acceptor;
use kelly_query::{QueryService, QueryServiceParts, RulesInForce};
use kelly_schemas::Catalogue;
use kelly_sql::Store;
use kelly_stream::Log;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;

use super::door;
use super::health::{PartsHealth, Watched};
use super::ingest_rates::IngestRates;
use super::looks::Looks;
use super::notify::Notifying;
use super::open;
use super::own_metrics::OwnMetrics;
use super::parts::Part;
use super::progress::Progress;
use super::record::LogAcceptor;
use super::retention::Configured;
use super::traces;
use crate::access::{self, Access};
use crate::config::Config;
use crate::limits;
use crate::metrics::{Recorded, RefusedUses, RequestMetrics};
use crate::telemetry::Levels;
use crate::traces::Spans;

/// Connections the system keeps waiting until they are accepted.
const BACKLOG: u32 = 1_024;

/// An address that is taken and not listened on: who connects is refused and need not wait.
pub struct Claimed {
    socket: TcpSocket,
    address: SocketAddr,
}

/// Takes the address before anything is started, so that a taken port costs nothing.
pub fn claim(address: SocketAddr) -> anyhow::Result<Claimed> {
    let take = |is_shared: bool| {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(is_shared)?;
        socket.bind(address)?;
        Ok(socket)
    };
    // Alone if that can be: two that share it notice each other when the second listens. Connections of an earlier run that
    // are not quite over would hold it for a minute, and only against who does not share it.
    let taken = take(false).or_else(|_: std::io::Error| take(true));
    taken.map(|socket| Claimed { socket, address }).map_err(|error| not_listening(address, error))
}

impl Claimed {
    /// Listens from now on.
    fn listen(self) -> anyhow::Result<TcpListener> {
        let Self { socket, address } = self;
        // Its connections take this over, and must not keep the next run from the address.
        let listening = socket.set_reuseaddr(true).and_then(|()| socket.listen(BACKLOG));
        listening.map_err(|error| not_listening(address, error))
    }
}

fn not_listening(address: SocketAddr, error: std::io::Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::AddrInUse => Usage(format!(
            "{address} is in use, perhaps by another Kelly: stop that one, or choose another \
             address with --listen, e.g. --listen 127.0.0.1:{}",
            address.port().wrapping_add(1).max(1024)
        ))
        .into(),
        ErrorKind::PermissionDenied => {
            Usage(format!("this user may not listen on {address}: choose a port above 1023 with --listen"))
                .into()
        }
        _ => anyhow::Error::new(error)
            .context(format!("listening on {address}; choose another address with --listen")),
    }
}

/// What the interface answers from.
pub struct Backends<'a> {
    /// Settings.
    pub config: &'a Config,
    /// Definitions and thresholds.
    pub catalogue: Arc<Catalogue>,
    /// Where recorded rows go.
    pub log: Arc<dyn Log>,
    /// What questions are asked of.
    pub store: Store,
    /// Ingest, where this process has it.
    pub ingest: Option<Arc<Progress>>,
    /// Where response times are kept, for self-monitoring.
    pub latencies: Arc<LatencyBook>,
    /// The export of traces.
    pub export: traces::Export,
    /// How much is logged.
    pub log_levels: Arc<Levels>,
    /// Live push.
    pub live: Arc<Live>,
    /// What is decided.
    pub decisions: Arc<Replica>,
    /// The evaluation of alerts, where this process has it.
    pub evaluator: Option<Arc<EvaluatorStats>>,
    /// Tells people of alerts.
    pub notifications: Arc<Notifying>,
    /// Who gets in.
    pub access: &'a Access,
    /// The alert rules that are in force.
    pub rules: Arc<dyn RulesInForce>,
}

/// Everybody who sees requests.
struct Observers {
    latencies: Arc<LatencyBook>,
    requests: Arc<RequestMetrics>,
    spans: Option<Arc<Spans>>,
}

impl Observe for Observers {
    fn observe(&self, request: &Observation<'_>) {
        self.latencies.observe(request);
        self.requests.observe(request);
        if let Some(spans) = &self.spans {
            spans.observe(request);
        }
    }
}

/// Serves from now on. Its stop takes no more requests and waits for those in flight.
pub async fn start(claimed: Claimed, backends: Backends<'_>) -> anyhow::Result<((), Part)> {
    let Backends {
        config,
        catalogue,
        log,
        store,
        ingest,
        latencies,
        export,
        log_levels,
        live,
        decisions,
        evaluator,
        notifications,
        access,
        rules,
    } = backends;
    let acceptor =
        Acceptor::new(log.clone(), open::limits(config)).await.context("reading the log's topics")?;
    let queries = QueryService::new(QueryServiceParts {
        store: store.clone(),
        catalogue: Arc::clone(&catalogue),
        clock: Utc::now,
    })
    .with_rules(rules);
    let stop = CancellationToken::new();
    let measure = IngestRates::start(ingest.clone(), stop.clone());
    let quotas = limits::quotas(&config.limits);
    let counts = limits::counts(&config.limits, quotas)?;
    let watched = Watched {
        log: log.clone(),
        store,
        ingest: ingest.clone(),
        live: live.clone(),
        decisions: Some(decisions.clone()),
        evaluator: evaluator.clone(),
    };
    let health = Arc::new(PartsHealth::new(watched, Configured::of(config)).with_limits(counts.shared));
    health.look().await;
    let looking = tokio::spawn({
        let (health, stop) = (health.clone(), stop.clone());
        async move { health.keep_looking(stop).await }
    });
    let own = OwnMetrics {
        requests: Arc::default(),
        refused: Arc::new(RefusedUses::of(counts.counts)),
        recorded: Arc::<Recorded>::default(),
        ingest,
        live: live.clone(),
        decisions: decisions.clone(),
        evaluator,
        spans: export.counts,
        looks: Arc::new(Looks::new(log, live.clone(), health.clone())),
    };
    let observers = Observers { latencies, requests: own.requests.clone(), spans: export.spans };
    let router = kelly_api::router(AppState {
        queries: Arc::new(queries),
        acceptor: Arc::new(LogAcceptor::new(acceptor, own.recorded.clone())),
        health,
        measure,
        catalogue,
        decisions: decisions.clone(),
        live: live.clone(),
        authenticate: access.authenticate.clone(),
        access: access.manage.clone(),
        counts: own.refused.clone(),
        seats: counts.seats,
        own_metrics: Arc::new(own),
        log_levels,
        notifications,
        observer: Arc::new(observers),
        settings: Settings {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: Utc::now(),
            clock: Utc::now,
            limits: limits_of(config, quotas),
            door: door::door(config),
            issuer: access::own_issuer(config).to_owned(),
        },
    });
    for remark in door::remarks(config) {
        tracing::warn!("{remark}");
    }
    let (identity, watching) = door::tls(&config.http)?.unzip();
    let watching = watching.map(tokio::spawn);
    let listening = Listening { listener: claimed.listen()?, tls: identity, peers: peers(config) };
    let sockets = config.websocket.max_connections as usize;
    let serving = tokio::spawn(kelly_api::serve(listening, router, sockets, stop.clone().cancelled_owned()));
    let part = Part::new("HTTP interface", "requests in flight and WebSockets", move || async move {
        live.stop();
        stop.cancel();
        if let Some(watching) = watching {
            watching.abort();
        }
        looking.await.context("looking at the parts ended with a defect")?;
        match serving.await.context("serving HTTP ended with a defect")? {
            Drained::Complete => {}
            Drained::Cut { connections } => {
                tracing::warn!(connections, "requests or WebSockets took too long to end and were cut");
            }
        }
        Ok(())
    });
    Ok(((), part))
}

/// How many connections an address may have: not those of this machine, nor of proxies, behind which are many.
fn peers(config: &Config) -> PeerBounds {
    let mut bounds = PeerBounds::new(config.limits.connections as usize);
    bounds.exempt.extend(&config.http.proxies);
    bounds
}

/// The bounds of the interface. Without sign-in everybody is one caller, who then has everything.
fn limits_of(config: &Config, quotas: Quotas) -> Limits {
    let limits = Limits { quotas, ..Limits::default() };
    match config.auth.enabled {
        true => limits,
        false => Limits {
            parts_of_a_share: NonZeroUsize::MIN,
            max_exports_of_a_caller: limits.max_exports,
            ..limits
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[tokio::test]
    async fn an_address_is_claimed_once_and_again_after_a_run_with_connections() {
        let claimed = claim("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = claimed.socket.local_addr().unwrap();
        assert!(claim(address).is_err(), "though nobody listens yet");
        let listener = claimed.listen().unwrap();
        let client = TcpStream::connect(address).unwrap();
        // The side that closes first keeps the connection for a minute.
        drop(listener.accept().await.unwrap());
        drop((listener, client));
        claim(address).unwrap().listen().unwrap();
    }

    #[tokio::test]
    async fn a_claimed_address_refuses_until_it_is_listened_on() {
        let claimed = claim("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = claimed.socket.local_addr().unwrap();
        let refused = TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let _listener = claimed.listen().unwrap();
        TcpStream::connect(address).unwrap();
        let Err(error) = claim(address) else { panic!("{address} was taken twice") };
        assert!(error.to_string().contains("is in use"), "{error}");
    }
}
