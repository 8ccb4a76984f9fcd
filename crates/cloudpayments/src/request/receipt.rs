//! A receipt that is asked for by itself (54-FZ).

use secrecy::{ExposeSecret, SecretString};
use serde_json::value::RawValue;

use super::body::Body;
use crate::Error;

/// What a receipt says of the money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiptKind {
    /// It was taken.
    Income,
    /// It went back.
    IncomeReturn,
}

impl ReceiptKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Income => "Income",
            Self::IncomeReturn => "IncomeReturn",
        }
    }
}

/// A receipt to be made by the cash register, without a payment or a refund that it goes along with.
#[derive(Clone, Debug)]
pub struct ReceiptOrder {
    /// The taxpayer number of who sells, 10 or 12 digits.
    pub inn: String,
    /// What it says of the money.
    pub kind: ReceiptKind,
    /// Our number of the attempt that it is of.
    pub invoice_id: Option<String>,
    /// Our customer.
    pub account_id: Option<String>,
    /// `CustomerReceipt` as JSON. It holds the address of a person.
    pub content: SecretString,
}

impl ReceiptOrder {
    pub(crate) fn body(&self) -> Result<Vec<u8>, Error> {
        let content: Box<RawValue> = serde_json::from_str(self.content.expose_secret())
            .map_err(|_| Error::OurFault { message: "CustomerReceipt is no JSON".to_owned() })?;
        Ok(Body::default()
            .field("Inn", &self.inn)
            .field("Type", self.kind.as_str())
            .optional("InvoiceId", self.invoice_id.as_ref())
            .optional("AccountId", self.account_id.as_ref())
            .field("CustomerReceipt", &content)
            .finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(content: &str) -> ReceiptOrder {
        ReceiptOrder {
            inn: "7700000000".into(),
            kind: ReceiptKind::IncomeReturn,
            invoice_id: Some("7".into()),
            account_id: None,
            content: content.into(),
        }
    }

    #[test]
    fn the_receipt_leaves_as_it_was_written_and_is_not_shown() {
        let order = order(r#"{"Items":[{"price":399.90}],"email":"anna@example.com"}"#);
        let body = String::from_utf8(order.body().unwrap()).unwrap();
        let expected = r#"{"Inn":"7700000000","Type":"IncomeReturn","InvoiceId":"7","CustomerReceipt":{"Items":[{"price":399.90}],"email":"anna@example.com"}}"#;
        assert_eq!(body, expected);
        assert!(!format!("{order:?}").contains("anna"));
    }

    #[test]
    fn what_is_no_json_does_not_leave() {
        assert!(matches!(order("Items").body(), Err(Error::OurFault { .. })));
    }
}
