//! Compressed bodies and answers: what is taken, what is refused, and where compressing pays.

use std::io::Write;
use std::time::Duration;

use axum::body::{Body, Bytes};
use flate2::Compression;
use flate2::write::GzEncoder;
use kelly_api::content_coding::ContentCoding;
use kelly_api::{BodyForm, Limits};

use crate::support::{Answer, Api, CODE, Fate, Setup};

const RECORD: &str = "/api/v1/kelly/monitoring/metrics/record";
const SIGN_IN: &str = "/api/v1/kelly/sign-in";
const DETAILED: &str = "/api/v1/kelly/monitoring/metrics/detailed/ai_confidence?timeframe=1h";
const LIMIT: usize = 1 << 20;

/// Compressed by the libraries themselves.
fn compressed(coding: ContentCoding, body: &[u8]) -> Vec<u8> {
    match coding {
        ContentCoding::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(body).unwrap();
            encoder.finish().unwrap()
        }
        ContentCoding::Zstd => zstd::encode_all(body, 19).unwrap(),
    }
}

async fn send(api: &Api, path: &str, kind: &str, encoding: &str, body: &[u8]) -> Answer {
    let headers = [("content-type", kind), ("content-encoding", encoding)];
    api.send("POST", path, &headers, Body::from(body.to_vec())).await
}

fn limited() -> Api {
    Api::new(Setup { limits: Limits { max_body_bytes: LIMIT, ..Limits::default() }, ..Setup::default() })
}

#[tokio::test]
async fn a_compressed_body_is_the_body_it_was() {
    let api = limited();
    let json = format!("[{}]", vec!["{\"metric_name\":\"m\",\"value\":1}"; 5_000].join(","));
    for coding in ContentCoding::ALL {
        for (kind, body, form) in [
            ("application/json", json.as_bytes(), BodyForm::Json),
            ("application/x-ndjson", b"{\"a\":1}\n{\"a\":2}".as_slice(), BodyForm::Ndjson),
            ("application/x-ndjson", b"[{\"a\":1}]", BodyForm::Json),
            ("application/vnd.apache.arrow.stream", b"\xff\xff\xff\xff arrow", BodyForm::Arrow),
        ] {
            let answer = send(&api, RECORD, kind, coding.name(), &compressed(coding, body)).await;
            assert_eq!(answer.status, 202, "{coding:?} {kind}");
            let taken = api.accept.taken.lock().unwrap().pop().unwrap();
            assert_eq!((taken.form, taken.body), (form, Bytes::from(body.to_vec())), "{coding:?} {kind}");
        }
        let code = format!("{{\"code\":\"{CODE}\"}}");
        let answer =
            send(&api, SIGN_IN, "application/json", coding.name(), &compressed(coding, code.as_bytes()))
                .await;
        assert_eq!(answer.status, 200, "{coding:?}");
    }
    assert_eq!(send(&api, RECORD, "application/json", "identity", b"{}").await.status, 202);
}

#[tokio::test]
async fn other_codings_and_broken_bodies_are_refused() {
    let api = limited();
    let body = b"{\"metric_name\":\"m\",\"value\":1}";
    for path in [RECORD, SIGN_IN] {
        for encoding in ["br", "deflate", "compress", "gzip, gzip", "gzip, zstd", "aws-chunked", "gzip;q=1"] {
            let answer = send(&api, path, "application/json", encoding, body).await;
            assert_eq!(
                (answer.status.as_u16(), answer.code().as_str(), answer.header("accept-encoding")),
                (415, "unsupported_content_encoding", "zstd, gzip, identity"),
                "{path} {encoding}"
            );
        }
        for coding in ContentCoding::ALL {
            let whole = compressed(coding, body);
            let other = ContentCoding::ALL.into_iter().find(|other| *other != coding).unwrap();
            for (what, bytes) in [
                ("cut", &whole[..whole.len() - 5]),
                ("nothing", &[]),
                ("plain", body),
                ("another coding", &compressed(other, body)),
                ("with more behind", &[&whole[..], b"x"].concat()),
            ] {
                let answer = send(&api, path, "application/json", coding.name(), bytes).await;
                assert_eq!(
                    (answer.status.as_u16(), answer.code().as_str()),
                    (400, "malformed_body"),
                    "{path} {coding:?} {what}"
                );
            }
        }
    }
    assert!(api.accept.taken.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_limit_is_on_the_body_before_and_after() {
    let api = limited();
    for coding in ContentCoding::ALL {
        let within = compressed(coding, &vec![b' '; LIMIT]);
        assert_eq!(send(&api, RECORD, "application/json", coding.name(), &within).await.status, 202);
        // A thousandfold and more; at the limit it stops.
        for length in [LIMIT + 1, 64 * LIMIT] {
            let bomb = compressed(coding, &vec![b' '; length]);
            assert!(bomb.len() < LIMIT / 10);
            for path in [RECORD, SIGN_IN] {
                let answer = send(&api, path, "application/json", coding.name(), &bomb).await;
                assert_eq!(
                    (answer.status.as_u16(), answer.code().as_str()),
                    (413, "body_too_large"),
                    "{path} {coding:?} {length}"
                );
            }
        }
        // What is too large as it is sent is not looked into.
        let answer = send(&api, RECORD, "application/json", coding.name(), &vec![0; LIMIT + 1]).await;
        assert_eq!(answer.code(), "body_too_large");
    }
    assert_eq!(api.accept.taken.lock().unwrap().len(), 2);
}

/// The room and the budget are those of the body once it is decompressed.
#[tokio::test]
async fn a_compressed_body_counts_as_what_it_becomes() {
    let body = vec![b' '; 300_000];
    for coding in ContentCoding::ALL {
        let small = compressed(coding, &body);
        assert!(small.len() < 1_000);
        let length = small.len().to_string();
        let headers = [
            ("content-type", "application/json"),
            ("content-encoding", coding.name()),
            ("content-length", &length),
        ];
        let body = || Body::from(small.clone());
        let limits = Limits { max_buffered_bytes: 400 << 10, ..Limits::default() };
        let api = Api::new(Setup { accept: Fate::Never, limits, ..Setup::default() });
        let held = api.send("POST", RECORD, &headers, body());
        let next = async {
            while api.accept.taken.lock().unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            api.send("POST", RECORD, &headers, body()).await
        };
        tokio::select! {
            _ = held => panic!("it never ends"),
            answer = next => assert_eq!(answer.code(), "server_busy"),
        }

        let mut limits = Limits::default();
        // In KiB: enough for one of them, and for hundreds as they are sent.
        limits.quotas.recorded_kib = 400.try_into().unwrap();
        let api = Api::new(Setup { limits, ..Setup::default() });
        assert_eq!(api.send("POST", RECORD, &headers, body()).await.status, 202);
        assert_eq!(api.send("POST", RECORD, &headers, body()).await.code(), "too_many_requests");
    }
}

async fn accepting(api: &Api, path: &str, accepted: &str) -> Answer {
    api.send("GET", path, &[("accept-encoding", accepted)], Body::empty()).await
}

#[tokio::test]
async fn answers_are_compressed_where_that_pays_and_is_asked_for() {
    let api = Api::new(Setup::default());
    for (path, pays) in [
        ("/api/openapi.json", true),
        ("/api/problems", true),
        ("/api/docs/", false),
        ("/api/docs/swagger-ui-bundle.js", true),
        ("/", true),
        ("/assets/start.js", true),
        ("/api/v1/kelly/monitoring/catalogue", true),
        (DETAILED, true),
        ("/livez", false),
        ("/no/such/route", false),
    ] {
        let plain = api.get(path).await;
        assert_eq!(plain.header("content-encoding"), "", "{path}");
        for (accepted, expected) in
            [("gzip", "gzip"), ("gzip, deflate, br, zstd", "zstd"), ("br", ""), ("gzip;q=0", "")]
        {
            let answer = accepting(&api, path, accepted).await;
            assert_eq!(answer.status, plain.status);
            assert_eq!(answer.header("content-encoding"), if pays { expected } else { "" }, "{path}");
            assert_eq!(answer.header("content-type"), plain.header("content-type"));
            if pays {
                let shorter = expected.is_empty() || answer.sent.len() < plain.sent.len() * 6 / 10;
                assert!(shorter, "{path} {accepted}: {} of {}", answer.sent.len(), plain.sent.len());
                let varies = answer.header("vary").split(", ").filter(|name| *name == "accept-encoding");
                assert_eq!(varies.count(), 1, "{path}: {}", answer.header("vary"));
                assert_eq!(answer.header("vary"), plain.header("vary"), "{path}");
            }
            // The trace id and the age differ; what a file is does not.
            if !path.starts_with("/no") {
                assert!(answer.body == plain.body, "{path} {accepted}");
            }
        }
    }
}

#[tokio::test]
async fn a_tag_is_known_in_whatever_coding() {
    let api = Api::new(Setup::default());
    for (path, plain_is_strong) in [(DETAILED, false), ("/assets/start.js", true)] {
        let plain = api.get(path).await.header("etag").to_owned();
        assert_eq!(plain.starts_with('"'), plain_is_strong, "{path}");
        let tag = accepting(&api, path, "gzip").await.header("etag").to_owned();
        assert_eq!(tag, format!("W/{}", plain.trim_start_matches("W/")), "the bytes are others");
        for accepted in ["", "gzip", "zstd"] {
            for known in [&plain, &tag] {
                let headers = [("accept-encoding", accepted), ("if-none-match", known)];
                let answer = api.send("GET", path, &headers, Body::empty()).await;
                assert_eq!((answer.status.as_u16(), answer.header("content-encoding")), (304, ""), "{path}");
                assert!(answer.sent.is_empty());
            }
        }
    }
}

/// What everybody polls is compressed once: the very same bytes go to all.
#[tokio::test]
async fn a_kept_answer_is_compressed_once() {
    let api = Api::new(Setup::default());
    let first = accepting(&api, DETAILED, "zstd").await;
    let second = accepting(&api, DETAILED, "zstd").await;
    assert_eq!(
        (first.header("content-encoding"), first.header("content-length")),
        ("zstd", second.header("content-length"))
    );
    assert_eq!(
        first.header("content-length"),
        first.sent.len().to_string(),
        "its length is known before it is sent"
    );
    assert_eq!(first.sent, second.sent);
    assert_eq!(api.queries.asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn exports_of_text_are_compressed_as_they_come_and_a_cut_one_is_no_whole_one() {
    let api = Api::new(Setup::default());
    let export = "/api/v1/kelly/monitoring/activity/export?timeframe=1h&format=";
    for (format, expected) in [("csv", "gzip"), ("jsonl", "gzip"), ("parquet", ""), ("arrow", "")] {
        let path = format!("{export}{format}");
        let (plain, answer) = (api.get(&path).await, accepting(&api, &path, "gzip").await);
        assert_eq!(answer.header("content-encoding"), expected, "{format}");
        assert!(plain.body == answer.body && !plain.body.is_empty(), "{format}");
    }
    let request = axum::http::Request::get(format!("{export}csv&event_type=cut_off"))
        .header("host", "localhost:8000")
        .header("accept-encoding", "zstd")
        .header(
            "authorization",
            format!("Bearer {}", api.authenticate.token_of(&crate::support::everything())),
        )
        .body(Body::empty())
        .unwrap();
    let response = tower::ServiceExt::oneshot(api.router(), request).await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "zstd");
    assert!(axum::body::to_bytes(response.into_body(), usize::MAX).await.is_err());
}
