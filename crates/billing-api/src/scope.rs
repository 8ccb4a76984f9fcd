//! Every method, and what it asks of its caller.

use std::fmt;

/// What a client may call. The names in `API_TOKENS` are the lower-case ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// List tariffs.
    Tariffs,
    /// Create and follow payments.
    Payments,
    /// Register accounts.
    Accounts,
    /// Ask who has access.
    Access,
    /// Follow what happens.
    Events,
    /// Look at a subscription, cancel it, resume it.
    Subscriptions,
    /// What only the staff may do: give money back, compare with the gateway.
    Staff,
}

impl Scope {
    pub const ALL: [Self; 7] =
        [Self::Tariffs, Self::Payments, Self::Accounts, Self::Access, Self::Events, Self::Subscriptions, Self::Staff];

    pub fn name(self) -> &'static str {
        match self {
            Self::Tariffs => "tariffs",
            Self::Payments => "payments",
            Self::Accounts => "accounts",
            Self::Access => "access",
            Self::Events => "events",
            Self::Subscriptions => "subscriptions",
            Self::Staff => "staff",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a method asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Requirement {
    Scope(Scope),
    /// Health and reflection tell nothing about customers.
    Public {
        is_stream: bool,
    },
    /// There is no such method.
    Unknown,
}

/// Every method of the package and its scope. A method that is missing here cannot be called at all.
const METHODS: [(&str, Scope); 31] = [
    ("/billing.v1.Tariffs/ListTariffs", Scope::Tariffs),
    ("/billing.v1.Payments/CreatePayment", Scope::Payments),
    ("/billing.v1.Payments/GetPayment", Scope::Payments),
    ("/billing.v1.Payments/WatchPayment", Scope::Payments),
    ("/billing.v1.Payments/SubmitThreeDs", Scope::Payments),
    ("/billing.v1.Access/RegisterAccount", Scope::Accounts),
    ("/billing.v1.Access/CheckAccess", Scope::Access),
    ("/billing.v1.Access/BatchCheckAccess", Scope::Access),
    ("/billing.v1.Access/WatchAccess", Scope::Access),
    ("/billing.v1.Events/Watch", Scope::Events),
    ("/billing.v1.Subscriptions/GetSubscription", Scope::Subscriptions),
    ("/billing.v1.Subscriptions/Cancel", Scope::Subscriptions),
    ("/billing.v1.Subscriptions/Resume", Scope::Subscriptions),
    ("/billing.v1.Subscriptions/ForgetCard", Scope::Subscriptions),
    ("/billing.v1.Subscriptions/ReplaceCard", Scope::Subscriptions),
    ("/billing.v1.Subscriptions/CloseAccount", Scope::Subscriptions),
    ("/billing.v1.Subscriptions/ChangeTariff", Scope::Subscriptions),
    ("/billing.v1.Subscriptions/PreviewChange", Scope::Subscriptions),
    ("/billing.v1.Subscriptions/ListPayments", Scope::Subscriptions),
    ("/billing.v1.Subscriptions/ListBills", Scope::Subscriptions),
    ("/billing.v1.Subscriptions/GetBill", Scope::Subscriptions),
    ("/billing.v1.Reconciliation/Run", Scope::Staff),
    ("/billing.v1.Reconciliation/GetRun", Scope::Staff),
    ("/billing.v1.Reconciliation/ListDays", Scope::Staff),
    ("/billing.v1.Reconciliation/ListDifferences", Scope::Staff),
    ("/billing.v1.Reconciliation/ResolveDifference", Scope::Staff),
    ("/billing.v1.Refunds/RefundPayment", Scope::Staff),
    ("/billing.v1.Refunds/GetRefund", Scope::Staff),
    ("/billing.v1.Refunds/ListRefunds", Scope::Staff),
    ("/billing.v1.Refunds/ApproveRefund", Scope::Staff),
    ("/billing.v1.Refunds/WithdrawRefund", Scope::Staff),
];

const PUBLIC: [&str; 3] =
    ["/grpc.health.v1.Health/", "/grpc.reflection.v1.ServerReflection/", "/grpc.reflection.v1alpha.ServerReflection/"];
/// The one public method that asks a single question.
const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";

pub(crate) fn requirement(path: &str) -> Requirement {
    if let Some((_, scope)) = METHODS.iter().find(|(method, _)| *method == path) {
        Requirement::Scope(*scope)
    } else if PUBLIC.iter().any(|service| path.starts_with(service)) {
        Requirement::Public { is_stream: path != HEALTH_CHECK }
    } else {
        Requirement::Unknown
    }
}
