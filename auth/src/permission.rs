//! The permission matrix: which role may do what. It is data, in this one place.

use crate::role::{Role, Roles};

use Role::{Admin, Analyst, Operator, Producer, Supervisor, Viewer, Worker};

/// Something that a role may or may not do. A route, a room and a command need one each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// Open the pages, the description of the API and the table of errors.
    ReadPages,
    /// See figures, percentiles, trends and the metric catalogue.
    ReadMetrics,
    /// See activity events, and keep track of which are read.
    ReadActivity,
    /// Take samples and events out as files.
    Export,
    /// Record metrics and events.
    Record,
    /// See how the parts of Kelly are.
    ReadHealth,
    /// See how fast Kelly is and what it stores, Prometheus metrics included.
    ReadPerformance,
    /// Follow what is pushed as it comes. Each room asks for its own permission too.
    FollowLive,
    /// See alerts.
    ReadAlerts,
    /// Acknowledge, resolve and escalate alerts, and silence them.
    HandleAlerts,
    /// Send alerts of others.
    IngestAlerts,
    /// See rules, escalation policies, and which rules are noisy.
    ReadAlertRules,
    /// Change rules and escalation policies.
    ManageAlertRules,
    /// See who holds which conversation.
    ReadInterventions,
    /// Take conversations over, hold them, hand them back.
    TakeControl,
    /// Take a conversation from somebody who holds it.
    OverruleControl,
    /// See emergency actions.
    ReadEmergency,
    /// Stop a conversation.
    StopConversation,
    /// Let a stopped conversation go on, or reset it.
    ResumeConversation,
    /// Stop everything, and let it go on.
    StopEverything,
    /// Hold conversations as a worker: receive control, acknowledge it.
    WorkConversations,
    /// Withdraw tokens and users.
    ManageAccess,
    /// Change what a running Kelly logs.
    ManageLogging,
    /// See how notifications go, try destinations, send again what was given up.
    ManageNotifications,
}

/// What of the system a permission reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// What belongs to accounts: who is limited to accounts reaches those.
    Accounts,
    /// The system as a whole: nobody who is limited to accounts has it.
    System,
    /// The system as a whole, without anything of an account in it: also those who are limited have it.
    SystemForAll,
}

impl Reach {
    /// What it means for who is limited to accounts, in a few words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accounts => "their accounts",
            Self::System => "never",
            Self::SystemForAll => "yes",
        }
    }
}

/// One row of the matrix.
#[derive(Debug, Clone, Copy)]
pub struct PermissionRow {
    /// What is permitted.
    pub permission: Permission,
    /// Its name for people.
    pub name: &'static str,
    /// What it reaches.
    pub reach: Reach,
    /// Who has it.
    pub roles: Roles,
}

const fn row(permission: Permission, name: &'static str, reach: Reach, roles: &[Role]) -> PermissionRow {
    PermissionRow { permission, name, reach, roles: Roles::of(roles) }
}

/// Every permission with who has it, in the order of their declaration. What has no mark here is denied.
pub const PERMISSIONS: [PermissionRow; 24] = [
    row(Permission::ReadPages, "see pages", Reach::SystemForAll, &Role::ALL),
    row(
        Permission::ReadMetrics,
        "see metrics",
        Reach::Accounts,
        &[Viewer, Analyst, Operator, Supervisor, Admin],
    ),
    row(
        Permission::ReadActivity,
        "see activity",
        Reach::Accounts,
        &[Viewer, Analyst, Operator, Supervisor, Admin],
    ),
    row(Permission::Export, "export rows", Reach::Accounts, &[Analyst, Supervisor, Admin]),
    row(Permission::Record, "record", Reach::Accounts, &[Producer, Worker, Admin]),
    row(Permission::ReadHealth, "see health", Reach::SystemForAll, &Role::ALL),
    row(
        Permission::ReadPerformance,
        "see performance",
        Reach::System,
        &[Analyst, Operator, Supervisor, Admin],
    ),
    row(
        Permission::FollowLive,
        "follow live rooms",
        Reach::Accounts,
        &[Viewer, Analyst, Operator, Supervisor, Admin, Worker],
    ),
    row(
        Permission::ReadAlerts,
        "see alerts",
        Reach::Accounts,
        &[Viewer, Analyst, Operator, Supervisor, Admin],
    ),
    row(Permission::HandleAlerts, "handle alerts", Reach::Accounts, &[Operator, Supervisor, Admin]),
    row(Permission::IngestAlerts, "send alerts", Reach::Accounts, &[Producer, Admin]),
    row(
        Permission::ReadAlertRules,
        "see alert rules",
        Reach::System,
        &[Viewer, Analyst, Operator, Supervisor, Admin],
    ),
    row(Permission::ManageAlertRules, "manage alert rules", Reach::System, &[Operator, Supervisor, Admin]),
    row(
        Permission::ReadInterventions,
        "see interventions",
        Reach::Accounts,
        &[Viewer, Analyst, Operator, Supervisor, Admin, Worker],
    ),
    row(Permission::TakeControl, "take control", Reach::Accounts, &[Operator, Supervisor, Admin]),
    row(Permission::OverruleControl, "overrule control", Reach::Accounts, &[Supervisor, Admin]),
    row(
        Permission::ReadEmergency,
        "see emergency actions",
        Reach::Accounts,
        &[Viewer, Analyst, Operator, Supervisor, Admin, Worker],
    ),
    row(Permission::StopConversation, "stop a conversation", Reach::Accounts, &[Operator, Supervisor, Admin]),
    row(Permission::ResumeConversation, "resume a conversation", Reach::Accounts, &[Supervisor, Admin]),
    row(Permission::StopEverything, "stop everything", Reach::System, &[Admin]),
    row(Permission::WorkConversations, "work conversations", Reach::Accounts, &[Worker]),
    row(Permission::ManageAccess, "manage access", Reach::System, &[Admin]),
    row(Permission::ManageLogging, "manage logging", Reach::System, &[Admin]),
    row(Permission::ManageNotifications, "manage notifications", Reach::System, &[Supervisor, Admin]),
];

impl Permission {
    /// Its row of the matrix.
    #[must_use]
    pub const fn row(self) -> &'static PermissionRow {
        &PERMISSIONS[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_permission_has_its_own_row() {
        for (at, row) in PERMISSIONS.iter().enumerate() {
            assert_eq!(row.permission as usize, at, "{:?} stands in the row of another", row.permission);
            assert_eq!(row.permission.row().name, row.name);
            assert!(!row.roles.is_empty(), "{:?} is for nobody", row.permission);
        }
        let names: BTreeSet<&str> = PERMISSIONS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), PERMISSIONS.len());
    }

    #[test]
    fn programs_may_not_do_what_people_do() {
        let programs = Roles::of(&[Producer, Worker]);
        for permission in [
            Permission::TakeControl,
            Permission::StopEverything,
            Permission::Export,
            Permission::ManageAccess,
        ] {
            assert!(!permission.row().roles.meets(programs), "{permission:?}");
        }
    }
}
