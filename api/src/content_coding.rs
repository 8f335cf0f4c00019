//! Content codings (RFC 9110, 8.4.1): which ones a request names, and bytes into and out of them. Pure.

use std::io::{self, Read, Write};

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use bytes::Bytes;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use zstd::stream::read::Decoder as ZstdDecoder;
use zstd::stream::write::Encoder as ZstdEncoder;

/// How bodies are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentCoding {
    /// RFC 8878.
    Zstd,
    /// RFC 1952.
    Gzip,
}

impl ContentCoding {
    /// Every one, the one that costs least first.
    pub const ALL: [Self; 2] = [Self::Zstd, Self::Gzip];

    /// Its name in headers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        // RFC 9110, 8.4.1.3: x-gzip is another name of gzip.
        let name = if name.eq_ignore_ascii_case("x-gzip") { "gzip" } else { name };
        Self::ALL.into_iter().find(|coding| coding.name().eq_ignore_ascii_case(name))
    }
}

/// What a client may send: the header that says it with a refusal.
pub(crate) const TAKEN: &str = "zstd, gzip, identity";

/// A body is in a coding that is not taken, or in several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotTaken;

/// The coding of the body that comes with these headers.
pub(crate) fn of_body(headers: &HeaderMap) -> Result<Option<ContentCoding>, NotTaken> {
    let mut coding = None;
    for value in headers.get_all(CONTENT_ENCODING) {
        let names = value.to_str().map_err(|_| NotTaken)?.split(',').map(str::trim);
        for name in names.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("identity")) {
            let named = ContentCoding::of_name(name).ok_or(NotTaken)?;
            if coding.replace(named).is_some() {
                return Err(NotTaken);
            }
        }
    }
    Ok(coding)
}

/// The coding to answer these headers in: the one that the client likes best, of several the one that costs least. None
/// where it names none, or likes none better than the plain body.
pub(crate) fn accepted(headers: &HeaderMap) -> Option<ContentCoding> {
    let (mut named, mut any, mut plain) = ([None; ContentCoding::ALL.len()], None, 0);
    let lists = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    for item in lists.flat_map(|list| list.split(',')) {
        let mut parts = item.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        let weight = weight.map_or(Some(1_000), thousandths).unwrap_or(0);
        if name == "*" {
            any = Some(weight);
        } else if name.eq_ignore_ascii_case("identity") {
            plain = weight;
        } else if let Some(coding) = ContentCoding::of_name(name) {
            named[coding as usize] = Some(weight);
        }
    }
    let mut best = (plain, None);
    for coding in ContentCoding::ALL {
        let weight = named[coding as usize].or(any).unwrap_or(0);
        if weight > best.0 || (best.1.is_none() && weight > 0 && weight == best.0) {
            best = (weight, Some(coding));
        }
    }
    best.1
}

/// A weight from 0 to 1 with up to three decimals.
fn thousandths(text: &str) -> Option<u16> {
    let weight: f32 = text.parse().ok()?;
    (0.0..=1.0).contains(&weight).then_some((weight * 1_000.0) as u16)
}

/// Why a body cannot be decompressed.
#[derive(Debug, thiserror::Error)]
pub enum NotDecompressed {
    /// It would be longer than allowed. No more than that was made of it.
    #[error("it is longer than {0} bytes once it is decompressed")]
    TooLarge(usize),
    /// It is not whole, or not in that coding.
    #[error("it is not whole, or not in the coding that it names: {0}")]
    Broken(#[source] io::Error),
}

/// The largest window that a zstd body may want, as a power of two: what RFC 9659 lets a client rely on. More is refused as
/// broken.
const ZSTD_WINDOW_LOG: u32 = 23;

/// The body that this one was, as long as it has at most so many bytes. Stops there: memory is bounded by twice that, and by
/// zstd's window of 8 MiB.
///
/// # Errors
/// When it is longer, or cannot be read.
pub fn decompress(coding: ContentCoding, body: &[u8], limit: usize) -> Result<Vec<u8>, NotDecompressed> {
    if body.is_empty() {
        return Err(NotDecompressed::Broken(io::ErrorKind::UnexpectedEof.into()));
    }
    let mut plain = Vec::new();
    // One byte more, which tells a body at the limit from a longer one.
    let most = limit as u64 + 1;
    let read = match coding {
        ContentCoding::Gzip => MultiGzDecoder::new(body).take(most).read_to_end(&mut plain),
        ContentCoding::Zstd => zstd_decoder(body).and_then(|from| from.take(most).read_to_end(&mut plain)),
    };
    if plain.len() > limit {
        return Err(NotDecompressed::TooLarge(limit));
    }
    read.map_err(NotDecompressed::Broken)?;
    Ok(plain)
}

fn zstd_decoder(body: &[u8]) -> io::Result<ZstdDecoder<'static, &[u8]>> {
    let mut decoder = ZstdDecoder::with_buffer(body)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG)?;
    Ok(decoder)
}

/// Quick, and most of what there is to gain with JSON.
const GZIP_LEVEL: u32 = 4;
/// The same.
const ZSTD_LEVEL: i32 = 3;

/// Compresses bytes as they come.
pub(crate) enum Compressor {
    Zstd(Box<ZstdEncoder<'static, Vec<u8>>>),
    Gzip(Box<GzEncoder<Vec<u8>>>),
}

impl Compressor {
    /// For so many bytes, where that is known.
    pub(crate) fn new(coding: ContentCoding, length: Option<u64>) -> io::Result<Self> {
        Ok(match coding {
            ContentCoding::Gzip => {
                Self::Gzip(Box::new(GzEncoder::new(Vec::new(), Compression::new(GZIP_LEVEL))))
            }
            ContentCoding::Zstd => {
                let mut encoder = ZstdEncoder::new(Vec::new(), ZSTD_LEVEL)?;
                // Short bodies need small tables then.
                encoder.set_pledged_src_size(length)?;
                Self::Zstd(Box::new(encoder))
            }
        })
    }

    /// Takes more, and gives what has come out; often nothing.
    pub(crate) fn write(&mut self, piece: &[u8]) -> io::Result<Bytes> {
        let made = match self {
            Self::Gzip(encoder) => {
                encoder.write_all(piece)?;
                encoder.get_mut()
            }
            Self::Zstd(encoder) => {
                encoder.write_all(piece)?;
                encoder.get_mut()
            }
        };
        Ok(std::mem::take(made).into())
    }

    /// Gives the rest.
    pub(crate) fn finish(self) -> io::Result<Bytes> {
        let rest = match self {
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Zstd(encoder) => encoder.finish()?,
        };
        Ok(rest.into())
    }
}

/// A whole body compressed.
pub(crate) fn compress(coding: ContentCoding, body: &[u8]) -> io::Result<Bytes> {
    let mut compressor = Compressor::new(coding, Some(body.len() as u64))?;
    let begin = compressor.write(body)?;
    let end = compressor.finish()?;
    Ok(if begin.is_empty() { end } else { [begin, end].concat().into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn the_coding_of_a_body_is_one_that_is_taken() {
        use ContentCoding::{Gzip, Zstd};
        for (values, expected) in [
            (&[][..], Ok(None)),
            (&[""], Ok(None)),
            (&["identity"], Ok(None)),
            (&["gzip"], Ok(Some(Gzip))),
            (&["X-GZip"], Ok(Some(Gzip))),
            (&["identity, ZSTD"], Ok(Some(Zstd))),
            (&["br"], Err(NotTaken)),
            (&["deflate"], Err(NotTaken)),
            (&["gzip, gzip"], Err(NotTaken)),
            (&["gzip", "zstd"], Err(NotTaken)),
            (&["gzip, br"], Err(NotTaken)),
            (&["gzip;q=1"], Err(NotTaken)),
        ] {
            assert_eq!(of_body(&headers("content-encoding", values)), expected, "{values:?}");
        }
    }

    #[test]
    fn an_answer_is_in_the_coding_that_is_liked_best() {
        use ContentCoding::{Gzip, Zstd};
        for (values, expected) in [
            (&[][..], None),
            (&[""], None),
            (&["gzip"], Some(Gzip)),
            (&["gzip, deflate, br, zstd"], Some(Zstd)),
            (&["gzip", "zstd"], Some(Zstd)),
            (&["zstd;q=0.5, gzip;q=0.8"], Some(Gzip)),
            (&["zstd; q=0, gzip ; q=0.001"], Some(Gzip)),
            (&["*"], Some(Zstd)),
            (&["zstd;q=0, *;q=0.2"], Some(Gzip)),
            (&["*;q=0"], None),
            (&["br"], None),
            (&["identity, gzip;q=0.5"], None),
            (&["identity;q=0.5, gzip"], Some(Gzip)),
            (&["identity, gzip"], Some(Gzip)),
            (&["gzip;q=2"], None),
            (&["gzip;q=x"], None),
        ] {
            assert_eq!(accepted(&headers("accept-encoding", values)), expected, "{values:?}");
        }
    }

    #[test]
    fn what_is_compressed_is_read_back() {
        let body: Vec<u8> = (0..100_000_u32).flat_map(|number| (number % 977).to_le_bytes()).collect();
        for coding in ContentCoding::ALL {
            for length in [0, 1, 1_000, body.len()] {
                let body = &body[..length];
                let compressed = compress(coding, body).unwrap();
                assert_eq!(decompress(coding, &compressed, length).unwrap(), body, "{coding:?} {length}");
                // Several one after the other are one body.
                let twice = [&compressed[..], &compressed].concat();
                assert_eq!(decompress(coding, &twice, 2 * length).unwrap().len(), 2 * length);
            }
        }
    }

    #[test]
    fn a_bomb_is_stopped_at_the_limit() {
        let zeros = vec![0; 64 << 20];
        for coding in ContentCoding::ALL {
            let bomb = compress(coding, &zeros).unwrap();
            assert!(bomb.len() < 300_000, "{coding:?} {}", bomb.len());
            for limit in [0, 1, 4 << 20] {
                let outcome = decompress(coding, &bomb, limit);
                assert!(matches!(outcome, Err(NotDecompressed::TooLarge(at)) if at == limit), "{outcome:?}");
            }
        }
    }

    #[test]
    fn what_is_cut_changed_or_of_another_coding_is_broken() {
        let body = b"{\"metric_name\":\"response_time\",\"value\":145.2}".repeat(9);
        for coding in ContentCoding::ALL {
            let compressed = compress(coding, &body).unwrap();
            for length in 0..compressed.len() {
                let outcome = decompress(coding, &compressed[..length], 1 << 20);
                assert!(
                    matches!(outcome, Err(NotDecompressed::Broken(_))),
                    "{coding:?} {length} {outcome:?}"
                );
            }
            let other = ContentCoding::ALL.into_iter().find(|other| *other != coding).unwrap();
            for (coding, bytes) in [
                (other, compressed.to_vec()),
                (coding, body.clone()),
                (coding, [&compressed[..], b"more"].concat()),
            ] {
                let outcome = decompress(coding, &bytes, 1 << 20);
                assert!(matches!(outcome, Err(NotDecompressed::Broken(_))), "{coding:?} {outcome:?}");
            }
        }
        // Gzip has a check sum; of zstd not every encoder writes one.
        let mut changed = compress(ContentCoding::Gzip, &body).unwrap().to_vec();
        let end = changed.len() - 6;
        changed[end] ^= 1;
        assert!(matches!(
            decompress(ContentCoding::Gzip, &changed, 1 << 20),
            Err(NotDecompressed::Broken(_))
        ));
    }

    /// A few bytes that want a window of 2 GiB.
    #[test]
    fn a_window_beyond_the_bound_is_refused() {
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00];
        let outcome = decompress(ContentCoding::Zstd, &frame, 1 << 20);
        assert!(matches!(outcome, Err(NotDecompressed::Broken(_))), "{outcome:?}");
    }
}
