//! Compressed bodies of requests.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use kelly_api::content_coding::{ContentCoding, NotDecompressed, decompress};

/// Small, so that little inputs reach it.
const LIMIT: usize = 8_192;

/// A body: as it stands, decompressed it is never longer than allowed; compressed, it comes back the same, and cut it is
/// refused.
pub fn decompression(input: &[u8]) {
    for coding in ContentCoding::ALL {
        match decompress(coding, input, LIMIT) {
            Ok(plain) => assert!(plain.len() <= LIMIT),
            Err(NotDecompressed::TooLarge(limit)) => assert_eq!(limit, LIMIT),
            Err(NotDecompressed::Broken(_)) => {}
        }
        let compressed = compress(coding, input);
        match decompress(coding, &compressed, LIMIT) {
            Ok(plain) => assert_eq!(plain, input),
            outcome => assert!(input.len() > LIMIT, "{coding:?} {outcome:?}"),
        }
        let cut = &compressed[..compressed.len() - 1];
        assert!(decompress(coding, cut, LIMIT).is_err(), "{coding:?} takes what is cut");
    }
}

fn compress(coding: ContentCoding, plain: &[u8]) -> Vec<u8> {
    match coding {
        ContentCoding::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(plain).and_then(|()| encoder.finish()).expect("memory does not fail")
        }
        ContentCoding::Zstd => zstd::encode_all(plain, 1).expect("memory does not fail"),
    }
}
