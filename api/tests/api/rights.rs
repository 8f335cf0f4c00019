//! Who may use which route, about which accounts: every route of the router, each role, all accounts and some.

use std::fmt::Write as _;

use axum::body::Body;
use kelly_api::{Access, RouteAccess, route_access};
use kelly_auth::{Accounts, Identity, Reach, Role, Roles};
use serde_json::Value;

use crate::contract::DOCUMENT;
use crate::examples::written;
use crate::support::{Answer, Api, Setup, identity};

const OWN: &str = "own";
const OTHERS: &str = "others";

fn own() -> Accounts {
    Accounts::only([OWN, "second"]).unwrap()
}

/// What the document says of a route; null of one that it does not describe.
fn operation(route: &RouteAccess) -> &'static Value {
    &DOCUMENT["paths"][&route.path][route.method.as_str().to_ascii_lowercase()]
}

/// A request that the route answers: its path and, of one that takes rows, a row.
fn request(route: &RouteAccess, account: Option<&str>) -> (String, String) {
    let mut path = route.path.replace("{*rest}", "index.html");
    let mut query = Vec::new();
    for parameter in operation(route)["parameters"].as_array().into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap();
        // A room asks for its own permission too; whoever may follow rooms may be in this one.
        let value = match name {
            "rooms" => "emergency_monitoring".to_owned(),
            _ => written(&parameter["example"]),
        };
        match parameter["in"].as_str().unwrap() {
            "path" => path = path.replace(&format!("{{{name}}}"), &value),
            "header" => {}
            _ if parameter["required"] == true => query.push(format!("{name}={value}")),
            _ => {}
        }
    }
    query.extend(account.map(|account| format!("account_id={account}")));
    if !query.is_empty() {
        write!(path, "?{}", query.join("&")).unwrap();
    }
    let examples = operation(route)["requestBody"]["content"]["application/json"].as_object();
    let body = examples.map_or(String::new(), |content| match content.get("example") {
        Some(example) => example.to_string(),
        // Where nothing needs to be said there is none.
        None => {
            content.get("examples").map_or(String::new(), |examples| examples["one"]["value"].to_string())
        }
    });
    (path, body.replace("account123", OWN))
}

fn takes_an_account(route: &RouteAccess) -> bool {
    let parameters = operation(route)["parameters"].as_array();
    parameters.into_iter().flatten().any(|parameter| parameter["name"] == "account_id")
}

async fn ask(api: &Api, who: &Identity, route: &RouteAccess, account: Option<&str>) -> Answer {
    let (path, body) = request(route, account);
    let headers = [("content-type", "application/json")];
    api.send_as(who, route.method.as_str(), &path, &headers, Body::from(body)).await
}

/// The code of the refusal that the matrix asks for.
fn refusal(route: &RouteAccess, who: &Identity, account: Option<&str>) -> Option<&'static str> {
    let Access::Needs(permission) = route.access else { return None };
    let row = permission.row();
    let is_limited = who.accounts != Accounts::All;
    if !who.roles.iter().any(|role| row.roles.has(role)) || (row.reach == Reach::System && is_limited) {
        return Some("not_permitted");
    }
    (is_limited && account == Some(OTHERS)).then_some("account_not_permitted")
}

#[tokio::test]
async fn every_route_answers_whom_the_matrix_permits_and_nobody_else() {
    let (mut refused, mut answered) = (0, 0);
    let roles = Role::ALL.iter().map(|role| Roles::of(&[*role])).chain([Roles::NONE]);
    let callers: Vec<Identity> =
        roles.flat_map(|roles| [Accounts::All, own()].map(|accounts| identity(roles, accounts))).collect();
    for route in route_access() {
        let api = Api::new(Setup::default());
        let accounts = if takes_an_account(&route) { &[None, Some(OWN), Some(OTHERS)][..] } else { &[None] };
        for who in &callers {
            for account in accounts {
                let what = format!("{} {} of {account:?} by {who:?}", route.method, route.path);
                let answer = ask(&api, who, &route, *account).await;
                let asked = std::mem::take(&mut *api.queries.asked.lock().unwrap());
                let taken = std::mem::take(&mut *api.accept.taken.lock().unwrap());
                if let Some(code) = refusal(&route, who, *account) {
                    refused += 1;
                    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (403, code), "{what}");
                    assert!(asked.is_empty() && taken.is_empty(), "{what} asked {asked:?}");
                    assert_names_what_is_missing(&answer, &route, &what);
                    continue;
                }
                answered += 1;
                // No WebSocket comes of these requests.
                let is_answered = answer.status.is_success()
                    || answer.status.is_redirection()
                    || answer.code() == "not_a_websocket"
                    // What the log says of it: a level that there is not, a rule that the caller before removed.
                    || answer.code() == "decision_refused"
                    || (route.method == "DELETE" && answer.code() == "not_found");
                assert!(is_answered, "{what}: {}", answer.status);
                // Whatever was asked, and not taken from what is kept, was asked of the caller's accounts.
                let is_of_all = |asked: &String| asked == "store_performance" && who.accounts.is_all();
                let of_caller = format!("{:?}", who.accounts);
                for asked in asked {
                    assert!(is_of_all(&asked) || asked.contains(&of_caller), "{what} asked {asked}");
                }
                assert!(taken.iter().all(|submission| submission.accounts == who.accounts), "{what}");
                assert_eq!(taken.len(), usize::from(answer.status == 202), "{what}");
            }
        }
    }
    assert!(refused > 150 && answered > 150, "{refused} refused, {answered} answered");
}

fn assert_names_what_is_missing(answer: &Answer, route: &RouteAccess, what: &str) {
    let (Access::Needs(permission), problem) = (route.access, answer.json()) else { return };
    let detail = problem["detail"].as_str().unwrap();
    if problem["code"] == "not_permitted" {
        assert!(detail.contains(permission.row().name), "{what}: {detail}");
    }
    assert!(!detail.contains(OWN) && !detail.contains(OTHERS), "{what} tells of accounts: {detail}");
}

/// A change of who may do what is seen where it is reviewed.
#[test]
fn the_permission_of_each_route() {
    let lines: Vec<String> = route_access()
        .into_iter()
        .map(|RouteAccess { method, path, access }| match access {
            Access::Open => format!("{method} {path}: open"),
            Access::Needs(permission) => format!("{method} {path}: {}", permission.row().name),
        })
        .collect();
    insta::assert_snapshot!("routes", lines.join("\n"));
}

/// What the document describes is in the table, with the same permission.
#[test]
fn every_route_of_the_document_says_what_it_needs() {
    let routes = route_access();
    let described =
        DOCUMENT["paths"].as_object().unwrap().values().map(|item| item.as_object().unwrap().len());
    assert_eq!(described.sum::<usize>(), routes.iter().filter(|route| operation(route).is_object()).count());
    for route in routes.iter().filter(|route| operation(route).is_object()) {
        let says = operation(route)["description"].as_str().unwrap();
        let expected = match route.access {
            Access::Open => "Needs no token.".to_owned(),
            Access::Needs(permission) => format!("Needs the permission to {}: ", permission.row().name),
        };
        assert!(says.contains(&expected), "{} {}: {says}", route.method, route.path);
    }
}

/// Of those who ask the same at the same time, only those share who may see the same.
#[tokio::test]
async fn an_answer_serves_only_those_who_may_see_the_same() {
    let api = Api::new(Setup::default());
    let callers =
        [Accounts::All, own(), Accounts::only([OTHERS]).unwrap(), Accounts::only::<_, &str>([]).unwrap()]
            .map(|accounts| identity(Roles::of(&[Role::Viewer]), accounts));
    let paths = [
        "metrics",
        "metrics/detailed/ai_confidence",
        "metrics/detailed/ai_confidence?group_by=account",
        "metrics/detailed?metrics=ai_confidence",
        "activity/feed",
        "activity/vip",
    ];
    for path in paths {
        let path = format!("/api/v1/kelly/monitoring/{path}");
        for _ in 0..2 {
            for who in &callers {
                let answer = api.send_as(who, "GET", &path, &[], Body::empty()).await;
                assert_eq!(answer.status, 200);
                assert_eq!(answer.header("vary"), "accept, accept-encoding, authorization, cookie", "{path}");
            }
        }
        let asked = std::mem::take(&mut *api.queries.asked.lock().unwrap());
        assert_eq!(asked.len(), callers.len(), "{path}: {asked:?}");
    }
}

/// Figures of the system as a whole are figures of the others' accounts too.
#[tokio::test]
async fn health_tells_who_is_limited_no_figures() {
    let api = Api::new(Setup::default());
    let path = "/api/v1/kelly/monitoring/health";
    for (accounts, has_figures) in [(Accounts::All, true), (own(), false)] {
        let who = identity(Roles::of(&[Role::Viewer]), accounts);
        let report = api.send_as(&who, "GET", path, &[], Body::empty()).await.json();
        assert_eq!(report["parts"].as_array().unwrap().len(), 2);
        assert_eq!(report["parts"][0]["details"].is_object(), has_figures, "{report}");
    }
}
