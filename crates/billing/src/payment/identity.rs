//! Whether what the gateway speaks of is our attempt. Pure.
//!
//! An invoice number alone proves nothing: it comes twice when a database was restored to before a payment, or when two
//! systems share a terminal. So everything that goes to the gateway with a charge is compared with what comes back, in
//! answers, look-ups, lists and notifications alike, here and nowhere else.
//!
//! By its documentation the gateway gives `InvoiceId`, `AccountId`, `Amount`, `Currency` and `TestMode` back with every
//! operation: without one of them nothing is proved, and the attempt stays in doubt. `JsonData` may come back empty (two
//! of the documentation's examples do); what does come back must be ours.

use std::fmt;

use crate::macros::text_enum;
use crate::{AccountId, Currency, Kopecks, PaymentId};

text_enum! {
    /// What kind of terminal we charge on.
    pub enum Terminal {
        /// Money moves.
        Live = "live",
        /// No money moves, as with the sandbox and with a new site of the gateway.
        Test = "test",
    }
}

/// What went to the gateway with an attempt, and must come back with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// In `JsonData`, as `payment_id`.
    pub payment_id: PaymentId,
    /// `AccountId`
    pub account_id: AccountId,
    /// `InvoiceId`
    pub invoice_no: i64,
    pub amount: Kopecks,
    pub currency: Currency,
    /// `TestMode`
    pub terminal: Terminal,
}

/// What the gateway says of an operation, as far as it says it in a readable form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    pub invoice_id: Option<String>,
    pub account_id: Option<String>,
    /// `JsonData` (`Data` of a notification), as JSON.
    pub json_data: Option<String>,
    /// In minor units of the currency.
    pub amount: Option<Kopecks>,
    pub currency: Option<String>,
    pub test_mode: Option<bool>,
}

/// Whose operation it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Ours in everything.
    Ours,
    /// Ours, of another amount or currency.
    OtherMoney(Differences),
    /// Ours, executed without money on a terminal that takes money: nothing was paid.
    OnlyTest,
    /// Ours, executed with money on a terminal that should take none: a person must decide.
    RealMoney,
    /// Another's. It says nothing about our attempt, not even that the gateway does not know it.
    Anothers(Differences),
    /// It names our attempt and contradicts itself, or leaves out what would prove whose it is: our attempt stays in doubt.
    Unproved(Differences),
}

/// What is not as we sent it, in words for a person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences(Vec<String>);

impl Differences {
    fn check(&mut self, field: &str, told: Option<&str>, ours: &str) {
        match told {
            Some(told) if told == ours => {}
            Some(told) => {
                self.0.push(format!("{field} is {}, ours is {ours}", told.chars().take(64).collect::<String>()));
            }
            None => self.0.push(format!("{field} is left out")),
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

/// How one number of an operation stands to ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Match {
    Same,
    Other,
    LeftOut,
}

impl Match {
    fn of(is_same: Option<bool>) -> Self {
        match is_same {
            Some(true) => Self::Same,
            Some(false) => Self::Other,
            None => Self::LeftOut,
        }
    }
}

impl Identity {
    /// Whose operation that is.
    #[must_use]
    pub fn compare(&self, told: &Told) -> Verdict {
        let invoice_no = self.invoice_no.to_string();
        let account_id = self.account_id.to_string();
        let payment_id = self.payment_id.to_string();
        let told_account = told.account_id.as_deref().map(str::to_ascii_lowercase);
        let told_payment = told.json_data.as_deref().map(|json| payment_in(json).unwrap_or_default());

        let invoice = Match::of(told.invoice_id.as_ref().map(|told| *told == invoice_no));
        let account = Match::of(told_account.as_ref().map(|told| *told == account_id));
        let payment = Match::of(told_payment.as_ref().map(|told| *told == payment_id));

        let mut differences = Differences::default();
        differences.check("InvoiceId", told.invoice_id.as_deref(), &invoice_no);
        differences.check("AccountId", told_account.as_deref(), &account_id);
        if payment == Match::Other {
            differences.check("JsonData.payment_id", told_payment.as_deref(), &payment_id);
        }
        let is_other = [invoice, account, payment].contains(&Match::Other);
        if is_other && payment != Match::Same {
            return Verdict::Anothers(differences);
        }
        if !differences.is_empty() {
            return Verdict::Unproved(differences);
        }
        self.compare_money(told)
    }

    fn compare_money(&self, told: &Told) -> Verdict {
        let mut left_out = Differences::default();
        for (field, is_there) in [
            ("TestMode", told.test_mode.is_some()),
            ("Amount", told.amount.is_some()),
            ("Currency", told.currency.is_some()),
        ] {
            if !is_there {
                left_out.check(field, None, "");
            }
        }
        if !left_out.is_empty() {
            return Verdict::Unproved(left_out);
        }
        match (self.terminal, told.test_mode) {
            (Terminal::Live, Some(true)) => return Verdict::OnlyTest,
            (Terminal::Test, Some(false)) => return Verdict::RealMoney,
            _ => {}
        }
        let mut differences = Differences::default();
        let told_amount = told.amount.map(|amount| amount.get().to_string());
        differences.check("Amount in minor units", told_amount.as_deref(), &self.amount.get().to_string());
        differences.check("Currency", told.currency.as_deref(), self.currency.as_str());
        if differences.is_empty() { Verdict::Ours } else { Verdict::OtherMoney(differences) }
    }

    /// What an operation says that is not as we sent it. What it leaves out contradicts nothing: for what is ours by the
    /// gateway's own number already.
    #[must_use]
    pub fn contradiction(&self, told: &Told) -> Option<Differences> {
        let told_payment = told.json_data.as_deref().map(|json| payment_in(json).unwrap_or_default());
        let mut differences = Differences::default();
        for (field, told, ours) in [
            ("InvoiceId", told.invoice_id.clone(), self.invoice_no.to_string()),
            ("AccountId", told.account_id.as_deref().map(str::to_ascii_lowercase), self.account_id.to_string()),
            ("JsonData.payment_id", told_payment, self.payment_id.to_string()),
            ("Amount in minor units", told.amount.map(|told| told.get().to_string()), self.amount.get().to_string()),
            ("Currency", told.currency.clone(), self.currency.to_string()),
        ] {
            if told.is_some() {
                differences.check(field, told.as_deref(), &ours);
            }
        }
        (!differences.is_empty()).then_some(differences)
    }

    /// Whether an operation claims to be of our attempt: by its invoice number, or by the payment it names.
    #[must_use]
    pub fn is_named_by(&self, told: &Told) -> bool {
        let invoice = told.invoice_id.as_ref().is_some_and(|told| *told == self.invoice_no.to_string());
        let payment = told.json_data.as_deref().and_then(payment_in);
        invoice || payment.is_some_and(|told| told == self.payment_id.to_string())
    }
}

/// `payment_id` of `JsonData`, in lower case.
fn payment_in(json_data: &str) -> Option<String> {
    let json: serde_json::Value = serde_json::from_str(json_data).ok()?;
    Some(json.get("payment_id")?.as_str()?.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours() -> Identity {
        Identity {
            payment_id: "018f0000-0000-7000-8000-00000000000a".parse().unwrap(),
            account_id: "018f0000-0000-7000-8000-00000000000b".parse().unwrap(),
            invoice_no: 1_234_567,
            amount: Kopecks::new(39_900),
            currency: Currency::RUB,
            terminal: Terminal::Live,
        }
    }

    fn told() -> Told {
        Told {
            invoice_id: Some("1234567".into()),
            account_id: Some("018F0000-0000-7000-8000-00000000000B".into()),
            json_data: Some(r#"{"bill_id":"x","payment_id":"018f0000-0000-7000-8000-00000000000a"}"#.into()),
            amount: Some(Kopecks::new(39_900)),
            currency: Some("RUB".into()),
            test_mode: Some(false),
        }
    }

    fn text(value: &str) -> Option<String> {
        Some(value.to_owned())
    }

    fn name(verdict: &Verdict) -> &'static str {
        match verdict {
            Verdict::Ours => "ours",
            Verdict::OtherMoney(_) => "other money",
            Verdict::OnlyTest => "only a test",
            Verdict::RealMoney => "real money",
            Verdict::Anothers(_) => "another's",
            Verdict::Unproved(_) => "unproved",
        }
    }

    /// Everything that the gateway gives back, in every way it can differ.
    #[test]
    fn an_operation_is_ours_only_when_everything_that_comes_back_is_what_was_sent() {
        let their_data = r#"{"payment_id":"018f0000-0000-7000-8000-0000000000ff"}"#;
        let cases: [(&str, Told, &str); 23] = [
            ("all equal", told(), "ours"),
            ("JsonData empty", Told { json_data: None, ..told() }, "ours"),
            ("another invoice", Told { invoice_id: text("1234568"), ..told() }, "unproved"),
            ("another account", Told { account_id: text("someone"), ..told() }, "unproved"),
            ("another payment", Told { json_data: text(their_data), ..told() }, "another's"),
            ("data of another system", Told { json_data: text(r#"{"order":7}"#), ..told() }, "another's"),
            ("data that is no JSON", Told { json_data: text("order 7"), ..told() }, "another's"),
            ("another account, no data", Told { account_id: text("someone"), json_data: None, ..told() }, "another's"),
            ("another invoice, no data", Told { invoice_id: text("7"), json_data: None, ..told() }, "another's"),
            (
                "another account and payment",
                Told { account_id: text("someone"), json_data: text(their_data), ..told() },
                "another's",
            ),
            ("no invoice", Told { invoice_id: None, ..told() }, "unproved"),
            ("no account", Told { account_id: None, ..told() }, "unproved"),
            ("no amount", Told { amount: None, ..told() }, "unproved"),
            ("no currency", Told { currency: None, ..told() }, "unproved"),
            ("no test mode", Told { test_mode: None, ..told() }, "unproved"),
            ("nothing", Told::default(), "unproved"),
            ("another amount", Told { amount: Some(Kopecks::new(3_990)), ..told() }, "other money"),
            ("another currency", Told { currency: text("USD"), ..told() }, "other money"),
            ("test mode", Told { test_mode: Some(true), ..told() }, "only a test"),
            (
                "test mode and another amount",
                Told { test_mode: Some(true), amount: Some(Kopecks::new(1)), ..told() },
                "only a test",
            ),
            (
                "another account in test mode",
                Told { test_mode: Some(true), account_id: text("someone"), json_data: None, ..told() },
                "another's",
            ),
            (
                "another account, no invoice",
                Told { account_id: text("someone"), invoice_id: None, json_data: None, ..told() },
                "another's",
            ),
            (
                "more data than ours",
                Told {
                    json_data: text(r#"{"payment_id":"018F0000-0000-7000-8000-00000000000A","cloudPayments":{}}"#),
                    ..told()
                },
                "ours",
            ),
        ];
        for (what, told, expected) in cases {
            assert_eq!(name(&ours().compare(&told)), expected, "{what}");
        }
        let on_test = Identity { terminal: Terminal::Test, ..ours() };
        assert_eq!(name(&on_test.compare(&told())), "real money");
        assert_eq!(name(&on_test.compare(&Told { test_mode: Some(true), ..told() })), "ours");
    }

    #[test]
    fn a_person_is_told_what_differs() {
        let told = Told { account_id: text("someone"), json_data: None, invoice_id: None, ..told() };
        let Verdict::Anothers(differences) = ours().compare(&told) else { panic!("ours") };
        assert_eq!(
            differences.to_string(),
            "InvoiceId is left out, AccountId is someone, ours is 018f0000-0000-7000-8000-00000000000b"
        );
    }

    #[test]
    fn an_operation_claims_our_attempt_by_its_invoice_or_by_the_payment_it_names() {
        let by_invoice = Told { json_data: None, ..told() };
        let by_payment = Told { invoice_id: text("7"), ..told() };
        assert!(ours().is_named_by(&by_invoice) && ours().is_named_by(&by_payment));
        assert!(!ours().is_named_by(&Told { invoice_id: text("7"), json_data: None, ..told() }));
    }
}
