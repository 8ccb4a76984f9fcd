//! What a task is: a struct of arguments with a name, and what its body may answer.

mod body;
mod concurrency;
mod error;
mod failure;
mod options;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use body::Body;
pub use concurrency::ConcurrencyLimit;
pub use error::{TaskError, TaskResult};
pub use failure::Failure;
pub use options::{RateLimit, RateLimitError, TaskOptions};

/// The arguments of a task together with its contract: the name on the wire and how it is run.
///
/// Usually derived:
///
/// ```
/// use celeriac::Task;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Task, Serialize, Deserialize)]
/// #[task(name = "billing.charge_payment", queue = "payments", acks_late, max_retries = 10, retry_backoff = "1s")]
/// struct ChargePayment {
///     payment_id: u64,
/// }
///
/// assert_eq!(ChargePayment::FIELDS, ["payment_id"]);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a task",
    label = "not a task",
    note = "a task is a struct of its arguments with `#[derive(Task, Serialize, Deserialize)]` and `#[task(name = \"…\")]`"
)]
pub trait Task: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The name on the wire. Renaming it strands the messages that are under way.
    const NAME: &'static str;

    /// The names of the arguments in their positional order, as on the wire.
    const FIELDS: &'static [&'static str];

    /// Those of [`FIELDS`](Self::FIELDS) that a caller must give.
    const REQUIRED: &'static [&'static str] = &[];

    /// Other names under which an argument may also arrive.
    const ALIASES: &'static [&'static str] = &[];

    /// Those of [`FIELDS`](Self::FIELDS), and their [`ALIASES`](Self::ALIASES), whose values are not shown to operators: in
    /// `argsrepr` and `kwargsrepr`, events, `inspect`, results with `result_extended`, errors and logs.
    const REDACTED: &'static [&'static str] = &[];

    /// How it is run.
    const OPTIONS: TaskOptions = TaskOptions::DEFAULT;
}
