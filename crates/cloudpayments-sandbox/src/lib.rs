//! An emulator of the CloudPayments gateway: test cards, 3-D Secure, tokens, a ledger and faults.
