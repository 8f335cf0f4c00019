//! kelly-ingest.
