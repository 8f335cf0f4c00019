//! What `kelly config permissions` prints: which role may do what, and what each route needs.

use kelly_api::{Access, RouteAccess, route_access};
use kelly_auth::{PERMISSIONS, Role};
use kelly_cli::output::table;
use serde_json::{Value, json};

/// Stands where a role has a permission.
const HAS: &str = "x";

/// For people: the matrix, and below it the routes.
pub fn as_table() -> String {
    let roles = Role::ALL.map(Role::as_str);
    let rows = PERMISSIONS.iter().map(|row| {
        let [viewer, analyst, operator, supervisor, admin, producer, worker] =
            Role::ALL.map(|role| if row.roles.has(role) { HAS } else { "" }.to_owned());
        let reach = row.reach.as_str().to_owned();
        [row.name.to_owned(), viewer, analyst, operator, supervisor, admin, producer, worker, reach]
    });
    let [viewer, analyst, operator, supervisor, admin, producer, worker] = roles;
    let header = [
        "PERMISSION TO",
        viewer,
        analyst,
        operator,
        supervisor,
        admin,
        producer,
        worker,
        "LIMITED TO ACCOUNTS",
    ];
    let matrix = table(header, rows);
    let routes = route_access().into_iter().map(|route| {
        let needs = needs(&route).unwrap_or("nothing, not even a token");
        [route.method.to_string(), needs.to_owned(), route.path]
    });
    let routes = table(["METHOD", "NEEDS", "ROUTE"], routes);
    format!(
        "{matrix}\n\nWhat has no {HAS} is denied. The last column says what a token that is limited to accounts reaches.\n\n{routes}"
    )
}

/// For programs.
pub fn as_json() -> String {
    let permissions: Vec<Value> = PERMISSIONS
        .iter()
        .map(|row| {
            let roles: Vec<&str> = row.roles.iter().map(Role::as_str).collect();
            json!({ "permission": row.name, "roles": roles, "limited_to_accounts": row.reach.as_str() })
        })
        .collect();
    let routes: Vec<Value> = route_access()
        .into_iter()
        .map(|route| json!({ "method": route.method.as_str(), "path": route.path, "permission": needs(&route) }))
        .collect();
    format!("{:#}", json!({ "permissions": permissions, "routes": routes }))
}

fn needs(route: &RouteAccess) -> Option<&'static str> {
    match route.access {
        Access::Open => None,
        Access::Needs(permission) => Some(permission.row().name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matrix_is_printed_as_it_is() {
        let printed = as_table();
        for row in &PERMISSIONS {
            let line = printed.lines().find(|line| line.starts_with(row.name)).expect(row.name);
            let marks = line.split_whitespace().filter(|word| *word == HAS).count();
            assert_eq!(marks, row.roles.iter().count(), "{line}");
            assert!(line.ends_with(row.reach.as_str()), "{line}");
        }
        let programs: Value = serde_json::from_str(&as_json()).unwrap();
        assert_eq!(programs["permissions"].as_array().unwrap().len(), PERMISSIONS.len());
        let routes = programs["routes"].as_array().unwrap();
        assert_eq!(routes.len(), route_access().len());
        let open: Vec<&Value> = routes.iter().filter(|route| route["permission"].is_null()).collect();
        assert!(open.iter().any(|route| route["path"] == "/livez"), "{open:?}");
    }
}
