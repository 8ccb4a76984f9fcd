//! The texts by which the gateway refuses a request before it does anything.
//!
//! An answer without a `Model` says in `Message` alone why. The documentation shows one such text, for a request that
//! lacks a field its tables mark as required: `Amount is required` ("Некорректно сформирован запрос" of a charge by
//! cryptogram and of one by token). Whatever else stands there – `Internal error`, for one – may have been written after
//! the money moved.

/// The refusals that prove a request was not processed: one for each field that the documentation's tables require of a
/// charge, a completed 3-D Secure, an order about a transaction, or a look-up.
pub const VALIDATION: [&str; 13] = [
    "Amount is required",
    "IpAddress is required",
    "CardCryptogramPacket is required",
    "AccountId is required",
    "TrInitiatorCode is required",
    "PaymentScheduled is required",
    "Token is required",
    "TransactionId is required",
    "PaRes is required",
    "InvoiceId is required",
    "CreatedDateGte is required",
    "CreatedDateLte is required",
    "PageNumber is required",
];

/// Whether the text proves that nothing was processed.
pub fn is_of_validation(message: &str) -> bool {
    VALIDATION.contains(&message.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_documented_text_and_nothing_around_it_proves_that_nothing_was_processed() {
        for text in VALIDATION {
            assert!(is_of_validation(text), "{text}");
            assert!(!is_of_validation(&format!("{text}, but the card was charged")), "{text}");
            assert!(!is_of_validation(&text.replace("required", "invalid")), "{text}");
        }
        for text in ["", "Internal error", "Not found", "Token does not belong to this AccountId", "is required"] {
            assert!(!is_of_validation(text), "{text}");
        }
    }
}
