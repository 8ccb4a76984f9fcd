//! A client of the CloudPayments gateway whose errors are decisions.
