//! An emulator of the [CloudPayments](https://developers.cloudpayments.ru/) gateway: test cards, 3-D Secure, tokens, a
//! ledger, and faults to order.
//!
//! * **API** – the methods of a terminal in test mode, with Basic authentication, JSON or form bodies, `X-Request-ID`, and
//!   429 above a number of concurrent requests: see [`Config`].
//! * **Cards** – [`TEST_CARDS`]. A cryptogram for one is made by [`cryptogram()`], by
//!   `POST /sandbox/cryptogram {"card_number","exp","cvv"}`, or on the page at `/`.
//! * **3-D Secure** – `AcsUrl` leads to a page of the sandbox with two buttons. A program that plays the payer posts the
//!   page's fields and `answer=confirm` (or `reject`) to `/acs/answer`, and gets `MD` and `PaRes` as JSON if it accepts
//!   `application/json`.
//! * **Ledger** – `GET /sandbox/ledger` (`?account_id=`, `?invoice_id=`, `?limit=`): what really happened, whatever the
//!   client was told. With `SANDBOX_LEDGER_FILE` it survives restarts.
//! * **Refunds** – `POST /sandbox/refunds {"transaction_id" or "invoice_id", "amount"}` gives money back as by hand in the
//!   gateway's cabinet: all that is left, or a part.
//! * **Faults** – `POST /sandbox/faults {"match": {"path","account_id","invoice_id"}, "fault", "delay_ms", "times"}` with
//!   `delay`, `delay_before`, `drop_before`, `drop_after`, `error_500_before`, `error_500_after`, `http_429`, `http_401`,
//!   `invalid_before`, `garbage_after` or `refusal_after`; `GET` shows those waiting, `DELETE` forgets them.
//!
//! The sandbox shares no types with any client of the gateway: a misspelled field must not hide on both sides.

mod cards;
mod clock;
mod config;
mod cryptogram;
mod http;
mod journal;
mod ledger;
mod money;
mod notification;
mod reason;
mod server;
mod wire;

pub use cards::{BankAnswer, Brand, TEST_CARDS, TestCard};
pub use config::Config;
pub use cryptogram::{CardError, cryptogram};
pub use server::{Bound, Sandbox, StartError, bind, run};
