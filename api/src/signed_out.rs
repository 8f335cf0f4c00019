//! When a caller is not signed in any more, for what goes on for longer than a request.

use std::sync::Arc;
use std::time::Duration;

use kelly_auth::{Identity, Refusal};

use crate::ports::Authenticate;

/// How often it is looked whether a caller is still signed in, beside whenever something was revoked: a token that is over is
/// noticed within this time.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Completes once this caller is not signed in any more: revoked, or the token is over.
pub(crate) async fn signed_out(authenticate: Arc<dyn Authenticate>, caller: Identity) -> Refusal {
    let mut revoked = authenticate.revoked();
    let mut is_told = true;
    loop {
        if let Err(refusal) = authenticate.recheck(&caller) {
            return refusal;
        }
        tokio::select! {
            changed = revoked.changed(), if is_told => is_told = changed.is_ok(),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}
