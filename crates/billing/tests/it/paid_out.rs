//! The ledger beside the gateway's list: what was paid out is entered once, and each day comes to the same on both sides.

use billing::Kopecks;
use billing::reconciliation::{DifferenceKind, DifferenceState, Listed, ListedOperation as Operation, Range};
use billing::store::reconciliation::Filter;
use billing::store::refunds::{self, GatewayRefund, KnownFrom, Recognised};
use chrono::NaiveDate;

use crate::reconciling::{listed, stray};
use crate::shop::Shop;
use crate::support::{hours, minutes, noon};

/// The whole day in Moscow on which it is noon.
fn the_day() -> Range {
    Range::of_day("2026-03-10".parse().expect("a day"))
}

fn paid_out(on: &str, kopecks: i64, row: Listed) -> Listed {
    Listed { payout_on: Some(on.parse::<NaiveDate>().expect("a day")), payout_amount: Some(kopecks), ..row }
}

impl Shop {
    async fn comes_to(&self, account: &str) -> i64 {
        let sum = format!("select coalesce(sum(amount), 0) from journal_line where account = '{account}'");
        self.text(&sum).await.expect("a sum").parse().expect("a number")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_has_paid_out_is_entered_once_by_its_date_and_amount() {
    let shop = Shop::open().await;
    let payment = shop.has_paid(1).await;
    let gone_back = GatewayRefund {
        gateway_tx_id: 6,
        payment_tx_id: Some(1),
        invoice_id: None,
        account_id: None,
        json_data: None,
        amount: Kopecks::new(10_000),
    };
    let at = noon() + minutes(1);
    refunds::recognise(&mut *shop.conn().await, &gone_back, KnownFrom::Notification, at).await.unwrap();
    let refund = Listed {
        operation: Operation::Refund,
        original_id: Some(1),
        amount: Some(10_000),
        created_at: at,
        ..listed(&payment, 6)
    };
    let before = [listed(&payment, 1), refund.clone()];
    shop.reconciled(the_day(), &before, noon() + hours(24)).await;
    assert_eq!((shop.comes_to("gateway_clearing").await, shop.comes_to("bank").await), (29_900, 0), "not paid out yet");

    // The list writes the amount of a refund without a sign.
    let list = [paid_out("2026-03-12", 38_703, listed(&payment, 1)), paid_out("2026-03-13", 10_000, refund)];
    for n in 0..2 {
        shop.reconciled(the_day(), &list, noon() + hours(72 + n)).await;
        let balances =
            [shop.comes_to("gateway_clearing").await, shop.comes_to("bank").await, shop.comes_to("fees").await];
        assert_eq!(balances, [0, 28_703, 1_197]);
    }
    let days = shop.text("select json_agg(day order by day) from journal_entry where kind = 'payout'").await;
    assert_eq!(days.as_deref(), Some(r#"["2026-03-12", "2026-03-13"]"#));
    assert_eq!(shop.differences(Filter::default()).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_ledger_does_not_have_is_not_paid_out_of_it() {
    let shop = Shop::open().await;
    shop.reconciled(the_day(), &[paid_out("2026-03-12", 38_703, stray(1))], noon() + hours(72)).await;
    assert_eq!(shop.count("journal_entry").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_of_which_ledger_and_list_come_to_something_else_is_a_difference_until_they_agree() {
    let shop = Shop::open().await;
    let (one, other) = (shop.has_paid(1).await, shop.has_paid(2).await);
    let list = [listed(&one, 1), listed(&other, 2)];
    shop.reconciled(the_day(), &list, noon() + hours(24)).await;
    assert_eq!(shop.differences(Filter::default()).await, []);

    // Nothing in the program does that: an entry does not say of which transaction it is.
    shop.sql("alter table journal_entry disable trigger journal_entry_is_never_changed").await.unwrap();
    shop.sql("update journal_entry set transaction_id = null where key = 'taken:1'").await.unwrap();
    for n in 0..2 {
        shop.reconciled(the_day(), &list, noon() + hours(48 + n)).await;
    }
    let found = shop.differences(Filter::default()).await;
    let [found] = &found[..] else { panic!("one row for one day: {found:?}") };
    assert_eq!((found.kind, found.state), (DifferenceKind::Ledger, DifferenceState::Open));
    assert_eq!(found.subject, "ledger:2026-03-10:RUB");
    let sums = [found.our_amount, found.their_amount].map(|amount| amount.map(Kopecks::get));
    assert_eq!(sums, [Some(39_900), Some(79_800)], "all of the day");
    assert_eq!(shop.count("event where kind = 'needs_attention' and detail->>'difference' = 'ledger'").await, 1);

    shop.sql("update journal_entry set transaction_id = 1 where key = 'taken:1'").await.unwrap();
    shop.reconciled(the_day(), &list, noon() + hours(72)).await;
    let closed = shop.differences(Filter::default()).await;
    assert_eq!(closed[0].state, DifferenceState::Resolved);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_fits_nothing_stands_in_suspense_until_it_has_a_place() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    let told = GatewayRefund {
        gateway_tx_id: 6,
        payment_tx_id: Some(1),
        invoice_id: None,
        account_id: None,
        json_data: None,
        amount: Kopecks::new(10_000),
    };
    let refund =
        Listed { operation: Operation::Refund, original_id: Some(1), amount: Some(10_000), ..listed(&payment, 6) };
    shop.reconciled(the_day(), &[refund], noon() + hours(24)).await;
    let recognise =
        async |now| refunds::recognise(&mut *shop.conn().await, &told, KnownFrom::Reconciliation, now).await.unwrap();
    for is_new in [true, false] {
        let found = recognise(noon() + hours(24)).await;
        assert_eq!(found, Recognised::Orphan { is_new });
    }
    assert_eq!((shop.comes_to("suspense").await, shop.comes_to("gateway_clearing").await), (10_000, -10_000));
    // The payment that it is of becomes known, and so does what the refund is.
    shop.charge(payment.id, crate::shop::took(&payment, 1), noon()).await;
    assert!(matches!(recognise(noon() + hours(25)).await, Recognised::New(_)));
    assert_eq!((shop.comes_to("suspense").await, shop.comes_to("gateway_clearing").await), (0, 29_900));
}
