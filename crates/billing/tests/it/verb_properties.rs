//! What holds for every subscription whatever its subscriber asks for, whatever its charges come to, whatever the clock does
//! and wherever a transaction is lost: against a real database, with everything delivered three times.

use billing::account::DOUBT;
use billing::bill::BillKind;
use billing::decline::GRACE;
use billing::models::Trial;
use billing::payment::{CardMask, Instrument, Outcome, PaymentState};
use billing::store::payments::{Begin, CreateError, NewPayment, PaymentView};
use billing::store::subscriptions::{self, NewCard, Preview, Request, Verb, VerbError, Written};
use billing::store::{StoreError, events, tariffs};
use billing::{AccountId, Currency, Kopecks, PaymentId, TariffId};
use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::{AsyncConnection as _, AsyncPgConnection};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::cards::DISAGREEMENTS;
use crate::shop::{Shop, day, month, purchase, refused, unknown, year};
use crate::support::{hours, minutes, noon, sample};

const FOR_NOTHING: Trial = Trial { days: 7, amount: Kopecks::ZERO, currency: Currency::RUB };
const FOR_TEN: Trial = Trial { days: 3, amount: Kopecks::new(1_000), currency: Currency::RUB };

/// The last digits of a card that has had its trial, and of one that has not.
const USED: &str = "4242";
const FRESH: &str = "5555";

type Checked<T = ()> = Result<T, TestCaseError>;

/// What a charge comes to.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Paid,
    Refused(i32),
    Rejected,
    Doubt,
    /// Whoever sent it dies before it writes anything down.
    Lost,
    /// The bank wants to see the customer.
    Page,
    /// No worker takes its message.
    Unsent,
}

#[derive(Debug, Clone, Copy)]
enum Wish {
    Do(Verb),
    Close(bool),
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Wait(i64),
    Buy(Fate),
    /// The tariff is to be tried. The flag: with a card that has had its trial.
    Try(bool, Fate),
    /// The timetable opens what is due; workers send whatever waits.
    Work(Fate),
    /// The gateway says at last what became of a charge.
    Settle(bool),
    RunOut,
    /// The subscriber gives another card, and a debt is to be paid with it at once, or not.
    Replace(bool, Fate),
    /// Another tariff, or the first one again, from the next period on.
    Choose(bool),
    /// The dearest tariff at once.
    ChangeAtOnce(Fate),
    /// Something that the subscriber asks for. The flag: the first transaction never happens.
    Ask(Wish, bool),
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::Paid),
        3 => proptest::sample::select(vec![5051, 5043, 5091, 5054, 5063, 5005]).prop_map(Fate::Refused),
        1 => Just(Fate::Rejected),
        2 => Just(Fate::Doubt),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Page),
        2 => Just(Fate::Unsent),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let wish = prop_oneof![
        3 => Just(Wish::Do(Verb::Cancel)),
        3 => Just(Wish::Do(Verb::Resume)),
        2 => Just(Wish::Do(Verb::ForgetCard)),
        1 => any::<bool>().prop_map(Wish::Close),
    ];
    prop_oneof![
        3 => (1..24_i64 * 12).prop_map(Step::Wait),
        2 => (1..20_i64).prop_map(Step::Wait),
        2 => fate().prop_map(Step::Buy),
        2 => (any::<bool>(), fate()).prop_map(|(is_used, fate)| Step::Try(is_used, fate)),
        2 => (any::<bool>(), fate()).prop_map(|(pay_debt, fate)| Step::Replace(pay_debt, fate)),
        6 => fate().prop_map(Step::Work),
        2 => any::<bool>().prop_map(Step::Settle),
        2 => Just(Step::RunOut),
        2 => any::<bool>().prop_map(Step::Choose),
        2 => fate().prop_map(Step::ChangeAtOnce),
        4 => (wish, any::<bool>()).prop_map(|(wish, lost)| Step::Ask(wish, lost)),
    ]
}

/// One subscription in a database of its own, and what its subscriber is owed by what they asked for.
struct Life {
    shop: Shop,
    id: AccountId,
    is_daily: bool,
    now: DateTime<Utc>,
    transactions: i64,
    keys: u32,
    /// Sent, and not ended; with the transaction it has already.
    doubtful: Vec<(PaymentId, i64)>,
    /// Whether the card that is typed in now has had its trial; attempts keep theirs by their last digit.
    used_cards: Vec<PaymentId>,
    cancelled: bool,
    closed: bool,
    /// Notices that access ends with what is paid.
    notices: i64,
    period_no: i32,
    /// Time with access that is not paid, since the last payment.
    given: TimeDelta,
}

impl Life {
    async fn begin(is_daily: bool) -> Self {
        let shop = Shop::open().await;
        // A month may be tried for nothing, a day for ten roubles; and one card has had its trial.
        tariffs::set_trial(&mut *shop.conn().await, day(), Some(FOR_TEN), noon()).await.unwrap();
        let other = shop.account().await;
        let tried = shop.create(NewPayment { trial: Some(FOR_NOTHING), ..purchase(other) }).await.unwrap().payment;
        let transaction = i64::from(u32::MAX);
        shop.charge(tried.id, good(&tried, transaction, USED), noon()).await;
        shop.apply(tried.id, Outcome::Voided, noon()).await;
        shop.sql("update account set cancel_at_period_end = true, next_charge_at = null").await.unwrap();
        let id = shop.account().await;
        Self {
            shop,
            id,
            is_daily,
            now: noon(),
            transactions: 0,
            keys: 0,
            doubtful: Vec::new(),
            used_cards: Vec::new(),
            cancelled: false,
            closed: false,
            notices: 0,
            period_no: 0,
            given: TimeDelta::zero(),
        }
    }

    async fn take(&mut self, step: Step) -> Checked {
        match step {
            Step::Wait(n) => self.wait(hours(n)).await,
            Step::Buy(fate) => self.buy(None, fate).await?,
            Step::Try(is_used, fate) => self.buy(Some(is_used), fate).await?,
            Step::Replace(pay_debt, fate) => self.replace(pay_debt, fate).await?,
            Step::Work(fate) => self.work(fate).await?,
            Step::Settle(is_paid) => self.settle(is_paid).await?,
            Step::Choose(other) => self.choose(if other { year() } else { self.tariff() }).await?,
            Step::ChangeAtOnce(fate) => self.change_at_once(fate).await?,
            Step::RunOut => {
                for _ in 0..3 {
                    self.shop.close(self.now).await;
                }
            }
            Step::Ask(wish, lost) => self.ask(wish, lost).await?,
        }
        self.now += minutes(1);
        self.check().await
    }

    async fn wait(&mut self, time: TimeDelta) {
        let (account, until) = (self.shop.account_of(self.id).await, self.now + time);
        if let (Some(paid), Some(access)) = (account.paid_until, account.access_until)
            && account.is_running()
        {
            self.given += (access.min(until) - paid.max(self.now)).max(TimeDelta::zero());
        }
        self.now = until;
    }

    /// The tariff that is bought.
    fn tariff(&self) -> TariffId {
        if self.is_daily { day() } else { month() }
    }

    /// Under a key of its own.
    fn request(&mut self) -> Request {
        self.keys += 1;
        Request {
            account_id: self.id,
            client: "frontend".into(),
            idempotency_key: format!("key-{}", self.keys),
            now: self.now,
        }
    }

    async fn choose(&mut self, tariff_id: TariffId) -> Checked {
        let request = self.request();
        let mut conn = self.shop.conn().await;
        let chosen = subscriptions::change_tariff(&mut conn, &request, tariff_id).await;
        if self.closed {
            prop_assert!(matches!(chosen, Err(VerbError::Closed)), "{chosen:?}");
        }
        if self.cancelled {
            prop_assert!(chosen.is_err(), "there is no next period: {chosen:?}");
        }
        let Ok(chosen) = chosen else { return Ok(()) };
        prop_assert!(!chosen.replayed, "a wish is lost");
        prop_assert_eq!(chosen.subscription.account.next_tariff_id(), Some(tariff_id));
        for _ in 0..2 {
            prop_assert!(subscriptions::change_tariff(&mut conn, &request, tariff_id).await.unwrap().replayed);
        }
        Ok(())
    }

    /// What is shown is what is charged, and what cannot be shown cannot be charged.
    async fn change_at_once(&mut self, fate: Fate) -> Checked {
        let request = self.request();
        let mut conn = self.shop.conn().await;
        let rows = self.shop.everything().await;
        let shown = subscriptions::preview_change(&mut conn, self.id, year(), self.now).await;
        let at_once = async |conn: &mut AsyncPgConnection, shown: i64| {
            subscriptions::change_tariff_at_once(conn, &request, year(), Kopecks::new(shown)).await
        };
        let Ok(Preview { at_once: Ok((amount, _)), .. }) = shown else {
            let refused = at_once(&mut *conn, 1).await;
            prop_assert!(refused.is_err(), "{refused:?} after {shown:?}");
            prop_assert_eq!(self.shop.everything().await, rows, "what was refused left something");
            return Ok(());
        };
        prop_assert!(!self.closed && !self.cancelled, "a change against their will");
        let differs = at_once(&mut *conn, amount.get() + 1).await;
        prop_assert!(matches!(differs, Err(VerbError::PreviewChanged { amount: now }) if now == amount), "{differs:?}");
        prop_assert_eq!(self.shop.everything().await, rows, "what was refused left something");
        let written = at_once(&mut *conn, amount.get()).await.unwrap();
        prop_assert!(!written.replayed);
        prop_assert!(at_once(&mut *conn, amount.get()).await.unwrap().replayed);
        drop(conn);
        let payment = written.subscription.open.and_then(|open| open.payment).expect("it is under way").0;
        prop_assert_eq!((payment.kind, payment.amount), (BillKind::Change, amount));
        self.charge(payment.id, fate).await
    }

    /// `tried_by_used`: it is a trial, with a card that has had its own or with another.
    async fn buy(&mut self, tried_by_used: Option<bool>, fate: Fate) -> Checked {
        let (tariff_id, terms) = if self.is_daily { (day(), FOR_TEN) } else { (month(), FOR_NOTHING) };
        let trial = tried_by_used.map(|_| terms);
        let new = NewPayment { tariff_id, trial, now: self.now, ..purchase(self.id) };
        let created = self.shop.create(new.clone()).await;
        if trial.is_some() && self.trials().await > 0 {
            prop_assert!(created.is_err(), "a second trial");
        }
        if self.closed {
            prop_assert!(matches!(created, Err(CreateError::Closed)), "{created:?}");
        }
        let Ok(created) = created else { return Ok(()) };
        prop_assert!(self.shop.create(new).await.unwrap().replayed);
        if tried_by_used == Some(true) {
            self.used_cards.push(created.payment.id);
        }
        self.charge(created.payment.id, fate).await
    }

    /// Trials of this account that have begun.
    async fn trials(&self) -> i64 {
        self.shop.count(&format!("trial where account_id = '{}'", self.id)).await
    }

    /// The last digits of the card of this payment.
    fn card(&self, id: PaymentId) -> &'static str {
        if self.used_cards.contains(&id) { USED } else { FRESH }
    }

    async fn replace(&mut self, pay_debt: bool, fate: Fate) -> Checked {
        let request = self.request();
        let new = NewCard { cryptogram: "another".into(), ip_address: [203, 0, 113, 8].into(), pay_debt };
        let cipher = &self.shop.cipher;
        let replacing = subscriptions::replace_card(&mut *self.shop.conn().await, &request, &new, cipher).await;
        if self.closed {
            prop_assert!(matches!(replacing, Err(VerbError::Closed)), "{replacing:?}");
        }
        let Ok(replacing) = replacing else { return Ok(()) };
        let again = subscriptions::replace_card(&mut *self.shop.conn().await, &request, &new, cipher).await;
        prop_assert!(again.unwrap().replayed);
        self.charge(replacing.payment.id, fate).await
    }

    async fn work(&mut self, fate: Fate) -> Checked {
        for _ in 0..3 {
            self.shop.open_due(self.now).await;
        }
        let waiting = "select string_agg(id::text, ' ') from payment where state = 'created'";
        let waiting = self.shop.text(waiting).await.unwrap_or_default();
        for id in waiting.split_whitespace() {
            self.charge(id.parse().unwrap(), fate).await?;
        }
        Ok(())
    }

    /// The task that charges, delivered three times.
    async fn charge(&mut self, id: PaymentId, fate: Fate) -> Checked {
        if matches!(fate, Fate::Unsent) {
            return Ok(());
        }
        let mut sent = 0;
        for _ in 0..3 {
            sent += usize::from(matches!(self.shop.begin(id, self.now).await, Begin::Send(_)));
        }
        prop_assert!(sent <= 1, "sent {} times", sent);
        if sent == 0 {
            return Ok(());
        }
        let payment = self.shop.view(id).await;
        let is_renewal = payment.instrument == Instrument::Token;
        let is_unwanted = self.closed || (is_renewal && self.cancelled);
        prop_assert!(!is_unwanted, "charged against their will: {payment:?}");
        self.transactions += 1;
        let (transaction_id, now) = (self.transactions, self.now);
        let outcome = match fate {
            Fate::Paid => good(&payment, transaction_id, self.card(id)),
            Fate::Refused(code) => refused(code),
            Fate::Rejected => Outcome::Rejected { message: "Token does not belong to this AccountId".into() },
            Fate::Page if !is_renewal => asked(transaction_id, now),
            Fate::Page | Fate::Doubt => unknown(now),
            Fate::Lost | Fate::Unsent => {
                self.doubtful.push((id, transaction_id));
                return Ok(());
            }
        };
        self.hear(&payment, outcome).await?;
        if self.shop.state(id).await.is_live() {
            self.doubtful.push((id, transaction_id));
        }
        Ok(())
    }

    async fn settle(&mut self, is_paid: bool) -> Checked {
        let Some((id, transaction_id)) = self.doubtful.pop() else { return Ok(()) };
        let payment = self.shop.view(id).await;
        let outcome = if is_paid { good(&payment, transaction_id, self.card(id)) } else { refused(5051) };
        self.hear(&payment, outcome).await
    }

    /// The gateway's word, delivered three times.
    async fn hear(&mut self, payment: &PaymentView, outcome: Outcome) -> Checked {
        let before = self.shop.account_of(self.id).await;
        for _ in 0..3 {
            self.shop.apply(payment.id, outcome.clone(), self.now).await;
        }
        if self.shop.state(payment.id).await == PaymentState::Authorized {
            self.shop.apply(payment.id, Outcome::Voided, self.now).await;
        }
        let bought = format!("bill where id = '{}' and kind = 'primary'", payment.bill_id);
        let paid = self.shop.state(payment.id).await == PaymentState::Succeeded;
        let tried = format!("trial where bill_id = '{}'", payment.bill_id);
        let is_new = self.shop.account_of(self.id).await.period_no != self.period_no;
        if (paid && self.shop.count(&bought).await == 1) || (is_new && self.shop.count(&tried).await == 1) {
            self.cancelled = false;
        }
        if payment.kind == BillKind::Change {
            let after = self.shop.account_of(self.id).await;
            if paid {
                prop_assert_eq!(after.tariff_id, Some(year()), "who has paid for a tariff has it");
            } else {
                prop_assert_eq!(after, before, "what is not paid changes nothing, and is no refused renewal");
            }
        }
        Ok(())
    }

    async fn ask(&mut self, wish: Wish, lost: bool) -> Checked {
        let request = self.request();
        let before = self.shop.account_of(self.id).await;
        if lost {
            let rows = self.shop.everything().await;
            self.lose(&request, wish).await;
            prop_assert_eq!(self.shop.everything().await, rows, "what never happened left something");
        }
        let done = self.perform(&request, wish).await;
        if self.closed && matches!(wish, Wish::Do(_)) {
            prop_assert!(matches!(done, Err(VerbError::Closed)), "{done:?}");
        }
        let Ok(done) = done else { return Ok(()) };
        prop_assert!(!done.replayed, "a wish is lost");
        for _ in 0..2 {
            prop_assert!(self.perform(&request, wish).await.unwrap().replayed);
        }
        let after = self.shop.account_of(self.id).await;
        match wish {
            Wish::Do(Verb::Cancel) => self.cancelled |= before.is_running(),
            Wish::Do(Verb::Resume) => self.cancelled = false,
            Wish::Do(Verb::ForgetCard) => prop_assert!(!after.has_token),
            Wish::Close(_) => self.closed = true,
        }
        self.notices += i64::from(after.cancel_at_period_end && !before.cancel_at_period_end);
        Ok(())
    }

    async fn perform(&self, request: &Request, wish: Wish) -> Result<Written, VerbError> {
        let mut conn = self.shop.conn().await;
        match wish {
            Wish::Do(verb) => subscriptions::perform(&mut conn, request, verb).await,
            Wish::Close(at_once) => subscriptions::close(&mut conn, request, at_once).await,
        }
    }

    /// All of it, and then the transaction ends without its commit.
    async fn lose(&self, request: &Request, wish: Wish) {
        let mut conn = self.shop.conn().await;
        let lost = conn.transaction(async |conn| {
            match wish {
                Wish::Do(verb) => subscriptions::perform(conn, request, verb).await?,
                Wish::Close(at_once) => subscriptions::close(conn, request, at_once).await?,
            };
            Err::<(), _>(VerbError::Store(StoreError::from(diesel::result::Error::RollbackTransaction)))
        });
        assert!(lost.await.is_err());
    }

    async fn check(&mut self) -> Checked {
        let account = self.shop.account_of(self.id).await;
        if account.period_no != self.period_no {
            prop_assert!(account.period_no > self.period_no);
            (self.period_no, self.given) = (account.period_no, TimeDelta::zero());
        }
        prop_assert!(self.given <= DOUBT * 2 + GRACE, "{} of access are not paid: {:?}", self.given, account);
        if self.cancelled || self.closed {
            prop_assert!(account.cancel_at_period_end || !account.is_running(), "a wish is lost: {:?}", account);
            prop_assert_eq!(account.next_charge_at, None);
        }
        prop_assert_eq!(account.closed_at.is_some(), self.closed);
        let trials = self.trials().await;
        prop_assert!(trials <= 1 && (trials == 1) == account.trial_period_no.is_some(), "{} trials", trials);
        let of_used = "trial join payment using (bill_id) where payment.id::text = any (string_to_array('{}', ' '))";
        let used: Vec<String> = self.used_cards.iter().map(ToString::to_string).collect();
        let of_used = of_used.replace("{}", &used.join(" "));
        let good = "payment.state in ('authorized', 'verified', 'succeeded')";
        prop_assert_eq!(self.shop.count(&format!("{of_used} and {good}")).await, 0, "a card has a second trial");
        let dearer = "payment join bill on bill.id = bill_id where trial_days is not null and payment.amount > 1000";
        prop_assert_eq!(self.shop.count(dearer).await, 0, "a trial costs more than was shown");
        let twice = "(select from bill where status = 'Paid' group by period_no having count(*) > 1) twice";
        prop_assert_eq!(self.shop.count(twice).await, 0, "a period is paid twice");
        let (paid, bills) = ("payment where state = 'succeeded'", "bill where status = 'Paid'");
        prop_assert_eq!(self.shop.count(paid).await, self.shop.count(bills).await, "money without what it bought");
        prop_assert_eq!(self.shop.count(DISAGREEMENTS).await, 0, "the account and its card disagree");
        let in_work = "bill where status = 'In work' and not exists
            (select from payment where bill_id = bill.id and is_success is null)";
        prop_assert_eq!(self.shop.count(in_work).await, 0, "nobody works at it any more");
        Ok(())
    }

    /// What readers of the log were told.
    async fn read(&self) -> Checked {
        let mut conn = self.shop.conn().await;
        while events::sequence(&mut conn, 10).await.unwrap() != events::sequence(&mut conn, 10).await.unwrap() {}
        let told = events::read(&mut conn, 0, &[], None, 10_000).await.unwrap();
        drop(conn);
        let public = self.shop.count("event where is_public").await;
        prop_assert_eq!(i64::try_from(told.len()).unwrap(), public, "each once");
        prop_assert!(told.windows(2).all(|two| two[0].id < two[1].id && two[0].position < two[1].position), "in order");
        for (state, kind) in [("succeeded", "payment_succeeded"), ("declined", "payment_declined")] {
            let wrong = format!(
                "payment where state = '{state}'
                 and (select kind from bill where id = bill_id) <> 'verification'
                 and (select count(*) from event where payment_id = payment.id and kind = '{kind}') <> 1"
            );
            prop_assert_eq!(self.shop.count(&wrong).await, 0, "{} is told once", kind);
        }
        let count = async |kind: &str| self.shop.count(&format!("event where kind = '{kind}'")).await;
        let succeeded = self.shop.count("payment where state = 'succeeded'").await;
        prop_assert_eq!(count("payment_succeeded").await, succeeded);
        let for_nothing = self.shop.count("trial join bill on bill.id = bill_id where kind = 'verification'").await;
        prop_assert_eq!(count("access_granted").await, succeeded + for_nothing + count("resumed").await);
        prop_assert_eq!(count("trial_began").await, self.shop.count("trial").await);
        let refused = self.shop.count("bill where trial_refused is not null").await;
        prop_assert_eq!(count("trial_refused").await, refused);
        prop_assert_eq!(count("access_ends").await, self.notices);
        let changed = self.shop.count("bill where kind = 'change' and status = 'Paid'").await;
        prop_assert!(count("tariff_changed").await >= changed, "others are told of another tariff");
        let fell_through = "payment p join bill b on b.id = p.bill_id
            where b.kind = 'change' and p.state <> 'succeeded'
            and exists (select from event where payment_id = p.id and kind = 'renewal_refused')";
        prop_assert_eq!(self.shop.count(fell_through).await, 0, "a change at once is no renewal");
        // Whatever its state says: the bank's word, our own fault, or a card that was gone.
        let untold = "payment p join bill b on b.id = p.bill_id
            where b.kind = 'renewal' and p.instrument = 'token' and p.state in ('declined', 'rejected')
            and (select count(*) from event where payment_id = p.id and kind = 'renewal_refused') <> 1
            and not exists (select from event where account_id = b.account_id and kind in ('account_closed', 'access_ends'))";
        prop_assert_eq!(self.shop.count(untold).await, 0, "a renewal that came to nothing is told once");
        let ended = self.shop.count("event where kind = 'account_moved' and to_state = 'Canceled'").await;
        prop_assert_eq!(count("access_ended").await, ended);
        prop_assert_eq!(count("account_closed").await, i64::from(self.closed));
        let owed = self.shop.count("payment where state = 'succeeded_duplicate'").await;
        prop_assert!(count("needs_attention").await >= owed, "money that goes back is told of");
        Ok(())
    }
}

/// The gateway took what was asked for, or holds it to verify the card.
fn good(payment: &PaymentView, transaction_id: i64, last_four: &str) -> Outcome {
    let card = payment.is_trial.then(|| CardMask {
        first_six: Some("424242".into()),
        last_four: Some(last_four.into()),
        expires: Some("12/39".into()),
        ..CardMask::default()
    });
    let (amount, currency) = (payment.amount, payment.currency);
    let token = Some(format!("tk_{transaction_id}").into());
    if payment.kind == BillKind::Verification {
        Outcome::Authorized { transaction_id, token, amount, currency, card }
    } else {
        Outcome::Completed { transaction_id, token, amount, currency, card }
    }
}

/// A page of the bank.
fn asked(transaction_id: i64, now: DateTime<Utc>) -> Outcome {
    let page = sample::three_ds();
    Outcome::ThreeDsRequired {
        transaction_id,
        acs_url: page.acs_url,
        pa_req: page.pa_req,
        expires_at: now + minutes(30),
    }
}

async fn live(is_daily: bool, is_tried: bool, steps: Vec<Step>) -> Checked {
    let mut life = Life::begin(is_daily).await;
    let first = if is_tried { Step::Try(false, Fate::Paid) } else { Step::Buy(Fate::Paid) };
    life.take(first).await?;
    for step in steps {
        life.take(step).await?;
    }
    life.read().await
}

/// So many histories of so many steps: each step is some twenty statements.
const HISTORIES: u32 = 16;
const STEPS: usize = 40;

#[test]
fn whatever_a_subscriber_asks_for_is_done_once_and_never_undone_by_what_charges_come_to() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let config = Config { cases: HISTORIES, max_shrink_iters: 100, failure_persistence: None, ..Config::default() };
    let histories = (any::<bool>(), any::<bool>(), prop::collection::vec(step(), 5..STEPS));
    let run = TestRunner::new(config)
        .run(&histories, |(is_daily, is_tried, steps)| runtime.block_on(live(is_daily, is_tried, steps)));
    if let Err(failed) = run {
        panic!("{failed}");
    }
}
