//! kelly-query.
