//! The layer that compresses answers where that pays: text of some length, for clients that say they take it.
//!
//! Compressing what a page of another origin can have sent with words of its choice would let it guess secrets beside those
//! words by the length of the answer. Here it cannot: it makes a browser send no session (`SameSite=Strict`), and the only
//! secrets in answers, sessions, stand in a header, which is not compressed. Answers that set one stay plain all the same.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    SET_COOKIE, VARY,
};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use http_body::{Frame, SizeHint};

use crate::conditional::weak;
use crate::content_coding::{Compressor, ContentCoding, accepted};

/// Shorter answers fit into a packet as they are.
pub(crate) const WORTH_BYTES: u64 = 1_024;

/// Bytes compressed at once: other connections of the thread wait no longer than for these.
const PIECE_BYTES: usize = 64 << 10;

/// An answer whose handler has decided whether it is compressed.
#[derive(Clone, Copy)]
pub(crate) struct AsItIs;

/// The layer.
pub(crate) async fn compress_answers(
    request: Request,
    next: impl AsyncFnOnce(Request) -> Response,
) -> Response {
    let coding = accepted(request.headers());
    let mut response = next(request).await;
    if !is_worth_it(&response) {
        return response;
    }
    let headers = response.headers_mut();
    if !varies(headers) {
        headers.append(VARY, HeaderValue::from(ACCEPT_ENCODING));
    }
    let Some(coding) = coding else { return response };
    let length = response.body().size_hint().exact();
    // It fails only without memory; then the answer stays plain.
    let Ok(compressor) = Compressor::new(coding, length) else { return response };
    say_coding(response.headers_mut(), coding);
    response
        .map(|plain| Body::new(CompressedBody { plain, piece: Bytes::new(), compressor: Some(compressor) }))
}

/// What the headers of a compressed answer say else than those of the plain one.
pub(crate) fn say_coding(headers: &mut HeaderMap, coding: ContentCoding) {
    headers.remove(CONTENT_LENGTH);
    headers.remove(ACCEPT_RANGES);
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    // A strong tag is of the very bytes.
    if let Some(tag) = headers.get_mut(ETAG) {
        *tag = weak(tag);
    }
}

fn varies(headers: &HeaderMap) -> bool {
    let mut lists = headers.get_all(VARY).iter().filter_map(|value| value.to_str().ok());
    lists.any(|list| list.split(',').any(|name| name.trim().eq_ignore_ascii_case(ACCEPT_ENCODING.as_str())))
}

fn is_worth_it(response: &Response) -> bool {
    let headers = response.headers();
    let stays = [CONTENT_ENCODING, CONTENT_RANGE, SET_COOKIE];
    response.extensions().get::<AsItIs>().is_none()
        && response.body().size_hint().exact().is_none_or(|length| length >= WORTH_BYTES)
        && !stays.iter().any(|name| headers.contains_key(name))
        && headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).is_some_and(is_text)
}

/// Text, but for events, which must not wait for more of them. Parquet and Arrow files are compressed inside.
fn is_text(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.split_once('/') {
        Some(("text", kind)) => kind != "event-stream",
        Some((_, kind)) => {
            ["json", "javascript", "x-ndjson", "jsonl", "openmetrics-text"].contains(&kind)
                || kind.ends_with("+json")
                || kind.ends_with("+xml")
        }
        None => false,
    }
}

/// A body, compressed as it is sent. A failure of the plain one stays one.
struct CompressedBody {
    plain: Body,
    /// What is not compressed yet of the last frame.
    piece: Bytes,
    /// None once all is out.
    compressor: Option<Compressor>,
}

impl HttpBody for CompressedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let Some(compressor) = &mut this.compressor else { return Poll::Ready(None) };
        if this.piece.is_empty() {
            match ready!(Pin::new(&mut this.plain).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.piece = data,
                    // No answer here has trailers.
                    Err(_trailers) => {}
                },
                Some(Err(error)) => {
                    this.compressor = None;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    let rest = this.compressor.take().map(Compressor::finish);
                    return Poll::Ready(rest.map(|rest| rest.map(Frame::data).map_err(axum::Error::new)));
                }
            }
        }
        let length = this.piece.len().min(PIECE_BYTES);
        match compressor.write(&this.piece.split_to(length)) {
            Ok(made) if made.is_empty() => {
                // The others first.
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Ok(made) => Poll::Ready(Some(Ok(Frame::data(made)))),
            Err(error) => {
                this.compressor = None;
                Poll::Ready(Some(Err(axum::Error::new(error))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.compressor.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_that_may_wait_is_compressed() {
        for (content_type, expected) in [
            ("application/json", true),
            ("application/problem+json", true),
            ("Text/HTML; charset=utf-8", true),
            ("text/csv", true),
            ("application/x-ndjson", true),
            ("application/jsonl", true),
            ("application/openmetrics-text; version=1.0.0", true),
            ("image/svg+xml", true),
            ("text/event-stream", false),
            ("application/vnd.apache.parquet", false),
            ("application/vnd.apache.arrow.stream", false),
            ("image/png", false),
            ("", false),
        ] {
            assert_eq!(is_text(content_type), expected, "{content_type}");
        }
    }
}
