//! The tail of the newest journal after a crash.
//!
//! Every batch is on the disk before the next one is written, so at most the last one can be torn,
//! and whose writing was not acknowledged. The store drops a tail that merely ends too soon, but
//! refuses to open when the middle of it is missing (a page that was never written) while its end
//! is there. So the tail is looked at before: a torn last batch is cut off; anything else that does
//! not add up is damage to what was acknowledged, and is said so rather than dropped.
//!
//! Reads the journal format of fjall 3: `1 count u32 sequence u64`, items `2 …`, clears `4 id u64`,
//! `3 checksum u64 "FJL\x03"`, all little-endian, the checksum XXH3 over the items.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use crate::error::LogError;
use crate::port::Result;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const MAGIC: &[u8; 4] = b"FJL\x03";

/// Looks at the newest journal in `dir` and cuts off a torn last batch.
pub(super) fn cut_torn_tail(dir: &Path) -> Result<()> {
    let fail = |path: &Path, source| LogError::Unavailable {
        doing: format!("look at the journal {}", path.display()),
        fix: "check the disk and the rights of the directory".into(),
        source: Some(Box::new(source)),
    };
    let Some((_, path)) = newest(dir).map_err(|error| fail(dir, error))? else { return Ok(()) };
    let bytes = read_used(&path).map_err(|error| fail(&path, error))?;
    match judge(&bytes) {
        Tail::Whole => Ok(()),
        Tail::Torn { at } => {
            tracing::warn!(journal = %path.display(), at, "cut off a batch that a crash left unfinished; it was not acknowledged");
            let cut = || {
                let file = OpenOptions::new().write(true).open(&path)?;
                file.set_len(at as u64)?;
                file.sync_all()
            };
            cut().map_err(|error| fail(&path, error))
        }
        Tail::Damaged { at } => Err(LogError::Corrupt {
            what: format!("{} is broken at byte {at}, with whole batches behind it", path.display()),
            fix: "restore the directory from a backup; to go on without what follows that byte, cut the file there"
                .into(),
        }),
    }
}

/// The file without the zeros at its end: a journal is made with room for 64 MiB.
fn read_used(path: &Path) -> std::io::Result<Vec<u8>> {
    const STEP: u64 = 256 * 1024;
    let mut file = File::open(path)?;
    let mut used = file.metadata()?.len();
    let mut step = vec![0; STEP as usize];
    let zeros = vec![0; STEP as usize];
    while used > 0 {
        let length = used.min(STEP);
        let part = &mut step[..length as usize];
        file.seek(SeekFrom::Start(used - length))?;
        file.read_exact(part)?;
        if *part != zeros[..length as usize] {
            break;
        }
        used -= length;
    }
    let mut bytes = vec![0; used as usize];
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[derive(Debug, PartialEq, Eq)]
enum Tail {
    /// Every batch is whole; at most unused space follows.
    Whole,
    /// The last batch, beginning here, is not.
    Torn { at: usize },
    /// One in the middle is not.
    Damaged { at: usize },
}

fn judge(bytes: &[u8]) -> Tail {
    let mut at = 0;
    while let Some(length) = batch_length(&bytes[at..]) {
        at += length;
    }
    if bytes[at..].iter().all(|byte| *byte == 0) {
        Tail::Whole
    } else if has_batch_behind(&bytes[at..]) {
        Tail::Damaged { at }
    } else {
        Tail::Torn { at }
    }
}

/// Whether a whole batch follows the trailer of a broken one.
fn has_batch_behind(bytes: &[u8]) -> bool {
    bytes
        .windows(MAGIC.len())
        .enumerate()
        .filter(|(_, window)| window == MAGIC)
        .any(|(at, _)| batch_length(&bytes[at + MAGIC.len()..]).is_some())
}

/// Length of the batch at the beginning, when it is whole.
fn batch_length(bytes: &[u8]) -> Option<usize> {
    let mut rest = Cursor { bytes };
    if rest.byte()? != START {
        return None;
    }
    let count = u32::from_le_bytes(rest.take()?);
    rest.take::<8>()?;
    let mut hash = Xxh3::new();
    for _ in 0..count {
        let before = rest.bytes;
        match rest.byte()? {
            ITEM => {
                // Type of the value, compression, keyspace.
                rest.take::<10>()?;
                let key = usize::from(u16::from_le_bytes(rest.take()?));
                rest.take::<4>()?;
                let value = u32::from_le_bytes(rest.take()?) as usize;
                rest.skip(key.checked_add(value)?)?;
            }
            CLEAR => {
                rest.take::<8>()?;
            }
            _ => return None,
        }
        hash.update(&before[..before.len() - rest.bytes.len()]);
    }
    if rest.byte()? != END {
        return None;
    }
    let checksum = u64::from_le_bytes(rest.take()?);
    (rest.take::<4>()? == *MAGIC && hash.digest() == checksum).then(|| bytes.len() - rest.bytes.len())
}

struct Cursor<'a> {
    bytes: &'a [u8],
}

impl Cursor<'_> {
    fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        Some(*taken)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.bytes = self.bytes.get(count..)?;
        Some(())
    }
}

/// The journal with the highest number, and that number; older ones were synced whole when the next was begun.
pub(super) fn newest(dir: &Path) -> std::io::Result<Option<(u64, PathBuf)>> {
    Ok(numbered(dir)?.into_iter().max())
}

/// Every journal.
pub(super) fn all(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    Ok(numbered(dir)?.into_iter().map(|(_, path)| path).collect())
}

/// Whether nothing was ever written into a journal.
pub(super) fn is_unused(path: &Path) -> std::io::Result<bool> {
    Ok(read_used(path)?.is_empty())
}

fn numbered(dir: &Path) -> std::io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let is_journal = path.extension().is_some_and(|extension| extension == "jnl");
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if let (true, Some(number)) = (is_journal, number) {
            found.push((number, path));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(items: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![START];
        bytes.extend_from_slice(&(items.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&7_u64.to_le_bytes());
        let mut hash = Xxh3::new();
        for value in items {
            let mut item = vec![ITEM, 0, 0];
            item.extend_from_slice(&1_u64.to_le_bytes());
            item.extend_from_slice(&3_u16.to_le_bytes());
            item.extend_from_slice(&(value.len() as u32).to_le_bytes());
            item.extend_from_slice(&(value.len() as u32).to_le_bytes());
            item.extend_from_slice(b"key");
            item.extend_from_slice(value);
            hash.update(&item);
            bytes.extend_from_slice(&item);
        }
        bytes.push(END);
        bytes.extend_from_slice(&hash.digest().to_le_bytes());
        bytes.extend_from_slice(MAGIC);
        bytes
    }

    #[test]
    fn only_the_last_batch_may_be_cut_off() {
        let (first, last) = (batch(&[b"one", b"two"]), batch(&[&[9; 300]]));
        let whole = [&first[..], &last].concat();
        let space = vec![0; 4096];
        assert_eq!(judge(&[]), Tail::Whole);
        assert_eq!(judge(&[&whole[..], &space].concat()), Tail::Whole);
        for cut in first.len() + 1..whole.len() {
            let torn = [&whole[..cut], &space].concat();
            assert_eq!(judge(&torn), Tail::Torn { at: first.len() }, "cut at {cut}");
        }
        // A page in the middle that never reached the disk.
        let mut hole = [&whole[..], &space].concat();
        hole[first.len() + 100..first.len() + 200].fill(0);
        assert_eq!(judge(&hole), Tail::Torn { at: first.len() });
        // Damage to what was acknowledged.
        let mut rotten = [&whole[..], &space].concat();
        rotten[30] ^= 1;
        assert_eq!(judge(&rotten), Tail::Damaged { at: 0 });
    }
}
