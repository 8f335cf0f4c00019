//! Where a feed goes on: the key of the last event given out, bound to the filters it was given out for.
//! Pure. Opaque to clients, stable between instances and versions of Kelly.
//!
//! Layout, base64url without padding: version (1 byte), created_at in ms (8, big endian), id (16), hash of
//! the filters (8), the account in UTF-8 (what is left), checksum of all before (4). The hashes are FNV-1a: they find damage and mix-ups; they
//! keep nothing secret, for a cursor opens nothing that the same request without it would not.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kelly_sql::queries::ActivityKey;
use uuid::Uuid;

use crate::error::QueryError;

/// The filters of a feed; all of them are part of the cursor's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filters<'a> {
    /// Only of this severity.
    pub severity: Option<&'a str>,
    /// Only of this type.
    pub event_type: Option<&'a str>,
    /// Only of this account.
    pub account_id: Option<&'a str>,
    /// Only of the VIP feed.
    pub vip_only: bool,
}

const VERSION: u8 = 1;
/// Of what stands before the account.
const FIXED: usize = 1 + 8 + 16 + 8;
const CHECKSUM: usize = 4;

/// Makes the cursor of a page that ended with this event.
#[must_use]
pub fn encode(last: &ActivityKey, filters: &Filters<'_>) -> String {
    let mut bytes = Vec::with_capacity(FIXED + last.account_id.len() + CHECKSUM);
    bytes.push(VERSION);
    bytes.extend(last.created_at_ms.to_be_bytes());
    bytes.extend(last.id.as_bytes());
    bytes.extend(filters.hash().to_be_bytes());
    bytes.extend(last.account_id.as_bytes());
    bytes.extend(checksum(&bytes));
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads a cursor that must have been made for the same filters.
///
/// # Errors
/// When it is none, or one of other filters.
pub fn decode(cursor: &str, filters: &Filters<'_>) -> Result<ActivityKey, QueryError> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| QueryError::BadCursor)?;
    let (checked, sum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(QueryError::BadCursor)?;
    let (fixed, account) = checked.split_first_chunk::<FIXED>().ok_or(QueryError::BadCursor)?;
    let (version, rest) = fixed.split_at(1);
    let (created_at, rest) = rest.split_at(8);
    let (id, filter_hash) = rest.split_at(16);
    if *sum != checksum(checked) || version != [VERSION] {
        return Err(QueryError::BadCursor);
    }
    if filter_hash != filters.hash().to_be_bytes() {
        return Err(QueryError::CursorOfOtherFilters);
    }
    Ok(ActivityKey {
        created_at_ms: i64::from_be_bytes(created_at.try_into().map_err(|_| QueryError::BadCursor)?),
        id: Uuid::from_slice(id).map_err(|_| QueryError::BadCursor)?,
        account_id: String::from_utf8(account.to_vec()).map_err(|_| QueryError::BadCursor)?,
    })
}

impl Filters<'_> {
    fn hash(&self) -> u64 {
        let mut hash = Fnv::default();
        for text in [self.severity, self.event_type, self.account_id] {
            // The length before each text keeps ("ab", "c") and ("a", "bc") apart; absent is no length.
            match text {
                None => hash.write(&[0]),
                Some(text) => {
                    hash.write(&[1]);
                    hash.write(&(text.len() as u64).to_be_bytes());
                    hash.write(text.as_bytes());
                }
            }
        }
        hash.write(&[u8::from(self.vip_only)]);
        hash.0
    }
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    let mut hash = Fnv::default();
    hash.write(bytes);
    let folded = (hash.0 >> 32) as u32 ^ hash.0 as u32;
    folded.to_be_bytes()
}

/// FNV-1a, 64 bits. The standard library's hasher may change between compilers; a cursor must not.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn position() -> ActivityKey {
        ActivityKey {
            created_at_ms: 1_772_366_400_123,
            id: Uuid::from_u128(0x0195_0000_0000_7000_8000_0000_0000_002a),
            account_id: "acme".to_owned(),
        }
    }

    #[test]
    fn the_layout_is_fixed() {
        let filters = Filters { severity: Some("high"), ..Filters::default() };
        insta::assert_snapshot!(encode(&position(), &filters));
    }

    #[test]
    fn filters_tell_cursors_apart() {
        let filters = [
            Filters::default(),
            Filters { vip_only: true, ..Filters::default() },
            Filters { severity: Some("a"), ..Filters::default() },
            Filters { event_type: Some("a"), ..Filters::default() },
            Filters { account_id: Some("a"), ..Filters::default() },
            Filters { severity: Some("ab"), event_type: Some("c"), ..Filters::default() },
            Filters { severity: Some("a"), event_type: Some("bc"), ..Filters::default() },
        ];
        for made_for in &filters {
            let cursor = encode(&position(), made_for);
            for used_with in &filters {
                let read = decode(&cursor, used_with);
                if made_for == used_with {
                    assert_eq!(read.unwrap(), position());
                } else {
                    assert_eq!(read.unwrap_err().code(), "cursor_of_other_filters");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_read(created_at_ms: i64, id: u128, account_id in ".{0,50}", severity in proptest::option::of(".{0,20}"), vip_only: bool) {
            let filters = Filters { severity: severity.as_deref(), vip_only, ..Filters::default() };
            let position = ActivityKey { created_at_ms, id: Uuid::from_u128(id), account_id };
            prop_assert_eq!(decode(&encode(&position, &filters), &filters).unwrap(), position);
        }

        #[test]
        fn a_changed_cursor_is_refused(at in 0..FIXED + 4 + CHECKSUM, flip in 1_u8..=255) {
            let mut bytes = URL_SAFE_NO_PAD.decode(encode(&position(), &Filters::default())).unwrap();
            bytes[at] ^= flip;
            let error = decode(&URL_SAFE_NO_PAD.encode(bytes), &Filters::default()).unwrap_err();
            prop_assert_eq!(error.code(), "bad_cursor");
        }

        #[test]
        fn any_text_is_refused_without_a_panic(text in ".{0,80}") {
            prop_assert!(decode(&text, &Filters::default()).is_err());
        }
    }
}
