//! Receipts: which are due, which are missing, and what is done about one that comes too late.

use billing::ledger::SaleTerms;
use billing::notification::{Fiscal, Notice, NoticeKind};
use billing::payment::identity::Terminal;
use billing::receipt::{OrderOutcome, OrderState, ReceiptKind};
use billing::refund::AccessEffect;
use billing::resolve::ResolvePolicy;
use billing::store::gateway_calls::{CallOutcome, Ended};
use billing::store::notifications::{self, NoticeKey, Received, Rules};
use billing::store::payments::PaymentView;
use billing::store::receipts::{self, BeginOrder, RegisterOrder};
use billing::store::refunds::{self, Ask, GatewayRefund, KnownFrom};
use billing::{Kopecks, PaymentId, ReceiptId};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use crate::shop::{Shop, refused, took};
use crate::support::{hours, minutes, noon};

impl Shop {
    /// A payment that asks for a receipt, taken at noon.
    async fn sold(&self, transaction_id: i64) -> PaymentView {
        let payment = self.created().await;
        self.asks_for_a_receipt(payment.id).await;
        self.charge(payment.id, took(&payment, transaction_id), noon()).await.payment
    }

    async fn asks_for_a_receipt(&self, id: PaymentId) {
        let mut conn = self.conn().await;
        let sale = receipts::sale(&mut conn, id, noon()).await.unwrap().expect("it sells");
        receipts::keep(&mut conn, &sale, &"receipt".into(), &self.cipher, noon()).await.unwrap();
    }

    /// The register tells of a receipt.
    async fn made(&self, payment: &PaymentView, document: &str, kind: &str, kopecks: i64, now: DateTime<Utc>) {
        let notice = Notice {
            invoice_id: Some(payment.invoice_no.to_string()),
            amount: Some(kopecks),
            at: Some(now),
            fiscal: Some(Fiscal { receipt_type: Some(kind.into()), ..Fiscal::default() }),
            ..Notice::default()
        };
        let key = NoticeKey { kind: NoticeKind::Receipt, gateway_id: document.into(), body_sha256: [3; 32] };
        let received = Received { key: key.clone(), notice, token: None };
        let rules = Rules { terminal: Terminal::Live, patience: minutes(1), zone: Tz::Europe__Moscow };
        let mut conn = self.conn().await;
        notifications::receive(&mut conn, &received, &self.cipher, now).await.unwrap();
        notifications::act(&mut conn, &key, rules, &self.cipher, now).await.unwrap();
    }

    async fn missing(&self, now: DateTime<Utc>) -> Vec<ReceiptId> {
        let missing = receipts::list_missing(&mut *self.conn().await, now, 10).await.unwrap();
        missing.into_iter().map(|missing| missing.id).collect()
    }

    async fn tells_missing(&self, now: DateTime<Utc>) -> Vec<PaymentId> {
        receipts::tell_missing(&mut *self.conn().await, now, 10).await.unwrap()
    }

    async fn order_missing(&self, id: PaymentId, now: DateTime<Utc>) -> Vec<ReceiptId> {
        receipts::order_missing(&mut *self.conn().await, id, "anna", now).await.unwrap()
    }

    async fn begin_receipt(&self, id: ReceiptId, now: DateTime<Utc>) -> BeginOrder {
        let mut conn = self.conn().await;
        if let Some(sale) = receipts::sale_ordered(&mut conn, id).await.unwrap() {
            receipts::keep(&mut conn, &sale, &"anna@example.com".into(), &self.cipher, now).await.unwrap();
        }
        let policy = ResolvePolicy::default();
        receipts::begin_order(&mut conn, id, &self.cipher, &policy, now - minutes(5), now).await.unwrap()
    }

    async fn send_receipt(&self, id: ReceiptId, now: DateTime<Utc>) -> RegisterOrder {
        match self.begin_receipt(id, now).await {
            BeginOrder::Send(order) => *order,
            other => panic!("{other:?}"),
        }
    }

    async fn register_says(&self, order: &RegisterOrder, outcome: OrderOutcome, now: DateTime<Utc>) -> OrderState {
        let ended =
            Ended { call: order.call, outcome: CallOutcome::Ok, http_status: None, request: None, response: None };
        let mut conn = self.conn().await;
        let applied = receipts::apply_order(&mut conn, order.receipt_id, outcome, &ended, now).await.unwrap();
        applied.expect("there is such an order").state
    }

    /// Return receipts that were ordered and wait to be sent, and over how much.
    async fn returns_ordered(&self) -> Vec<(ReceiptId, i64)> {
        let due =
            receipts::due_orders(&mut *self.conn().await, noon() + hours(99), noon() + hours(99), 10).await.unwrap();
        let mut found = Vec::new();
        for order in due {
            let sale = receipts::sale_ordered(&mut *self.conn().await, order.id).await.unwrap().expect("not sent");
            assert_eq!(sale.kind, ReceiptKind::IncomeReturn);
            found.push((order.id, sale.amount.get()));
        }
        found
    }
}

fn queued(document: &str) -> OrderOutcome {
    OrderOutcome::Queued { document: document.into() }
}

#[tokio::test]
async fn a_receipt_that_is_not_made_within_an_hour_is_told_once_for_its_payment() {
    let shop = Shop::open().await;
    let paid = shop.sold(1).await;
    let declined = shop.created().await;
    shop.asks_for_a_receipt(declined.id).await;
    shop.charge(declined.id, refused(5051), noon()).await;
    assert_eq!(shop.missing(noon() + minutes(59)).await, []);
    assert_eq!(shop.missing(noon() + minutes(61)).await, [paid.id.into()], "what took no money has none");
    assert_eq!(shop.tells_missing(noon() + minutes(61)).await, [paid.id]);
    assert_eq!(shop.tells_missing(noon() + minutes(62)).await, []);
    assert_eq!(shop.count("event where kind = 'needs_attention'").await, 1);
    shop.made(&paid, "rc-1", "Income", paid.amount.get(), noon() + minutes(90)).await;
    assert_eq!(shop.missing(noon() + hours(9)).await, []);
    assert_eq!(shop.returns_ordered().await, [], "late, and the only one");
    assert_eq!(shop.count("event where kind = 'receipt_issued' and is_public").await, 1);
}

#[tokio::test]
async fn what_is_missing_is_ordered_once_and_the_register_is_asked_by_the_same_id() {
    let shop = Shop::open().await;
    let paid = shop.sold(1).await;
    assert_eq!(shop.order_missing(paid.id, noon() + minutes(30)).await, [], "it may still come by itself");
    let later = noon() + hours(2);
    let [ordered] = shop.order_missing(paid.id, later).await[..] else { panic!("one") };
    assert_eq!(shop.order_missing(paid.id, later).await, [], "it was ordered");

    let first = shop.send_receipt(ordered, later).await;
    let doubt = OrderOutcome::Unknown { why: "no answer in time".into(), again_at: later + minutes(1) };
    assert_eq!(shop.register_says(&first, doubt, later).await, OrderState::Unknown);
    let early = shop.begin_receipt(ordered, later + minutes(2)).await;
    assert!(matches!(early, BeginOrder::NotNow(OrderState::Unknown)), "{early:?}");
    let again = shop.send_receipt(ordered, later + minutes(7)).await;
    assert_eq!((&again.request_id, again.resend_no), (&first.request_id, 2));
    assert_eq!(shop.count("receipt where sealed is not null").await, 1);
    assert_eq!(shop.register_says(&again, queued("rc-7"), later + minutes(7)).await, OrderState::Queued);
    assert_eq!(shop.count("receipt where sealed is not null").await, 0, "wiped at its end");
    shop.made(&paid, "rc-7", "Income", paid.amount.get(), later + minutes(8)).await;
    assert_eq!(shop.missing(later + hours(9)).await, []);
    assert_eq!(shop.returns_ordered().await, []);
}

#[tokio::test]
async fn an_order_that_the_register_never_answers_ends_and_may_be_made_again() {
    let shop = Shop::open().await;
    let paid = shop.sold(1).await;
    let later = noon() + hours(2);
    let [ordered] = shop.order_missing(paid.id, later).await[..] else { panic!("one") };
    // Its sender dies.
    shop.send_receipt(ordered, later).await;
    let begun = shop.begin_receipt(ordered, later + minutes(1)).await;
    assert!(matches!(begun, BeginOrder::NotNow(OrderState::Sending)), "{begun:?}");
    shop.send_receipt(ordered, later + minutes(6)).await;
    let begun = shop.begin_receipt(ordered, later + minutes(51)).await;
    assert!(matches!(begun, BeginOrder::NotNow(OrderState::Failed)), "{begun:?}");
    assert_eq!(shop.count("event where kind = 'needs_attention'").await, 1);
    assert_eq!(shop.order_missing(paid.id, later + minutes(52)).await.len(), 1);
}

#[tokio::test]
async fn one_that_comes_after_another_was_made_in_its_place_is_taken_back() {
    let shop = Shop::open().await;
    let paid = shop.sold(1).await;
    let later = noon() + hours(2);
    let [ordered] = shop.order_missing(paid.id, later).await[..] else { panic!("one") };
    let order = shop.send_receipt(ordered, later).await;
    shop.register_says(&order, queued("rc-2"), later).await;
    shop.made(&paid, "rc-2", "Income", paid.amount.get(), later).await;
    assert_eq!(shop.returns_ordered().await, []);
    shop.made(&paid, "rc-1", "Income", paid.amount.get(), later + minutes(1)).await;
    let [(id, amount)] = shop.returns_ordered().await[..] else { panic!("one") };
    assert_eq!(amount, paid.amount.get());
    // Told again in another body, it is known.
    shop.made(&paid, "rc-1", "Income", paid.amount.get(), later + minutes(2)).await;
    assert_eq!(shop.returns_ordered().await.len(), 1);
    let order = shop.send_receipt(id, later + minutes(3)).await;
    assert_eq!(order.kind, ReceiptKind::IncomeReturn);
    shop.register_says(&order, queued("rc-3"), later + minutes(3)).await;
    shop.made(&paid, "rc-3", "IncomeReturn", paid.amount.get(), later + minutes(4)).await;
    assert_eq!(shop.missing(later + hours(9)).await, []);
}

#[tokio::test]
async fn one_that_comes_after_the_money_went_back_in_the_cabinet_is_taken_back_by_as_much() {
    let shop = Shop::open().await;
    let paid = shop.sold(1).await;
    let told = GatewayRefund {
        gateway_tx_id: 90,
        payment_tx_id: paid.transaction_id,
        invoice_id: Some(paid.invoice_no.to_string()),
        account_id: Some(paid.account_id.to_string()),
        json_data: None,
        amount: Kopecks::new(10_001),
    };
    let at = noon() + minutes(10);
    refunds::recognise(&mut *shop.conn().await, &told, KnownFrom::Notification, at).await.unwrap();
    assert_eq!(shop.missing(noon() + hours(2)).await.len(), 2, "that of the sale, and one that nobody asked for");
    shop.made(&paid, "rc-1", "Income", paid.amount.get(), noon() + hours(2)).await;
    let ordered: Vec<i64> = shop.returns_ordered().await.into_iter().map(|(_, amount)| amount).collect();
    assert_eq!(ordered, [10_001], "to the kopeck");
}

#[tokio::test]
async fn a_refund_has_a_receipt_of_its_own_by_the_terms_of_the_sale() {
    let shop = Shop::open().await;
    shop.sql("insert into tariff_vat select id, '2020-01-01', 20, now(), 'anna', 4, 4 from tariff").await.unwrap();
    let paid = shop.sold(1).await;
    let raised = noon() + minutes(1);
    let text = format!("insert into tariff_vat select id, '{raised}', 22, now(), 'anna', 4, 4 from tariff");
    shop.sql(&text).await.unwrap();
    let ask = Ask {
        payment_id: paid.id,
        amount: Some(Kopecks::new(12_345)),
        effect: Some(AccessEffect::Keep),
        reason: "the film did not start".into(),
        who: "anna".into(),
        role: "accountant".into(),
        client: "panel".into(),
        idempotency_key: "1".into(),
        now: noon() + minutes(5),
    };
    let mut conn = shop.conn().await;
    let refund = refunds::request(&mut conn, &ask).await.unwrap().refund;
    let sale = receipts::sale_returned(&mut conn, refund.id).await.unwrap().expect("it gives back");
    assert_eq!((sale.kind, sale.amount.get()), (ReceiptKind::IncomeReturn, 12_345));
    let percent = |terms: SaleTerms| terms.vat.map(billing::ledger::VatRate::get);
    assert_eq!(percent(sale.terms), Some(20), "what was sold with 20 % goes back with 20 %");
    receipts::keep(&mut conn, &sale, &"anna@example.com".into(), &shop.cipher, noon()).await.unwrap();
    assert_eq!(receipts::sale_returned(&mut conn, refund.id).await.unwrap(), None, "once");
    refunds::withdraw(&mut conn, refund.id, "anna", noon() + minutes(6)).await.unwrap();
    drop(conn);
    assert_eq!(shop.count("receipt where sealed is not null").await, 0, "wiped at its end");
    assert_eq!(shop.missing(noon() + hours(9)).await, [paid.id.into()], "nothing went back");
}
