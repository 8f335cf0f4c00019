//! Tables of numbers of one length, stored as a list.

use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// So many numbers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table<const N: usize>(Box<[f32; N]>);

impl<const N: usize> Default for Table<N> {
    fn default() -> Self {
        Self(Box::new([0.0; N]))
    }
}

impl<const N: usize> Deref for Table<N> {
    type Target = [f32; N];

    fn deref(&self) -> &[f32; N] {
        &self.0
    }
}

impl<const N: usize> DerefMut for Table<N> {
    fn deref_mut(&mut self) -> &mut [f32; N] {
        &mut self.0
    }
}

impl<const N: usize> Serialize for Table<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_slice().serialize(serializer)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Table<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let numbers = Vec::<f32>::deserialize(deserializer)?;
        let count = numbers.len();
        let table: Result<Box<[f32; N]>, _> = numbers.into_boxed_slice().try_into();
        table
            .map(Self)
            .map_err(|_| D::Error::custom(format_args!("{N} numbers are expected, {count} are there")))
    }
}
