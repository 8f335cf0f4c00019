//! kelly-sql.
