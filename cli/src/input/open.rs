//! Opens files: what they are, by their names and their first bytes, decompressed, and how far they were read.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::ValueEnum;
use flate2::bufread::GzDecoder;

use super::ipc::{CONTINUATION, FILE_MAGIC};
use crate::Usage;

/// What a file is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A header, then rows of cells
    Csv,
    /// One JSON object a line
    Ndjson,
    /// One JSON object, an array of them, or one after the other
    Json,
    /// Apache Arrow IPC, stream or file
    Arrow,
    /// Apache Parquet
    Parquet,
}

/// Name of standard input.
pub const STDIN: &str = "-";

/// How gzip begins.
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
/// How Zstandard begins.
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// How Parquet begins.
const PARQUET_MAGIC: &[u8] = b"PAR1";

/// Endings of compressed files.
const COMPRESSED: [&str; 4] = [".gz", ".gzip", ".zst", ".zstd"];

/// A text or a table to read from, whatever it lies in.
pub type Input = BufReader<Box<dyn Read + Send>>;

/// Bytes that were read of a file, for those who wait.
pub type Progress = Arc<AtomicU64>;

/// Whether what is at the path can be read only once, and only as it comes: standard input, a pipe, a device. What is not there
/// is a file that cannot be opened.
pub fn is_read_once(path: &Path) -> bool {
    let is_other = |meta: std::fs::Metadata| !meta.is_file() && !meta.is_dir();
    path.as_os_str() == STDIN || std::fs::metadata(path).is_ok_and(is_other)
}

/// The name of a file without its folder and the endings that say what it is.
pub fn stem(path: &Path) -> Option<String> {
    let name = without_compression(path.file_name()?.to_str()?);
    let stem = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map_or(name, |(stem, _)| stem);
    Some(stem.to_owned())
}

fn without_compression(name: &str) -> &str {
    let ending = COMPRESSED.iter().find(|ending| name.to_ascii_lowercase().ends_with(**ending));
    ending.map_or(name, |ending| &name[..name.len() - ending.len()])
}

/// What a file is: what was said, what its first bytes say, what its name says.
pub fn format(path: &Path, begins: &[u8], said: Option<Format>) -> Result<Format, Usage> {
    if let Some(said) = said {
        return Ok(said);
    }
    if begins.starts_with(PARQUET_MAGIC) {
        return Ok(Format::Parquet);
    }
    if begins.starts_with(FILE_MAGIC) || begins.starts_with(&CONTINUATION) {
        return Ok(Format::Arrow);
    }
    if path.as_os_str() == STDIN {
        return Ok(Format::Ndjson);
    }
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let ending = without_compression(name).rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    match ending.as_deref() {
        Some("csv" | "tsv") => Ok(Format::Csv),
        Some("ndjson" | "jsonl" | "txt") => Ok(Format::Ndjson),
        Some("json") => Ok(Format::Json),
        Some("arrow" | "arrows" | "feather") => Ok(Format::Arrow),
        Some("parquet") => Ok(Format::Parquet),
        _ => Err(Usage(format!(
            "{}: its name does not say what it is (.csv, .tsv, .ndjson, .jsonl, .json, .arrow or .parquet, with .gz or \
             .zst behind it if it is compressed): say it with --format",
            path.display()
        ))),
    }
}

/// An open file.
pub struct Opened {
    /// What it holds, decompressed.
    pub input: Input,
    /// Whether it was compressed as a whole.
    pub is_compressed: bool,
    /// Its first bytes, decompressed.
    pub begins: Vec<u8>,
}

/// Opens a file at its beginning, or standard input.
pub fn open(path: &Path, progress: &Progress) -> io::Result<Opened> {
    let raw: Box<dyn Read + Send> =
        if path.as_os_str() == STDIN { Box::new(io::stdin()) } else { Box::new(File::open(path)?) };
    let (begins, counted) = begun(Counted { input: raw, progress: progress.clone() })?;
    let counted = BufReader::with_capacity(1 << 16, counted);
    let is_gzip = begins.starts_with(GZIP_MAGIC);
    let is_zstd = begins.starts_with(ZSTD_MAGIC);
    let plain: Box<dyn Read + Send> = if is_gzip {
        Box::new(Gzip { member: Some(GzDecoder::new(counted)) })
    } else if is_zstd {
        Box::new(zstd::stream::read::Decoder::with_buffer(counted)?)
    } else {
        Box::new(counted)
    };
    let (begins, plain) = begun(plain)?;
    let input: Input = BufReader::with_capacity(1 << 16, Box::new(plain));
    Ok(Opened { input, is_compressed: is_gzip || is_zstd, begins })
}

/// The first bytes of an input, and all of it. A pipe hands them out in as small pieces as it likes, so one read is not enough.
fn begun<R: Read>(mut input: R) -> io::Result<(Vec<u8>, impl Read)> {
    const LONGEST_MAGIC: u64 = 8;
    let mut begins = Vec::new();
    (&mut input).take(LONGEST_MAGIC).read_to_end(&mut begins)?;
    Ok((begins.clone(), Cursor::new(begins).chain(input)))
}

/// The members of a gzip file, one after the other. As for `gzip` itself, zeros behind a member are padding.
struct Gzip<R> {
    /// `None` behind the last one.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let read = member.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            self.member = match self.member.take() {
                Some(ended) => member_behind(ended.into_inner())?,
                None => None,
            };
        }
        Ok(0)
    }
}

fn member_behind<R: BufRead>(mut input: R) -> io::Result<Option<GzDecoder<R>>> {
    loop {
        let bytes = input.fill_buf()?;
        let (length, zeros) = (bytes.len(), bytes.iter().take_while(|byte| **byte == 0).count());
        input.consume(zeros);
        if length == 0 {
            return Ok(None);
        }
        if zeros < length {
            return Ok(Some(GzDecoder::new(input)));
        }
    }
}

struct Counted<R> {
    input: R,
    progress: Progress,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.progress.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_it_says() {
        let of = |name: &str, begins: &[u8]| format(Path::new(name), begins, None).ok();
        for (name, begins, expected) in [
            ("a.csv", &b"x"[..], Some(Format::Csv)),
            ("a.TSV.GZ", b"", Some(Format::Csv)),
            ("a.jsonl.zst", b"{", Some(Format::Ndjson)),
            ("a.csv", b"PAR1", Some(Format::Parquet)),
            ("a", b"ARROW1\0\0", Some(Format::Arrow)),
            ("a.arrows", b"", Some(Format::Arrow)),
            ("-", b"{", Some(Format::Ndjson)),
            ("a.xls", b"", None),
            ("csv", b"", None),
        ] {
            assert_eq!(of(name, begins), expected, "{name}");
        }
        assert_eq!(format(Path::new("-"), b"", Some(Format::Csv)).unwrap(), Format::Csv);
    }

    #[test]
    fn what_a_pipe_hands_out_in_pieces_is_known_by_its_first_bytes() {
        struct Drips(Vec<u8>);
        impl Read for Drips {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let some = self.0.len().min(buffer.len()).min(1);
                buffer[..some].copy_from_slice(&self.0[..some]);
                self.0.drain(..some);
                Ok(some)
            }
        }
        for text in ["", "{}", "ARROW1\0\0 and more"] {
            let (begins, mut whole) = begun(Drips(text.into())).unwrap();
            let mut read = String::new();
            whole.read_to_string(&mut read).unwrap();
            assert_eq!((&*begins, &*read), (&text.as_bytes()[..text.len().min(8)], text));
        }
    }

    #[test]
    fn a_stem_is_the_name_without_what_it_is() {
        for (name, expected) in
            [("d/cpu.csv", "cpu"), ("cpu.load.csv.gz", "cpu.load"), ("a", "a"), (".csv", ".csv")]
        {
            assert_eq!(stem(Path::new(name)).as_deref(), Some(expected), "{name}");
        }
    }
}
