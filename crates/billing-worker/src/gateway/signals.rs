//! What the gateway's responses say about the gateway itself. Pure.

use billing::breaker::Signal;
use billing::decline::DeclineGroup;
use cloudpayments::{Charge, Doubt, Error, NotProcessed};

/// Whether the gateway works.
pub(crate) fn of_gateway(error: Option<&Error>) -> Signal {
    match error {
        // It responded, whatever it said.
        None | Some(Error::Declined(_) | Error::OurFault { .. }) => Signal::Well,
        Some(Error::Unauthorized) => Signal::Refused,
        Some(Error::SafeToRetry { why, .. }) => match why {
            NotProcessed::Unreachable(_) => Signal::Failed,
            NotProcessed::RateLimited | NotProcessed::Busy => Signal::Neither,
        },
        Some(Error::OutcomeUnknown { why }) => match why {
            Doubt::Timeout | Doubt::ConnectionLost(_) => Signal::Failed,
            Doubt::Status(status) if *status >= 500 => Signal::Failed,
            Doubt::Refusal(_) => Signal::Well,
            Doubt::Status(_) | Doubt::TooLarge | Doubt::Undecodable(_) | Doubt::Contradictory(_) => Signal::Neither,
        },
    }
}

/// Whether the gateway takes charges of kept cards for what they are. That a bank refuses one says that it does.
pub(crate) fn of_kept_cards(answer: &Result<Charge, Error>) -> Signal {
    match answer {
        Ok(_) => Signal::Well,
        Err(Error::Declined(decline)) if DeclineGroup::of(decline.code) == DeclineGroup::Configuration => {
            Signal::Failed
        }
        Err(Error::Declined(_)) => Signal::Well,
        Err(Error::OurFault { .. } | Error::OutcomeUnknown { why: Doubt::Refusal(_) }) => Signal::Failed,
        Err(_) => Signal::Neither,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreachable() -> Error {
        Error::SafeToRetry { why: NotProcessed::Unreachable("refused".into()), retry_after: None }
    }

    #[test]
    fn only_what_is_the_gateways_own_trouble_speaks_against_it() {
        for (error, signal) in [
            (Error::Unauthorized, Signal::Refused),
            (unreachable(), Signal::Failed),
            (Error::SafeToRetry { why: NotProcessed::RateLimited, retry_after: None }, Signal::Neither),
            (Error::SafeToRetry { why: NotProcessed::Busy, retry_after: None }, Signal::Neither),
            (Doubt::Timeout.into(), Signal::Failed),
            (Doubt::Status(503).into(), Signal::Failed),
            (Doubt::Status(404).into(), Signal::Neither),
            (Doubt::Refusal("Internal error".into()).into(), Signal::Well),
            (Error::OurFault { message: "Token is required".into() }, Signal::Well),
        ] {
            assert_eq!(of_gateway(Some(&error)), signal, "{error}");
        }
        assert_eq!(of_gateway(None), Signal::Well);
    }

    #[test]
    fn refusals_without_a_transaction_speak_against_charges_of_kept_cards() {
        for (error, signal) in [
            (Error::OurFault { message: "Token is required".into() }, Signal::Failed),
            (Doubt::Refusal("Token does not belong to this AccountId".into()).into(), Signal::Failed),
            (unreachable(), Signal::Neither),
            (Error::Unauthorized, Signal::Neither),
        ] {
            assert_eq!(of_kept_cards(&Err(error.clone())), signal, "{error}");
        }
    }
}
