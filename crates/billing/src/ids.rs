//! Identifiers. Each is a UUID newtype, so that a bill cannot be passed where a payment is meant.

use crate::macros::uuid_id;

uuid_id! {
    /// A customer. The identifier is given by the auth service, not by us.
    AccountId
}

uuid_id! {
    /// What can be bought.
    TariffId
}

uuid_id! {
    /// What is owed for one period of one account.
    BillId
}

uuid_id! {
    /// One attempt to collect a bill. Also the id of the task that charges it.
    PaymentId
}

uuid_id! {
    /// One comparison of a range of time with the gateway's list.
    ReconciliationId
}

uuid_id! {
    /// Something on which the gateway and our rows do not agree.
    DifferenceId
}

uuid_id! {
    /// Money on its way back to a customer.
    RefundId
}

uuid_id! {
    /// A fiscal receipt. One that goes along with a charge or a refund has the id of that.
    ReceiptId
}

impl From<PaymentId> for ReceiptId {
    fn from(id: PaymentId) -> Self {
        id.get().into()
    }
}

impl From<RefundId> for ReceiptId {
    fn from(id: RefundId) -> Self {
        id.get().into()
    }
}
