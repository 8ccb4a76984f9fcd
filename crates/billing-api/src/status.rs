//! The one place where what went wrong becomes a gRPC status.
//!
//! Every refusal says what to do, carries `google.rpc.ErrorInfo` with a reason for programs (`proto/README.md` lists
//! them), and names the field in `google.rpc.BadRequest` where a field is to blame. What failed inside is logged here,
//! within the span of the request, and never told to the caller.

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use billing::store::events::Gone;
use billing::store::payments::NoTrial;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::browser::BadToken;
use crate::denied::Denied;
use crate::error::{ApiError, NotAtOnce, NotRefundable, Resource, Violation};
use crate::outage::Outages;

/// Domain of the reasons in `google.rpc.ErrorInfo`.
const DOMAIN: &str = "billing.v1";

/// How long a caller should wait before it tries again when we are short of something.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Servers that requests cannot do without.
static UNAVAILABLE: Outages = Outages::new();

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Invalid(violations) => invalid(violations),
            ApiError::Denied(denied) => Refusal::from(denied).into(),
            ApiError::NoSuchMethod => {
                Refusal::new(Code::Unimplemented, "NO_SUCH_METHOD", "there is no such method").into()
            }
            ApiError::NotFound { resource, id } => not_found(resource, &id),
            ApiError::IdempotencyKeyReused => Refusal::new(
                Code::AlreadyExists,
                "IDEMPOTENCY_KEY_REUSED",
                "this idempotency key was used with other content: take a new key for a new request",
            )
            .field("idempotency_key", "was used with other content")
            .into(),
            ApiError::AlreadyActive => Refusal::new(
                Code::FailedPrecondition,
                "ALREADY_ACTIVE",
                "the account has a running subscription: it renews by itself, there is nothing to pay now",
            )
            .field("account_id", "has a running subscription")
            .into(),
            ApiError::PaymentInProgress { payment_id } => Refusal::new(
                Code::FailedPrecondition,
                "PAYMENT_IN_PROGRESS",
                "another payment of this account is not final yet: follow that one with WatchPayment",
            )
            .field("account_id", "has a payment in progress")
            .fact("payment_id", &payment_id)
            .into(),
            ApiError::WrongTransaction => Refusal::new(
                Code::InvalidArgument,
                "WRONG_TRANSACTION",
                "this answer of 3-D Secure belongs to another payment: send MD and PaRes with the payment they came for",
            )
            .field("md", "is not the transaction of this payment")
            .into(),
            ApiError::NotAwaitingThreeDs => Refusal::new(
                Code::FailedPrecondition,
                "NOT_AWAITING_THREE_DS",
                "this payment does not wait for 3-D Secure: look at its status with GetPayment",
            )
            .field("payment_id", "does not wait for 3-D Secure")
            .into(),
            ApiError::ThreeDsExpired => Refusal::new(
                Code::FailedPrecondition,
                "THREE_DS_EXPIRED",
                "the time to answer 3-D Secure is over and nothing was charged: create a new payment",
            )
            .field("payment_id", "waited too long for 3-D Secure")
            .into(),
            ApiError::DeadlineExceeded => Refusal::new(
                Code::DeadlineExceeded,
                "DEADLINE_EXCEEDED",
                "not done in time: call again, writes with the same idempotency key",
            )
            .into(),
            ApiError::MessageLate { within } => Refusal::new(
                Code::DeadlineExceeded,
                "MESSAGE_LATE",
                format!("the message of the request did not come within {within:?}: call again"),
            )
            .into(),
            ApiError::TooManyRequests { limit } => Refusal::new(
                Code::ResourceExhausted,
                "TOO_MANY_REQUESTS",
                "too many requests under way at once: wait for some of them",
            )
            .fact("limit", &limit.to_string())
            .retry()
            .into(),
            ApiError::TooManyPublic => Refusal::new(
                Code::ResourceExhausted,
                "OVERLOADED",
                "too many health checks or reflections at once: close some, or try again later",
            )
            .retry()
            .into(),
            ApiError::Overloaded => {
                Refusal::new(Code::ResourceExhausted, "OVERLOADED", "too many requests at once: try again later")
                    .retry()
                    .into()
            }
            ApiError::TooManyStreams { limit } => Refusal::new(
                Code::ResourceExhausted,
                "TOO_MANY_STREAMS",
                "too many streams open: close some, or ask with GetPayment",
            )
            .fact("limit", &limit.to_string())
            .retry()
            .into(),
            ApiError::NoSubscription => Refusal::new(
                Code::FailedPrecondition,
                "NO_SUBSCRIPTION",
                "nothing was ever paid for this account: create a payment",
            )
            .field("account_id", "has never had a subscription")
            .into(),
            ApiError::SubscriptionEnded => Refusal::new(
                Code::FailedPrecondition,
                "SUBSCRIPTION_ENDED",
                "what was paid is over, and there is nothing to go on with: create a payment",
            )
            .field("account_id", "has a subscription that has ended")
            .into(),
            ApiError::SubscriptionCancelled => Refusal::new(
                Code::FailedPrecondition,
                "SUBSCRIPTION_CANCELLED",
                "the subscription is cancelled, so there is no next period: resume it first",
            )
            .field("account_id", "has a cancelled subscription")
            .into(),
            ApiError::NotAtOnce(why) => not_at_once(why).into(),
            ApiError::NoTrial(why) => no_trial(why).into(),
            ApiError::NoCard => Refusal::new(
                Code::FailedPrecondition,
                "NO_CARD",
                "no card is kept that a renewal could be charged to: access goes on until the end of what is paid, then \
                 create a payment",
            )
            .field("account_id", "has no card that may be charged")
            .into(),
            ApiError::AccountClosed => Refusal::new(
                Code::FailedPrecondition,
                "ACCOUNT_CLOSED",
                "the person behind this account asked to be forgotten: nothing can be paid or changed any more",
            )
            .field("account_id", "is closed")
            .into(),
            ApiError::NotRefundable(why) => not_refundable(&why).into(),
            ApiError::Gone(gone) => token_is_gone(gone).into(),
            ApiError::ShuttingDown => {
                Refusal::new(Code::Unavailable, "SHUTTING_DOWN", "the server is shutting down: call again").retry().into()
            }
            ApiError::GatewayRests { retry_in } => Refusal::new(
                Code::Unavailable,
                "GATEWAY_UNAVAILABLE",
                format!("nobody can pay now, and nothing was written: call again in {} s", retry_in.as_secs() + 1),
            )
            .retry_in(retry_in)
            .into(),
            ApiError::Unavailable(cause) => {
                tracing::debug!(error = %Chain(&*cause), "a server we need cannot be reached");
                if UNAVAILABLE.begins() {
                    tracing::warn!(error = %Chain(&*cause), "a server we need cannot be reached for now");
                }
                Refusal::new(Code::Unavailable, "UNAVAILABLE", "not available at the moment: try again").retry().into()
            }
            ApiError::Internal(cause) => {
                tracing::error!(error = %Chain(&*cause), "internal error");
                Refusal::new(
                    Code::Internal,
                    "INTERNAL",
                    "an error on our side: report the x-request-id of this response",
                )
                .into()
            }
        }
    }
}

fn not_at_once(why: NotAtOnce) -> Refusal {
    let (field, message) = match why {
        NotAtOnce::SameTariff => {
            ("tariff_id", "the subscription runs under this tariff: there is nothing to change at once")
        }
        NotAtOnce::RenewalInProgress => {
            ("account_id", "a renewal is owed or under way: it comes first, follow it with GetSubscription")
        }
        NotAtOnce::ChangeInProgress => {
            ("account_id", "a change of tariff is under way: follow it with GetSubscription")
        }
        NotAtOnce::ChargedTooOften { .. } => {
            ("account_id", "the card was charged as often as it may be within a day: try again later")
        }
        NotAtOnce::RefundInProgress => {
            ("account_id", "money of the present period is on its way back: try again when it is there")
        }
        NotAtOnce::PartiallyRefunded => {
            ("account_id", "how much of the present period was given back is not known: change from the next period on")
        }
        NotAtOnce::OtherCurrency => ("tariff_id", "the tariff is in another currency: change from the next period on"),
        NotAtOnce::NotUpwards => {
            ("tariff_id", "what is left of the present period is worth as much: change from the next period on")
        }
        NotAtOnce::PreviewChanged { .. } => (
            "previewed_amount_kopecks",
            "it costs another amount now: show that to the customer, and call again with it",
        ),
    };
    let refusal = Refusal::new(Code::FailedPrecondition, why.reason(), message).field(field, "does not allow it");
    match why {
        NotAtOnce::ChargedTooOften { until } => refusal.fact("until", &until.to_rfc3339()),
        NotAtOnce::PreviewChanged { amount_kopecks } => refusal.fact("amount_kopecks", &amount_kopecks.to_string()),
        _ => refusal,
    }
}

fn not_refundable(why: &NotRefundable) -> Refusal {
    use {Code::FailedPrecondition as Failed, Code::PermissionDenied as Denied, NotRefundable as Why};
    let refusal = |code, reason, field, rule, what: &str| Refusal::new(code, reason, what).field(field, rule);
    match why {
        Why::InDoubt => refusal(
            Failed,
            "PAYMENT_IN_DOUBT",
            "payment_id",
            "is in doubt",
            "it is not known yet whether the money was taken: ask again when the payment is final",
        ),
        Why::NothingTaken => {
            refusal(Failed, "NOTHING_TAKEN", "payment_id", "took no money", "no money was taken by this payment")
        }
        Why::TooOld => refusal(
            Failed,
            "PAYMENT_TOO_OLD",
            "payment_id",
            "is older than a year",
            "the gateway gives nothing back of payments older than a year: pay the customer in another way",
        ),
        Why::AlreadyBeingReturned { refund_id } => refusal(
            Failed,
            "ALREADY_BEING_RETURNED",
            "payment_id",
            "goes back by itself",
            "nobody owed this money, and it goes back by itself: follow that refund with GetRefund",
        )
        .fact("refund_id", refund_id),
        Why::Unfinished { refund_id } => refusal(
            Failed,
            "REFUND_UNFINISHED",
            "payment_id",
            "has a refund that is not finished",
            "another refund of this payment is not finished: follow that one with GetRefund",
        )
        .fact("refund_id", refund_id),
        Why::MoreThanLeft { left_kopecks } => refusal(
            Failed,
            "MORE_THAN_LEFT",
            "amount_kopecks",
            "is more than is left",
            "so much of this payment is not left to give back",
        )
        .fact("left_kopecks", &left_kopecks.to_string()),
        Why::PartOfAHold => refusal(
            Failed,
            "PART_OF_A_HOLD",
            "amount_kopecks",
            "is a part of a hold",
            "the money is only held: it can be let go as a whole",
        ),
        Why::ChargedBack => refusal(
            Failed,
            "CHARGED_BACK",
            "payment_id",
            "was charged back",
            "the customer's bank took this payment back: nothing of it is refunded",
        ),
        Why::RoleMayNot => refusal(
            Denied,
            "ROLE_MAY_NOT_REFUND",
            "actor_role",
            "may not do this",
            "this role may not give so much back: the table refund_limit says who may",
        ),
        Why::SamePerson => refusal(
            Denied,
            "SAME_PERSON",
            "actor",
            "asked for it",
            "whoever asked for a refund cannot approve it: another person must",
        ),
        Why::NotWaiting => {
            refusal(Failed, "NOT_WAITING", "refund_id", "waits for nobody", "this refund waits for no second person")
        }
        Why::NotWithdrawable => refusal(
            Failed,
            "NOT_WITHDRAWABLE",
            "refund_id",
            "was sent, or is over",
            "this refund was sent, or is over: it cannot be taken back",
        ),
    }
}

fn no_trial(why: NoTrial) -> Refusal {
    let (reason, field, message) = match why {
        NoTrial::NotOffered => {
            ("NO_TRIAL", "tariff_id", "the tariff cannot be tried: create a payment without a trial")
        }
        NoTrial::Changed(_) => (
            "TRIAL_CHANGED",
            "trial",
            "the tariff may be tried for other terms now: show those of Tariffs.ListTariffs to the customer, and ask again",
        ),
        NoTrial::Used => (
            "TRIAL_USED",
            "account_id",
            "the account has had its trial: create a payment without one, at the tariff's price",
        ),
    };
    let refusal = Refusal::new(Code::FailedPrecondition, reason, message).field(field, "does not allow it");
    match why {
        NoTrial::Changed(offered) => refusal
            .fact("days", &offered.days.to_string())
            .fact("amount_kopecks", &offered.amount.get().to_string())
            .fact("currency", offered.currency.as_str()),
        NoTrial::NotOffered | NoTrial::Used => refusal,
    }
}

fn token_is_gone(gone: Gone) -> Refusal {
    let (reason, rule) = match gone {
        Gone::OtherEpoch => ("RESUME_TOKEN_OTHER_EPOCH", "was given before the database was restored"),
        Gone::Dropped => ("RESUME_TOKEN_TOO_OLD", "is so old that what came after it is not kept any more"),
        Gone::Ahead => ("RESUME_TOKEN_OTHER_EPOCH", "is ahead of the log"),
    };
    let message = format!("resume_token {rule}: begin without a token, and read anew what you have");
    Refusal::new(Code::OutOfRange, reason, message).field("resume_token", rule)
}

fn invalid(violations: Vec<Violation>) -> Status {
    let rules: Vec<_> = violations.iter().map(|Violation { field, rule }| format!("{field} {rule}")).collect();
    let message = format!("invalid: {}", rules.join("; "));
    violations
        .into_iter()
        .fold(Refusal::new(Code::InvalidArgument, "INVALID_FIELDS", message), |refusal, violation| {
            refusal.field(violation.field, violation.rule)
        })
        .into()
}

fn not_found(resource: Resource, id: &str) -> Status {
    let (reason, name, field, message) = match resource {
        Resource::Account => {
            ("ACCOUNT_NOT_FOUND", "Account", "account_id", "no such account: register it with Access.RegisterAccount")
        }
        Resource::Bill => ("BILL_NOT_FOUND", "Bill", "bill_id", "no such bill"),
        Resource::Refund => ("REFUND_NOT_FOUND", "Refund", "refund_id", "no such refund: check its id"),
        Resource::Reconciliation => {
            ("RECONCILIATION_NOT_FOUND", "ReconciliationRun", "run_id", "no such run: check its id")
        }
        Resource::Difference => {
            ("DIFFERENCE_NOT_FOUND", "Difference", "difference_id", "no such difference: check its id")
        }
        Resource::Tariff => {
            ("TARIFF_NOT_FOUND", "Tariff", "tariff_id", "no such tariff: take one of Tariffs.ListTariffs")
        }
        Resource::Payment => ("PAYMENT_NOT_FOUND", "Payment", "payment_id", "no such payment: check its id"),
    };
    let mut refusal = Refusal::new(Code::NotFound, reason, message).field(field, "does not exist");
    refusal.details.set_resource_info(format!("{DOMAIN}.{name}"), id, "", "does not exist");
    refusal.into()
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Missing => Self::new(
                Code::Unauthenticated,
                "TOKEN_MISSING",
                "no token: send the metadata `authorization: Bearer <token>`",
            ),
            Denied::UnknownToken => Self::new(
                Code::Unauthenticated,
                "TOKEN_UNKNOWN",
                "no client has this token: check it against API_TOKENS",
            ),
            Denied::ExpiredToken { valid_through } => Self::new(
                Code::Unauthenticated,
                "TOKEN_EXPIRED",
                format!("this token was good through {valid_through}: take the new one"),
            ),
            Denied::ServiceTokenOfPage => Self::new(
                Code::Unauthenticated,
                "SERVICE_TOKEN_OF_PAGE",
                "a page must not hold the token of a service, which opens every account: replace that token, and give the \
                 page one of its visitor",
            ),
            Denied::Browser(BadToken::Expired) => {
                Self::new(Code::Unauthenticated, "TOKEN_EXPIRED", "this token has expired: get a new one")
            }
            Denied::Browser(BadToken::Wrong(what)) => {
                Self::new(Code::Unauthenticated, "TOKEN_UNKNOWN", format!("this token {what}"))
            }
            Denied::Scope(scope) => Self::new(
                Code::PermissionDenied,
                "SCOPE_MISSING",
                format!("this token lacks the scope `{scope}`: clients are given it in API_TOKENS"),
            )
            .fact("scope", scope.name()),
        }
    }
}

/// A status under construction.
struct Refusal {
    code: Code,
    reason: &'static str,
    message: String,
    facts: HashMap<String, String>,
    details: ErrorDetails,
}

impl Refusal {
    fn new(code: Code, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), facts: HashMap::new(), details: ErrorDetails::new() }
    }

    /// Blames a field of the request.
    fn field(mut self, field: &str, description: &str) -> Self {
        self.details.add_bad_request_violation(field, description);
        self
    }

    /// Adds to the metadata of `google.rpc.ErrorInfo`.
    fn fact(mut self, key: &str, value: &str) -> Self {
        self.facts.insert(key.into(), value.into());
        self
    }

    /// Says that the same request may succeed later.
    fn retry(self) -> Self {
        self.retry_in(RETRY_AFTER)
    }

    /// Likewise, and when.
    fn retry_in(mut self, after: Duration) -> Self {
        self.details.set_retry_info(Some(after));
        self
    }
}

impl From<Refusal> for Status {
    fn from(mut refusal: Refusal) -> Self {
        refusal.details.set_error_info(refusal.reason, DOMAIN, refusal.facts);
        Self::with_error_details(refusal.code, refusal.message, refusal.details)
    }
}

/// An error with everything that caused it, on one line.
struct Chain<'a>(&'a (dyn Error + 'static));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_inside_is_not_told() {
        let secret = || Box::new(std::io::Error::other("password of postgres://billing@10.0.0.7"));
        for error in [ApiError::Internal(secret()), ApiError::Unavailable(secret())] {
            let status = Status::from(error);
            let everything = format!("{status:?} {}", String::from_utf8_lossy(status.details()));
            assert!(!everything.contains("postgres"), "{everything}");
        }
    }

    #[test]
    fn all_violations_of_a_request_are_named() {
        let status = Status::from(ApiError::Invalid(vec![
            Violation { field: "account_id", rule: "is required" },
            Violation { field: "ip_address", rule: "must be an address" },
        ]));
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "invalid: account_id is required; ip_address must be an address");
        let details = status.get_error_details();
        let fields: Vec<_> = details
            .bad_request()
            .expect("BadRequest")
            .field_violations
            .iter()
            .map(|violation| (violation.field.as_str(), violation.description.as_str()))
            .collect();
        assert_eq!(fields, [("account_id", "is required"), ("ip_address", "must be an address")]);
        assert_eq!(details.error_info().expect("ErrorInfo").reason, "INVALID_FIELDS");
    }
}
