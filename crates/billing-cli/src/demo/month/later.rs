//! What happens to a subscriber after the first payment, besides renewals.

use std::collections::BTreeMap;

use anyhow::Context as _;
use billing::refund::RefundOutcome;
use billing::store::refunds::{self, Ask, BeginRefund, Chargeback};
use billing::store::subscriptions::Verb;
use billing::store::{gateway_calls, receipts};
use billing::{Kopecks, PaymentId};
use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::AsyncPgConnection;
use serde_json::json;

use super::Play;
use super::bank::done;
use super::cast::{Fate, Person};

/// What is to happen, by its time.
#[derive(Default)]
pub(super) struct Later(BTreeMap<(DateTime<Utc>, usize), Due>);

pub(super) struct Due {
    pub(super) at: DateTime<Utc>,
    person: Person,
    what: What,
}

enum What {
    Asks(Verb),
    PaysAnew,
    GivesBack { payment: PaymentId, transaction: i64, part: bool, fails: bool },
    ChargesBack { transaction: i64 },
}

impl Later {
    /// What follows from somebody's fate. `paid`: the first payment, and the gateway's number of it.
    pub(super) fn plan(&mut self, person: &Person, paid: Option<(PaymentId, i64)>) {
        let after = |days| person.comes_at + TimeDelta::days(days);
        match (person.fate, paid) {
            (Fate::Cancels { after: days }, _) => self.add(person, after(days), What::Asks(Verb::Cancel)),
            (Fate::CancelsAndResumes { after: days }, _) => {
                self.add(person, after(days), What::Asks(Verb::Cancel));
                self.add(person, after(days + 2), What::Asks(Verb::Resume));
            }
            (Fate::ForgetsCard { after: days }, _) => self.add(person, after(days), What::Asks(Verb::ForgetCard)),
            // The period ends after 28 to 31 days.
            (Fate::ComesBack { after: days }, _) => self.add(person, after(31 + days), What::PaysAnew),
            (Fate::WantsMoneyBack { after_hours, part }, Some((payment, transaction))) => {
                let what = What::GivesBack { payment, transaction, part, fails: false };
                self.add(person, person.comes_at + TimeDelta::hours(after_hours), what);
            }
            (Fate::CannotBePaidBack, Some((payment, transaction))) => {
                let what = What::GivesBack { payment, transaction, part: true, fails: true };
                self.add(person, after(9), what);
            }
            (Fate::ChargedBack { after: days }, Some((_, transaction))) => {
                self.add(person, after(days), What::ChargesBack { transaction });
            }
            _ => {}
        }
    }

    fn add(&mut self, person: &Person, at: DateTime<Utc>, what: What) {
        let n = self.0.len();
        self.0.insert((at, n), Due { at, person: person.clone(), what });
    }

    /// What is due, in its order.
    pub(super) fn until(&mut self, at: DateTime<Utc>) -> impl Iterator<Item = Due> + use<> {
        let rest = self.0.split_off(&(at, usize::MAX));
        std::mem::replace(&mut self.0, rest).into_values()
    }
}

impl Play<'_> {
    pub(super) async fn happens(&self, conn: &mut AsyncPgConnection, due: Due) -> anyhow::Result<()> {
        let Due { at, person, what } = due;
        let happening = async {
            match what {
                What::Asks(verb) => self.asks(conn, person.id, verb, at).await,
                What::PaysAnew => {
                    let card = ("4000000000003055", person.card.1.as_str());
                    self.buys(conn, &person, card, 0, at).await.map(drop)
                }
                What::GivesBack { payment, transaction, part, fails } => {
                    self.gives_back(conn, payment, transaction, part, fails, at).await
                }
                What::ChargesBack { transaction } => self.charges_back(conn, transaction, at).await,
            }
        };
        happening.await.with_context(|| format!("{:?}", person.fate))
    }

    async fn gives_back(
        &self,
        conn: &mut AsyncPgConnection,
        payment_id: PaymentId,
        transaction: i64,
        part: bool,
        fails: bool,
        at: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let reason = if part { "the customer could not watch for some days" } else { "bought by mistake" };
        let ask = Ask {
            payment_id,
            amount: part.then_some(Kopecks::new(10_000)),
            effect: None,
            reason: reason.to_owned(),
            who: "anna".to_owned(),
            role: "accountant".to_owned(),
            client: "panel".to_owned(),
            idempotency_key: format!("demo:{payment_id}"),
            now: at,
        };
        let refund = refunds::request(conn, &ask).await?.refund;
        let sent_at = at + TimeDelta::seconds(1);
        let BeginRefund::Send(order) = refunds::begin(conn, refund.id, at, sent_at).await? else {
            anyhow::bail!("the refund is not sent");
        };
        let done_at = sent_at + TimeDelta::milliseconds(700);
        if fails {
            let why = "Transaction cannot be refunded: the terminal has no money".to_owned();
            let ended = gateway_calls::Ended {
                call: order.call,
                outcome: gateway_calls::CallOutcome::OurFault,
                http_status: Some(200),
                request: None,
                response: Some(json!({ "Success": false, "Message": &why }).to_string()),
            };
            refunds::apply(conn, refund.id, RefundOutcome::Rejected { why }, Some(&ended), done_at).await?;
            return Ok(());
        }
        let data = json!({ "refund_id": refund.id.to_string(), "payment_id": payment_id.to_string() });
        let number = self.gateway.gave_back(transaction, order.amount.get(), data.to_string(), done_at)?;
        let ended = done(order.call, number);
        let outcome = RefundOutcome::Done { gateway_tx_id: Some(number) };
        refunds::apply(conn, refund.id, outcome, Some(&ended), done_at).await?;
        Ok(())
    }

    async fn charges_back(
        &self,
        conn: &mut AsyncPgConnection,
        transaction: i64,
        at: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let id = self.gateway.charged_back(transaction, at)?;
        let told = Chargeback {
            id,
            transaction_id: transaction,
            amount: billing::Kopecks::new(39_900),
            currency: "RUB".to_owned(),
            kind: "Chargeback".to_owned(),
            operation: "Presentment".to_owned(),
            at,
        };
        // The comparison of the day finds it.
        refunds::recognise_chargeback(conn, &told, at + TimeDelta::hours(20)).await?;
        Ok(())
    }

    /// A receipt goes along with the charge, and nobody tells that it was made.
    pub(super) async fn wants_receipt(
        &self,
        conn: &mut AsyncPgConnection,
        id: PaymentId,
        at: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let sale = receipts::sale(conn, id, at).await?.context("nothing is sold")?;
        let price = sale.amount.get();
        let (roubles, kopecks) = (price / 100, price % 100);
        let amount = format!("{roubles}.{kopecks:02}");
        let text = json!({
            "Items": [{ "label": sale.label, "price": amount, "quantity": "1.00", "amount": amount, "vat": null,
                "method": 4, "object": 4 }],
            "amounts": { "electronic": amount },
        });
        receipts::keep(conn, &sale, &text.to_string().into(), self.cipher, at).await?;
        Ok(())
    }
}
