//! A `CustomerReceipt` as the gateway takes it in `JsonData`. Pure.

use std::sync::Arc;

use billing::ledger::VatRate;
use billing::store::receipts::Sale;
use cloudpayments::Amount;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Number, Value, json};

use super::contacts::Contact;

/// Who sells. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Seller {
    /// 0 to 5, by the gateway's list.
    pub(super) taxation_system: u8,
    /// Our taxpayer number.
    pub(super) inn: Arc<str>,
    /// The address of the site, as receipts name it.
    pub(super) place: Arc<str>,
}

impl Seller {
    /// The receipt of one thing sold, paid by card; or of what of it goes back, as much as goes back.
    pub(super) fn receipt(&self, sale: &Sale, contact: &Contact) -> SecretString {
        let amount = number(Amount::from_minor(sale.amount.get(), sale.currency.decimals()));
        let item = json!({
            "label": sale.label,
            "price": amount,
            "quantity": 1,
            "amount": amount,
            "vat": sale.terms.vat.map(VatRate::get),
            "method": sale.terms.method,
            "object": sale.terms.object,
        });
        let mut receipt = json!({
            "Items": [item],
            "calculationPlace": &*self.place,
            "taxationSystem": self.taxation_system,
            "amounts": { "electronic": amount },
        });
        let (field, to) = match contact {
            Contact::Email(to) => ("email", to),
            Contact::Phone(to) => ("phone", to),
        };
        receipt[field] = to.expose_secret().into();
        receipt.to_string().into()
    }
}

/// Its decimal form read as JSON: no arithmetic with floating point.
fn number(amount: Amount) -> Value {
    amount.to_string().parse::<Number>().map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use billing::ledger::SaleTerms;
    use billing::receipt::{ReceiptKind, ReceiptWay};
    use billing::{AccountId, Currency, Kopecks, PaymentId};

    use super::*;

    fn sale(kopecks: i64, vat: Option<i32>) -> Sale {
        let payment_id = PaymentId::new();
        Sale {
            receipt_id: payment_id.into(),
            payment_id,
            refund_id: None,
            way: ReceiptWay::Charge,
            kind: ReceiptKind::Income,
            account_id: AccountId::new(),
            label: "Месяц".into(),
            amount: Kopecks::new(kopecks),
            currency: Currency::RUB,
            terms: SaleTerms::of_service(vat.map(|percent| VatRate::percent(percent).expect("a rate"))),
        }
    }

    #[test]
    fn it_says_what_was_sold_to_the_kopeck() {
        let seller = Seller { taxation_system: 1, inn: "7700000000".into(), place: "https://cinema.example".into() };
        let made = |sale: &Sale, contact: &Contact| -> Value {
            serde_json::from_str(seller.receipt(sale, contact).expose_secret()).unwrap()
        };
        let email = Contact::Email("anna@example.com".into());
        assert_eq!(
            made(&sale(39_990, Some(22)), &email),
            json!({
                "Items": [{
                    "label": "Месяц", "price": 399.9, "quantity": 1, "amount": 399.9, "vat": 22, "method": 4, "object": 4,
                }],
                "calculationPlace": "https://cinema.example",
                "taxationSystem": 1,
                "amounts": { "electronic": 399.9 },
                "email": "anna@example.com",
            })
        );
        let without = made(&sale(1, None), &Contact::Phone("+79161234567".into()));
        assert_eq!((&without["Items"][0]["vat"], &without["Items"][0]["amount"]), (&Value::Null, &json!(0.01)));
        assert_eq!((&without["phone"], without.get("email")), (&json!("+79161234567"), None));
        for kopecks in [1, 10, 99, 101, 1_005, 39_901, 9_999_999, 100_000_000] {
            let said = made(&sale(kopecks, None), &email)["amounts"]["electronic"].to_string();
            let (units, rest) = said.split_once('.').unwrap_or((said.as_str(), "0"));
            assert_eq!(format!("{units}{rest:0<2}").parse(), Ok(kopecks), "{said}");
        }
    }
}
