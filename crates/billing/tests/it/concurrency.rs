//! Many at once: each step is taken by exactly one, and nobody waits for ever.

use std::future::Future;
use std::sync::Arc;

use billing::PaymentId;
use billing::payment::{Outcome, PaymentState};
use billing::resolve::ResolvePolicy;
use billing::store::payments::{
    self, Begin, Begin3ds, CreateError, NewPayment, PaymentView, Resend, Resolve, SubmitError,
};
use billing::store::{accounts, renewals};
use chrono::TimeDelta;

use crate::shop::{Shop, month, purchase, refused, took, unknown};
use crate::support::sample::TRANSACTION;
use crate::support::{minutes, noon};

const MANY: usize = 50;

/// Runs `MANY` at once and returns what each came to.
async fn at_once<T, Fut>(shop: &Arc<Shop>, act: impl Fn(Arc<Shop>, usize) -> Fut) -> Vec<T>
where
    T: Send + 'static,
    Fut: Future<Output = T> + Send + 'static,
{
    let running: Vec<_> = (0..MANY).map(|n| tokio::spawn(act(Arc::clone(shop), n))).collect();
    let mut results = Vec::with_capacity(MANY);
    for task in running {
        results.push(task.await.unwrap());
    }
    results
}

async fn shop() -> Arc<Shop> {
    Arc::new(Shop::open().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_makes_one_payment() {
    let shop = shop().await;
    let new = purchase(shop.account().await);
    let created = at_once(&shop, |shop, _| {
        let new = new.clone();
        async move { shop.create(new).await.unwrap() }
    })
    .await;
    assert_eq!(created.iter().filter(|created| !created.replayed).count(), 1);
    assert!(created.iter().all(|other| other.payment == created[0].payment));
    assert_eq!((shop.count("bill").await, shop.count("payment").await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_keys_of_one_account_make_one_payment() {
    let shop = shop().await;
    let account = shop.account().await;
    let results = at_once(&shop, |shop, _| async move { shop.create(purchase(account)).await }).await;
    let made: Vec<_> = results.iter().flatten().collect();
    let [made] = made[..] else { panic!("{} were made", made.len()) };
    let blocked = |error: &CreateError| matches!(error, CreateError::PaymentInProgress { payment_id } if *payment_id == made.payment.id);
    assert!(results.iter().filter_map(|result| result.as_ref().err()).all(blocked));
    assert_eq!(shop.count("payment").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_for_many_accounts_is_one_payment_and_conflicts() {
    let shop = shop().await;
    let key = "the same".to_owned();
    let results = at_once(&shop, |shop, _| {
        let idempotency_key = key.clone();
        async move {
            let account = shop.account().await;
            shop.create(NewPayment { idempotency_key, ..purchase(account) }).await
        }
    })
    .await;
    let conflict = |result: &Result<_, CreateError>| matches!(result, Err(CreateError::IdempotencyConflict));
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(results.iter().filter(|result| conflict(result)).count(), MANY - 1);
    assert_eq!(shop.count("payment").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_sent_by_one() {
    let shop = shop().await;
    let id = shop.created().await.id;
    let begun = at_once(&shop, |shop, _| async move { shop.begin(id, noon()).await }).await;
    assert_eq!(begun.iter().filter(|begin| matches!(begin, Begin::Send(_))).count(), 1);
    assert_eq!(shop.view(id).await.sent.map(|sent| sent.first_at), Some(noon()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_taken_from_one_and_passed_on_by_one() {
    let shop = shop().await;
    let id = shop.on_the_bank_page().await.id;
    let answers = at_once(&shop, |shop, n| async move {
        let answer = format!("answer {n}").into();
        payments::submit_pa_res(&mut *shop.conn().await, id, TRANSACTION, answer, &shop.cipher, noon()).await
    })
    .await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert!(answers.iter().all(|answer| matches!(answer, Ok(_) | Err(SubmitError::NotAwaiting(_)))));
    let posts = at_once(&shop, |shop, _| async move { shop.post(id, noon()).await }).await;
    assert_eq!(posts.iter().filter(|post| matches!(post, Begin3ds::Post(_))).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_in_doubt_is_repeated_by_one() {
    let shop = shop().await;
    let id = shop.created().await.id;
    shop.charge(id, unknown(noon()), noon()).await;
    let resent = at_once(&shop, |shop, _| async move {
        let (policy, now) = (ResolvePolicy::default(), noon() + minutes(10));
        payments::begin_resend(&mut *shop.conn().await, id, &policy, &shop.cipher, now).await.unwrap()
    })
    .await;
    assert_eq!(resent.iter().filter(|resend| matches!(resend, Resend::Charge(_))).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_in_doubt_is_looked_at_by_one_however_many_are_told() {
    let shop = shop().await;
    let id = shop.created().await.id;
    shop.charge(id, unknown(noon()), noon()).await;
    let looks = at_once(&shop, |shop, _| async move {
        let now = noon() + minutes(1);
        payments::begin_resolving(&mut *shop.conn().await, id, now - minutes(2), now).await.unwrap()
    })
    .await;
    assert_eq!(looks.iter().filter(|look| matches!(look, Resolve::Look(_))).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_told_by_many_extends_the_account_once() {
    let shop = shop().await;
    let payment = shop.created().await;
    shop.send(payment.id, noon()).await;
    let effects = at_once(&shop, |shop, _| {
        let payment = payment.clone();
        async move { shop.apply(payment.id, took(&payment, 1), noon()).await.effects.len() }
    })
    .await;
    assert_eq!(effects.iter().sum::<usize>(), 1);
    let account = shop.account_of(payment.account_id).await;
    assert_eq!((account.period_no, account.expires_on().unwrap().to_string()), (1, "2026-04-10".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn contradicting_news_end_in_the_success() {
    let shop = shop().await;
    let payment = shop.created().await;
    shop.send(payment.id, noon()).await;
    at_once(&shop, |shop, n| {
        let payment = payment.clone();
        async move {
            let news = match n % 5 {
                0 => took(&payment, 1),
                1 => refused(5051),
                2 => unknown(noon()),
                3 => Outcome::Rejected { message: "?".into() },
                _ => Outcome::NotSent { why: "429".into(), retry_after: None },
            };
            // What comes when it cannot have happened any more is refused; that changes nothing.
            let told = payments::apply(&mut *shop.conn().await, payment.id, news, &shop.cipher, noon()).await;
            drop(told);
        }
    })
    .await;
    let end = shop.view(payment.id).await;
    assert_eq!((end.state, end.transaction_id), (PaymentState::Succeeded, Some(1)));
    assert_eq!(shop.account_of(payment.account_id).await.period_no, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_timetables_open_each_renewal_once() {
    let shop = shop().await;
    let accounts = 40;
    for n in 0..accounts {
        shop.subscribed(month(), n + 1).await;
    }
    let due = noon() + TimeDelta::days(31);
    let opened =
        at_once(
            &shop,
            |shop, _| async move { renewals::open_due(&mut *shop.conn().await, due, 7).await.unwrap().payments },
        )
        .await;
    let mut payments: Vec<PaymentId> = opened.concat();
    payments.sort_unstable();
    payments.dedup();
    assert_eq!(payments.len(), opened.concat().len());
    while !shop.open_due(due).await.is_empty() {}
    assert_eq!(shop.count("bill where kind = 'renewal'").await, accounts);
    assert_eq!(shop.count("payment where state = 'created'").await, accounts);
}

/// Everything that can happen to one account, at once and in no order: whatever comes of it, no bill takes its money
/// twice and nothing contradicts itself. (The checks of the tables are part of the test: a breach is an error.)
#[tokio::test(flavor = "multi_thread")]
async fn no_interleaving_charges_a_bill_twice() {
    let shop = shop().await;
    let accounts: Vec<_> = {
        let mut all = Vec::new();
        for _ in 0..4 {
            all.push(shop.account().await);
        }
        all
    };
    at_once(&shop, |shop, n| {
        let account = accounts[n % accounts.len()];
        async move {
            for round in 0..6 {
                let now = noon() + TimeDelta::days(i64::try_from(round * 9).unwrap());
                let mut conn = shop.conn().await;
                let made = payments::create(&mut conn, NewPayment { now, ..purchase(account) }, &shop.cipher).await;
                let opened = renewals::open_due(&mut conn, now, 10).await.unwrap().payments;
                let new = made.ok().map(|created| created.payment.id);
                let ids: Vec<PaymentId> = new.into_iter().chain(opened).collect();
                for id in ids {
                    drive(&mut conn, &shop, id, n + round, now).await;
                }
                accounts::close_run_out(&mut conn, now, 10).await.unwrap();
            }
        }
    })
    .await;
    let taken = "(select bill_id from payment where state = 'succeeded' group by bill_id having count(*) > 1) twice";
    assert_eq!(shop.count(taken).await, 0);
    let unpaid = "bill b where (status = 'Paid') <>
                  exists (select from payment p where p.bill_id = b.id and p.state = 'succeeded')";
    assert_eq!(shop.count(unpaid).await, 0);
    let idle = "bill b where (status = 'In work') <>
                exists (select from payment p where p.bill_id = b.id and p.is_success is null)";
    assert_eq!(shop.count(idle).await, 0);
    assert!(shop.count("payment where state = 'succeeded'").await > 0, "something happened");
}

async fn drive(
    conn: &mut diesel_async::AsyncPgConnection,
    shop: &Shop,
    id: PaymentId,
    n: usize,
    now: chrono::DateTime<chrono::Utc>,
) {
    let Begin::Send(_) = payments::begin_sending(conn, id, &shop.cipher, now).await.unwrap() else { return };
    let payment: PaymentView = payments::get(conn, id).await.unwrap().unwrap();
    let late = took(&payment, payment.invoice_no);
    let outcomes = match n % 4 {
        0 => vec![late],
        1 => vec![refused(5051), late],
        2 => vec![unknown(now), refused(5005)],
        _ => vec![unknown(now), late.clone(), late],
    };
    for outcome in outcomes {
        payments::apply(conn, id, outcome, &shop.cipher, now).await.unwrap();
    }
}
