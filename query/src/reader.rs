//! A user who reads, and what of the user's marks matters to a question.

use kelly_auth::Identity;
use kelly_sql::Store;
use kelly_sql::queries::{Covered, ReaderFilter, ReaderName};

use crate::error::QueryError;
use crate::reading::{MAX_WATERMARKS, Scope, Watermark, Watermarks};

/// A user who reads: who issued the token, and whom it names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reader {
    /// The issuer.
    pub issuer: String,
    /// The subject, unique within it.
    pub subject: String,
}

/// Which of a user's marks were there. Of two with one epoch the greater offset is the newer; another epoch means that marks have expired.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReadingVersion {
    /// Names the oldest marks.
    pub epoch: String,
    /// Counts marks.
    pub offset: u64,
}

/// What a user has read by now, as part of a question.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReaderView {
    /// The user.
    pub reader: Reader,
    /// What was marked when it was asked: an answer is good for nobody who has marked more.
    pub version: ReadingVersion,
    /// Only what is unread.
    pub unread_only: bool,
}

impl Reader {
    /// The user whose token this is.
    #[must_use]
    pub fn of(identity: &Identity) -> Self {
        Self { issuer: identity.issuer.to_string(), subject: identity.subject.to_string() }
    }

    pub(crate) fn of_row(row: &kelly_sql::queries::ReadingVersion) -> Self {
        Self { issuer: row.issuer.clone(), subject: row.subject.clone() }
    }

    pub(crate) fn name(&self) -> ReaderName<'_> {
        ReaderName { issuer: &self.issuer, subject: &self.subject }
    }
}

impl Default for ReadingVersion {
    /// Of a user who has marked nothing.
    fn default() -> Self {
        Self { epoch: "0".to_owned(), offset: 0 }
    }
}

impl From<kelly_sql::queries::ReadingVersion> for ReadingVersion {
    fn from(row: kelly_sql::queries::ReadingVersion) -> Self {
        Self { epoch: row.first, offset: row.changes }
    }
}

/// What of a user's marks matters to a question.
pub(crate) struct Reading {
    pub(crate) watermarks: Watermarks,
    asked: Scope,
}

impl Reading {
    pub(crate) async fn of(store: &Store, reader: &Reader, asked: &Scope) -> Result<Self, QueryError> {
        let rows = store.read_watermarks(reader.name(), MAX_WATERMARKS).await;
        let rows = rows.map_err(QueryError::from_store("what is read"))?;
        let watermarks = Watermarks::of(rows.into_iter().filter_map(Watermark::of_row).collect());
        Ok(Self { watermarks, asked: asked.clone() })
    }

    /// What the store leaves out before it answers; the rest is for [`Watermarks::cover`].
    pub(crate) fn filter<'a>(&'a self, reader: &'a Reader, unread_only: bool) -> ReaderFilter<'a> {
        let covered = self.watermarks.furthest(&self.asked).map(|watermark| Covered {
            until: &watermark.until,
            late_from_ms: watermark.arrived.late_from_ms,
            ends: &watermark.arrived.ends,
        });
        let from_ms = if unread_only { self.watermarks.covered_before_ms(&self.asked) } else { 0 };
        ReaderFilter { reader: reader.name(), unread_only, from_ms, covered }
    }
}
