//! Bodies of requests: read within a size and a time, decompressed, and held in memory that is accounted for.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{DefaultBodyLimit, FromRequest, Request};
use axum::http::{HeaderMap, header};

use crate::caller::Caller;
use crate::content_coding::{self, ContentCoding, NotDecompressed};
use crate::limits::Gates;
use crate::problem::{Code, Problem};
use crate::shares::{Place, Share};

/// What a body may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyBounds {
    /// Bytes, as they are sent and once they are decompressed.
    pub(crate) bytes: usize,
    /// From its first byte to its last.
    pub(crate) time: Duration,
}

/// A body that was read.
#[derive(Debug)]
pub(crate) struct Body {
    /// As it was before it was compressed, if it was.
    pub(crate) bytes: Bytes,
    /// Its room among the bodies held at once, where it is counted among them.
    _room: Option<Place>,
}

/// Reads the body of a request. What it announces to be too large is refused unread.
pub(crate) async fn read(request: Request, gates: &Gates, bounds: BodyBounds) -> Result<Body, Problem> {
    let room = Room { gates, share: Some(share_of(&request, gates)) };
    read_into(room, request, bounds).await
}

/// The same where whoever sends it is not known. It takes no room from bodies of others: as a request's head, it is as short as
/// `bounds` say, and a connection has one at a time.
pub(crate) async fn read_of_stranger(
    request: Request,
    gates: &Gates,
    bounds: BodyBounds,
) -> Result<Body, Problem> {
    read_into(Room { gates, share: None }, request, bounds).await
}

/// Where bodies are counted.
struct Room<'a> {
    gates: &'a Gates,
    /// Of whoever sends it; `None` where it is not counted.
    share: Option<Share>,
}

impl Room<'_> {
    /// Room for so many bytes.
    fn take(&self, bytes: usize) -> Result<Option<Place>, Problem> {
        self.share.as_ref().map(|share| self.gates.buffer(share, bytes)).transpose()
    }
}

async fn read_into(room: Room<'_>, request: Request, bounds: BodyBounds) -> Result<Body, Problem> {
    let coding = content_coding::of_body(request.headers()).map_err(|_| {
        Problem::new(
            Code::UnsupportedContentEncoding,
            "The body is in a Content-Encoding that is not taken, or in several. Send it with \
             `Content-Encoding: zstd` or `gzip`, or uncompressed without that header.",
        )
    })?;
    let announced = announced_length(request.headers());
    if announced.is_some_and(|length| length > bounds.bytes as u64) {
        return Err(too_large(bounds));
    }
    // Without a Content-Length it may grow up to the limit. The first comparison keeps it in usize.
    let taken = room.take(announced.map_or(bounds.bytes, |length| length as usize))?;
    let sent = Body { bytes: receive(request, bounds).await?, _room: taken };
    match coding {
        None => Ok(sent),
        Some(coding) => decompressed(coding, sent, &room, bounds).await,
    }
}

/// The share of whoever sends it, which its place among the requests is of.
fn share_of(request: &Request, gates: &Gates) -> Share {
    let share = request.extensions().get::<Share>().cloned();
    share.unwrap_or_else(|| gates.share_of(Caller::of(request.extensions())))
}

fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn receive(mut request: Request, bounds: BodyBounds) -> Result<Bytes, Problem> {
    DefaultBodyLimit::max(bounds.bytes).apply(&mut request);
    match tokio::time::timeout(bounds.time, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)))) => {
            Err(too_large(bounds))
        }
        Ok(Err(rejection)) => Err(Problem::new(
            Code::MalformedBody,
            "The body broke off before its end. Nothing was done; send it again.",
        )
        .because(rejection.to_string())),
        Err(_) => Err(Problem::new(
            Code::BodyTimeout,
            format!(
                "The body did not arrive within {} s. Nothing was done; send it again, in smaller pieces when the \
                 connection is slow.",
                bounds.time.as_secs_f64()
            ),
        )),
    }
}

/// Beside the room of what was sent only as many bodies as are decompressed at once take any, until it is known how large
/// each is.
async fn decompressed(
    coding: ContentCoding,
    sent: Body,
    room: &Room<'_>,
    bounds: BodyBounds,
) -> Result<Body, Problem> {
    let turn = room.gates.decompress(bounds.time).await?;
    let decompressing = tokio::task::spawn_blocking(move || {
        let plain = content_coding::decompress(coding, &sent.bytes, bounds.bytes);
        drop(turn);
        plain
    });
    let plain = decompressing
        .await
        .map_err(|error| Problem::internal(format!("decompressing a body: {error}")))?
        .map_err(|error| match error {
            NotDecompressed::TooLarge(_) => too_large(bounds),
            NotDecompressed::Broken(_) => Problem::new(
                Code::MalformedBody,
                format!(
                    "The body is not whole, or is not {} as its Content-Encoding says. Nothing was done.",
                    coding.name()
                ),
            )
            .because(error.to_string()),
        })?;
    let taken = room.take(plain.len())?;
    Ok(Body { bytes: plain.into(), _room: taken })
}

fn too_large(bounds: BodyBounds) -> Problem {
    Problem::new(
        Code::BodyTooLarge,
        format!(
            "A body may have at most {} bytes here, also once it is decompressed. Nothing was done; send it in parts.",
            bounds.bytes
        ),
    )
}
