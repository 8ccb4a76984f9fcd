//! What the customers of the demo live through. Each scene says what it expects and fails where it is not so.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use billing::db::Db;
use billing::store::accounts;
use billing_api::proto::{AccountAccess, Payment, PaymentStatus, Tariff, period::Length};
use chrono::NaiveDate;
use tokio::time::Instant;
use uuid::Uuid;

use super::browser;
use super::customer::{Cinema, Customer};
use super::narrator::Narrator;
use super::sandbox::Sandbox;

// The gateway's test cards (developers.cloudpayments.ru, "Testing").
pub(super) const PAYS: &str = "4000000000003055";
const ASKS_THREE_DS: &str = "4242424242424242";
const HAS_NO_FUNDS: &str = "4000056655665556";
/// Pays, and is another card than the first.
const ANOTHER: &str = "5205000000003055";

/// How long to wait between two looks at an account whose renewal is due.
const RENEWAL_POLL: Duration = Duration::from_millis(250);

/// What a scene works with.
pub(super) struct Stage {
    pub cinema: Cinema,
    pub sandbox: Sandbox,
    pub http: reqwest::Client,
    /// Where support moves the end of a paid time by hand.
    pub database: Option<Db>,
    /// How long anything may take.
    pub patience: Duration,
    pub tariffs: Vec<Tariff>,
}

/// An account and how often it must have been charged in the end.
pub(super) struct Expectation {
    pub who: &'static str,
    pub account_id: String,
    pub charges: usize,
}

impl Stage {
    pub(super) async fn card_without_three_ds(&self, narrator: &mut Narrator) -> anyhow::Result<Expectation> {
        let customer = self.sign_up(narrator).await?;
        let payment = self.buys(&customer, self.monthly()?, PAYS, narrator).await?;
        self.ends_paid(&customer, &payment, narrator).await?;
        Ok(customer.expects("pays", 1))
    }

    pub(super) async fn card_with_three_ds(&self, narrator: &mut Narrator) -> anyhow::Result<Expectation> {
        let customer = self.sign_up(narrator).await?;
        let payment = self.buys(&customer, self.monthly()?, ASKS_THREE_DS, narrator).await?;
        let three_ds = customer.three_ds(&payment).await?;
        narrator.step(format_args!("the bank wants to see the customer at {}", three_ds.acs_url));
        let answer = browser::confirm(&self.http, &three_ds.acs_url, &three_ds.pa_req, &three_ds.md).await?;
        narrator.step("the customer confirms on the bank's page and is sent back");
        customer.submit_three_ds(&payment, answer.md, answer.pa_res).await?;
        self.ends_paid(&customer, &payment, narrator).await?;
        Ok(customer.expects("confirms at the bank", 1))
    }

    pub(super) async fn card_without_funds(&self, narrator: &mut Narrator) -> anyhow::Result<Expectation> {
        let customer = self.sign_up(narrator).await?;
        let payment = self.buys(&customer, self.monthly()?, HAS_NO_FUNDS, narrator).await?;
        let payment = customer.outcome(&payment).await?;
        let decline = payment.decline.as_ref().with_context(|| unexpected(&payment))?;
        narrator.step(format_args!("declined: {} {} – «{}»", decline.code, decline.reason, decline.message));
        ensure!(!customer.access().await?.has_access, "a declined payment gave access");
        narrator.step("no access");
        Ok(customer.expects("has no funds", 0))
    }

    pub(super) async fn same_key_twice(&self, narrator: &mut Narrator) -> anyhow::Result<Expectation> {
        let customer = self.sign_up(narrator).await?;
        let cryptogram = self.sandbox.cryptogram(PAYS).await?;
        let key = Uuid::new_v4().to_string();
        let tariff = self.monthly()?;
        let (first, second) =
            tokio::try_join!(customer.pay(tariff, &cryptogram, &key), customer.pay(tariff, &cryptogram, &key))?;
        ensure!(first.payment_id == second.payment_id, "one key made two payments");
        narrator.step(format_args!("both answers are payment {}", first.payment_id));
        self.ends_paid(&customer, &first, narrator).await?;
        Ok(customer.expects("clicks twice", 1))
    }

    /// A tariff of one day is renewed when half of the day is over. Nobody wants to wait for that: support moves the end of
    /// what is paid, and it is due.
    pub(super) async fn renewal(&self, database: &Db, narrator: &mut Narrator) -> anyhow::Result<Expectation> {
        let customer = self.sign_up(narrator).await?;
        let payment = self.buys(&customer, self.shortest()?, PAYS, narrator).await?;
        let paid = customer.outcome(&payment).await?;
        ensure!(paid.status() == PaymentStatus::Succeeded, unexpected(&paid));
        narrator.step(format_args!("paid until {}", paid.access_expires_on));
        let today = paid.access_expires_on.parse::<NaiveDate>()?.pred_opt().context("a day before")?;
        let account_id = customer.account_id.parse()?;
        ensure!(accounts::move_expiration(&mut *database.conn().await?, account_id, today).await?, "it has never paid");
        narrator.step(format_args!("support moves that to {today}, and the renewal is due"));
        let renewed = self.renewed(&customer, &today.to_string()).await?;
        narrator.step(format_args!("beat opened the renewal, the token was charged: until {}", renewed.expires_on));
        Ok(customer.expects("is renewed", 2))
    }

    /// The difference is charged to the kept card, and the new tariff runs from then on.
    pub(super) async fn changes_tariff(&self, narrator: &mut Narrator) -> anyhow::Result<Expectation> {
        let customer = self.sign_up(narrator).await?;
        let payment = self.buys(&customer, self.monthly()?, PAYS, narrator).await?;
        self.ends_paid(&customer, &payment, narrator).await?;
        let dearest = self.tariffs.last().context("nothing is on sale")?;
        let (shown, payment) = customer.change_at_once(dearest).await?;
        narrator.step(format_args!("changes to «{}» at once, for {}.{:02}", dearest.name, shown / 100, shown % 100));
        ensure!(payment.amount_kopecks == shown, "charged another amount than was shown");
        self.ends_paid(&customer, &payment, narrator).await?;
        let access = customer.access().await?;
        ensure!(access.tariff_id == dearest.tariff_id, "the tariff that runs is another");
        Ok(customer.expects("changes the tariff", 2))
    }

    /// The card is replaced in the middle of what is paid: a rouble is held on the new one and let go.
    pub(super) async fn another_card(&self, narrator: &mut Narrator) -> anyhow::Result<Expectation> {
        let customer = self.sign_up(narrator).await?;
        let payment = self.buys(&customer, self.monthly()?, PAYS, narrator).await?;
        self.ends_paid(&customer, &payment, narrator).await?;
        let begun = customer.replace_card(&self.sandbox.cryptogram(ANOTHER).await?, true).await?;
        ensure!(begun.verifies_card, "nothing was owed, and yet it is charged");
        let verified = customer.outcome(&begun).await?;
        ensure!(verified.status() == PaymentStatus::Succeeded && verified.renews, unexpected(&verified));
        narrator.step("another card: one rouble was held on it and is let go; renewals are charged to it from now on");
        Ok(customer.expects("gives another card", 1))
    }

    /// The gateway charges, and then its answer is late or never comes.
    pub(super) async fn lost_answer(
        &self,
        fault: &str,
        delay_ms: u64,
        narrator: &mut Narrator,
    ) -> anyhow::Result<Expectation> {
        let customer = self.sign_up(narrator).await?;
        self.sandbox.fault(&customer.account_id, fault, delay_ms).await?;
        let payment = self.buys(&customer, self.monthly()?, PAYS, narrator).await?;
        self.ends_paid(&customer, &payment, narrator).await?;
        Ok(customer.expects(if fault == "delay" { "waits for a late answer" } else { "loses the answer" }, 1))
    }

    pub(super) async fn sign_up(&self, narrator: &mut Narrator) -> anyhow::Result<Customer<'_>> {
        let customer = self.cinema.sign_up().await?;
        narrator.step(format_args!("signed up as {}", customer.account_id));
        Ok(customer)
    }

    pub(super) async fn buys(
        &self,
        customer: &Customer<'_>,
        tariff: &Tariff,
        card: &str,
        narrator: &mut Narrator,
    ) -> anyhow::Result<Payment> {
        let cryptogram = self.sandbox.cryptogram(card).await?;
        let payment = customer.pay(tariff, &cryptogram, &Uuid::new_v4().to_string()).await?;
        let (roubles, kopecks) = (payment.amount_kopecks / 100, payment.amount_kopecks % 100);
        narrator.step(format_args!("buys «{}» for {roubles}.{kopecks:02} {}", tariff.name, payment.currency));
        Ok(payment)
    }

    pub(super) async fn ends_paid(
        &self,
        customer: &Customer<'_>,
        payment: &Payment,
        narrator: &mut Narrator,
    ) -> anyhow::Result<()> {
        let payment = customer.outcome(payment).await?;
        ensure!(payment.status() == PaymentStatus::Succeeded, unexpected(&payment));
        narrator.step("paid");
        let access = customer.access().await?;
        ensure!(access.has_access, "paid, but no access");
        narrator.step(format_args!("access until {}", access.expires_on));
        Ok(())
    }

    async fn renewed(&self, customer: &Customer<'_>, before: &str) -> anyhow::Result<AccountAccess> {
        let deadline = Instant::now() + self.patience;
        while Instant::now() < deadline {
            let access = customer.access().await?;
            if access.expires_on.as_str() > before {
                return Ok(access);
            }
            tokio::time::sleep(RENEWAL_POLL).await;
        }
        bail!(
            "no renewal within {:?}: a beat must run, and the workers must take the queues of renewals",
            self.patience
        )
    }

    pub(super) fn monthly(&self) -> anyhow::Result<&Tariff> {
        let monthly = |tariff: &&Tariff| length(tariff) == Some(Length::Months(1));
        self.tariffs
            .iter()
            .find(monthly)
            .context("no tariff of one month is on sale; seed them: billing migrate --seed")
    }

    fn shortest(&self) -> anyhow::Result<&Tariff> {
        let daily = |tariff: &&Tariff| length(tariff) == Some(Length::Days(1));
        self.tariffs.iter().find(daily).context("no tariff of one day is on sale; seed them: billing migrate --seed")
    }
}

impl Customer<'_> {
    pub(super) fn expects(self, who: &'static str, charges: usize) -> Expectation {
        Expectation { who, account_id: self.account_id, charges }
    }
}

fn length(tariff: &Tariff) -> Option<Length> {
    tariff.period.as_ref()?.length
}

fn unexpected(payment: &Payment) -> String {
    let why = payment.decline.as_ref().map(|decline| format!(": {} {}", decline.code, decline.reason));
    format!("payment {} ended as {}{}", payment.payment_id, payment.status().as_str_name(), why.unwrap_or_default())
}
