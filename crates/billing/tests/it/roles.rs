//! What the auth service is to know: from the log of events to the calls that are due.

use billing::AccountId;
use billing::event::{EventKind, NewEvent, Position};
use billing::store::roles::{self, BASE_USER, Followed, Push};
use billing::store::{events, tariffs};
use chrono::{DateTime, TimeDelta, Utc};

use crate::event_log::explain;
use crate::shop::{Shop, month, year};
use crate::support::sample::TRANSACTION;
use crate::support::{hours, minutes, noon};

const LEASE: TimeDelta = TimeDelta::seconds(10);

impl Shop {
    async fn follow(&self) -> Followed {
        roles::follow(&mut *self.conn().await, noon(), 1_000).await.unwrap()
    }

    async fn claim(&self, now: DateTime<Utc>) -> Vec<Push> {
        roles::claim(&mut *self.conn().await, now, now + LEASE, 100, 1_000).await.unwrap().due
    }

    async fn acknowledge(&self, push: &Push, now: DateTime<Utc>) {
        roles::acknowledge(&mut *self.conn().await, push, now).await.unwrap();
    }

    async fn tells(&self, event: NewEvent) {
        events::append(&mut *self.conn().await, vec![event], noon()).await.unwrap();
    }
}

fn granted(account: AccountId, tariff: billing::TariffId) -> NewEvent {
    NewEvent::of_account(EventKind::AccessGranted, account).with("tariff_id", tariff.to_string())
}

fn ended(account: AccountId) -> NewEvent {
    NewEvent::of_account(EventKind::AccessEnded, account)
}

fn told(pushes: &[Push]) -> Vec<(AccountId, &str)> {
    pushes.iter().map(|push| (push.account_id, push.role.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_has_the_role_of_the_tariff_and_afterwards_is_a_base_user() {
    let shop = Shop::open().await;
    shop.sql("update tariff set role = 'premium' where name = 'Год'").await.unwrap();
    let by_name = shop.subscribed(month(), TRANSACTION).await;
    let by_role = shop.subscribed(year(), TRANSACTION + 1).await;
    assert_eq!(shop.follow().await, Followed::CaughtUp);
    let pushes = shop.claim(noon()).await;
    let name = &tariffs::defaults()[1].name;
    let mut roles = told(&pushes);
    roles.sort_by_key(|(id, _)| *id);
    let mut wanted = vec![(by_name, name.as_str()), (by_role, "premium")];
    wanted.sort_by_key(|(id, _)| *id);
    assert_eq!(roles, wanted);
    for push in &pushes {
        shop.acknowledge(push, noon()).await;
    }
    assert_eq!(shop.claim(noon()).await, []);

    let over = noon() + hours(24 * 60);
    shop.sql(&format!("update account set cancel_at_period_end = true, next_charge_at = null where id = '{by_name}'"))
        .await
        .unwrap();
    assert_eq!(shop.close(over).await, [by_name]);
    shop.follow().await;
    assert_eq!(told(&shop.claim(noon()).await), [(by_name, BASE_USER)]);
}

/// Of changes that come faster than they can be told only the last is, under its own version; a renewal is no change.
#[tokio::test(flavor = "multi_thread")]
async fn roles_that_were_overtaken_are_not_told() {
    let shop = Shop::open().await;
    let account = AccountId::new();
    for event in [granted(account, month()), ended(account), granted(account, year())] {
        shop.tells(event).await;
    }
    shop.follow().await;
    let [push] = &shop.claim(noon()).await[..] else { panic!("one role is due") };
    assert_eq!((push.role.as_str(), push.tries), ("Год", 1));
    shop.acknowledge(push, noon()).await;
    shop.tells(granted(account, year())).await;
    shop.follow().await;
    assert_eq!(shop.claim(noon()).await, [], "the same role again");
    shop.tells(ended(account)).await;
    shop.follow().await;
    let [next] = &shop.claim(noon()).await[..] else { panic!("one role is due") };
    assert!(next.version > push.version, "{next:?} {push:?}");
}

/// One call at a time for one account: what changes meanwhile is told when that call has ended.
#[tokio::test(flavor = "multi_thread")]
async fn while_a_role_is_being_told_nobody_tells_the_account_another() {
    let shop = Shop::open().await;
    let account = AccountId::new();
    shop.tells(granted(account, month())).await;
    shop.follow().await;
    let [first] = &shop.claim(noon()).await[..] else { panic!("one role is due") };
    shop.tells(ended(account)).await;
    shop.follow().await;
    assert_eq!(shop.claim(noon()).await, [], "the first call is under way");
    shop.acknowledge(first, noon()).await;
    let [second] = &shop.claim(noon()).await[..] else { panic!("the role has changed") };
    assert_eq!(second.role, BASE_USER);

    // Its caller died; the next one has the lease, and what the dead one would say later changes nothing.
    let later = noon() + minutes(1);
    let [again] = &shop.claim(later).await[..] else { panic!("the lease is over") };
    assert_eq!((again.version, again.tries), (second.version, 2));
    roles::put_off(&mut *shop.conn().await, second, "late", later + minutes(5)).await.unwrap();
    assert_eq!(shop.claim(later).await, [], "the lease is the other's");
    roles::put_off(&mut *shop.conn().await, again, "Unavailable: a bad day", later + minutes(5)).await.unwrap();
    assert_eq!(roles::next_due(&mut *shop.conn().await).await.unwrap(), Some(later + minutes(5)));
    assert_eq!(shop.claim(later + minutes(4)).await, []);
    let [once_more] = &shop.claim(later + minutes(5)).await[..] else { panic!("it is due") };
    assert_eq!(once_more.tries, 3);
    shop.acknowledge(once_more, later + minutes(5)).await;
    assert_eq!(roles::next_due(&mut *shop.conn().await).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_number_of_readers_write_each_role_down_once_and_miss_none() {
    let shop = Shop::open().await;
    let accounts: Vec<AccountId> = (0..50).map(|_| AccountId::new()).collect();
    for account in &accounts {
        shop.tells(granted(*account, month())).await;
    }
    let mut readers = Vec::new();
    for _ in 0..4 {
        let mut conn = shop.conn().await;
        readers.push(tokio::spawn(async move {
            let mut looks = 0;
            while roles::follow(&mut conn, noon(), 7).await.unwrap() != Followed::CaughtUp {
                looks += 1;
                assert!(looks < 10_000, "it comes to no end");
            }
        }));
    }
    for reader in readers {
        reader.await.unwrap();
    }
    let (first, second) = tokio::join!(shop.claim(noon()), shop.claim(noon()));
    let mut claimed: Vec<AccountId> = first.iter().chain(&second).map(|push| push.account_id).collect();
    claimed.sort_unstable();
    let mut wanted = accounts.clone();
    wanted.sort_unstable();
    assert_eq!(claimed, wanted, "each by one caller");
}

/// After a restore, or when the events before its place are gone, the reader begins with everybody's present role.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_whose_place_is_gone_begins_with_all_roles_as_they_are() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), TRANSACTION).await;
    let unpaid = shop.account().await;
    shop.follow().await;
    let [push] = &shop.claim(noon()).await[..] else { panic!("one role is due") };
    shop.acknowledge(push, noon()).await;
    shop.sql("update event_log set epoch = gen_random_uuid(), last_position = last_position + 1000").await.unwrap();
    assert_eq!(shop.follow().await, Followed::CaughtUp);
    let [again] = &shop.claim(noon()).await[..] else {
        panic!("everybody is told anew, but not {unpaid}, who never paid")
    };
    assert_eq!((again.account_id, again.role.as_str()), (account, push.role.as_str()));
    assert!(again.version > push.version);
    shop.acknowledge(again, noon()).await;
    assert_eq!(shop.follow().await, Followed::CaughtUp);
    assert_eq!(shop.claim(noon()).await, []);
    let place: Position = shop.text("select position from event_reader").await.unwrap().parse().unwrap();
    assert_eq!(place, events::log(&mut *shop.conn().await).await.unwrap().last_position);
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_claimed_by_their_index() {
    let shop = Shop::open().await;
    shop.sql(
        "insert into role_push (account_id, role, version, acknowledged, due_at)
         select gen_random_uuid(), 'BaseUser', n, case when n % 500 = 0 then 0 else n end, '2026-03-10'
         from generate_series(1, 20000) n",
    )
    .await
    .unwrap();
    shop.sql("analyze role_push").await.unwrap();
    let id = AccountId::new();
    for (query, index) in [
        (
            "select account_id from role_push where version > acknowledged and due_at <= now()
             order by due_at limit 16 for update skip locked"
                .to_owned(),
            "role_push_due",
        ),
        (
            "select due_at from role_push where version > acknowledged order by due_at limit 1".to_owned(),
            "role_push_due",
        ),
        (format!("update role_push set acknowledged = 1 where account_id = '{id}'"), "role_push_pkey"),
    ] {
        let plan = explain(&shop, &query).await;
        assert!(plan.contains(index) && !plan.contains("Seq Scan"), "{query}\n{plan}");
    }
}
