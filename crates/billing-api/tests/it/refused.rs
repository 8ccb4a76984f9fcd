//! What a refusal says, in a form that can be compared.

use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Code, reason, and the fields to blame.
pub(crate) type Refusal = (Code, String, Vec<String>);

pub(crate) fn refusal(status: &Status) -> Refusal {
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.clone()).unwrap_or_default();
    let fields = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
    (status.code(), reason, fields.into_iter().map(|violation| violation.field).collect())
}

pub(crate) fn refused(code: Code, reason: &str, fields: &[&str]) -> Refusal {
    (code, reason.to_owned(), fields.iter().map(ToString::to_string).collect())
}

/// A fact from the metadata of `google.rpc.ErrorInfo`.
pub(crate) fn fact(status: &Status, key: &str) -> Option<String> {
    status.get_error_details().error_info()?.metadata.get(key).cloned()
}
