//! Which alerts a caller sees. What is of another account looks as if it were not there.

use kelly_auth::Identity;
use uuid::Uuid;

use crate::decisions::{not_found, read};
use crate::problem::Problem;
use crate::state::HandlerState;

/// Whether the caller may act on this alert. An alert's account never changes, so what is seen here holds when the log decides.
/// Who sees everything is not looked at: another instance may have raised it a moment ago, and the log knows.
pub(super) fn check_visible(shared: &HandlerState, caller: &Identity, alert: Uuid) -> Result<(), Problem> {
    if caller.accounts.is_all() {
        return Ok(());
    }
    let is_visible = read(&*shared.app.decisions, |state| {
        let alert = state.alerts().book().get(&alert);
        alert.is_some_and(|alert| caller.accounts.sees(alert.account_id.as_deref()))
    })?;
    if is_visible { Ok(()) } else { Err(not_found("alert")) }
}
