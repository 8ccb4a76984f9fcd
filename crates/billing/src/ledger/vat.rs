//! VAT that is contained in a price.

use crate::Kopecks;

/// A rate in whole percent; a sale without VAT has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VatRate(i32);

/// Not a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a VAT rate is 0 to 99 percent, got {0}")]
pub struct NotARate(pub i32);

/// How a tariff is sold, for the state: its VAT, and the signs that receipts have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaleTerms {
    /// `None`: sold without VAT.
    pub vat: Option<VatRate>,
    /// The sign of the way of payment (54-FZ, tag 1214).
    pub method: i32,
    /// The sign of the thing sold (tag 1212).
    pub object: i32,
}

impl SaleTerms {
    /// Paid in full, a service.
    #[must_use]
    pub const fn of_service(vat: Option<VatRate>) -> Self {
        Self { vat, method: 4, object: 4 }
    }
}

impl VatRate {
    /// # Errors
    /// [`NotARate`] outside 0 to 99.
    pub const fn percent(percent: i32) -> Result<Self, NotARate> {
        if percent >= 0 && percent <= 99 { Ok(Self(percent)) } else { Err(NotARate(percent)) }
    }

    /// In whole percent.
    #[must_use]
    pub const fn get(self) -> i32 {
        self.0
    }

    /// The part of a price that is VAT, a half rounded up: `price × rate / (100 + rate)` (Tax Code of Russia, art. 164 §4).
    #[must_use]
    pub fn within(self, price: Kopecks) -> Kopecks {
        let (price, rate) = (i128::from(price.get()), i128::from(self.0));
        let part = (price * rate * 2 + (100 + rate)).div_euclid((100 + rate) * 2);
        Kopecks::new(i64::try_from(part).expect("less than the price"))
    }
}
