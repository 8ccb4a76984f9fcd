//! A database of the test's own with the tariffs on sale, and the steps of a payment in one line each.

use std::sync::atomic::{AtomicU32, Ordering};

use billing::account::window_place;
use billing::cipher::Cipher;
use billing::db::{Conn, Db};
use billing::payment::{Outcome, PaymentState};
use billing::store::payments::{
    self, Applied, Begin, Begin3ds, ChargeOrder, CreateError, Created, NewPayment, PaymentView,
};
use billing::store::{accounts, renewals, tariffs};
use billing::{AccountId, PaymentId, TariffId};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel_async::RunQueryDsl;
use testkit::TestDatabase;

use crate::support::{minutes, noon, sample};

pub(crate) const KEYS: &str = "test:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
pub(crate) const CRYPTOGRAM: &str = "01424242424227090128SMfGq1Uo5";

pub(crate) struct Shop {
    pub(crate) db: Db,
    pub(crate) cipher: Cipher,
    pub(crate) database: TestDatabase,
}

impl Shop {
    pub(crate) async fn open() -> Self {
        Self::with_connections(8).await
    }

    pub(crate) async fn with_connections(max: usize) -> Self {
        let database = testkit::postgres_from_template("billing", |url| async move {
            let db = Db::connect(&url, 1).await?;
            db.migrate().await?;
            tariffs::seed(&mut *db.conn().await?, &tariffs::defaults(), noon()).await?;
            Ok(())
        })
        .await;
        let db = Db::connect(database.url(), max).await.unwrap();
        Self { db, cipher: Cipher::from_keys(&KEYS.into()).unwrap(), database }
    }

    pub(crate) async fn conn(&self) -> Conn {
        self.db.conn().await.unwrap()
    }

    /// One that is charged as soon as the window before the end of its paid time opens.
    pub(crate) async fn account(&self) -> AccountId {
        let id = charged_early();
        self.known(id).await;
        id
    }

    pub(crate) async fn known(&self, id: AccountId) {
        accounts::register(&mut *self.conn().await, id, Tz::Europe__Moscow, noon()).await.unwrap();
    }

    pub(crate) async fn create(&self, new: NewPayment) -> Result<Created, CreateError> {
        payments::create(&mut *self.conn().await, new, &self.cipher).await
    }

    /// A first purchase of a month, written down at noon.
    pub(crate) async fn created(&self) -> PaymentView {
        let account = self.account().await;
        self.create(purchase(account)).await.unwrap().payment
    }

    pub(crate) async fn begin(&self, id: PaymentId, now: DateTime<Utc>) -> Begin {
        payments::begin_sending(&mut *self.conn().await, id, &self.cipher, now).await.unwrap()
    }

    pub(crate) async fn send(&self, id: PaymentId, now: DateTime<Utc>) -> ChargeOrder {
        match self.begin(id, now).await {
            Begin::Send(order) => *order,
            Begin::NotNow(state) => panic!("{id} is {state}"),
        }
    }

    pub(crate) async fn apply(&self, id: PaymentId, outcome: Outcome, now: DateTime<Utc>) -> Applied {
        payments::apply(&mut *self.conn().await, id, outcome, &self.cipher, now).await.unwrap()
    }

    /// Sends a written payment and takes the outcome.
    pub(crate) async fn charge(&self, id: PaymentId, outcome: Outcome, now: DateTime<Utc>) -> Applied {
        self.send(id, now).await;
        self.apply(id, outcome, now).await
    }

    /// An account that bought at noon; its transaction is `transaction_id`.
    pub(crate) async fn subscribed(&self, tariff: TariffId, transaction_id: i64) -> AccountId {
        let account = self.account().await;
        self.buys(account, tariff, transaction_id).await;
        account
    }

    pub(crate) async fn buys(&self, account: AccountId, tariff: TariffId, transaction_id: i64) {
        let new = NewPayment { tariff_id: tariff, ..purchase(account) };
        let payment = self.create(new).await.unwrap().payment;
        self.charge(payment.id, took(&payment, transaction_id), noon()).await;
    }

    /// A purchase whose customer is on the bank's page; its transaction is [`sample::TRANSACTION`].
    pub(crate) async fn on_the_bank_page(&self) -> PaymentView {
        let payment = self.created().await;
        self.charge(payment.id, page(), noon()).await.payment
    }

    pub(crate) async fn answer(&self, id: PaymentId, now: DateTime<Utc>) -> PaymentView {
        let answer = "PaRes: authenticated".into();
        payments::submit_pa_res(&mut *self.conn().await, id, sample::TRANSACTION, answer, &self.cipher, now)
            .await
            .unwrap()
    }

    pub(crate) async fn post(&self, id: PaymentId, now: DateTime<Utc>) -> Begin3ds {
        payments::begin_posting(&mut *self.conn().await, id, &self.cipher, now).await.unwrap()
    }

    pub(crate) async fn view(&self, id: PaymentId) -> PaymentView {
        payments::get(&mut *self.conn().await, id).await.unwrap().unwrap()
    }

    pub(crate) async fn state(&self, id: PaymentId) -> PaymentState {
        self.view(id).await.state
    }

    pub(crate) async fn account_of(&self, id: AccountId) -> billing::account::Account {
        accounts::get(&mut *self.conn().await, id).await.unwrap().unwrap()
    }

    pub(crate) async fn open_due(&self, now: DateTime<Utc>) -> Vec<PaymentId> {
        renewals::open_due(&mut *self.conn().await, now, 100).await.unwrap().payments
    }

    /// Ends what has run out.
    pub(crate) async fn close(&self, now: DateTime<Utc>) -> Vec<AccountId> {
        accounts::close_run_out(&mut *self.conn().await, now, 100).await.unwrap()
    }

    pub(crate) async fn sql(&self, statement: &str) -> Result<usize, diesel::result::Error> {
        diesel::sql_query(statement).execute(&mut *self.conn().await).await
    }

    pub(crate) async fn count(&self, from: &str) -> i64 {
        #[derive(diesel::QueryableByName)]
        struct Count {
            #[diesel(sql_type = BigInt)]
            n: i64,
        }
        let query = diesel::sql_query(format!("select count(*) as n from {from}"));
        query.get_result::<Count>(&mut *self.conn().await).await.unwrap().n
    }

    /// One value as text.
    pub(crate) async fn text(&self, select: &str) -> Option<String> {
        #[derive(diesel::QueryableByName)]
        struct Value {
            #[diesel(sql_type = Nullable<Text>)]
            value: Option<String>,
        }
        let query = diesel::sql_query(format!("select ({select})::text as value"));
        query.get_result::<Value>(&mut *self.conn().await).await.unwrap().value
    }

    /// All rows of the tables about money and cards, to see whether anything has changed.
    pub(crate) async fn everything(&self) -> String {
        let mut all = String::new();
        for table in ["tariff", "account", "card", "bill", "payment"] {
            let rows = self.text(&format!("select json_agg(t order by t.id) from {table} t")).await;
            all.push_str(&rows.unwrap_or_default());
        }
        all
    }
}

/// An account whose place is in the first hundredth of the window.
pub(crate) fn charged_early() -> AccountId {
    std::iter::repeat_with(AccountId::new).find(|id| window_place(*id) < u32::MAX / 100).unwrap()
}

/// A month, by a card just typed in, under a key of its own.
pub(crate) fn purchase(account_id: AccountId) -> NewPayment {
    static KEY: AtomicU32 = AtomicU32::new(0);
    NewPayment {
        account_id,
        tariff_id: month(),
        cryptogram: CRYPTOGRAM.into(),
        ip_address: [203, 0, 113, 7].into(),
        trial: None,
        idempotency_key: format!("key-{}", KEY.fetch_add(1, Ordering::Relaxed)),
        now: noon(),
    }
}

pub(crate) fn day() -> TariffId {
    tariffs::defaults()[0].id
}

pub(crate) fn month() -> TariffId {
    tariffs::defaults()[1].id
}

pub(crate) fn year() -> TariffId {
    tariffs::defaults()[2].id
}

/// The gateway took what was asked for.
pub(crate) fn took(payment: &PaymentView, transaction_id: i64) -> Outcome {
    Outcome::Completed {
        transaction_id,
        token: Some(format!("tk_{transaction_id}").into()),
        amount: payment.amount,
        currency: payment.currency,
        card: None,
    }
}

pub(crate) fn page() -> Outcome {
    let asked = sample::three_ds();
    Outcome::ThreeDsRequired {
        transaction_id: sample::TRANSACTION,
        acs_url: asked.acs_url,
        pa_req: asked.pa_req,
        expires_at: asked.expires_at,
    }
}

pub(crate) fn refused(code: i32) -> Outcome {
    Outcome::Declined {
        transaction_id: None,
        code,
        reason: "InsufficientFunds".into(),
        cardholder_message: "Недостаточно средств на карте".into(),
        retry_after: None,
    }
}

pub(crate) fn unknown(now: DateTime<Utc>) -> Outcome {
    Outcome::Unknown { why: "no answer in time".into(), look_again_at: now + minutes(1) }
}
