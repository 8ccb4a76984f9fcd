//! One action on all rows of a list: frozen, agreed to, gone through once.

use billing::account::AccountStatus;
use billing::refund::AccessEffect;
use billing::staff::Role;
use billing::store::browse::{AccountFilter, Part, PaymentFilter};
use billing::store::refunds;
use billing::store::staff::{
    self, Bulk, BulkAsk, BulkError, BulkState, BulkStep, BulkWord, By, ItemState, MAX_ITEMS, Refusal,
};
use billing::{AccountId, Kopecks};
use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use crate::shop::{Shop, month};
use crate::support::{hours, noon};

/// Who prepares, and who agrees.
struct People {
    anna: By,
    boris: By,
}

fn lease() -> Duration {
    Duration::seconds(30)
}

impl Shop {
    async fn people(&self) -> People {
        let (mut conn, by) = (self.conn().await, By::command_line("a test"));
        let mut of = Vec::new();
        for (name, role) in [("anna", Role::Accountant), ("boris", Role::ChiefAccountant)] {
            let added = staff::add(&mut conn, name, role, "no hash", &by, noon()).await.unwrap();
            of.push(By::staff(&added, "127.0.0.1"));
        }
        let [anna, boris] = of.try_into().unwrap();
        People { anna, boris }
    }

    /// Accounts that bought at noon, by their transactions.
    async fn subscribers(&self, count: i64) -> Vec<AccountId> {
        let mut accounts = Vec::new();
        for n in 1..=count {
            accounts.push(self.subscribed(month(), n).await);
        }
        accounts
    }

    async fn frozen(&self, ask: BulkAsk, by: &By) -> Result<Bulk, BulkError> {
        staff::freeze_bulk(&mut *self.conn().await, Uuid::now_v7(), ask, "state=succeeded", by, noon() + hours(1)).await
    }

    /// Asked for and agreed to.
    async fn agreed(&self, ask: BulkAsk, people: &People) -> Bulk {
        let now = noon() + hours(1);
        let made = self.frozen(ask, &people.anna).await.unwrap();
        let mut conn = self.conn().await;
        staff::ask_bulk(&mut conn, made.id, "an outage", &people.anna, now).await.unwrap();
        staff::tell_bulk(&mut conn, made.id, BulkWord::Approve, &people.boris, now).await.unwrap()
    }

    /// A worker at it: takes what nobody is at, and goes through it. Returns how many rows came to their end.
    async fn works(&self, now: DateTime<Utc>) -> usize {
        let Some(bulk) = staff::take_bulk(&mut *self.conn().await, lease(), now).await.unwrap() else { return 0 };
        let mut rows = 0;
        while let BulkStep::Went { state, .. } = self.step(&bulk, now).await {
            rows += usize::from(state != ItemState::Waiting);
        }
        rows
    }

    async fn step(&self, bulk: &Bulk, now: DateTime<Utc>) -> BulkStep {
        staff::bulk_step(&mut *self.conn().await, bulk, lease(), now).await.unwrap()
    }

    async fn bulk(&self, id: Uuid) -> Bulk {
        staff::bulk_by_id(&mut *self.conn().await, id).await.unwrap().unwrap()
    }

    async fn say(&self, id: Uuid, word: BulkWord, by: &By) -> Result<Bulk, BulkError> {
        staff::tell_bulk(&mut *self.conn().await, id, word, by, noon() + hours(1)).await
    }
}

fn extend(days: u16) -> BulkAsk {
    BulkAsk::Extend { days, of: AccountFilter::default() }
}

fn refund() -> BulkAsk {
    BulkAsk::Refund { effect: AccessEffect::Keep, of: PaymentFilter::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_extended_once_however_many_workers_are_at_it_and_die() {
    let shop = Shop::open().await;
    let people = shop.people().await;
    let accounts = shop.subscribers(8).await;
    shop.account().await;
    let before = shop.account_of(accounts[0]).await.paid_until.unwrap();
    let made = shop.frozen(extend(3), &people.anna).await.unwrap();
    assert_eq!((made.items, made.left_out, made.state), (8, 1, BulkState::Draft), "who never paid is left out");
    let later = shop.subscribed(month(), 99).await;

    let now = noon() + hours(1);
    let alone = shop.say(made.id, BulkWord::Approve, &people.boris).await.unwrap_err();
    assert!(matches!(alone, BulkError::Is(BulkState::Draft)), "it is not asked for yet");
    let anothers = staff::ask_bulk(&mut *shop.conn().await, made.id, "an outage", &people.boris, now).await;
    assert!(matches!(anothers, Err(BulkError::AnothersDraft)));
    staff::ask_bulk(&mut *shop.conn().await, made.id, "an outage", &people.anna, now).await.unwrap();
    let own = shop.say(made.id, BulkWord::Approve, &people.anna).await.unwrap_err();
    assert!(matches!(own, BulkError::SamePerson));
    assert_eq!(shop.works(now).await, 0, "nothing is done before a second person agrees");
    shop.say(made.id, BulkWord::Approve, &people.boris).await.unwrap();

    // One worker dies in the middle: its lease runs out, and another goes on.
    let taken = staff::take_bulk(&mut *shop.conn().await, lease(), now).await.unwrap().unwrap();
    shop.step(&taken, now).await;
    shop.step(&taken, now).await;
    assert_eq!(shop.works(now).await, 0, "it is somebody's");
    let after = now + Duration::minutes(1);
    // The one that was believed dead is still at it.
    let (one, two, late) = tokio::join!(shop.works(after), shop.works(after), async {
        while let BulkStep::Went { .. } = shop.step(&taken, after).await {}
    });
    let () = late;
    assert!(one + two <= 6, "{one} and {two}");
    let done = shop.bulk(made.id).await;
    assert_eq!(done.state, BulkState::Done);
    let progress = staff::bulk_progress(&mut *shop.conn().await, made.id).await.unwrap();
    assert_eq!((progress.done, progress.refused, progress.waiting), (8, 0, 0));
    for account in accounts {
        assert_eq!(shop.account_of(account).await.paid_until, Some(before + Duration::days(3)), "once");
    }
    assert_eq!(shop.account_of(later).await.paid_until, Some(before), "who came later was not among them");
    assert_eq!(shop.count("staff_action where kind = 'extend' and reason = 'an outage'").await, 8);
    assert_eq!(shop.count("audit_log where action = 'extend' and name = 'anna' and before <> after").await, 8);
    assert_eq!(shop.count("audit_log where action in ('bulk_asked', 'bulk_approved')").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn money_goes_back_once_and_what_cannot_is_reported() {
    let shop = Shop::open().await;
    let people = shop.people().await;
    shop.subscribers(6).await;
    // What one may give back alone, and agree to.
    shop.sql("update refund_limit set alone = 10000 where role = 'accountant'").await.unwrap();
    let bulk = shop.agreed(refund(), &people).await;
    assert_eq!((bulk.items, bulk.total), (6, Kopecks::new(6 * 39_900)));

    // Of one half is back by the time it is its turn, another was closed by its bank.
    let ids = staff::bulk_items(&mut *shop.conn().await, bulk.id, None, Part::First, 10).await.unwrap().rows;
    let ask = refunds::Ask {
        payment_id: ids[4].payment_id.unwrap(),
        amount: Some(Kopecks::new(10_000)),
        effect: None,
        reason: "by hand".into(),
        who: "vera".into(),
        role: "chief_accountant".into(),
        client: "panel".into(),
        idempotency_key: "k".into(),
        now: noon() + hours(1),
    };
    refunds::request(&mut *shop.conn().await, &ask).await.unwrap();

    let now = noon() + hours(1);
    let taken = staff::take_bulk(&mut *shop.conn().await, lease(), now).await.unwrap().unwrap();
    shop.step(&taken, now).await;
    shop.say(bulk.id, BulkWord::Pause, &people.anna).await.unwrap();
    assert_eq!(shop.step(&taken, now).await, BulkStep::Halted);
    assert_eq!(shop.count("refund where client = 'bulk'").await, 1, "paused, nothing goes on");
    shop.say(bulk.id, BulkWord::Resume, &people.anna).await.unwrap();
    let later = now + Duration::minutes(1);
    for _ in 0..3 {
        shop.works(later).await;
    }
    assert_eq!(shop.count("refund where client = 'bulk' and effect = 'keep' and approved_by = 'boris'").await, 5);
    let twice = "(select payment_id from refund group by 1 having sum(amount) > 39900) x";
    assert_eq!(shop.count(twice).await, 0);
    let refused = staff::bulk_items(&mut *shop.conn().await, bulk.id, Some(ItemState::Refused), Part::First, 10).await;
    let refused: Vec<_> = refused.unwrap().rows.iter().map(|item| (item.no, item.why)).collect();
    assert_eq!(refused, [(5, Some(Refusal::Unfinished))]);
    let progress = staff::bulk_progress(&mut *shop.conn().await, bulk.id).await.unwrap();
    assert_eq!((progress.done, progress.moved), (5, Kopecks::new(5 * 39_900)));
    assert_eq!(shop.bulk(bulk.id).await.state, BulkState::Done);
    let nothing = shop.frozen(refund(), &people.anna).await;
    assert!(matches!(&nothing, Ok(made) if made.items == 1), "only what is left of the one: {nothing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_stopped_and_has_its_limits() {
    let shop = Shop::open().await;
    let people = shop.people().await;
    let nobody = shop.frozen(extend(3), &people.anna).await.unwrap_err();
    assert!(matches!(nobody, BulkError::Nothing));
    shop.subscribers(3).await;
    assert!(matches!(shop.frozen(extend(32), &people.anna).await.unwrap_err(), BulkError::Days));
    let bulk = shop.agreed(extend(1), &people).await;
    let now = noon() + hours(1);
    let taken = staff::take_bulk(&mut *shop.conn().await, lease(), now).await.unwrap().unwrap();
    shop.step(&taken, now).await;
    shop.say(bulk.id, BulkWord::Stop, &people.anna).await.unwrap();
    assert_eq!(shop.step(&taken, now).await, BulkStep::Halted);
    let progress = staff::bulk_progress(&mut *shop.conn().await, bulk.id).await.unwrap();
    assert_eq!((progress.done, progress.left, progress.waiting), (1, 2, 0));
    let again = shop.say(bulk.id, BulkWord::Resume, &people.anna).await.unwrap_err();
    assert!(matches!(again, BulkError::Is(BulkState::Stopped)));

    let late = shop.frozen(extend(1), &people.anna).await.unwrap();
    staff::ask_bulk(&mut *shop.conn().await, late.id, "an outage", &people.anna, noon() - hours(24)).await.unwrap();
    let expired = shop.say(late.id, BulkWord::Approve, &people.boris).await.unwrap_err();
    assert!(matches!(expired, BulkError::Is(_)), "nobody agreed in time");

    let many = format!(
        "insert into account (id, created_at, updated_at, status, time_zone)
         select gen_random_uuid(), now(), now(), 'Inactive', 'Europe/Moscow' from generate_series(1, {MAX_ITEMS})"
    );
    shop.sql(&many).await.unwrap();
    assert!(matches!(shop.frozen(extend(1), &people.anna).await.unwrap_err(), BulkError::TooMany));
    let only = BulkAsk::Extend {
        days: 1,
        of: AccountFilter { status: Some(AccountStatus::Active), ..AccountFilter::default() },
    };
    assert_eq!(shop.frozen(only, &people.anna).await.unwrap().items, 3, "narrowed, it fits");
}
