//! A payment in doubt that two people close by what the gateway's cabinet shows; and what the gateway says of it later.

use billing::account::AccountStatus;
use billing::bill::BillStatus;
use billing::notification::{Ids, Notice, NoticeKind};
use billing::payment::PaymentState;
use billing::payment::evidence::{BadEvidence, Ending, Evidence, NotByHand};
use billing::payment::identity::Terminal;
use billing::store::payments::PaymentView;
use billing::store::staff::{
    self, AskClosing, By, ClosingDone, ClosingError, ClosingPreview, ClosingRules, ClosingState,
};
use billing::{Kopecks, PaymentId};
use chrono::{DateTime, Duration, Utc};
use chrono_tz::Tz;
use uuid::Uuid;

use crate::shop::{Shop, purchase, took, unknown};
use crate::support::{hours, noon};

fn shown(ending: Ending) -> Evidence {
    let is_shown = ending != Ending::NotTaken;
    Evidence {
        ending,
        transaction_id: is_shown.then_some(77),
        happened_on: is_shown.then(|| noon().date_naive()),
        amount: (ending == Ending::Taken).then_some(Kopecks::new(39_900)),
        reason_code: (ending == Ending::Declined).then_some(5051),
        said: "seen in the cabinet, list of the day".into(),
    }
}

impl Shop {
    /// A purchase sent at noon, without a response.
    async fn in_doubt(&self) -> PaymentView {
        let payment = self.created().await;
        self.charge(payment.id, unknown(noon()), noon()).await.payment
    }

    fn closing_rules(&self) -> ClosingRules<'_> {
        ClosingRules { not_executed_after: Duration::minutes(60), zone: Tz::Europe__Moscow, cipher: &self.cipher }
    }

    async fn see(&self, id: PaymentId, by: &Evidence, now: DateTime<Utc>) -> Result<ClosingPreview, ClosingError> {
        staff::preview_closing(&mut *self.conn().await, id, by, self.closing_rules(), now).await
    }

    async fn ask_to_close(&self, ask: &AskClosing, digest: &str) -> Result<ClosingDone, ClosingError> {
        let now = noon() + hours(2);
        staff::ask_closing(&mut *self.conn().await, ask, digest, self.closing_rules(), &By::command_line("anna"), now)
            .await
    }

    async fn agree(&self, id: Uuid, digest: &str, who: &str, now: DateTime<Utc>) -> Result<ClosingDone, ClosingError> {
        let by = By::command_line(who);
        staff::approve_closing(&mut *self.conn().await, id, digest, self.closing_rules(), &by, now).await
    }

    /// Asked for by one and agreed to by another.
    async fn close_by(&self, payment: &PaymentView, evidence: Evidence) -> Uuid {
        let preview = self.see(payment.id, &evidence, noon() + hours(2)).await.unwrap();
        let ask = AskClosing { id: Uuid::now_v7(), payment_id: payment.id, evidence };
        assert_eq!(self.ask_to_close(&ask, &preview.digest).await.unwrap(), ClosingDone::Now);
        assert_eq!(self.state(payment.id).await, PaymentState::Unknown, "nothing is done yet");
        let done = self.agree(ask.id, &preview.digest, "boris", noon() + hours(2)).await.unwrap();
        assert_eq!(done, ClosingDone::Now);
        ask.id
    }

    /// The gateway tells that it took the money, under this number.
    async fn told_taken(&self, payment: &PaymentView, number: i64) {
        let ours = payment.identity(Terminal::Test);
        let notice = Notice {
            transaction_id: Some(number),
            invoice_id: Some(ours.invoice_no.to_string()),
            account_id: Some(ours.account_id.to_string()),
            ids: Some(Ids { payment_id: Some(ours.payment_id.to_string()), ..Ids::default() }),
            amount: Some(ours.amount.get()),
            currency: Some(ours.currency.to_string()),
            test_mode: Some(true),
            status: Some("Completed".into()),
            ..Notice::default()
        };
        self.notify(NoticeKind::Pay, notice).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_close_it_and_each_sees_all_that_follows() {
    let shop = Shop::open().await;
    let payment = shop.in_doubt().await;
    let (evidence, now) = (shown(Ending::Taken), noon() + hours(2));
    let preview = shop.see(payment.id, &evidence, now).await.unwrap();
    assert_eq!(preview.payment, (PaymentState::Unknown, PaymentState::Succeeded));
    assert_eq!(preview.after.account.status, AccountStatus::Active);
    assert_eq!(preview.entries.iter().map(|posted| posted.amount.get()).sum::<i64>(), 39_900);
    assert!(preview.events.iter().any(|event| event.kind.as_str() == "access_granted"));
    assert_eq!(shop.count("journal_entry").await, 0, "what is only looked at is not done");

    let ask = AskClosing { id: Uuid::now_v7(), payment_id: payment.id, evidence };
    let (one, other) = tokio::join!(shop.ask_to_close(&ask, &preview.digest), shop.ask_to_close(&ask, &preview.digest));
    let both = [one.unwrap(), other.unwrap()];
    assert!(both.contains(&ClosingDone::Now) && both.contains(&ClosingDone::Before), "one form asks once");
    let again = AskClosing { id: Uuid::now_v7(), ..ask.clone() };
    let refused = shop.ask_to_close(&again, &preview.digest).await.unwrap_err();
    assert!(matches!(refused, ClosingError::AskedAlready(id) if id == ask.id), "{refused}");

    let alone = shop.agree(ask.id, &preview.digest, "anna", now).await.unwrap_err();
    assert!(matches!(alone, ClosingError::SamePerson));
    let stale = shop.agree(ask.id, "0", "boris", now).await.unwrap();
    assert!(matches!(stale, ClosingDone::Changed(seen) if seen.digest == preview.digest));
    let (one, other) = tokio::join!(
        shop.agree(ask.id, &preview.digest, "boris", now),
        shop.agree(ask.id, &preview.digest, "boris", now)
    );
    let both = [one.unwrap(), other.unwrap()];
    assert!(both.contains(&ClosingDone::Now) && both.contains(&ClosingDone::Before));
    let closed = shop.view(payment.id).await;
    assert_eq!((closed.state, closed.bill_status), (PaymentState::Succeeded, BillStatus::Paid));
    assert_eq!(
        shop.count("audit_log where action in ('closing_asked', 'closing_approved') and before <> after").await,
        2
    );
    let late = shop.agree(ask.id, &preview.digest, "vera", now).await.unwrap_err();
    assert!(matches!(late, ClosingError::NotWaiting(ClosingState::Done)));

    // What the gateway says of the same transaction is no news; another one goes back.
    shop.told_taken(&payment, 77).await;
    assert_eq!((shop.count("payment").await, shop.count("refund").await), (1, 0));
    shop.told_taken(&payment, 78).await;
    assert_eq!(shop.count("payment where state = 'succeeded_duplicate' and transaction_id = 78").await, 1);
    assert_eq!(shop.count("refund where state = 'requested'").await, 1, "taken twice: once it goes back");
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_turns_up_after_all_pays_or_goes_back() {
    let shop = Shop::open().await;
    let payment = shop.in_doubt().await;
    shop.close_by(&payment, shown(Ending::NotTaken)).await;
    let closed = shop.view(payment.id).await;
    assert_eq!((closed.state, closed.bill_status), (PaymentState::NotExecuted, BillStatus::NotPaid));
    shop.told_taken(&payment, 77).await;
    let late = shop.view(payment.id).await;
    assert_eq!((late.state, late.bill_status), (PaymentState::Succeeded, BillStatus::Paid), "no payment is lost");

    // Where another card has paid meanwhile, it is the duplicate.
    let payment = shop.in_doubt().await;
    shop.close_by(&payment, shown(Ending::NotTaken)).await;
    let second = shop.create(purchase(payment.account_id)).await.unwrap().payment;
    assert_eq!(second.bill_id, payment.bill_id);
    shop.charge(second.id, took(&second, 80), noon()).await;
    shop.told_taken(&payment, 79).await;
    assert_eq!(shop.state(payment.id).await, PaymentState::SucceededDuplicate);
    let goes_back = format!("refund where payment_id = '{}' and source = 'automatic'", payment.id);
    assert_eq!(shop.count(&goes_back).await, 1, "nobody pays twice");
    let unbalanced = "(select entry_id from journal_line group by 1 having sum(amount) <> 0) x";
    assert_eq!(shop.count(unbalanced).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_evidence_closes_it() {
    let shop = Shop::open().await;
    let payment = shop.in_doubt().await;
    let now = noon() + hours(2);
    let why_not = async |evidence: Evidence, now: DateTime<Utc>| match shop.see(payment.id, &evidence, now).await {
        Err(ClosingError::NotByHand(why)) => why,
        other => panic!("{other:?}"),
    };
    let early = why_not(shown(Ending::NotTaken), noon() + Duration::minutes(59)).await;
    assert_eq!(early, NotByHand::TooEarly(noon() + hours(1)), "the gateway may still execute it");
    let taken = || shown(Ending::Taken);
    for (evidence, bad) in [
        (Evidence { transaction_id: None, ..taken() }, BadEvidence::Transaction),
        (Evidence { happened_on: None, ..taken() }, BadEvidence::Day),
        (Evidence { happened_on: noon().date_naive().succ_opt(), ..taken() }, BadEvidence::Day),
        (
            Evidence { happened_on: noon().date_naive().checked_sub_days(chrono::Days::new(2)), ..taken() },
            BadEvidence::Day,
        ),
        (Evidence { amount: None, ..taken() }, BadEvidence::Amount),
        (Evidence { reason_code: None, ..shown(Ending::Declined) }, BadEvidence::Code),
        (Evidence { said: "trust me".into(), ..taken() }, BadEvidence::Said),
    ] {
        assert_eq!(why_not(evidence, now).await, NotByHand::Evidence(bad));
    }
    let other = shop.see(payment.id, &Evidence { amount: Some(Kopecks::new(39_901)), ..taken() }, now).await;
    assert!(matches!(other, Err(ClosingError::NotProved(_))), "other money is a difference: {other:?}");
    let account = shop.account().await;
    let paid = shop.create(purchase(account)).await.unwrap().payment;
    shop.charge(paid.id, took(&paid, 77), noon()).await;
    let anothers = shop.see(payment.id, &taken(), now).await;
    assert!(matches!(anothers, Err(ClosingError::NotProved(_))), "the transaction is another's: {anothers:?}");
    let known = shop.see(paid.id, &shown(Ending::NotTaken), now).await;
    assert!(matches!(known, Err(ClosingError::NotByHand(NotByHand::NotInDoubt(PaymentState::Succeeded)))));

    // The gateway speaks between the asking and the agreeing; nobody agrees in time.
    let evidence = shown(Ending::NotTaken);
    let preview = shop.see(payment.id, &evidence, now).await.unwrap();
    let ask = AskClosing { id: Uuid::now_v7(), payment_id: payment.id, evidence };
    shop.ask_to_close(&ask, &preview.digest).await.unwrap();
    let late = shop.agree(ask.id, &preview.digest, "boris", now + hours(24)).await.unwrap_err();
    assert!(matches!(late, ClosingError::NotWaiting(ClosingState::Expired)));
    shop.told_taken(&payment, 78).await;
    let overtaken = shop.agree(ask.id, &preview.digest, "boris", now).await.unwrap_err();
    assert!(matches!(overtaken, ClosingError::NotByHand(NotByHand::NotInDoubt(PaymentState::Succeeded))));
    assert_eq!(shop.state(payment.id).await, PaymentState::Succeeded);
}
