//! What each route needs of its caller: the table of all routes. Pure.

use std::collections::BTreeMap;

use axum::http::Method;
use kelly_auth::Permission;

/// What a route needs of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing: it answers everybody.
    Open,
    /// A role with this permission.
    Needs(Permission),
}

/// One route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteAccess {
    /// Its method. A route of GET also answers HEAD.
    pub method: Method,
    /// Its path, as a template.
    pub path: String,
    /// What it needs.
    pub access: Access,
}

/// The routes there are. What is not in it is not answered.
#[derive(Debug, Default)]
pub(crate) struct RouteTable {
    by_path: BTreeMap<String, Vec<(Method, Access)>>,
}

/// What the table says of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The route is there.
    Route(Access),
    /// The path is there for other methods: what `Allow` says.
    OtherMethods(String),
    /// No route has the path.
    Nothing,
}

impl RouteTable {
    pub(crate) fn add(&mut self, method: Method, path: &str, access: Access) {
        self.by_path.entry(path.to_owned()).or_default().push((method, access));
    }

    pub(crate) fn extend(&mut self, other: Self) {
        for (path, methods) in other.by_path {
            self.by_path.entry(path).or_default().extend(methods);
        }
    }

    /// Looks up the template that a request's path matched, and its method.
    pub(crate) fn find(&self, path: &str, method: &Method) -> Found {
        let Some(methods) = self.by_path.get(path) else { return Found::Nothing };
        let wanted = if method == Method::HEAD { &Method::GET } else { method };
        match methods.iter().find(|(method, _)| method == wanted) {
            Some((_, access)) => Found::Route(*access),
            None => Found::OtherMethods(allow(methods)),
        }
    }

    /// Whether the route of this very path answers everybody.
    pub(crate) fn is_open(&self, path: &str, method: &Method) -> bool {
        self.find(path, method) == Found::Route(Access::Open)
    }

    /// Every route, in the order of the paths.
    pub(crate) fn into_routes(self) -> Vec<RouteAccess> {
        let routes = self.by_path.into_iter().flat_map(|(path, methods)| {
            methods.into_iter().map(move |(method, access)| RouteAccess {
                method,
                path: path.clone(),
                access,
            })
        });
        routes.collect()
    }
}

fn allow(methods: &[(Method, Access)]) -> String {
    let names = methods.iter().map(|(method, _)| match *method {
        Method::GET => "GET,HEAD",
        ref method => method.as_str(),
    });
    names.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_in_the_table_is_not_found() {
        let mut table = RouteTable::default();
        let read = Access::Needs(Permission::ReadMetrics);
        table.add(Method::GET, "/a", read);
        table.add(Method::POST, "/a", Access::Open);
        for (path, method, found) in [
            ("/a", Method::GET, Found::Route(read)),
            ("/a", Method::HEAD, Found::Route(read)),
            ("/a", Method::POST, Found::Route(Access::Open)),
            ("/a", Method::DELETE, Found::OtherMethods("GET,HEAD,POST".to_owned())),
            ("/a/", Method::GET, Found::Nothing),
            ("/{*rest}", Method::GET, Found::Nothing),
        ] {
            assert_eq!(table.find(path, &method), found, "{method} {path}");
        }
    }
}
