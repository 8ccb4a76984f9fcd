//! Package `billing.v1` as generated from `proto/`: messages, servers and clients.

use std::fmt;

pub use generated::*;

mod generated {
    #![expect(clippy::allow_attributes, reason = "generated")]
    tonic::include_proto!("billing.v1");
}

/// The compiled `.proto` files, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/billing.v1.bin"));

/// Stands where card data would.
const HIDDEN: &str = "(hidden)";

impl fmt::Debug for CreatePaymentRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatePaymentRequest")
            .field("account_id", &self.account_id)
            .field("tariff_id", &self.tariff_id)
            .field("card_cryptogram_packet", &HIDDEN)
            .field("ip_address", &self.ip_address)
            .field("idempotency_key", &self.idempotency_key)
            .field("trial", &self.trial)
            .finish()
    }
}

impl fmt::Debug for SubmitThreeDsRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubmitThreeDsRequest")
            .field("payment_id", &self.payment_id)
            .field("md", &self.md)
            .field("pa_res", &HIDDEN)
            .finish()
    }
}

impl fmt::Debug for ThreeDs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreeDs")
            .field("acs_url", &self.acs_url)
            .field("pa_req", &HIDDEN)
            .field("md", &self.md)
            .field("expires_at", &self.expires_at)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_data_does_not_appear_in_debug_output() {
        let create = CreatePaymentRequest {
            card_cryptogram_packet: "SECRET".into(),
            account_id: "shown".into(),
            ..Default::default()
        };
        let submit = SubmitThreeDsRequest { pa_res: "SECRET".into(), md: "shown".into(), ..Default::default() };
        let payment = Payment {
            three_ds: Some(ThreeDs { pa_req: "SECRET".into(), md: "shown".into(), ..Default::default() }),
            ..Default::default()
        };
        for text in [format!("{create:?}"), format!("{submit:?}"), format!("{payment:?}")] {
            assert!(text.contains("shown"), "{text}");
            assert!(!text.contains("SECRET"), "{text}");
        }
    }
}
