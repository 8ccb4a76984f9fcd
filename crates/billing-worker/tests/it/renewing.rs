//! A subscription goes on.

use std::time::Duration;

use billing::account::{AccountStatus, DOUBT};
use billing::bill::BillStatus;
use billing::decline::GRACE;
use billing::payment::PaymentState;
use billing::store::{accounts, subscriptions};
use billing::tasks::OpenRenewals;
use billing::{AccountId, clock};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use crate::world::{DAY, PAYS, PAYS_ONCE, SOON, World};

impl World {
    /// So many hours pass: all that has happened and all that is planned comes so much earlier.
    async fn hours_pass(&self, hours: u32) {
        let earlier = format!(
            "do $$ declare one record; begin
                 -- No date is moved by hand: triggers have nothing to say.
                 set local session_replication_role = replica;
                 for one in
                     select table_name, string_agg(format('%1$I = %1$I - interval ''{hours} hours''', column_name), ', ') as moves
                     from information_schema.columns
                     where table_schema = 'public' and data_type = 'timestamp with time zone'
                         and table_name in ('account', 'bill', 'payment', 'card')
                     group by table_name
                 loop
                     execute format('update %I set %s', one.table_name, one.moves);
                 end loop;
             end $$"
        );
        self.sql(&earlier).await;
    }

    /// The charges of the kept card, by when they were sent.
    async fn charges_of_kept_card(&self, account_id: AccountId) -> Vec<DateTime<Utc>> {
        let mut conn = self.services.db.conn().await.unwrap();
        let payments = subscriptions::payments(&mut conn, account_id, None, 100).await.unwrap().unwrap().rows;
        let mut sent = Vec::new();
        for payment in payments.iter().filter(|payment| payment.state == PaymentState::Rejected) {
            sent.extend(payment.sent.map(|sent| sent.first_at));
        }
        sent.sort();
        sent
    }
}

/// C28: the gateway refuses the kept card without a transaction, every time.
#[tokio::test(flavor = "multi_thread")]
async fn c28_a_kept_card_that_is_taken_for_wrong_every_time_is_charged_three_times_at_most_and_then_access_ends() {
    let world = World::start().await;
    let payment = world.created(PAYS, DAY).await;
    let account_id = payment.account_id;
    world.charge(payment.id).await;
    world.ends_as(payment.id, PaymentState::Succeeded).await;
    let wrong = json!({ "match": { "path": "/payments/tokens/charge" }, "fault": "invalid_before", "times": 1000 });
    world.order(wrong).await;

    let mut hours_with_access = 0;
    let mut statuses = Vec::new();
    for _ in 0..80 {
        world.hours_pass(4).await;
        world.tick(OpenRenewals {}).await;
        testkit::eventually(SOON, || async {
            let live = world.count("payment where is_success is null").await;
            if live == 0 { Ok(()) } else { Err(live) }
        })
        .await;
        let mut conn = world.services.db.conn().await.unwrap();
        let account = accounts::get(&mut conn, account_id).await.unwrap().unwrap();
        if statuses.last() != Some(&account.status) {
            statuses.push(account.status);
        }
        hours_with_access += if account.access(clock::now()).has_access { 4 } else { 0 };
    }

    let sent = world.charges_of_kept_card(account_id).await;
    // Where in the day the account is charged decides whether its short period leaves room for the third.
    assert!((2..=3).contains(&sent.len()), "then it is as good as refused: {sent:?}");
    let far_apart = |three: &[DateTime<Utc>]| three[2] - three[0] > TimeDelta::hours(24);
    assert!(sent.windows(3).all(far_apart), "never more than two within a day: {sent:?}");
    assert_eq!(statuses, [AccountStatus::Active, AccountStatus::Overdue, AccountStatus::Canceled]);
    let most = TimeDelta::days(1) + DOUBT + GRACE;
    assert!(hours_with_access <= most.num_hours(), "{hours_with_access} hours of access for a day that is paid");
    assert_eq!(world.count("event where kind = 'needs_attention'").await, 1, "operators are told once");
    let told = world.count("event where kind = 'renewal_refused'").await;
    assert_eq!(usize::try_from(told), Ok(sent.len()), "the customer each time");
    assert_eq!(world.count("event where kind = 'access_ended'").await, 1);
    let given_up = format!("bill where kind = 'renewal' and status = '{}'", BillStatus::Uncollectible);
    assert_eq!(world.count(&given_up).await, 1);
    world.assert_charged(account_id, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_due_account_is_renewed_once_however_many_beats_say_so() {
    let world = World::start().await;
    let payment = world.created(PAYS, DAY).await;
    world.charge(payment.id).await;
    world.ends_as(payment.id, PaymentState::Succeeded).await;
    world.ends_today(payment.account_id).await;
    let first = world.payment(payment.id).await;
    tokio::join!(world.tick(OpenRenewals {}), world.tick(OpenRenewals {}), world.tick(OpenRenewals {}));
    testkit::eventually(Duration::from_secs(30), || async {
        let seen = world.payment(payment.id).await.expires_on;
        if seen > first.expires_on { Ok(()) } else { Err(seen) }
    })
    .await;
    world.tick(OpenRenewals {}).await;
    world.assert_charged(payment.account_id, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_renewal_makes_the_account_overdue_and_keeps_its_access_for_now() {
    let world = World::start().await;
    let payment = world.created(PAYS_ONCE, DAY).await;
    world.charge(payment.id).await;
    world.ends_as(payment.id, PaymentState::Succeeded).await;
    world.ends_today(payment.account_id).await;
    world.tick(OpenRenewals {}).await;
    testkit::eventually(Duration::from_secs(30), || async {
        let mut conn = world.services.db.conn().await.unwrap();
        let account = accounts::get(&mut conn, payment.account_id).await.unwrap().unwrap();
        if account.status == AccountStatus::Overdue { Ok(()) } else { Err(account.status) }
    })
    .await;
    let mut conn = world.services.db.conn().await.unwrap();
    let access = accounts::access(&mut conn, payment.account_id, billing::clock::now()).await.unwrap();
    assert!(access.is_some_and(|access| access.has_access), "grace");
    drop(conn);
    world.assert_charged(payment.account_id, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_was_just_bought_is_not_charged_again_before_half_of_it_is_over() {
    let world = World::start().await;
    let payment = world.created(PAYS, DAY).await;
    world.charge(payment.id).await;
    world.ends_as(payment.id, PaymentState::Succeeded).await;
    for _ in 0..3 {
        assert_eq!(world.tick(OpenRenewals {}).await, 0, "half of the day is not over");
    }
    world.assert_charged(payment.account_id, 1).await;
}
