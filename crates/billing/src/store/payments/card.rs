//! Which card is charged after a payment: its token and its mask change together or not at all.

use super::load::Locked;
use crate::account::KeptCard;
use crate::models::CardChange;
use crate::payment::{Instrument, Payment};

/// What a successful attempt leaves of the kept card, and what is written for it.
///
/// A card just typed in takes the place of the one before it, also when the gateway gave no token for it: then no card is
/// kept, for the one before must not be charged any more. What an attempt brings that was begun before the card now kept
/// was, is older than that card and changes nothing.
pub(super) fn left_by(locked: &Locked, paid: &Payment, sealed_token: Option<String>) -> (KeptCard, Option<CardChange>) {
    let begun_at = locked.payment.created_at;
    if locked.account.card_since.is_some_and(|since| begun_at < since) {
        return (KeptCard::Same, None);
    }
    let card_since = Some(begun_at);
    match (sealed_token, paid.instrument) {
        (Some(token), Instrument::Cryptogram) => {
            let change = CardChange { payment_token: Some(token), card: paid.card.clone(), card_since };
            (KeptCard::New, Some(change))
        }
        // The gateway gives the kept card another token, and need not say again what card it is.
        (Some(token), Instrument::Token) => {
            let card = paid.card.clone().or_else(|| locked.account.card.clone());
            (KeptCard::New, Some(CardChange { payment_token: Some(token), card, card_since }))
        }
        (None, Instrument::Cryptogram) => (KeptCard::None, Some(CardChange { card_since, ..CardChange::default() })),
        (None, Instrument::Token) => (KeptCard::Same, None),
    }
}
