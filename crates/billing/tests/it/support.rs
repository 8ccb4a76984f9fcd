//! What the tests share.

use chrono::{DateTime, Duration, Utc};

/// `2026-01-31T12:00:00Z` and the like.
pub(crate) fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("an RFC 3339 time")
}

/// Where most tests begin: noon in Moscow.
pub(crate) fn noon() -> DateTime<Utc> {
    at("2026-03-10T09:00:00Z")
}

pub(crate) fn hours(n: i64) -> Duration {
    Duration::hours(n)
}

pub(crate) fn minutes(n: i64) -> Duration {
    Duration::minutes(n)
}

pub(crate) mod sample {
    use billing::payment::{Instrument, Outcome, OutcomeKind, Payment, PaymentState, ThreeDs};
    use billing::{BillId, Currency, Kopecks, PaymentId};

    use super::{minutes, noon};

    pub(crate) const PRICE: Kopecks = Kopecks::new(39_900);
    pub(crate) const TRANSACTION: i64 = 1_001;

    /// An attempt that has come to `state` in the plainest way.
    pub(crate) fn payment(state: PaymentState) -> Payment {
        let sent = !matches!(state, PaymentState::Created);
        let on_the_page = matches!(state, PaymentState::AwaitingThreeDs | PaymentState::PostingThreeDs);
        Payment {
            id: PaymentId::new(),
            bill_id: BillId::new(),
            state,
            instrument: Instrument::Cryptogram,
            amount: PRICE,
            currency: Currency::RUB,
            owed: true,
            verifies: false,
            trial_refused: None,
            transaction_id: (on_the_page || state.is_success()).then_some(TRANSACTION),
            sends: i32::from(sent),
            first_sent_at: sent.then(noon),
            last_sent_at: sent.then(noon),
            posts: i32::from(state == PaymentState::PostingThreeDs),
            three_ds: on_the_page.then(three_ds),
            decline: None,
            look_again_at: (state == PaymentState::Unknown).then(|| noon() + minutes(1)),
            absent_at: (state == PaymentState::Unknown).then(noon),
            card: None,
            info: None,
            finished_at: (!state.is_live()).then(noon),
        }
    }

    pub(crate) fn three_ds() -> ThreeDs {
        ThreeDs {
            acs_url: "https://acs.example/page".into(),
            pa_req: "cGFyZXE=".into(),
            expires_at: noon() + minutes(30),
        }
    }

    /// An outcome of that kind which fits [`payment`].
    pub(crate) fn outcome(kind: OutcomeKind) -> Outcome {
        let look_again_at = noon() + minutes(6);
        match kind {
            OutcomeKind::Completed => completed(TRANSACTION),
            OutcomeKind::Refunded => Outcome::Refunded {
                transaction_id: TRANSACTION,
                token: None,
                amount: PRICE,
                currency: Currency::RUB,
                card: None,
                whole: true,
            },
            OutcomeKind::OnlyTest => Outcome::OnlyTest { transaction_id: TRANSACTION },
            OutcomeKind::Disputed => Outcome::Disputed { why: "the transaction is another payment's".into() },
            OutcomeKind::Authorized => Outcome::Authorized {
                transaction_id: TRANSACTION,
                token: None,
                amount: PRICE,
                currency: Currency::RUB,
                card: None,
            },
            OutcomeKind::ThreeDsRequired => {
                let asked = three_ds();
                Outcome::ThreeDsRequired {
                    transaction_id: TRANSACTION,
                    acs_url: asked.acs_url,
                    pa_req: asked.pa_req,
                    expires_at: asked.expires_at,
                }
            }
            OutcomeKind::Declined => declined(5051),
            OutcomeKind::Rejected => Outcome::Rejected { message: "Amount is required".into() },
            OutcomeKind::NotSent => Outcome::NotSent { why: "429".into(), retry_after: None },
            OutcomeKind::Unknown => Outcome::Unknown { why: "no answer".into(), look_again_at },
            OutcomeKind::NotFound => Outcome::NotFound { absent: false, look_again_at },
            OutcomeKind::AwaitingAuthentication => {
                Outcome::AwaitingAuthentication { transaction_id: TRANSACTION, look_again_at }
            }
            OutcomeKind::NeverAuthenticated => Outcome::NeverAuthenticated { transaction_id: TRANSACTION },
            OutcomeKind::Expired => Outcome::Expired,
            OutcomeKind::NotExecuted => Outcome::NotExecuted,
            OutcomeKind::FoundNowhere => Outcome::FoundNowhere { why: "shown nowhere".into() },
            OutcomeKind::Withdrawn => Outcome::Withdrawn { why: "superseded".into() },
            OutcomeKind::Voided => Outcome::Voided,
        }
    }

    pub(crate) fn completed(transaction_id: i64) -> Outcome {
        Outcome::Completed {
            transaction_id,
            token: Some("tk_0001".into()),
            amount: PRICE,
            currency: Currency::RUB,
            card: None,
        }
    }

    pub(crate) fn declined(code: i32) -> Outcome {
        Outcome::Declined {
            transaction_id: Some(TRANSACTION),
            code,
            reason: "InsufficientFunds".into(),
            cardholder_message: "Недостаточно средств на карте".into(),
            retry_after: None,
        }
    }

    pub(crate) const KINDS: [OutcomeKind; 18] = [
        OutcomeKind::Completed,
        OutcomeKind::Refunded,
        OutcomeKind::Authorized,
        OutcomeKind::ThreeDsRequired,
        OutcomeKind::Declined,
        OutcomeKind::Rejected,
        OutcomeKind::OnlyTest,
        OutcomeKind::Disputed,
        OutcomeKind::NotSent,
        OutcomeKind::Unknown,
        OutcomeKind::NotFound,
        OutcomeKind::AwaitingAuthentication,
        OutcomeKind::NeverAuthenticated,
        OutcomeKind::Expired,
        OutcomeKind::NotExecuted,
        OutcomeKind::FoundNowhere,
        OutcomeKind::Withdrawn,
        OutcomeKind::Voided,
    ];
}
