//! A month and a half of a cinema with 500 subscribers, played within seconds: so that whoever opens the panel for the first
//! time finds what accounting and support find there on any morning.
//!
//! Nothing is written by hand. Every step is the store's own, with a past time: attempts are written ahead and sent, what the
//! bank answers goes the way of a response, renewals are opened when they are due, revenue is entered day by day. The
//! gateway's sandbox has the same past ([`cloudpayments_sandbox::Bound`]), so cards can be charged on, money can go back, and
//! the reconciliation of the last days finds only what is meant to be found.

mod bank;
mod cast;
mod later;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use anyhow::Context as _;
use billing::cipher::Cipher;
use billing::event::Source;
use billing::models::Trial;
use billing::store::payments::{self, ChargeInstrument, ChargeOrder, NewPayment};
use billing::store::subscriptions::{self, Request, Verb};
use billing::store::{accounts, announcements, journal, renewals, reports, tariffs};
use billing::trail::{self, Trail};
use billing::{AccountId, Currency, Kopecks, PaymentId, TariffId};
use chrono::{DateTime, Days, TimeDelta, Utc};
use chrono_tz::Tz;
use cloudpayments_sandbox::Bound;
use diesel_async::{AsyncConnection as _, AsyncPgConnection};
use tokio::time::Instant;

use self::bank::Bank;
use self::cast::{Bought, Fate, Person};
use self::later::Later;

/// As often as that the timetable is played.
const TICK: TimeDelta = TimeDelta::hours(6);
/// More than are due at once.
const MANY: i64 = 1_000;

/// What was played.
pub(crate) struct Month {
    pub(crate) subscribers: usize,
    /// Whom to look at, and what there is to be found out.
    pub(crate) cases: Vec<(AccountId, &'static str)>,
}

/// What is played with.
struct Play<'a> {
    gateway: &'a Bound,
    cipher: &'a Cipher,
    zone: Tz,
}

/// Plays the days before `now`, if nobody has ever paid here. `None`: somebody has.
///
/// # Errors
/// A step was refused.
pub(crate) async fn play(
    conn: &mut AsyncPgConnection,
    gateway: &Bound,
    cipher: &Cipher,
    zone: Tz,
    now: DateTime<Utc>,
) -> anyhow::Result<Option<Month>> {
    if !accounts::access_after(conn, None, now, 1).await?.is_empty() {
        return Ok(None);
    }
    let people = cast::everybody(now);
    let month = Month { subscribers: people.len(), cases: cases(&people) };
    let play = Play { gateway, cipher, zone };
    let begun = Instant::now();
    play.run(conn, people, now).await?;
    let played = begun.elapsed();
    play.keep_the_books(conn, now).await?;
    tracing::info!(?played, in_all = ?begun.elapsed(), "a month was played");
    Ok(Some(month))
}

/// Whom to look at first.
fn cases(people: &[Person]) -> Vec<(AccountId, &'static str)> {
    let told = [
        (Fate::Refused { code: 5051 }, "was not charged: there is no money on the card"),
        (Fate::Refused { code: 5041 }, "was not charged: the card is reported lost"),
        (Fate::IsInDoubt, "was or was not charged: the gateway speaks of another amount"),
        (Fate::ForgetsCard { after: 15 }, "was not charged: the customer had the card forgotten"),
        (Fate::ChargedBack { after: 28 }, "has lost access: the bank took the money back"),
    ];
    let case = |(fate, what)| people.iter().rev().find(|person| person.fate == fate).map(|person| (person.id, what));
    told.into_iter().filter_map(case).collect()
}

/// Where somebody is in their story.
struct Known {
    person: Person,
    refusals: usize,
}

impl Play<'_> {
    async fn run(&self, conn: &mut AsyncPgConnection, people: Vec<Person>, now: DateTime<Utc>) -> anyhow::Result<()> {
        let mut tick = now - TimeDelta::days(cast::DAYS);
        let mut coming = people.into_iter().peekable();
        let mut known: HashMap<AccountId, Known> = HashMap::new();
        let mut later = Later::default();
        while tick + TICK <= now {
            tick += TICK;
            let arriving: Vec<Person> =
                std::iter::from_fn(|| coming.next_if(|person| person.comes_at <= tick)).collect();
            // All of a tick is one transaction: a commit for each step would take longer than the steps.
            conn.transaction::<_, anyhow::Error, _>(async |conn| {
                self.tick(conn, arriving, &mut known, &mut later, tick).await
            })
            .await?;
        }
        Ok(())
    }

    async fn tick(
        &self,
        conn: &mut AsyncPgConnection,
        arriving: Vec<Person>,
        known: &mut HashMap<AccountId, Known>,
        later: &mut Later,
        tick: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        for person in arriving {
            self.arrives(conn, &person, later).await.with_context(|| format!("{person:?}"))?;
            known.insert(person.id, Known { person, refusals: 0 });
        }
        for due in later.until(tick) {
            self.happens(conn, due).await?;
        }
        announcements::renewals(conn, TimeDelta::days(3), tick, MANY).await?;
        let opened = renewals::open_due(conn, tick, MANY).await?;
        for (n, id) in (0..).zip(opened.payments) {
            self.renews(conn, id, known, tick + TimeDelta::seconds(2 * n)).await?;
        }
        accounts::close_run_out(conn, tick, MANY).await?;
        Ok(())
    }

    async fn arrives(&self, conn: &mut AsyncPgConnection, person: &Person, later: &mut Later) -> anyhow::Result<()> {
        accounts::register(conn, person.id, self.zone, person.comes_at).await?;
        if person.fate == Fate::OnlyLooks {
            return Ok(());
        }
        let at = person.comes_at + TimeDelta::minutes(3);
        let mut transaction = None;
        if matches!(person.fate, Fate::GivesUp | Fate::HasAnotherCard) {
            let poor = (cast::POOR_CARD, person.card.1.as_str());
            self.buys(conn, person, poor, 5051, at).await?;
        } else {
            transaction = self.buys(conn, person, (person.card.0, &person.card.1), 0, at).await?;
        }
        if person.fate == Fate::HasAnotherCard {
            let at = at + TimeDelta::minutes(4);
            transaction = self.buys(conn, person, (person.card.0, &person.card.1), 0, at).await?;
        }
        later.plan(person, transaction);
        Ok(())
    }

    /// Pays with a card just typed in, which the bank answers by this code.
    async fn buys(
        &self,
        conn: &mut AsyncPgConnection,
        person: &Person,
        card: (&str, &str),
        code: u16,
        at: DateTime<Utc>,
    ) -> anyhow::Result<Option<(PaymentId, i64)>> {
        let trial = (person.buys == Bought::Trial).then_some(TRIAL);
        let new = NewPayment {
            account_id: person.id,
            tariff_id: tariff(person.buys),
            cryptogram: "of the past".into(),
            ip_address: [203, 0, 113, 7].into(),
            idempotency_key: format!("demo:{}:{}", person.id, at.timestamp()),
            trial,
            now: at,
        };
        let asked = trail::follow(Trail::of(Source::Api), payments::create(conn, new, self.cipher)).await?;
        let id = asked.payment.id;
        if person.fate == Fate::LacksReceipt {
            self.wants_receipt(conn, id, at).await?;
        }
        let sent_at = at + TimeDelta::milliseconds(40);
        let charging = self.charge(conn, id, card, |_| Bank::Answers(code), sent_at);
        let transaction = trail::follow(of_task(id), charging).await?;
        Ok(transaction.map(|transaction| (id, transaction)))
    }

    async fn renews(
        &self,
        conn: &mut AsyncPgConnection,
        id: PaymentId,
        known: &mut HashMap<AccountId, Known>,
        at: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let bank =
            |order: &ChargeOrder| known.get_mut(&order.account_id).map_or(Bank::Answers(0), |it| it.renewal(order));
        // A renewal shows no card.
        let charging = self.charge(conn, id, ("", ""), bank, at);
        trail::follow(of_task(id), charging).await?;
        Ok(())
    }

    /// Revenue of all days that are over, and the figures of the reports.
    async fn keep_the_books(&self, conn: &mut AsyncPgConnection, now: DateTime<Utc>) -> anyhow::Result<()> {
        // Until five past one in the night the day before is not entered by the timetable either.
        let today = (now - TimeDelta::minutes(65)).with_timezone(&self.zone).date_naive();
        while let Some(day) = journal::next_revenue_day(conn).await?.filter(|day| *day < today) {
            let entered_at = billing::period::start_of_day(day + Days::new(1), self.zone)? + TimeDelta::minutes(65);
            journal::recognize(conn, day, self.zone, entered_at).await?;
        }
        while let Some(day) = reports::next_day(conn).await? {
            let rolled_up_at = billing::period::start_of_day(day + Days::new(1), self.zone)? + TimeDelta::minutes(80);
            reports::roll_up(conn, day, self.zone, rolled_up_at).await?;
        }
        Ok(())
    }

    async fn asks(
        &self,
        conn: &mut AsyncPgConnection,
        account_id: AccountId,
        verb: Verb,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let idempotency_key = format!("demo:{account_id}:{}", now.timestamp());
        let request = Request { account_id, client: "frontend".to_owned(), idempotency_key, now };
        trail::follow(Trail::of(Source::Api), subscriptions::perform(conn, &request, verb)).await?;
        Ok(())
    }
}

impl Known {
    fn renewal(&mut self, order: &ChargeOrder) -> Bank {
        if !matches!(order.instrument, ChargeInstrument::Token(_)) {
            return Bank::Answers(0);
        }
        match self.person.fate {
            Fate::Recovers { code, refusals } if self.refusals < refusals => {
                self.refusals += 1;
                Bank::Answers(code)
            }
            Fate::Refused { code } => Bank::Answers(code),
            // The card that the customer comes back with pays.
            Fate::ComesBack { .. } if self.refusals == 0 => {
                self.refusals += 1;
                Bank::Answers(5041)
            }
            Fate::AnswerIsLost => Bank::IsNotHeard,
            Fate::IsInDoubt => Bank::TakesAnother,
            _ => Bank::Answers(0),
        }
    }
}

const TRIAL: Trial = Trial { days: 7, amount: Kopecks::ZERO, currency: Currency::RUB };

fn tariff(bought: Bought) -> TariffId {
    let [day, month, year] = tariffs::defaults();
    match bought {
        Bought::Day => day.id,
        Bought::Month | Bought::Trial => month.id,
        Bought::Year => year.id,
    }
}

/// A charge has the id of its payment.
fn of_task(id: PaymentId) -> Trail {
    Trail {
        task_id: Some(id.to_string()),
        worker: Some("billing@demo".to_owned()),
        attempt: 1,
        ..Trail::of(Source::Worker)
    }
}
