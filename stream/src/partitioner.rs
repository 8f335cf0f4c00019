//! Which partition a key belongs to: murmur2, bit for bit as the Java clients of Kafka compute it,
//! so that a record lands on the same partition whoever sends it and whichever log takes it.

/// The partition of `key` among `partitions`; 0 when there are none.
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    if partitions == 0 {
        return 0;
    }
    // Java clears the sign bit before it takes the remainder.
    (murmur2(key) & 0x7fff_ffff) % partitions
}

/// Murmur2 with the seed and the byte order of `org.apache.kafka.common.utils.Utils.murmur2`.
pub fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const MIX: u32 = 0x5bd1_e995;
    const SHIFT: u32 = 24;

    // Java's length is an i32; a key never comes near that.
    let mut hash = SEED ^ data.len() as u32;
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut word = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        word = word.wrapping_mul(MIX);
        word ^= word >> SHIFT;
        word = word.wrapping_mul(MIX);
        hash = hash.wrapping_mul(MIX) ^ word;
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(MIX);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MIX);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn agrees_with_the_vectors_of_kafka() {
        let vectors: [(&[u8], i32); 6] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
        ];
        for (key, expected) in vectors {
            assert_eq!(murmur2(key) as i32, expected, "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn stays_within_the_partitions() {
        for key in 0..1_000_u32 {
            assert!(partition_of(&key.to_le_bytes(), 7) < 7);
        }
        assert_eq!(partition_of(b"x", 0), 0);
        assert_eq!(partition_of(b"x", 1), 0);
    }
}
