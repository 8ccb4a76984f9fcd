//! What is written down of a call once it has ended.

use billing::store::gateway_calls::{CallId, CallOutcome, Ended};
use cloudpayments::{Error, Exchange};

use crate::figures;

/// How a call ended. Without an exchange no request has left.
pub(crate) fn ended<T>(call: CallId, answer: &Result<T, Error>, exchange: Option<Exchange>) -> Ended {
    let outcome = match answer {
        Ok(_) => CallOutcome::Ok,
        Err(Error::Declined(_)) => CallOutcome::Declined,
        Err(Error::SafeToRetry { .. }) => CallOutcome::SafeToRetry,
        Err(Error::OutcomeUnknown { .. }) => CallOutcome::Unknown,
        Err(Error::OurFault { .. } | Error::Unauthorized) => CallOutcome::OurFault,
    };
    let (http_status, request, response) = match exchange {
        Some(exchange) => {
            figures::gateway_called(exchange.path, outcome, exchange.took);
            (exchange.status, Some(exchange.request), exchange.response)
        }
        None => (None, None, None),
    };
    Ended { call, outcome, http_status, request, response }
}
