//! Strings of one batch as small numbers: hashed once a row, compared as integers afterwards.

use std::hash::{BuildHasher, Hasher};

use arrow_array::types::Int32Type;
use arrow_array::{DictionaryArray, Int32Array, StringArray};
use hashbrown::{DefaultHashBuilder, HashTable};
use std::sync::Arc;

/// Distinct strings in the order of their first appearance.
#[derive(Debug, Default)]
pub struct Dictionary {
    hasher: DefaultHashBuilder,
    table: HashTable<u32>,
    bytes: String,
    ends: Vec<u32>,
}

impl Dictionary {
    /// The number of `text`, a new one when it was not seen before.
    pub fn intern(&mut self, text: &str) -> u32 {
        let hash = self.hash(text);
        let (bytes, ends) = (&self.bytes, &self.ends);
        if let Some(&found) = self.table.find(hash, |&index| slice(bytes, ends, index) == text) {
            return found;
        }
        let index = self.ends.len() as u32;
        self.bytes.push_str(text);
        self.ends.push(self.bytes.len() as u32);
        let (bytes, ends, hasher) = (&self.bytes, &self.ends, &self.hasher);
        self.table.insert_unique(hash, index, |&index| hash_with(hasher, slice(bytes, ends, index)));
        index
    }

    /// The string of a number this dictionary gave.
    pub fn get(&self, index: u32) -> &str {
        slice(&self.bytes, &self.ends, index)
    }

    /// The values as an Arrow array, by number.
    pub fn values(&self) -> StringArray {
        StringArray::from_iter_values((0..self.ends.len() as u32).map(|index| self.get(index)))
    }

    /// Rows given by numbers as a dictionary column, which the store reads as `LowCardinality`.
    pub fn column(&self, rows: Vec<i32>) -> DictionaryArray<Int32Type> {
        DictionaryArray::new(Int32Array::from(rows), Arc::new(self.values()))
    }

    fn hash(&self, text: &str) -> u64 {
        hash_with(&self.hasher, text)
    }
}

fn hash_with(hasher: &DefaultHashBuilder, text: &str) -> u64 {
    let mut state = hasher.build_hasher();
    state.write(text.as_bytes());
    state.finish()
}

fn slice<'a>(bytes: &'a str, ends: &[u32], index: u32) -> &'a str {
    let index = index as usize;
    let start = if index == 0 { 0 } else { ends[index - 1] as usize };
    &bytes[start..ends[index] as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Array;

    #[test]
    fn gives_one_number_a_string() {
        let mut dictionary = Dictionary::default();
        let numbers: Vec<u32> = ["a", "", "b", "a", "", "ab"].map(|text| dictionary.intern(text)).to_vec();
        assert_eq!(numbers, [0, 1, 2, 0, 1, 3]);
        assert_eq!(
            numbers.iter().map(|&n| dictionary.get(n)).collect::<Vec<_>>(),
            ["a", "", "b", "a", "", "ab"]
        );
        assert_eq!(dictionary.values().len(), 4);
        assert_eq!(dictionary.column(vec![3, 0]).len(), 2);
    }

    #[test]
    fn survives_growth() {
        let mut dictionary = Dictionary::default();
        for i in 0..10_000 {
            assert_eq!(dictionary.intern(&format!("conversation-{i}")), i);
        }
        for i in 0..10_000 {
            assert_eq!(dictionary.intern(&format!("conversation-{i}")), i);
        }
    }
}
