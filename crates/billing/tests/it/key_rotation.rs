//! Keys are changed while everything runs: what older ones have sealed is sealed anew, nothing that is written meanwhile is
//! lost, and none is taken away that a row or a backup needs.

use std::sync::Arc;

use billing::cipher::{Cipher, CipherError, Place};
use billing::models::Trial;
use billing::notification::{Notice, NoticeKind};
use billing::payment::{CardMask, Outcome, PaymentState};
use billing::staff::Role;
use billing::store::keys::{self, Cursor, NotAdmitted, Resealed, Sealed};
use billing::store::notifications::{self, NoticeKey, Received};
use billing::store::payments::{Begin3ds, ChargeInstrument, NewPayment};
use billing::store::receipts;
use billing::store::staff::{self, By};
use billing::store::subscriptions::{self, NewCard, Request, Verb};
use billing::{AccountId, Currency, Kopecks};
use chrono::{DateTime, Duration, Utc};
use diesel_async::{AsyncConnection as _, RunQueryDsl as _};
use secrecy::ExposeSecret as _;

use crate::cards::DISAGREEMENTS;
use crate::shop::{CRYPTOGRAM, KEYS, Shop, month, purchase, took, unknown};
use crate::support::{at, hours, minutes, noon};

const NEW: &str = "new:Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";
const NEW_ALONE_BY_ITS_NAME: &str = "new:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn keys(keys: &str) -> Cipher {
    Cipher::from_keys(&keys.into()).unwrap()
}

/// The new key seals, the old one opens.
fn both() -> Cipher {
    keys(&format!("{NEW},{KEYS}"))
}

impl Shop {
    /// Once over everything, so many rows at a time.
    async fn rotate(&self, cipher: &Cipher, chunk: i64) -> Resealed {
        let (mut total, mut from) = (Resealed::default(), Some(Cursor::BEGIN));
        while let Some(cursor) = from {
            let mut conn = self.conn().await;
            let page = keys::page(&mut conn, cursor, chunk).await.unwrap();
            let Resealed { done, passed_over, lost } = keys::reseal(&mut conn, &page.sealed, cipher).await.unwrap();
            total.done += done;
            total.passed_over += passed_over;
            total.lost.extend(lost);
            from = page.next;
        }
        total
    }

    /// Values that the old key has sealed, anywhere: whatever column comes to hold some is looked at.
    async fn sealed_by_the_old_key(&self) -> Vec<String> {
        let columns = "select string_agg(table_name || ' ' || column_name, ',') from information_schema.columns
            where table_schema = 'public' and data_type = 'text' and column_name <> 'proof'";
        let columns = self.text(columns).await.unwrap();
        let mut found = Vec::new();
        for column in columns.split(',') {
            let (table, name) = column.split_once(' ').unwrap();
            let rows = self.count(&format!("\"{table}\" where \"{name}\" like 'test.%'")).await;
            if rows > 0 {
                found.push(format!("{table}.{name}: {rows}"));
            }
        }
        found
    }

    async fn admit(&self, cipher: &Cipher, now: DateTime<Utc>) -> Result<(), NotAdmitted> {
        keys::admit(&mut *self.conn().await, cipher, now).await
    }

    /// The token that is kept, opened with these keys.
    async fn token_of(&self, account: AccountId, cipher: &Cipher) -> String {
        let sealed = self.text(&format!("select payment_token from account where id = '{account}'")).await.unwrap();
        cipher.open(Place::Token(account), &sealed).unwrap().expose_secret().to_owned()
    }

    /// Something of everything that is sealed. Whoever adds a place adds it here.
    async fn with_every_secret(&self) -> AccountId {
        let subscriber = self.subscribed(month(), 1).await;
        let sealed = |place: Place| match place {
            Place::Token(_) => "a kept card",
            Place::Cryptogram(_) => "a payment that was not sent",
            Place::PaRes(_) => "an answer of the bank's page that was not passed on",
            Place::Notification(_) => "a token that the gateway told of",
            Place::Receipt(_) => "a receipt of an attempt that has not ended",
            Place::StaffFactor(_) => "a second factor of the staff",
            Place::SignIn(_) => "in no row: browsers have it, for minutes",
            Place::Own(_) => "the key of the trials' cards",
        };
        assert!(!sealed(Place::Token(subscriber)).is_empty());
        let unsent = self.created().await;
        let receipt = r#"{"email":"payer@example.org"}"#.into();
        let sale = receipts::sale(&mut *self.conn().await, unsent.id, noon()).await.unwrap().expect("it sells");
        receipts::keep(&mut *self.conn().await, &sale, &receipt, &self.cipher, noon()).await.unwrap();
        let answered = self.on_the_bank_page().await;
        self.answer(answered.id, noon() + minutes(1)).await;
        let verified = asked(subscriber);
        let new = NewCard { cryptogram: CRYPTOGRAM.into(), ip_address: [203, 0, 113, 8].into(), pay_debt: false };
        subscriptions::replace_card(&mut *self.conn().await, &verified, &new, &self.cipher).await.unwrap();
        let trial = Some(Trial { days: 7, amount: Kopecks::ZERO, currency: Currency::RUB });
        let tried = self.create(NewPayment { trial, ..purchase(self.account().await) }).await.unwrap().payment;
        let held = Outcome::Authorized {
            transaction_id: 700,
            token: Some("tk_700".into()),
            amount: tried.amount,
            currency: tried.currency,
            card: Some(CardMask { fingerprint: Some("a card".into()), ..CardMask::default() }),
        };
        self.charge(tried.id, held, noon()).await;
        let key = NoticeKey { kind: NoticeKind::Pay, gateway_id: "77".into(), body_sha256: [7; 32] };
        let received = Received { key, notice: Notice::default(), token: Some("tk_0001".into()) };
        notifications::receive(&mut *self.conn().await, &received, &self.cipher, noon()).await.unwrap();
        let (mut conn, by) = (self.conn().await, By::command_line("a test"));
        let ada = staff::add(&mut conn, "ada", Role::Support, "no hash", &by, noon()).await.unwrap();
        staff::offer_factor(&mut conn, ada.id, &self.cipher, noon()).await.unwrap();
        subscriber
    }
}

fn asked(account_id: AccountId) -> Request {
    let idempotency_key = uuid::Uuid::new_v4().to_string();
    Request { account_id, client: "frontend".into(), idempotency_key, now: noon() }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_is_sealed_is_sealed_anew_and_opens_without_the_old_key() {
    let mut shop = Shop::open().await;
    let subscriber = shop.with_every_secret().await;
    let before = shop.sealed_by_the_old_key().await;
    let columns: Vec<_> = before.iter().filter_map(|found| found.split(':').next()).collect();
    let every = [
        "account.payment_token",
        "bill.card_cryptogram_packet",
        "bill.pa_res",
        "card.token",
        "notification.token",
        "receipt.sealed",
        "secret.sealed",
        "staff_factor.sealed",
    ];
    assert!(every.iter().all(|column| columns.contains(column)), "{before:?}");
    assert_eq!(columns.len(), every.len(), "a column that holds secrets and is not known here: {before:?}");

    for chunk in [1, 100] {
        let Resealed { passed_over, lost, .. } = shop.rotate(&both(), chunk).await;
        assert_eq!((passed_over, lost), (0, vec![]));
        assert_eq!(shop.sealed_by_the_old_key().await, Vec::<String>::new());
    }
    assert_eq!(shop.rotate(&both(), 3).await.done, 0, "once is enough");
    assert_eq!(shop.count(DISAGREEMENTS).await, 0);

    shop.cipher = keys(NEW);
    assert_eq!(shop.token_of(subscriber, &shop.cipher).await, "tk_1");
    let due = at("2026-04-10T08:00:00Z");
    let renewal = shop.open_due(due).await[0];
    let order = shop.send(renewal, due).await;
    assert!(matches!(order.instrument, ChargeInstrument::Token(_)));
    let waiting = shop.text("select id from payment where state = 'created' order by id limit 1").await.unwrap();
    let order = shop.send(waiting.parse().unwrap(), noon()).await;
    let ChargeInstrument::Cryptogram(cryptogram) = order.instrument else { panic!("a card just typed in") };
    assert_eq!(cryptogram.expose_secret(), CRYPTOGRAM);
    let answered = shop.text("select id from payment where state = 'posting_3ds'").await.unwrap();
    assert!(matches!(shop.post(answered.parse().unwrap(), noon() + minutes(2)).await, Begin3ds::Post(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_meanwhile_stays() {
    let mut shop = Shop::open().await;
    let (replaced, forgotten) = (shop.subscribed(month(), 1).await, shop.subscribed(month(), 2).await);
    let waits = shop.created().await;
    let read = keys::page(&mut *shop.conn().await, Cursor::BEGIN, 100).await.unwrap().sealed;
    let bills = Cursor::Bills(uuid::Uuid::nil());
    let read_bills = keys::page(&mut *shop.conn().await, bills, 100).await.unwrap().sealed;
    assert_eq!((read.len(), read_bills.len()), (2, 1));

    // Between the reading and the writing: another card, none, and a payment that ends.
    shop.cipher = both();
    let new = NewCard { cryptogram: CRYPTOGRAM.into(), ip_address: [203, 0, 113, 8].into(), pay_debt: false };
    let verification = subscriptions::replace_card(&mut *shop.conn().await, &asked(replaced), &new, &shop.cipher)
        .await
        .unwrap()
        .payment;
    let held = Outcome::Authorized {
        transaction_id: 900,
        token: Some("tk_B".into()),
        amount: verification.amount,
        currency: verification.currency,
        card: None,
    };
    shop.charge(verification.id, held, noon()).await;
    subscriptions::perform(&mut *shop.conn().await, &asked(forgotten), Verb::ForgetCard).await.unwrap();
    shop.charge(waits.id, took(&waits, 3), noon()).await;

    let before = shop.everything().await;
    for (sealed, rows) in [(read, 2), (read_bills, 1)] {
        let resealed = keys::reseal(&mut *shop.conn().await, &sealed, &shop.cipher).await.unwrap();
        assert_eq!((resealed.done, resealed.passed_over), (0, rows));
    }
    assert_eq!(shop.everything().await, before, "an old secret came back");
    assert_eq!(shop.token_of(replaced, &keys(NEW)).await, "tk_B");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_somebody_works_with_is_passed_over_and_nobody_is_waited_for() {
    let shop = Shop::open().await;
    let (busy, idle) = (shop.subscribed(month(), 1).await, shop.subscribed(month(), 2).await);
    let mut holder = shop.conn().await;
    let held = holder.transaction::<_, diesel::result::Error, _>(async |conn| {
        let lock = format!("select 1 from account where id = '{busy}' for no key update");
        diesel::sql_query(lock).execute(conn).await?;
        let Resealed { done, passed_over, .. } = shop.rotate(&both(), 100).await;
        assert_eq!((done, passed_over), (1, 1));
        Ok(())
    });
    held.await.unwrap();
    assert_eq!(shop.token_of(idle, &keys(NEW)).await, "tk_2");
    assert_eq!(shop.rotate(&both(), 100).await.done, 1, "the next round finds it");
    assert_eq!(shop.token_of(busy, &keys(NEW)).await, "tk_1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_dies_midway_is_gone_on_with_by_the_next() {
    let shop = Shop::open().await;
    for n in 0..9 {
        shop.subscribed(month(), 1 + n).await;
    }
    shop.created().await;
    let mut conn = shop.conn().await;
    let first = keys::page(&mut conn, Cursor::BEGIN, 3).await.unwrap();
    assert_eq!(keys::reseal(&mut conn, &first.sealed, &both()).await.unwrap().done, 3);
    // It dies within a chunk: nothing of that is kept.
    let second = keys::page(&mut conn, first.next.unwrap(), 3).await.unwrap();
    let died = conn.transaction::<(), diesel::result::Error, _>(async |conn| {
        assert_eq!(keys::reseal(conn, &second.sealed, &both()).await.unwrap().done, 3);
        Err(diesel::result::Error::RollbackTransaction)
    });
    assert!(died.await.is_err());
    drop(conn);
    assert_eq!(shop.count("account where payment_token like 'new.%'").await, 3);
    assert_eq!(shop.count(DISAGREEMENTS).await, 0);

    assert_eq!(shop.rotate(&both(), 2).await.done, 7, "what is left, and nothing twice");
    assert_eq!(shop.sealed_by_the_old_key().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_renewals_and_two_rotations_at_once_lose_nothing() {
    let mut shop = Shop::open().await;
    let mut accounts = Vec::new();
    for n in 0..12 {
        accounts.push(shop.subscribed(month(), 1 + n).await);
    }
    shop.cipher = both();
    let shop = Arc::new(shop);
    let due = at("2026-04-10T08:00:00Z");
    let rotations: Vec<_> = (0..2)
        .map(|n| {
            let shop = Arc::clone(&shop);
            tokio::spawn(async move {
                for _ in 0..6 {
                    shop.rotate(&both(), 2 + n).await;
                }
            })
        })
        .collect();
    // Every renewal brings another token, and every new customer a first one.
    let renewing = {
        let (shop, accounts) = (Arc::clone(&shop), accounts.clone());
        tokio::spawn(async move {
            let mut transaction = 1_000;
            for account in accounts {
                // Rows that are being sealed anew are passed over, until the next tick.
                while shop.account_of(account).await.period_no == 1 {
                    for renewal in shop.open_due(due).await {
                        let view = shop.view(renewal).await;
                        transaction += 1;
                        let ended = shop.charge(renewal, took(&view, transaction), due).await.payment;
                        assert_eq!(ended.state, PaymentState::Succeeded);
                    }
                }
            }
        })
    };
    let buying = {
        let shop = Arc::clone(&shop);
        tokio::spawn(async move {
            for n in 0..12 {
                let payment = shop.created().await;
                shop.charge(payment.id, unknown(noon()), noon()).await;
                shop.apply(payment.id, took(&payment, 2_000 + n), noon() + hours(1)).await;
            }
        })
    };
    for task in rotations.into_iter().chain([renewing, buying]) {
        task.await.unwrap();
    }
    shop.rotate(&both(), 100).await;
    assert_eq!(shop.sealed_by_the_old_key().await, Vec::<String>::new());
    assert_eq!(shop.count(DISAGREEMENTS).await, 0);
    assert_eq!(shop.count("account where payment_token is not null").await, 24);
    let mut tokens = Vec::new();
    for account in accounts {
        tokens.push(shop.token_of(account, &keys(NEW)).await);
    }
    tokens.sort_unstable();
    tokens.dedup();
    let of_a_renewal = |token: &&String| token.len() == "tk_1001".len() && token.starts_with("tk_1");
    assert_eq!(tokens.iter().filter(of_a_renewal).count(), 12, "each has the token of its renewal: {tokens:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_open_is_named_and_keeps_nothing_else_from_being_sealed_anew() {
    let shop = Shop::open().await;
    let (damaged, sound) = (shop.created().await, shop.created().await);
    let flip =
        format!("update bill set card_cryptogram_packet = 'test.' || md5('damaged') where id = '{}'", damaged.bill_id);
    shop.sql(&flip).await.unwrap();
    let resealed = shop.rotate(&both(), 100).await;
    assert_eq!(resealed.lost, [(Place::Cryptogram(damaged.bill_id), CipherError::DoesNotOpen)]);
    assert_eq!(resealed.done, 1);
    let text =
        shop.text(&format!("select card_cryptogram_packet from bill where id = '{}'", sound.bill_id)).await.unwrap();
    assert!(keys(NEW).open(Place::Cryptogram(sound.bill_id), &text).is_ok());
    // A text of the old key where another place's is expected was copied.
    let copied = Sealed {
        place: Place::PaRes(sound.bill_id),
        text: keys(KEYS).seal(Place::Token(AccountId::new()), &"tk".into()),
    };
    let resealed = keys::reseal(&mut *shop.conn().await, &[copied], &both()).await.unwrap();
    assert_eq!(resealed.lost.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_taken_away_only_when_no_row_and_no_backup_needs_it() {
    let shop = Shop::open().await;
    let week = Duration::days(7);
    shop.admit(&keys(KEYS), noon()).await.unwrap();
    shop.subscribed(month(), 1).await;
    shop.created().await;
    // Added last, then moved first: both may run at the same time.
    for order in [format!("{KEYS},{NEW}"), format!("{NEW},{KEYS}")] {
        shop.admit(&keys(&order), noon()).await.unwrap();
    }
    // Nobody has sealed anything with the new one, but somebody may at any moment.
    let without = shop.admit(&keys(KEYS), noon()).await.unwrap_err();
    assert!(matches!(&without, NotAdmitted::NotRotated { id } if id == "new"), "{without}");
    let taken_away = shop.admit(&keys(NEW), noon()).await.unwrap_err();
    assert!(matches!(&taken_away, NotAdmitted::NeededByRows { id, rows: 2 } if id == "test"), "{taken_away}");
    assert!(taken_away.to_string().starts_with("the key `test` is missing, and 2 rows are sealed with it"));

    shop.rotate(&both(), 100).await;
    let taken_away = shop.admit(&keys(NEW), noon()).await.unwrap_err();
    assert!(matches!(&taken_away, NotAdmitted::NotRotated { id } if id == "test"), "{taken_away}");

    let known = keys::retire(&mut *shop.conn().await, &both(), week, noon()).await.unwrap();
    let old = known.iter().find(|(key, _)| key.id == "test").unwrap();
    assert_eq!((old.0.needed_until, old.1), (Some(noon() + week), 0));
    let new = known.iter().find(|(key, _)| key.id == "new").unwrap();
    assert_eq!((new.0.needed_until, new.1), (None, 2));
    // Rotated again, the date stays.
    keys::retire(&mut *shop.conn().await, &both(), week, noon() + Duration::days(3)).await.unwrap();
    let taken_away = shop.admit(&keys(NEW), noon() + Duration::days(6)).await.unwrap_err();
    assert!(
        matches!(&taken_away, NotAdmitted::NeededByBackups { until, .. } if *until == noon() + week),
        "{taken_away}"
    );
    assert!(taken_away.to_string().contains("backups until 2026-03-17"), "{taken_away}");
    shop.admit(&keys(NEW), noon() + week).await.unwrap();

    // A backup of before is restored: its rows need the key again, whatever was written down.
    shop.sql(&format!(
        "update bill set card_cryptogram_packet = '{}' where card_cryptogram_packet is not null",
        keys(KEYS).seal(Place::Token(AccountId::new()), &"tk".into())
    ))
    .await
    .unwrap();
    let restored = shop.admit(&keys(NEW), noon() + week).await.unwrap_err();
    assert!(matches!(restored, NotAdmitted::NeededByRows { rows: 1, .. }), "{restored}");
    let known = keys::retire(&mut *shop.conn().await, &both(), week, noon() + week).await.unwrap();
    assert_eq!(
        known.iter().find(|(key, _)| key.id == "test").unwrap().0.needed_until,
        None,
        "and so it is written down"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_under_a_known_id_is_refused() {
    let shop = Shop::open().await;
    shop.admit(&keys(NEW), noon()).await.unwrap();
    shop.admit(&keys(NEW), noon()).await.unwrap();
    let other = shop.admit(&keys(NEW_ALONE_BY_ITS_NAME), noon()).await.unwrap_err();
    assert!(matches!(&other, NotAdmitted::AnotherKey { id } if id == "new"), "{other}");
    assert!(!other.to_string().contains("AAEC"), "the key is not shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_migrated_yet_says_nothing_of_keys() {
    let database = testkit::postgres().await;
    let db = billing::db::Db::connect(database.url(), 1).await.unwrap();
    keys::admit(&mut db.conn().await.unwrap(), &keys(KEYS), noon()).await.unwrap();
}
