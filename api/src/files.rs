//! The forms a file is exported in.

use kelly_query::ExportFormat;

/// One of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileForm {
    pub(crate) format: ExportFormat,
    /// As a parameter names it.
    pub(crate) name: &'static str,
    pub(crate) media_type: &'static str,
    /// How its files end.
    pub(crate) ending: &'static str,
}

const CSV: FileForm =
    FileForm { format: ExportFormat::Csv, name: "csv", media_type: "text/csv", ending: "csv" };
const PARQUET: FileForm = FileForm {
    format: ExportFormat::Parquet,
    name: "parquet",
    media_type: "application/vnd.apache.parquet",
    ending: "parquet",
};
const ARROW: FileForm = FileForm {
    format: ExportFormat::Arrow,
    name: "arrow",
    media_type: "application/vnd.apache.arrow.stream",
    ending: "arrows",
};
const JSON_LINES: FileForm = FileForm {
    format: ExportFormat::JsonLines,
    name: "jsonl",
    media_type: "application/x-ndjson",
    ending: "jsonl",
};

/// All of them.
pub(crate) const FILE_FORMS: [FileForm; 4] = [CSV, PARQUET, ARROW, JSON_LINES];

impl FileForm {
    pub(crate) fn of(format: ExportFormat) -> &'static Self {
        match format {
            ExportFormat::Csv => &CSV,
            ExportFormat::Parquet => &PARQUET,
            ExportFormat::Arrow => &ARROW,
            ExportFormat::JsonLines => &JSON_LINES,
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        FILE_FORMS.into_iter().find(|form| form.name == name)
    }

    pub(crate) fn of_media_type(media_type: &str) -> Option<Self> {
        FILE_FORMS.into_iter().find(|form| form.media_type.eq_ignore_ascii_case(media_type))
    }
}
