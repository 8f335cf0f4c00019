//! Rows for one table, inserted as one.

use arrow_array::{ArrayRef, RecordBatch};
use kelly_sql::Table;

/// Rows for one table.
#[derive(Debug, Clone)]
pub struct Block {
    /// The table.
    pub table: Table,
    /// Its rows.
    pub rows: RecordBatch,
}

impl Block {
    /// Puts columns under the table's schema.
    ///
    /// # Panics
    /// When the columns do not match the schema: both are constants of this program.
    pub fn new(table: Table, columns: Vec<ArrayRef>) -> Self {
        let rows = RecordBatch::try_new(table.arrow_schema(), columns).unwrap_or_else(|fault| {
            panic!("the columns built for {} are not its own: {fault}", table.name())
        });
        Self { table, rows }
    }
}
