//! Confirm, void and refund; and that an amount is what it is.

use serde_json::{Value, json};

use crate::shop::{Shop, VISA, VISA_3DS, VISA_POOR, answer, charge, outcome, refusal};

async fn authorize(shop: &Shop, amount: &str) -> Value {
    let mut body = charge(VISA);
    body["Amount"] = amount.into();
    shop.call("/payments/cards/auth", body).await["Model"]["TransactionId"].clone()
}

async fn show(shop: &Shop, id: &Value) -> Value {
    shop.call("/payments/get", json!({ "TransactionId": id })).await["Model"].take()
}

#[tokio::test]
async fn an_authorized_payment_is_confirmed_in_full_or_in_part() {
    let shop = Shop::open().await;
    for (authorized, confirmed) in [("59.50", "59.5"), ("65.98", "0.01")] {
        let id = authorize(&shop, authorized).await;
        let body = json!({ "TransactionId": id, "Amount": confirmed });
        assert_eq!(shop.call("/payments/confirm", body.clone()).await, json!({ "Success": true, "Message": null }));
        let model = show(&shop, &id).await;
        assert_eq!(model["Status"], "Completed");
        assert_eq!(model["Amount"].to_string(), confirmed);
        assert!(model["ConfirmDateIso"].is_string());
        let again = shop.call("/payments/confirm", body).await;
        assert_eq!(refusal(&again), "Transaction cannot be confirmed: it is Completed");
    }
    let id = authorize(&shop, "10").await;
    let more = shop.call("/payments/confirm", json!({ "TransactionId": id, "Amount": 10.01 })).await;
    assert_eq!(refusal(&more), "Amount is larger than the amount authorized");
}

#[tokio::test]
async fn only_an_authorized_payment_is_voided() {
    let shop = Shop::open().await;
    let id = authorize(&shop, "10").await;
    assert_eq!(
        shop.call("/payments/void", json!({ "TransactionId": id })).await,
        json!({ "Success": true, "Message": null })
    );
    assert_eq!(show(&shop, &id).await["Status"], "Cancelled");
    for (id, status) in [
        (id, "Cancelled"),
        (shop.pay(VISA).await["Model"]["TransactionId"].clone(), "Completed"),
        (shop.pay(VISA_POOR).await["Model"]["TransactionId"].clone(), "Declined"),
        (shop.pay(VISA_3DS).await["Model"]["TransactionId"].clone(), "AwaitingAuthentication"),
    ] {
        let answer = shop.call("/payments/void", json!({ "TransactionId": id })).await;
        assert_eq!(refusal(&answer), format!("Transaction cannot be voided: it is {status}"));
        if status != "Completed" {
            let answer = shop.call("/payments/refund", json!({ "TransactionId": id, "Amount": 1 })).await;
            assert_eq!(refusal(&answer), format!("Transaction cannot be refunded: it is {status}"));
        }
    }
    let unknown = shop.call("/payments/void", json!({ "TransactionId": 455 })).await;
    assert_eq!(refusal(&unknown), "Transaction not found");
}

#[tokio::test]
async fn a_payment_is_refunded_in_parts_up_to_its_amount() {
    let shop = Shop::open().await;
    let id = shop.pay(VISA).await["Model"]["TransactionId"].clone();
    let refund = |amount: &'static str| shop.call("/payments/refund", json!({ "TransactionId": id, "Amount": amount }));

    let first = refund("3.33").await;
    assert_eq!(first["Success"], true);
    assert_ne!(first["Model"]["TransactionId"], id, "a refund has an id of its own");
    assert_eq!(show(&shop, &id).await["Refunded"], false);
    assert_eq!(refusal(&refund("6.68").await), "Amount is larger than what is left to refund");
    assert_eq!(refund("6.67").await["Success"], true);
    assert_eq!(show(&shop, &id).await["Refunded"], true);
    assert_eq!(refusal(&refund("0.01").await), "Amount is larger than what is left to refund");

    let refunded = show(&shop, &first["Model"]["TransactionId"]).await;
    assert_eq!(refunded["Type"], 1);
    assert_eq!(refunded["OriginalTransactionId"], id);
    assert_eq!(refunded["Amount"].to_string(), "3.33");
    assert_eq!(refunded["InvoiceId"], "invoice");
}

#[tokio::test]
async fn amounts_are_digits_not_floats() {
    let shop = Shop::open().await;
    for (sent, shown) in
        [("10", "10"), ("59.5", "59.5"), ("59.50", "59.5"), ("0.29", "0.29"), ("999999999.99", "999999999.99")]
    {
        let mut body = charge(VISA);
        body.as_object_mut().unwrap().remove("Amount");
        let json = body.to_string().replacen('{', &format!("{{\"Amount\":{sent},"), 1);
        let response = shop.request("/payments/cards/charge", &json!(null)).body(json).send().await.unwrap();
        let text = response.text().await.unwrap();
        assert!(text.contains(&format!("\"Amount\":{shown},")), "{text}");
        assert!(text.contains(&format!("\"PaymentAmount\":{shown},")));

        let fields = body.as_object().unwrap();
        let mut form: Vec<_> =
            fields.iter().map(|(name, value)| (name.to_lowercase(), value.as_str().unwrap_or_default())).collect();
        let packet = crate::shop::packet(VISA);
        form.retain(|(name, _)| name != "cardcryptogrampacket");
        form.push(("CARDCRYPTOGRAMPACKET".to_owned(), &packet));
        form.push(("amount".to_owned(), sent));
        let request = shop.http.post(shop.url("/payments/cards/charge")).basic_auth("pk_sandbox", Some("sk_sandbox"));
        let answer = answer(request.form(&form).send().await.unwrap()).await;
        assert_eq!(outcome(&answer), (true, "Completed", Some(0)));
        assert_eq!(answer["Model"]["Amount"].to_string(), shown);
    }
}

#[tokio::test]
async fn money_goes_back_by_hand_as_in_the_gateways_cabinet_and_the_last_operation_is_found() {
    let shop = Shop::open().await;
    let payment = shop.pay(VISA).await["Model"]["TransactionId"].clone();
    let back = async |order: Value| {
        let response = shop.http.post(shop.url("/sandbox/refunds")).json(&order).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let (status, part) = back(json!({ "invoice_id": "invoice", "amount": 4 })).await;
    assert_eq!((status, &part["original_id"]), (201, &payment));
    let found = shop.call("/v2/payments/find", json!({ "InvoiceId": "invoice" })).await;
    assert_eq!((&found["Model"]["TransactionId"], &found["Model"]["OriginalTransactionId"]), (&part["id"], &payment));
    assert_eq!(show(&shop, &payment).await["Refunded"], false, "a part is not all of it");

    assert_eq!(back(json!({ "transaction_id": payment, "amount": 7 })).await.0, 400, "more than is left");
    assert_eq!(back(json!({ "transaction_id": payment })).await.0, 201, "all that is left");
    assert_eq!(show(&shop, &payment).await["Refunded"], true);
    for wrong in [json!({}), json!({ "invoice_id": "nobody's" }), json!({ "invoice_id": "invoice", "amount": "x" })] {
        assert_eq!(back(wrong.clone()).await.0, 400, "{wrong}");
    }
}

#[tokio::test]
async fn at_a_terminal_of_two_stages_a_charge_only_holds_the_money() {
    let shop =
        Shop::with(cloudpayments_sandbox::Config { two_stage: true, ..cloudpayments_sandbox::Config::for_tests() })
            .await;
    let payment = shop.pay(VISA).await;
    assert_eq!(outcome(&payment), (true, "Authorized", Some(0)));
    shop.sandbox.advance(std::time::Duration::from_secs(7 * 24 * 60 * 60));
    assert_eq!(show(&shop, &payment["Model"]["TransactionId"]).await["Status"], "Cancelled");
}
