//! The stored form of records appended together to one partition: one frame, one value of the
//! store, read by borrowed slices.
//!
//! ```text
//! version u8 | 3 bytes 0 | count u32 | log time ms i64 | bytes before u64     all little-endian
//! count x end u32            end of each record, counted from the first record's start
//! records:  marks u8 [content type length u8] [key length u32] content type, key, payload
//! ```
//! `bytes before` counts the bytes of records of the partition ever appended before this frame, so
//! that the size of any stretch is a difference of two frames and retention need not read between.

use crate::bounds::{MAX_CONTENT_TYPE_BYTES, MAX_RECORD_BYTES};
use crate::port::{NewRecord, Record};

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 24;
const HAS_KEY: u8 = 1;
const HAS_CONTENT_TYPE: u8 = 2;

// A content type's length is kept in one byte, a frame's ends in four.
const _: () = assert!(MAX_CONTENT_TYPE_BYTES <= u8::MAX as usize);
const _: () = assert!(MAX_RECORD_BYTES <= u32::MAX as usize / 2);

/// Gathers records into a frame.
pub(super) struct FrameBuilder {
    time_ms: i64,
    bytes_before: u64,
    ends: Vec<u32>,
    records: Vec<u8>,
}

impl FrameBuilder {
    pub(super) fn new(time_ms: i64, bytes_before: u64) -> Self {
        Self { time_ms, bytes_before, ends: Vec::new(), records: Vec::new() }
    }

    /// The caller has bounded the record's parts.
    pub(super) fn push(&mut self, record: &NewRecord) {
        self.push_parts(record.key.as_deref(), &record.payload, record.content_type.as_deref());
    }

    /// The same of a record that was read.
    pub(super) fn push_parts(&mut self, key: Option<&[u8]>, payload: &[u8], content_type: Option<&str>) {
        let mut marks = 0;
        if key.is_some() {
            marks |= HAS_KEY;
        }
        if content_type.is_some() {
            marks |= HAS_CONTENT_TYPE;
        }
        self.records.push(marks);
        if let Some(content_type) = content_type {
            self.records.push(content_type.len() as u8);
        }
        if let Some(key) = key {
            self.records.extend_from_slice(&(key.len() as u32).to_le_bytes());
        }
        self.records.extend_from_slice(content_type.unwrap_or_default().as_bytes());
        self.records.extend_from_slice(key.unwrap_or_default());
        self.records.extend_from_slice(payload);
        self.ends.push(self.records.len() as u32);
    }

    pub(super) fn count(&self) -> u64 {
        self.ends.len() as u64
    }

    pub(super) fn record_bytes(&self) -> usize {
        self.records.len()
    }

    /// What the next frame of the partition has before it.
    pub(super) fn bytes_after(&self) -> u64 {
        self.bytes_before + self.records.len() as u64
    }

    pub(super) fn finish(self) -> Vec<u8> {
        let mut frame = Vec::with_capacity(HEADER_BYTES + 4 * self.ends.len() + self.records.len());
        frame.extend_from_slice(&[VERSION, 0, 0, 0]);
        frame.extend_from_slice(&(self.ends.len() as u32).to_le_bytes());
        frame.extend_from_slice(&self.time_ms.to_le_bytes());
        frame.extend_from_slice(&self.bytes_before.to_le_bytes());
        for end in &self.ends {
            frame.extend_from_slice(&end.to_le_bytes());
        }
        frame.extend_from_slice(&self.records);
        frame
    }
}

/// A frame as it lies in the store's buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    time_ms: i64,
    bytes_before: u64,
    ends: &'a [u8],
    records: &'a [u8],
}

impl<'a> Frame<'a> {
    /// `None` when the bytes are no frame.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_at_checked(HEADER_BYTES)?;
        if header[0] != VERSION {
            return None;
        }
        let count = u32::from_le_bytes(header[4..8].try_into().ok()?) as usize;
        let (ends, records) = rest.split_at_checked(count.checked_mul(4)?)?;
        Some(Self {
            time_ms: i64::from_le_bytes(header[8..16].try_into().ok()?),
            bytes_before: u64::from_le_bytes(header[16..24].try_into().ok()?),
            ends,
            records,
        })
    }

    pub(super) fn count(&self) -> u64 {
        (self.ends.len() / 4) as u64
    }

    pub(super) fn time_ms(&self) -> i64 {
        self.time_ms
    }

    /// Bytes of records of the partition ever appended before it.
    pub(super) fn bytes_before(&self) -> u64 {
        self.bytes_before
    }

    pub(super) fn bytes_after(&self) -> u64 {
        self.bytes_before + self.records.len() as u64
    }

    /// The record at `index`, placed where the caller says the frame lies.
    pub(super) fn record(&self, index: u64, topic: &'a str, partition: u32, base: u64) -> Option<Record<'a>> {
        let index = usize::try_from(index).ok()?;
        let start = if index == 0 { 0 } else { self.end(index - 1)? };
        let bytes = self.records.get(start..self.end(index)?)?;
        let (marks, mut rest) = bytes.split_first()?;
        let mut content_type_length = None;
        if marks & HAS_CONTENT_TYPE != 0 {
            let (length, after) = rest.split_first()?;
            content_type_length = Some(usize::from(*length));
            rest = after;
        }
        let mut key_length = None;
        if marks & HAS_KEY != 0 {
            let (length, after) = rest.split_first_chunk::<4>()?;
            key_length = Some(u32::from_le_bytes(*length) as usize);
            rest = after;
        }
        let (content_type, rest) = rest.split_at_checked(content_type_length.unwrap_or(0))?;
        let (key, payload) = rest.split_at_checked(key_length.unwrap_or(0))?;
        Some(Record {
            topic,
            partition,
            offset: base + index as u64,
            timestamp_ms: self.time_ms,
            key: key_length.map(|_| key),
            payload,
            content_type: match content_type_length {
                Some(_) => std::str::from_utf8(content_type).ok(),
                None => None,
            },
        })
    }

    fn end(&self, index: usize) -> Option<usize> {
        let bytes = self.ends.get(4 * index..4 * index + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn record() -> impl Strategy<Value = NewRecord> {
        (
            proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
            proptest::collection::vec(any::<u8>(), 0..200),
            proptest::option::of("[a-z/.+]{0,40}"),
        )
            .prop_map(|(key, payload, content_type)| NewRecord {
                topic: "t".into(),
                partition: None,
                key: key.map(Bytes::from),
                payload: payload.into(),
                content_type: content_type.map(Into::into),
            })
    }

    proptest! {
        #[test]
        fn what_was_framed_is_read_back(records in proptest::collection::vec(record(), 1..50)) {
            let mut builder = FrameBuilder::new(-7, 1_000);
            records.iter().for_each(|record| builder.push(record));
            let after = builder.bytes_after();
            let bytes = builder.finish();
            let frame = Frame::parse(&bytes).unwrap();
            prop_assert_eq!(frame.count(), records.len() as u64);
            prop_assert_eq!((frame.time_ms(), frame.bytes_after()), (-7, after));
            for (index, wanted) in records.iter().enumerate() {
                let found = frame.record(index as u64, "t", 3, 100).unwrap();
                prop_assert_eq!(found.offset, 100 + index as u64);
                prop_assert_eq!(found.key, wanted.key.as_deref());
                prop_assert_eq!(found.payload, &wanted.payload[..]);
                prop_assert_eq!(found.content_type, wanted.content_type.as_deref());
            }
            prop_assert!(frame.record(frame.count(), "t", 3, 100).is_none());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), version in 0_u8..3) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() {
                *first = version;
            }
            if let Some(frame) = Frame::parse(&bytes) {
                for index in 0..frame.count() + 1 {
                    let _ = frame.record(index, "t", 0, 0);
                }
            }
        }
    }
}
