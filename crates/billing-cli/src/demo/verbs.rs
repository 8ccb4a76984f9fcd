//! What subscribers ask for after they have paid.

use anyhow::{Context as _, ensure};
use billing_api::proto::{PaymentStatus, RefundStatus, Subscription};
use uuid::Uuid;

use super::customer::Customer;
use super::narrator::Narrator;
use super::scenes::{Expectation, PAYS, Stage};

impl Stage {
    pub(super) async fn changes_of_mind(&self, narrator: &mut Narrator) -> anyhow::Result<Expectation> {
        let customer = self.subscriber(narrator).await?;
        let cancelled = customer.cancel().await?;
        ensure!(
            cancelled.next_charge.is_none() && has_access(&cancelled),
            "cancelled, and it is not so: {cancelled:?}"
        );
        narrator.step(format_args!("cancels: {}", why(&cancelled)));
        let resumed = customer.resume().await?;
        ensure!(resumed.next_charge.is_some(), "resumed, and nothing will be charged: {resumed:?}");
        narrator.step(format_args!("resumes: {}", why(&resumed)));
        Ok(customer.expects("changes their mind", 1))
    }

    /// A part first, which keeps the access, then the rest of it.
    pub(super) async fn money_back(&self, narrator: &mut Narrator) -> anyhow::Result<Expectation> {
        let customer = self.sign_up(narrator).await?;
        let payment = self.buys(&customer, self.monthly()?, PAYS, narrator).await?;
        self.ends_paid(&customer, &payment, narrator).await?;
        let part = self.cinema.gives_back(&payment, 10_000, "the film did not start").await?;
        ensure!(part.status() == RefundStatus::Succeeded, "a part did not go back: {part:?}");
        ensure!(customer.access().await?.has_access, "a part took the access along");
        narrator.step("support gives 100.00 back: the customer watches on");
        let rest = self.cinema.gives_back(&payment, 0, "the customer is not content").await?;
        ensure!(rest.status() == RefundStatus::Succeeded, "the rest did not go back: {rest:?}");
        ensure!(rest.amount_kopecks == payment.amount_kopecks - 10_000, "more went back than was taken: {rest:?}");
        let payment = customer.outcome(&payment).await?;
        ensure!(payment.status() == PaymentStatus::Refunded, "all of it is back, and the payment says {payment:?}");
        ensure!(!customer.access().await?.has_access, "all of the money is back, and the access goes on");
        narrator.step("and then the rest, as a second refund of the same payment: the access ends");
        Ok(customer.expects("gets the money back", 1))
    }

    pub(super) async fn card_forgotten(&self, narrator: &mut Narrator) -> anyhow::Result<Expectation> {
        let customer = self.subscriber(narrator).await?;
        let card = customer.subscription().await?.card.context("no card is kept")?;
        let forgotten = customer.forget_card().await?;
        ensure!(forgotten.card.is_none() && forgotten.next_charge.is_none(), "the card is kept: {forgotten:?}");
        let next = forgotten.next.as_ref().map(|next| next.en.as_str()).unwrap_or_default();
        narrator.step(format_args!("has the card *{} forgotten: {next}", card.last_four));
        Ok(customer.expects("has the card forgotten", 1))
    }

    pub(super) async fn account_closed(&self, narrator: &mut Narrator) -> anyhow::Result<Expectation> {
        let customer = self.subscriber(narrator).await?;
        let closed = customer.close_account(false).await?;
        ensure!(closed.closed_at.is_some() && has_access(&closed), "closed, and what was paid is lost: {closed:?}");
        narrator.step(format_args!("asks to be forgotten: {}", why(&closed)));
        let cryptogram = self.sandbox.cryptogram(PAYS).await?;
        let refused = customer.pay(self.monthly()?, &cryptogram, &Uuid::new_v4().to_string()).await;
        ensure!(refused.is_err(), "something was sold to a closed account");
        narrator.step("nothing is sold to them any more");
        let ended = customer.close_account(true).await?;
        ensure!(!has_access(&ended), "access was to end at once: {ended:?}");
        narrator.step(format_args!("and waives the rest: {}", why(&ended)));
        Ok(customer.expects("asks to be forgotten", 1))
    }

    async fn subscriber(&self, narrator: &mut Narrator) -> anyhow::Result<Customer<'_>> {
        let customer = self.sign_up(narrator).await?;
        let payment = self.buys(&customer, self.monthly()?, PAYS, narrator).await?;
        self.ends_paid(&customer, &payment, narrator).await?;
        Ok(customer)
    }
}

fn why(subscription: &Subscription) -> &str {
    subscription.why.as_ref().map(|why| why.en.as_str()).unwrap_or_default()
}

fn has_access(subscription: &Subscription) -> bool {
    subscription.access.as_ref().is_some_and(|access| access.has_access)
}
