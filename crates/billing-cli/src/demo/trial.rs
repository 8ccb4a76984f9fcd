//! A tariff is tried for nothing: once by an account, once with a card.

use anyhow::{Context as _, bail, ensure};
use billing_api::proto::{PaymentStatus, Tariff};
use uuid::Uuid;

use super::customer::Customer;
use super::narrator::Narrator;
use super::scenes::{Expectation, PAYS, Stage};

/// A card has one trial for ever, and the demo may have been played here before: it tries so many that look different.
const CARDS: usize = 5;

impl Stage {
    pub(super) async fn trial(&self, narrator: &mut Narrator) -> anyhow::Result<Expectation> {
        let tariff = self.monthly()?;
        let (customer, expires) = self.tries_it_out(tariff, narrator).await?;
        let subscription = customer.subscription().await?;
        let why = subscription.why.as_ref().map(|why| why.en.as_str()).unwrap_or_default();
        ensure!(subscription.is_trial && subscription.next_charge.is_some(), "no trial runs: {subscription:?}");
        narrator.step(format_args!("{why}"));

        let other = self.sign_up(narrator).await?;
        let cryptogram = self.sandbox.cryptogram_of(PAYS, &expires).await?;
        let again = other.outcome(&other.try_out(tariff, &cryptogram).await?).await?;
        ensure!(
            again.status() == PaymentStatus::TrialRefused && again.trial_refused == "used",
            "the same card has had a second trial: {again:?}"
        );
        ensure!(!other.access().await?.has_access, "no trial began, and there is access");
        narrator.step("tries it with the same card: it has had its trial, and nothing is charged");
        Ok(customer.expects("tries a tariff for nothing", 0))
    }

    async fn tries_it_out(&self, tariff: &Tariff, narrator: &mut Narrator) -> anyhow::Result<(Customer<'_>, String)> {
        for _ in 0..CARDS {
            let expires = any_expiry();
            let customer = self.sign_up(narrator).await?;
            let cryptogram = self.sandbox.cryptogram_of(PAYS, &expires).await?;
            let tried = customer.outcome(&customer.try_out(tariff, &cryptogram).await?).await?;
            match tried.status() {
                PaymentStatus::Succeeded => {
                    let days = tariff.trial.as_ref().map(|trial| trial.days).context("no trial")?;
                    narrator.step(format_args!(
                        "tries «{}» for {days} days: one rouble was held on the card and is let go",
                        tariff.name
                    ));
                    return Ok((customer, expires));
                }
                PaymentStatus::TrialRefused if tried.trial_refused == "used" => {}
                status => bail!("payment {} ended as {}", tried.payment_id, status.as_str_name()),
            }
        }
        bail!("{CARDS} cards in turn have had their trial")
    }
}

/// Some month of the years from 2040 to 2079, as `MM/YY`.
fn any_expiry() -> String {
    let [month, year, ..] = Uuid::new_v4().into_bytes();
    format!("{:02}/{}", month % 12 + 1, 40 + year % 40)
}
