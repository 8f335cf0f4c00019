//! Damage at random, as a broken or a hostile producer would do: it is refused, and that is all.

use std::sync::Arc;

use arrow_array::types::{Int8Type, UInt16Type};
use arrow_array::{
    ArrayRef, DictionaryArray, Float32Array, LargeStringArray, StringArray, StringViewArray,
    TimestampMicrosecondArray,
};
use proptest::prelude::*;

use crate::messages::{TIME_MS, batch, read, stream, texts};

/// Overwrites, cuts and repeats, as a broken or a hostile producer would.
#[derive(Debug, Clone)]
enum Damage {
    Byte(prop::sample::Index, u8),
    Word(prop::sample::Index, u64),
    Cut(prop::sample::Index),
    Remove(prop::sample::Index, usize),
    Insert(prop::sample::Index, Vec<u8>),
}

fn any_damage() -> impl Strategy<Value = Damage> {
    let at = any::<prop::sample::Index>;
    let word = prop::sample::select(vec![
        0,
        1,
        7,
        8,
        255,
        1 << 16,
        i32::MAX as u64,
        u64::from(u32::MAX),
        1 << 40,
        i64::MAX as u64,
        u64::MAX,
        (-8_i64) as u64,
    ]);
    prop_oneof![
        4 => (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        4 => (at(), word).prop_map(|(at, word)| Damage::Word(at, word)),
        1 => at().prop_map(Damage::Cut),
        1 => (at(), 1_usize..32).prop_map(|(at, length)| Damage::Remove(at, length)),
        1 => (at(), prop::collection::vec(any::<u8>(), 1..32)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
    ]
}

fn damage(message: &mut Vec<u8>, damage: &Damage) {
    if message.is_empty() {
        return;
    }
    match damage {
        Damage::Byte(at, byte) => *at.get_mut(message) = *byte,
        Damage::Word(at, word) => {
            let at = at.index(message.len()) & !3;
            let bytes = word.to_le_bytes();
            let length = bytes.len().min(message.len() - at);
            message[at..at + length].copy_from_slice(&bytes[..length]);
        }
        Damage::Cut(at) => message.truncate(at.index(message.len())),
        Damage::Remove(at, length) => {
            let at = at.index(message.len());
            message.drain(at..(at + length).min(message.len()));
        }
        Damage::Insert(at, bytes) => {
            let at = at.index(message.len());
            message.splice(at..at, bytes.iter().copied());
        }
    }
}

/// A message in which every kind of column and buffer occurs.
fn many_kinds() -> Vec<u8> {
    let names = |length: usize| (0..length).map(|at| Some(["a", "bb", "a long name for a view"][at % 3]));
    let one = |rows: usize| {
        batch(vec![
            ("metric_name", Arc::new(names(rows).collect::<DictionaryArray<Int8Type>>()) as ArrayRef),
            ("metric_type", Arc::new(names(rows).collect::<StringArray>())),
            (
                "value",
                Arc::new(Float32Array::from_iter((0..rows).map(|at| (at % 4 != 0).then_some(at as f32)))),
            ),
            (
                "timestamp",
                Arc::new(TimestampMicrosecondArray::from(vec![TIME_MS * 1000; rows]).with_timezone("UTC")),
            ),
            ("account_id", Arc::new(names(rows).collect::<LargeStringArray>())),
            ("conversation_id", Arc::new(names(rows).collect::<StringViewArray>())),
            ("user_id", Arc::new(names(rows).collect::<DictionaryArray<UInt16Type>>())),
            ("metadata", texts(&vec![Some("{\"k\":[1]}"); rows])),
        ])
    };
    stream(&[one(9), one(4)])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn bytes_that_are_no_stream_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(read(&bytes).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6_000, ..ProptestConfig::default() })]

    /// A panic or an overflow fails it; so would an allocation by a claimed length.
    #[test]
    fn no_damage_does_more_than_be_refused(damages in prop::collection::vec(any_damage(), 1..5)) {
        let mut message = many_kinds();
        damages.iter().for_each(|one| damage(&mut message, one));
        let _ = read(&message);
    }
}

#[test]
fn the_undamaged_message_is_good() {
    assert_eq!(read(&many_kinds()).expect("can be read").len(), 13);
}
