//! What each of the fifteen test cards does, from the gateway's own table.

use cloudpayments_sandbox::{TEST_CARDS, cryptogram};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    shop::{Shop, VISA, VISA_ONCE, charge, outcome, packet, refusal, token_charge},
    three_ds::authenticate,
};

#[derive(Deserialize)]
struct DocumentedCard {
    brand: String,
    three_ds: bool,
    pan: String,
    charge: String,
    token_charge: Option<String>,
}

fn documented_cards() -> Vec<DocumentedCard> {
    let mut document: Value = serde_json::from_str(include_str!("../fixtures/test_cards.json")).unwrap();
    serde_json::from_value(document["cards"].take()).unwrap()
}

fn paid(documented: &str) -> bool {
    match documented {
        "success" => true,
        "insufficient_funds_5051" => false,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn every_test_card_does_what_the_documentation_says() {
    let shop = Shop::open().await;
    let cards = documented_cards();
    assert_eq!(cards.len(), 15);
    for card in &cards {
        for (method, good) in [("charge", "Completed"), ("auth", "Authorized")] {
            let path = format!("/payments/cards/{method}");
            let expected = if paid(&card.charge) { (true, good, Some(0)) } else { (false, "Declined", Some(5051)) };
            let mut answer = shop.call(&path, charge(&card.pan)).await;
            if card.three_ds {
                assert_eq!(outcome(&answer), (false, "-", None), "{}", card.pan);
                answer = authenticate(&shop, &answer, "confirm").await;
            }
            assert_eq!(outcome(&answer), expected, "{} {method}", card.pan);

            let model = &answer["Model"];
            assert_eq!(model["CardFirstSix"], card.pan[..6]);
            assert_eq!(model["CardLastFour"], card.pan[12..]);
            assert_eq!(model["CardType"].as_str().unwrap().to_lowercase(), card.brand.to_lowercase());
            assert_eq!(model["Token"].is_string(), card.token_charge.is_some(), "{}", card.pan);

            let (Some(documented), Some(token)) = (&card.token_charge, model["Token"].as_str()) else { continue };
            let expected = if paid(documented) { (true, good, Some(0)) } else { (false, "Declined", Some(5051)) };
            let answer = shop.call(&format!("/payments/tokens/{method}"), token_charge(token)).await;
            assert_eq!(outcome(&answer), expected, "{} token {method}", card.pan);
            assert_eq!(answer["Model"]["Token"], token, "a declined answer has the token too");
        }
    }
}

#[tokio::test]
async fn the_published_table_of_cards_is_the_documented_one() {
    let shop = Shop::open().await;
    let published: Vec<Value> = shop.http.get(shop.url("/sandbox/cards")).send().await.unwrap().json().await.unwrap();
    assert_eq!(published.len(), TEST_CARDS.len());
    for (card, documented) in published.iter().zip(documented_cards()) {
        assert_eq!(card["card_number"], documented.pan);
        assert_eq!(card["three_ds"], documented.three_ds);
        assert_eq!(card["charge"] == "success", paid(&documented.charge));
    }
}

#[tokio::test]
async fn a_cryptogram_pays_once() {
    let shop = Shop::open().await;
    let body = charge(VISA);
    assert_eq!(outcome(&shop.call("/payments/cards/charge", body.clone()).await), (true, "Completed", Some(0)));
    let again = shop.call("/payments/cards/charge", body).await;
    assert_eq!(refusal(&again), "CardCryptogramPacket has already been used");
    assert_eq!(shop.ledger().await.len(), 1);
}

#[tokio::test]
async fn a_cryptogram_can_be_ordered_from_the_sandbox() {
    let shop = Shop::open().await;
    let order = |body: Value| shop.http.post(shop.url("/sandbox/cryptogram")).json(&body).send();

    let details = json!({ "card_number": "4111 1111 1111 1111", "exp": "12/30", "cvv": "123" });
    let made: Value = order(details).await.unwrap().json().await.unwrap();
    let mut body = charge(VISA);
    body["CardCryptogramPacket"] = made["cryptogram"].clone();
    assert_eq!(shop.call("/payments/cards/charge", body).await["Model"]["CardFirstSix"], "411111");

    for (wrong, field) in [("4111", "card_number"), ("12/99x", "exp")] {
        let mut details = json!({ "card_number": VISA_ONCE, "exp": "12/30", "cvv": "123" });
        details[field] = wrong.into();
        let response = order(details).await.unwrap();
        assert_eq!(response.status(), 400);
        assert_eq!(response.json::<Value>().await.unwrap()["field"], field);
    }
    assert_eq!(order(json!({ "card_number": VISA })).await.unwrap().status(), 400);
}

#[tokio::test]
async fn an_expired_card_is_declined() {
    let shop = Shop::open().await;
    let mut body = charge(VISA);
    body["CardCryptogramPacket"] = cryptogram(VISA, "01/20", "123").unwrap().into();
    assert_eq!(outcome(&shop.call("/payments/cards/charge", body).await), (false, "Declined", Some(5054)));
}

#[tokio::test]
async fn a_card_that_is_not_for_tests_is_declined_and_its_number_shown_nowhere() {
    let shop = Shop::open().await;
    let number = "4916338506082832";
    let answer = shop.pay(number).await;
    assert_eq!(outcome(&answer), (false, "Declined", Some(5014)));
    assert_eq!(answer["Model"]["CardLastFour"], "2832");
    let ledger = shop.ledger().await;
    assert_eq!(ledger[0]["card"], "491633******2832");
    for text in [answer.to_string(), json!(ledger).to_string()] {
        assert!(!text.contains(number) && !text.contains(&packet(VISA)[40..80]));
    }
}

#[tokio::test]
async fn a_token_belongs_to_its_account_and_terminal() {
    let shop = Shop::open().await;
    let token = shop.token(VISA).await;
    let mut body = token_charge(&token);
    body["AccountId"] = "somebody else".into();
    let answer = shop.call("/payments/tokens/charge", body).await;
    assert_eq!(refusal(&answer), "Token does not belong to this AccountId");

    let answer = shop.call("/payments/tokens/charge", token_charge("success_of-another-terminal")).await;
    assert_eq!(outcome(&answer), (false, "Declined", Some(6025)));
}

#[tokio::test]
async fn there_is_a_token_only_for_an_account_that_wants_its_card_saved() {
    let shop = Shop::open().await;
    for (field, value) in [("AccountId", Value::Null), ("SaveCard", Value::Bool(false))] {
        let mut body = charge(VISA);
        body[field] = value;
        let answer = shop.call("/payments/cards/charge", body).await;
        assert_eq!(outcome(&answer), (true, "Completed", Some(0)));
        assert_eq!(answer["Model"]["Token"], Value::Null, "{field}");
    }
    let tokens = shop.call("/payments/tokens/list", json!({ "PageNumber": 1 })).await;
    assert_eq!(tokens["Model"], json!([]));
}

#[tokio::test]
async fn the_payer_is_told_in_the_language_of_culture_name() {
    let shop = Shop::open().await;
    let documented: Value = serde_json::from_str(include_str!("../fixtures/reason_codes.json")).unwrap();
    let message = documented["codes"].as_array().unwrap().iter().find(|code| code["code"] == 5051).unwrap();
    for (culture, expected) in [
        (Value::Null, message["cardholder_message_ru"].as_str().unwrap()),
        ("ru-RU".into(), message["cardholder_message_ru"].as_str().unwrap()),
        ("en-US".into(), "Insufficient funds on the card"),
    ] {
        let mut body = charge("4000056655665556");
        body["CultureName"] = culture;
        assert_eq!(shop.call("/payments/cards/charge", body).await["Model"]["CardHolderMessage"], expected);
    }
}
