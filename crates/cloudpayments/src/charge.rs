//! What a charge came to.

use std::fmt;

use crate::Transaction;

/// The good outcomes of a charge, an authorization or a completed 3-D Secure.
///
/// Whether the amount and the currency are those that were asked for is for the caller to compare.
#[derive(Clone, Debug)]
pub enum Charge {
    /// The money has moved.
    Completed(Box<Transaction>),
    /// The money is held: confirm or void it within seven days.
    Authorized(Box<Transaction>),
    /// The customer must pass 3-D Secure first.
    ThreeDsRequired(ThreeDs),
}

/// Where the customer's browser must go: it posts `PaReq`, `MD` (the transaction id) and `TermUrl`
/// (ours) to `acs_url`, and comes back to `TermUrl` with `MD` and `PaRes`.
#[derive(Clone, PartialEq, Eq)]
pub struct ThreeDs {
    /// The gateway's id, to be sent as `MD`.
    pub transaction_id: i64,
    /// The page of the bank.
    pub acs_url: String,
    /// What the bank's page wants to be posted.
    pub pa_req: String,
}

/// `pa_req` tells the payment; it has no business in a log.
impl fmt::Debug for ThreeDs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreeDs")
            .field("transaction_id", &self.transaction_id)
            .field("acs_url", &self.acs_url)
            .finish_non_exhaustive()
    }
}
