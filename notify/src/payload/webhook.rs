//! Any HTTP endpoint, with the signatures of Standard Webhooks 1.0.0.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{Means, Request, facts};
use crate::notice::rfc3339;
use crate::notifier::Job;
use crate::secret::Secret;

/// How a signing secret begins.
const PREFIX: &str = "whsec_";

pub(super) fn request(means: &Means<'_>, job: &Job) -> Result<Request, String> {
    let notice = &job.delivery.notice;
    let body = json!({
        "type": format!("alert.{}", notice.reason.code()),
        "timestamp": rfc3339(job.delivery.made_ms),
        "data": facts::message(notice),
    })
    .to_string();
    let id = format!("msg_{}", job.delivery.id);
    let mut headers = vec![("webhook-id", id.clone()), ("webhook-timestamp", means.now_s.to_string())];
    if let Some(secret) = means.secret {
        let key = webhook_signature_key(secret)?;
        headers.push(("webhook-signature", webhook_signature(&key, &id, means.now_s, &body)));
    }
    Ok(Request { url: means.url.unwrap_or_default().to_owned(), headers, body })
}

/// The bytes that sign: base64 behind `whsec_`.
///
/// # Errors
/// When it is none. The message does not repeat it.
pub fn webhook_signature_key(secret: &Secret) -> Result<Vec<u8>, String> {
    let wrong = "the signing secret must be whsec_ and 24 to 64 bytes in base64";
    let text = secret.reveal().strip_prefix(PREFIX).ok_or(wrong)?;
    let key = STANDARD.decode(text).map_err(|_| wrong)?;
    if (24..=64).contains(&key.len()) { Ok(key) } else { Err(wrong.to_owned()) }
}

/// `v1,` and the signature of a body that is sent under this id at this time (seconds since the epoch).
#[must_use]
pub fn webhook_signature(key: &[u8], id: &str, now_s: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let signature = hmac::sign(&key, format!("{id}.{now_s}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(signature.as_ref()))
}
