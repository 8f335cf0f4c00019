//! Whole messages: one row or an array of rows.
//!
//! An array is read in one pass into a vector, in the hope that every row is good. When one is not, or when
//! the text breaks off, the second pass cuts the array into the texts of its rows and decodes each alone: slower,
//! but only then the bytes of a bad row are known, and only so its neighbours pass.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::origin::Origin;
use super::row::{self, Draft, Place, RowSeed};
use crate::fault::{Fault, Reject};
use crate::limits::Limits;

/// The least a row of any use takes, `{"metric_name":"a","value":1}`, and then some: how many rows to make room for.
const BYTES_OF_A_SHORT_ROW: usize = 64;

/// Decodes a message and hands each row to the sink.
pub(super) fn decode<'a, D: Draft<'a>>(
    payload: &'a [u8],
    origin: &Origin<'_>,
    sink: &mut impl FnMut(u32, Result<D::Row, Reject<'a>>),
) {
    let text = match readable(without_byte_order_mark(payload), origin.limits) {
        Ok(text) => text,
        Err(fault) => return sink(0, Err(Reject::new(fault, payload))),
    };
    if !is_array(text) {
        let row = row::decode::<D>(text, Place { origin, row: 0 });
        return sink(0, row.map_err(|fault| Reject::new(fault, payload)));
    }
    if let Ok(rows) = good_rows::<D>(text, origin) {
        for (row, number) in rows.into_iter().zip(0..) {
            sink(number, Ok(row));
        }
        return;
    }
    match row_texts(text, origin.limits.max_rows) {
        Ok(texts) => {
            for (text, number) in texts.into_iter().map(RawValue::get).zip(0..) {
                let row = row::decode::<D>(text, Place { origin, row: number });
                sink(number, row.map_err(|fault| Reject::new(fault, text.as_bytes())));
            }
        }
        Err(fault) => sink(0, Err(Reject::new(fault, payload))),
    }
}

/// What follows a UTF-8 byte order mark. Some editors and exports put one in front, and no JSON parser takes it.
#[must_use]
pub fn without_byte_order_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// The bytes as text, if they are few enough, UTF-8 and not only white space.
pub(super) fn readable<'a>(payload: &'a [u8], limits: &Limits) -> Result<&'a str, Fault> {
    if payload.len() > limits.max_message_bytes {
        return Err(Fault::MessageTooLarge { bytes: payload.len(), limit: limits.max_message_bytes });
    }
    if payload.trim_ascii().is_empty() {
        return Err(Fault::EmptyMessage);
    }
    std::str::from_utf8(payload).map_err(|error| Fault::InvalidUtf8 { at: error.valid_up_to() })
}

/// Whether the text can only be an array.
pub(super) fn is_array(text: &str) -> bool {
    text.trim_ascii_start().starts_with('[')
}

/// The texts of the rows of an array, not decoded.
pub(super) fn row_texts(array: &str, max_rows: usize) -> Result<Vec<&RawValue>, Fault> {
    let too_many = Cell::new(false);
    let mut deserializer = serde_json::Deserializer::from_str(array);
    let texts = deserializer.deserialize_seq(RowTexts { max_rows, too_many: &too_many });
    texts.and_then(|texts| deserializer.end().map(|()| texts)).map_err(|error| {
        if too_many.get() {
            Fault::TooManyRows { limit: max_rows }
        } else {
            row::invalid_json(&error, None, array)
        }
    })
}

/// Every row of an array, or an error without a meaning of its own: the second pass finds out.
fn good_rows<'a, D: Draft<'a>>(array: &'a str, origin: &Origin<'_>) -> serde_json::Result<Vec<D::Row>> {
    let mut deserializer = serde_json::Deserializer::from_str(array);
    let capacity = (array.len() / BYTES_OF_A_SHORT_ROW).clamp(1, origin.limits.max_rows.max(1));
    let rows = deserializer.deserialize_seq(GoodRows::<D> { origin, capacity, draft: PhantomData })?;
    deserializer.end()?;
    Ok(rows)
}

struct GoodRows<'o, D> {
    origin: &'o Origin<'o>,
    capacity: usize,
    draft: PhantomData<D>,
}

impl<'de, D: Draft<'de>> Visitor<'de> for GoodRows<'_, D> {
    type Value = Vec<D::Row>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut rows = Vec::with_capacity(self.capacity);
        let reading = Cell::new(None);
        for number in 0.. {
            let place = Place { origin: self.origin, row: number };
            match seq.next_element_seed(RowSeed::<D> { place, reading: &reading, draft: PhantomData })? {
                None => break,
                Some(_) if rows.len() == self.origin.limits.max_rows => {
                    return Err(A::Error::custom("too many rows"));
                }
                Some(Err(_)) => return Err(A::Error::custom("a bad row")),
                Some(Ok(row)) => rows.push(row),
            }
        }
        Ok(rows)
    }
}

struct RowTexts<'o> {
    max_rows: usize,
    too_many: &'o Cell<bool>,
}

impl<'de> Visitor<'de> for RowTexts<'_> {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = seq.next_element()? {
            if texts.len() == self.max_rows {
                self.too_many.set(true);
                return Err(A::Error::custom("too many rows"));
            }
            texts.push(text);
        }
        Ok(texts)
    }
}
