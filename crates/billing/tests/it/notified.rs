//! The same news by three ways – response, notification, look – in every order: it ends the same, and has its effect once.

use billing::notification::{Ids, Notice, NoticeKind, Plan, plan};
use billing::payment::identity::{Identity, Terminal};
use billing::payment::{Outcome, Payment, PaymentState};
use billing::store::notifications::{self, NoticeKey, Received, Rules};
use billing::{AccountId, Currency};
use chrono_tz::Tz;

use crate::shop::Shop;
use crate::support::sample::{self, PRICE};
use crate::support::{minutes, noon};

/// One piece of news about the payment.
#[derive(Debug, Clone, Copy)]
enum News {
    Response(What),
    Told(NoticeKind, What),
    /// The gateway is asked, if there is doubt.
    Look,
}

/// What the gateway has done, by the number of its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Took(i64),
    Holds(i64),
    Refused(i64),
    LetGo(i64),
    /// It does not say, or says it in words that nobody knows.
    Something(i64),
}

struct Case {
    name: &'static str,
    news: [News; 6],
    /// What a look finds.
    truth: What,
    ends: PaymentState,
}

const CASES: [Case; 6] = {
    use NoticeKind::{Cancel, Confirm, Fail, Pay};
    use What::{Holds, LetGo, Refused, Something, Took};
    [
        Case {
            name: "taken by the second bank",
            news: [
                News::Response(Took(2)),
                News::Told(Fail, Refused(1)),
                News::Told(Pay, Took(2)),
                News::Told(Pay, Took(2)),
                News::Told(Fail, Refused(1)),
                News::Look,
            ],
            truth: Took(2),
            ends: PaymentState::Succeeded,
        },
        Case {
            name: "taken, and the response is lost",
            news: [
                News::Look,
                News::Told(Pay, Something(1)),
                News::Told(Fail, Refused(7)),
                News::Told(Pay, Took(1)),
                News::Told(Confirm, Took(1)),
                News::Look,
            ],
            truth: Took(1),
            ends: PaymentState::Succeeded,
        },
        Case {
            name: "refused",
            news: [
                News::Response(Refused(1)),
                News::Told(Fail, Refused(1)),
                News::Told(Fail, Refused(1)),
                News::Told(Pay, Something(1)),
                News::Look,
                News::Look,
            ],
            truth: Refused(1),
            ends: PaymentState::Declined,
        },
        Case {
            name: "held and confirmed",
            news: [
                News::Response(Holds(1)),
                News::Told(Pay, Holds(1)),
                News::Told(Confirm, Took(1)),
                News::Told(Pay, Holds(1)),
                News::Told(Confirm, Took(1)),
                News::Look,
            ],
            truth: Took(1),
            ends: PaymentState::Succeeded,
        },
        Case {
            name: "held and let go",
            news: [
                News::Response(Holds(1)),
                News::Told(Pay, Holds(1)),
                News::Told(Cancel, LetGo(1)),
                News::Told(Pay, Holds(1)),
                News::Told(Cancel, LetGo(1)),
                News::Look,
            ],
            truth: LetGo(1),
            ends: PaymentState::Voided,
        },
        Case {
            name: "taken twice",
            news: [
                News::Response(Took(1)),
                News::Told(Pay, Took(1)),
                News::Told(Pay, Took(2)),
                News::Told(Pay, Took(2)),
                News::Told(Fail, Refused(3)),
                News::Look,
            ],
            truth: Took(1),
            ends: PaymentState::Succeeded,
        },
    ]
};

impl What {
    fn outcome(self) -> Outcome {
        match self {
            Self::Took(transaction_id) => Outcome::Completed {
                transaction_id,
                token: Some("tk_0001".into()),
                amount: PRICE,
                currency: Currency::RUB,
                card: None,
            },
            Self::Holds(transaction_id) => {
                Outcome::Authorized { transaction_id, token: None, amount: PRICE, currency: Currency::RUB, card: None }
            }
            Self::Refused(transaction_id) => Outcome::Declined {
                transaction_id: Some(transaction_id),
                code: 5051,
                reason: "InsufficientFunds".into(),
                cardholder_message: String::new(),
                retry_after: None,
            },
            Self::LetGo(_) => Outcome::Voided,
            Self::Something(_) => doubt(),
        }
    }

    fn notice(self, ours: &Identity) -> Notice {
        let (number, status) = match self {
            Self::Took(number) => (number, Some("Completed")),
            Self::Holds(number) => (number, Some("Authorized")),
            Self::Something(number) => (number, Some("Settling")),
            Self::Refused(number) | Self::LetGo(number) => (number, None),
        };
        Notice {
            transaction_id: Some(number),
            invoice_id: Some(ours.invoice_no.to_string()),
            account_id: Some(ours.account_id.to_string()),
            ids: Some(Ids { payment_id: Some(ours.payment_id.to_string()), ..Ids::default() }),
            amount: Some(ours.amount.get()),
            currency: Some(ours.currency.to_string()),
            test_mode: Some(true),
            status: status.map(str::to_owned),
            reason_code: matches!(self, Self::Refused(_)).then_some(5051),
            ..Notice::default()
        }
    }
}

fn doubt() -> Outcome {
    Outcome::Unknown { why: "no response".into(), look_again_at: noon() + minutes(1) }
}

/// What a look may be about.
const IN_DOUBT: [PaymentState; 2] = [PaymentState::Unknown, PaymentState::Authorized];

/// Every order of `items`, and of every part of them: some news are lost.
fn orders(items: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for (at, first) in items.iter().enumerate() {
        let rest: Vec<usize> = items.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, item)| *item).collect();
        all.extend(orders(&rest).into_iter().map(|rest| [vec![*first], rest].concat()));
    }
    all
}

fn pure(payment: Payment, news: News, truth: What, ours: &Identity) -> Payment {
    let now = noon();
    match news {
        News::Response(what) => payment.apply(what.outcome(), now).unwrap(),
        News::Look if IN_DOUBT.contains(&payment.state) => payment.apply(truth.outcome(), now).unwrap(),
        News::Look => payment,
        News::Told(kind, what) => match plan(kind, &what.notice(ours), Some((&payment, ours))) {
            Plan::Take { outcome, .. } => payment.apply(outcome, now).unwrap(),
            Plan::Look { .. } if payment.state == PaymentState::Sending => payment.apply(doubt(), now).unwrap(),
            _ => payment,
        },
    }
}

/// 1,957 orders of each.
#[test]
fn in_every_order_and_whatever_is_lost_an_attempt_comes_to_the_same_end() {
    for case in CASES {
        for order in orders(&[0, 1, 2, 3, 4, 5]) {
            let mut payment = sample::payment(PaymentState::Sending);
            let ours = Identity {
                payment_id: payment.id,
                account_id: AccountId::new(),
                invoice_no: 1_000_042,
                amount: PRICE,
                currency: Currency::RUB,
                terminal: Terminal::Test,
            };
            for at in &order {
                payment = pure(payment, case.news[*at], case.truth, &ours);
            }
            if payment.state == PaymentState::Sending {
                // Its sender is gone.
                payment = payment.apply(doubt(), noon()).unwrap();
            }
            let payment = pure(payment, News::Look, case.truth, &ours);
            assert_eq!(payment.state, case.ends, "{}: {order:?}", case.name);
        }
    }
}

/// Likewise in the rows: what is paid, granted, told and entered is the same, once.
#[tokio::test(flavor = "multi_thread")]
async fn in_whatever_order_the_rows_come_to_the_same_and_every_effect_is_one() {
    let shop = Shop::open().await;
    for case in CASES {
        let complete = orders(&[0, 1, 2, 3, 4, 5]).into_iter().filter(|order| order.len() == 6);
        let mut ends: Option<String> = None;
        for order in complete.step_by(41) {
            let facts = shop.tell(&case, &order).await;
            let expected = ends.get_or_insert_with(|| facts.clone());
            assert_eq!(facts, *expected, "{}: {order:?}", case.name);
        }
        let facts = ends.unwrap();
        assert!(facts.contains(case.ends.as_str()), "{}: {facts}", case.name);
    }
}

impl Shop {
    /// Tells the news in this order to a payment that is on its way, and returns what has come of it.
    async fn tell(&self, case: &Case, order: &[usize]) -> String {
        let payment = self.created().await;
        self.send(payment.id, noon()).await;
        let ours = payment.identity(Terminal::Test);
        // The gateway's numbers are its own for each payment.
        let numbered = |what: What| what.beside(payment.invoice_no * 10);
        for at in order.iter().copied().chain([usize::MAX]) {
            match case.news.get(at).copied().unwrap_or(News::Look) {
                News::Response(what) => drop(self.apply(payment.id, numbered(what).outcome(), noon()).await),
                News::Look => {
                    if IN_DOUBT.contains(&self.state(payment.id).await) {
                        self.apply(payment.id, numbered(case.truth).outcome(), noon()).await;
                    }
                }
                News::Told(kind, what) => self.notify(kind, numbered(what).notice(&ours)).await,
            }
        }
        let of_bill = format!("from payment where bill_id = '{}'", payment.bill_id);
        let states = self.text(&format!("select json_agg(state order by state) {of_bill}")).await;
        let numbers =
            self.text(&format!("select json_agg(transaction_id % 10 order by transaction_id) {of_bill}")).await;
        let bill = self.text(&format!("select status from bill where id = '{}'", payment.bill_id)).await;
        let account = self
            .text(&format!(
                "select json_build_array(status, paid_until, payment_token is not null) from account where id = '{}'",
                payment.account_id
            ))
            .await;
        let told = self
            .text(&format!(
                "select json_agg(kind order by kind) from event where is_public and kind <> 'needs_attention' \
                 and account_id = '{}'",
                payment.account_id
            ))
            .await;
        let entered = self
            .text(&format!(
                "select json_agg(kind order by kind) from journal_entry where bill_id = '{}'",
                payment.bill_id
            ))
            .await;
        format!("{states:?} {numbers:?} {bill:?} {account:?} {told:?} {entered:?}")
    }

    pub(crate) async fn notify(&self, kind: NoticeKind, notice: Notice) {
        let digest = format!("{kind} {notice:?}");
        let mut body_sha256 = [0_u8; 32];
        for (at, byte) in digest.bytes().enumerate() {
            body_sha256[at % 32] = body_sha256[at % 32].wrapping_mul(31).wrapping_add(byte);
        }
        let gateway_id = notice.transaction_id.unwrap_or_default().to_string();
        let is_money = matches!(kind, NoticeKind::Pay | NoticeKind::Confirm);
        let received = Received {
            key: NoticeKey { kind, gateway_id, body_sha256 },
            notice,
            token: is_money.then(|| "tk_0001".into()),
        };
        let rules = Rules { terminal: Terminal::Test, patience: minutes(1), zone: Tz::Europe__Moscow };
        let mut conn = self.conn().await;
        if notifications::receive(&mut conn, &received, &self.cipher, noon()).await.unwrap() {
            notifications::act(&mut conn, &received.key, rules, &self.cipher, noon()).await.unwrap();
        }
    }
}

impl What {
    /// The same with other numbers.
    fn beside(self, first: i64) -> Self {
        match self {
            Self::Took(number) => Self::Took(first + number),
            Self::Holds(number) => Self::Holds(first + number),
            Self::Refused(number) => Self::Refused(first + number),
            Self::LetGo(number) => Self::LetGo(first + number),
            Self::Something(number) => Self::Something(first + number),
        }
    }
}
