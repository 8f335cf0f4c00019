//! Routes on their way to a router. Each is added together with what it needs of its caller, and there is no other way to add
//! one: what is not listed here is refused ([`crate::authorise`]).

use axum::Router;
use axum::http::Method;
use axum::routing::MethodRouter;
use kelly_auth::Permission;
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use crate::access::{Access, RouteTable};
use crate::state::HandlerState;

/// Routes with what they need.
#[derive(Default)]
pub(crate) struct RouteList {
    router: OpenApiRouter<HandlerState>,
    table: RouteTable,
}

impl RouteList {
    /// Adds what `routes!` makes. Its description says what it needs.
    pub(crate) fn route(
        mut self,
        access: Access,
        (schemas, mut paths, methods): UtoipaMethodRouter<HandlerState>,
    ) -> Self {
        for (path, item) in &mut paths.paths {
            for (method, operation) in operations(item) {
                describe(operation, access);
                self.table.add(method, path, access);
            }
        }
        self.router = self.router.routes((schemas, paths, methods));
        self
    }

    /// Adds pages that the document does not describe: those of a router, which has these paths.
    pub(crate) fn pages(mut self, access: Access, paths: &[&str], router: Router<HandlerState>) -> Self {
        for path in paths {
            self.table.add(Method::GET, path, access);
        }
        self.router = self.router.merge(OpenApiRouter::from(router));
        self
    }

    /// Adds one page that the document does not describe.
    pub(crate) fn page(self, access: Access, path: &str, page: MethodRouter<HandlerState>) -> Self {
        self.pages(access, &[path], Router::new().route(path, page))
    }

    /// Adds the routes of another list.
    pub(crate) fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.table.extend(other.table);
        self
    }

    /// The routes themselves, their description on top of `head`, and the table of what they need.
    pub(crate) fn split(self, head: OpenApi) -> (Router<HandlerState>, OpenApi, RouteTable) {
        let (router, document) = OpenApiRouter::with_openapi(head).merge(self.router).split_for_parts();
        (router, document, self.table)
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let methods = [
        (Method::GET, item.get.as_mut()),
        (Method::PUT, item.put.as_mut()),
        (Method::POST, item.post.as_mut()),
        (Method::DELETE, item.delete.as_mut()),
        (Method::PATCH, item.patch.as_mut()),
    ];
    methods.into_iter().filter_map(|(method, operation)| Some((method, operation?)))
}

fn describe(operation: &mut Operation, access: Access) {
    let needs = match access {
        Access::Open => "Needs no token.".to_owned(),
        Access::Needs(permission) => needs(permission),
    };
    let described = operation.description.take();
    operation.description = Some(described.map_or(needs.clone(), |text| format!("{text}\n\n{needs}")));
}

/// Who may use a route of this permission, in a sentence.
fn needs(permission: Permission) -> String {
    let row = permission.row();
    let roles: Vec<&str> = row.roles.iter().map(kelly_auth::Role::as_str).collect();
    format!("Needs the permission to {}: {}.", row.name, roles.join(", "))
}
