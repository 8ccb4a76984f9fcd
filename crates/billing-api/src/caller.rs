//! Who a request is of, and whom it may be about.

use std::sync::Arc;

use billing::AccountId;
use tokio::time::Instant;
use tonic::Extensions;

use crate::browser::Subject;
use crate::error::{ApiError, Resource};

/// Somebody who proved themselves. Found in the extensions of their requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Names a client among clients, and a browser among those of other accounts.
    pub(crate) name: Arc<str>,
    /// Whom it speaks for; `None`: a client, which serves everybody.
    pub(crate) account: Option<AccountId>,
    /// When its token expires.
    pub(crate) until: Option<Instant>,
}

impl Caller {
    pub(crate) fn client(name: &Arc<str>) -> Self {
        Self { name: Arc::clone(name), account: None, until: None }
    }

    pub(crate) fn browser(subject: Subject) -> Self {
        // No client has a name like this.
        let name = format!("account:{}", subject.account).into();
        Self { name, account: Some(subject.account), until: Some(subject.until) }
    }

    /// Who sent the request with these extensions.
    pub(crate) fn of(extensions: &Extensions) -> Result<&Self, ApiError> {
        extensions.get().ok_or_else(|| ApiError::defect("a request came in without passing the gate"))
    }

    /// Whether it may see what belongs to this account. What it may not see does not exist for it.
    pub(crate) fn sees(&self, account: AccountId) -> bool {
        self.account.is_none_or(|own| own == account)
    }

    /// The account, for a caller that may see it.
    ///
    /// # Errors
    /// To others it does not exist: the same word, and nothing is looked up that could take its time.
    pub(crate) fn own(&self, account: AccountId) -> Result<AccountId, ApiError> {
        if self.sees(account) { Ok(account) } else { Err(ApiError::not_found(Resource::Account, &account)) }
    }

    /// A key of a payment, which all clients have in common: browsers have their own, so that none can take, or find out,
    /// what another uses.
    pub(crate) fn payment_key(&self, key: String) -> String {
        if self.account.is_some() { format!("{}:{key}", self.name) } else { key }
    }
}
