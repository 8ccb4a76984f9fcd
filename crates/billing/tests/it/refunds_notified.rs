//! Refunds of one payment by every way on which the gateway tells of them – response, notification, look – in every order of up
//! to six messages: it ends the same, and each movement counts once.

use billing::notification::{Ids, Notice, NoticeKind};
use billing::payment::PaymentState;
use billing::refund::{RefundOutcome, RefundState};
use billing::store::payments::PaymentView;
use billing::store::refunds::{self, Ask, BeginRefund, GatewayRefund, KnownFrom};
use billing::{Kopecks, RefundId};

use crate::shop::{Shop, took};
use crate::support::{minutes, noon};

/// Of 399.00 we give back 200.00, and somebody in the gateway's cabinet the rest.
const OURS: i64 = 20_000;
const ANOTHERS: i64 = 19_900;

/// One piece of news.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum News {
    /// The response to the charge says that it was taken.
    Taken,
    /// Pay says so.
    Paid,
    /// The response to our refund.
    Given,
    /// Refund tells of ours, in one body or another.
    ToldOurs(i64),
    /// Refund tells of the other, likewise.
    ToldAnothers(i64),
    /// A look meets ours.
    MetOurs,
    /// A look meets the other.
    MetAnothers,
}

struct Told<'a> {
    shop: &'a Shop,
    payment: PaymentView,
    refund: Option<RefundId>,
    /// The gateway's numbers are its own for each payment.
    number: i64,
}

impl Told<'_> {
    fn number_of(&self, news: News) -> i64 {
        match news {
            News::Taken | News::Paid => self.number,
            News::Given | News::ToldOurs(_) | News::MetOurs => self.number + 1,
            News::ToldAnothers(_) | News::MetAnothers => self.number + 2,
        }
    }

    fn notice(&self, news: News, body: i64) -> Notice {
        let is_ours = matches!(news, News::ToldOurs(_));
        let ids = Ids {
            payment_id: Some(self.payment.id.to_string()),
            refund_id: self.refund.filter(|_| is_ours).map(|id| id.to_string()),
            ..Ids::default()
        };
        Notice {
            transaction_id: Some(self.number_of(news)),
            payment_transaction_id: Some(self.number),
            at: Some(noon() + minutes(body)),
            invoice_id: Some(self.payment.invoice_no.to_string()),
            account_id: Some(self.payment.account_id.to_string()),
            ids: is_ours.then_some(ids),
            amount: Some(if is_ours { OURS } else { ANOTHERS }),
            ..Notice::default()
        }
    }

    async fn meets(&self, news: News, amount: i64) {
        let json_data = self.refund.filter(|_| news == News::MetOurs).map(|id| format!(r#"{{"refund_id":"{id}"}}"#));
        let told = GatewayRefund {
            gateway_tx_id: self.number_of(news),
            payment_tx_id: Some(self.number),
            invoice_id: Some(self.payment.invoice_no.to_string()),
            account_id: Some(self.payment.account_id.to_string()),
            json_data,
            amount: Kopecks::new(amount),
        };
        refunds::recognise(&mut *self.shop.conn().await, &told, KnownFrom::Look, noon()).await.unwrap();
    }

    async fn hears(&self, news: News) {
        match news {
            News::Taken => drop(self.shop.apply(self.payment.id, took(&self.payment, self.number), noon()).await),
            News::Paid => {
                let notice = Notice {
                    currency: Some(self.payment.currency.to_string()),
                    amount: Some(self.payment.amount.get()),
                    payment_transaction_id: None,
                    ids: Some(Ids { payment_id: Some(self.payment.id.to_string()), ..Ids::default() }),
                    test_mode: Some(true),
                    status: Some("Completed".into()),
                    ..self.notice(News::Paid, 0)
                };
                self.shop.notify(NoticeKind::Pay, notice).await;
            }
            News::Given => {
                let Some(id) = self.refund else { return };
                let done = RefundOutcome::Done { gateway_tx_id: Some(self.number_of(News::Given)) };
                refunds::apply(&mut *self.shop.conn().await, id, done, None, noon()).await.unwrap();
            }
            News::ToldOurs(body) | News::ToldAnothers(body) => {
                self.shop.notify(NoticeKind::Refund, self.notice(news, body)).await;
            }
            News::MetOurs => self.meets(news, OURS).await,
            News::MetAnothers => self.meets(news, ANOTHERS).await,
        }
    }

    /// All that must be the same in the end.
    async fn facts(&self) -> String {
        let (id, bill) = (self.payment.id, self.payment.bill_id);
        let refunds = format!(
            "select json_agg(json_build_array(state, source, amount, gateway_tx_id - {}) order by amount) from refund \
             where payment_id = '{id}'",
            self.number
        );
        let entered = format!(
            "select json_object_agg(account, sum order by account) from (select account, sum(amount) from journal_line l \
             join journal_entry e on e.id = l.entry_id where e.payment_id = '{id}' group by account having sum(amount) <> 0) balances"
        );
        let told = format!(
            "select json_agg(json_build_array(kind, detail->>'amount') order by kind, detail->>'amount') from event \
             where kind in ('payment_succeeded', 'refund_succeeded') and payment_id = '{id}'"
        );
        let mut facts = Vec::new();
        for select in [
            format!("select state from payment where id = '{id}'"),
            format!("select status from bill where id = '{bill}'"),
            refunds,
            entered,
            told,
        ] {
            facts.push(self.shop.text(&select).await.unwrap_or_default());
        }
        facts.join(" ")
    }
}

/// Every order of all of these, and of up to three of them: what was lost comes by a look. Copies of one notification keep
/// their order: they are the same.
fn orders(of: &[News]) -> Vec<Vec<News>> {
    let mut all: Vec<Vec<News>> = vec![Vec::new()];
    let mut ends = all.clone();
    for _ in of {
        ends = ends.iter().flat_map(|begun| of.iter().map(|next| [&begun[..], &[*next]].concat())).collect();
        ends.retain(|order| {
            let (last, before) = order.split_last().expect("one was added");
            let heard = |news: &News| before.iter().filter(|earlier| *earlier == news).count();
            let first_copy_came = match last {
                News::ToldOurs(2) => heard(&News::ToldOurs(1)) > 0,
                News::ToldAnothers(2) => heard(&News::ToldAnothers(1)) > 0,
                _ => true,
            };
            first_copy_came && heard(last) < of.iter().filter(|one| *one == last).count()
        });
        ends.sort();
        ends.dedup();
        all.extend(ends.iter().cloned());
    }
    all.retain(|order| order.len() <= 3 || order.len() == of.len());
    all
}

async fn sent(shop: &Shop) -> PaymentView {
    let payment = shop.created().await;
    shop.send(payment.id, noon()).await;
    payment
}

/// Our refund is on its way, and another is made in the cabinet.
#[tokio::test(flavor = "multi_thread")]
async fn a_refund_of_ours_beside_one_of_the_cabinet_ends_the_same_in_every_order() {
    const NEWS: [News; 6] = [
        News::Given,
        News::ToldOurs(1),
        News::ToldOurs(2),
        News::ToldAnothers(1),
        News::ToldAnothers(2),
        News::MetOurs,
    ];
    let shop = Shop::open().await;
    let expected = std::sync::OnceLock::new();
    for news in orders(&NEWS) {
        let payment = sent(&shop).await;
        let number = payment.invoice_no * 10;
        shop.apply(payment.id, took(&payment, number), noon()).await;
        let ask = Ask {
            payment_id: payment.id,
            amount: Some(Kopecks::new(OURS)),
            effect: None,
            reason: "the film did not start".into(),
            who: "anna".into(),
            role: "accountant".into(),
            client: "panel".into(),
            idempotency_key: payment.id.to_string(),
            now: noon(),
        };
        let mut conn = shop.conn().await;
        let refund = refunds::request(&mut conn, &ask).await.unwrap().refund;
        let begun = refunds::begin(&mut conn, refund.id, noon(), noon()).await.unwrap();
        assert!(matches!(begun, BeginRefund::Send(_)), "{begun:?}");
        drop(conn);
        let told = Told { shop: &shop, payment, refund: Some(refund.id), number };
        for news in news.iter().copied().chain([News::MetOurs, News::MetAnothers]) {
            told.hears(news).await;
        }
        let facts = told.facts().await;
        assert_eq!(facts, *expected.get_or_init(|| facts.clone()), "{news:?}");
    }
    assert!(expected.get().expect("a case").starts_with("succeeded Refunded"), "{expected:?}");
}

/// Nothing is known yet of the payment itself when the cabinet's refund is told of, or everything.
#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_is_known_before_its_payment_ends_as_one_that_comes_after_it() {
    const NEWS: [News; 6] =
        [News::Taken, News::Paid, News::ToldAnothers(1), News::ToldAnothers(2), News::MetAnothers, News::Paid];
    let shop = Shop::open().await;
    let expected = std::sync::OnceLock::new();
    for news in orders(&NEWS) {
        let payment = sent(&shop).await;
        let number = payment.invoice_no * 10;
        let told = Told { shop: &shop, payment, refund: None, number };
        for news in news.iter().copied().chain([News::Taken, News::MetAnothers]) {
            told.hears(news).await;
        }
        assert_eq!(shop.state(told.payment.id).await, PaymentState::Succeeded, "{news:?}");
        let facts = told.facts().await;
        assert_eq!(facts, *expected.get_or_init(|| facts.clone()), "{news:?}");
    }
    let expected = expected.get().expect("a case");
    assert!(expected.contains(RefundState::Succeeded.as_str()), "{expected}");
}
