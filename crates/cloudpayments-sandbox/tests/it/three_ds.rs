//! 3-D Secure as a browser goes through it.

use axum::{Form, Router, routing::post};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::shop::{PageForm, Shop, VISA, VISA_3DS, charge, outcome, refusal};

/// The shop's own page that the bank sends the payer back to.
async fn term_url() -> (String, mpsc::UnboundedReceiver<Vec<(String, String)>>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let page = move |Form(fields): Form<Vec<(String, String)>>| {
        let sender = sender.clone();
        async move {
            sender.send(fields).unwrap();
            "thank you"
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/after-3ds?order=<1>&who='me'", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/after-3ds", post(page))).await });
    (url, receiver)
}

/// Goes to the bank's page and presses a button, then hands the result to the gateway.
pub(crate) async fn authenticate(shop: &Shop, three_ds: &Value, button: &str) -> Value {
    let (md, pa_res) = visit_the_bank(shop, &three_ds["Model"], button).await;
    shop.call("/payments/cards/post3ds", json!({ "TransactionId": md, "PaRes": pa_res })).await
}

/// `MD` and `PaRes` as the shop's page receives them.
async fn visit_the_bank(shop: &Shop, model: &Value, button: &str) -> (String, String) {
    let (term_url, mut received) = term_url().await;
    let fields = [
        ("PaReq", model["PaReq"].as_str().unwrap().to_owned()),
        ("MD", model["TransactionId"].to_string()),
        ("TermUrl", term_url),
    ];
    let acs_url = model["AcsUrl"].as_str().unwrap();
    let page = shop.http.post(acs_url).form(&fields).send().await.unwrap();
    assert_eq!(page.status(), 200);
    let page = page.text().await.unwrap();
    assert!(page.contains("10 RUB") && page.contains("******"), "it says what is paid, and with which card");

    let mut form = PageForm::of(&page);
    let (name, value) = form.buttons.iter().find(|(_, value)| value == button).cloned().expect("the button");
    form.fields.insert(name, value);
    let answer_url = url::Url::parse(acs_url).unwrap().join(&form.action).unwrap();
    let page = shop.http.post(answer_url).form(&form.fields).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("document.forms[0].submit()"), "it posts itself");

    let form = PageForm::of(&page);
    assert_eq!(form.action, fields[2].1, "to TermUrl, to the letter");
    let thanks = shop.http.post(&form.action).form(&form.fields).send().await.unwrap();
    assert_eq!(thanks.text().await.unwrap(), "thank you");

    let got = received.recv().await.unwrap();
    let field = |name: &str| got.iter().find(|(known, _)| known == name).unwrap().1.clone();
    assert_eq!(got.len(), 2);
    (field("MD"), field("PaRes"))
}

#[tokio::test]
async fn a_confirmed_payment_is_accepted_and_gives_a_token() {
    let shop = Shop::open().await;
    let answer = shop.pay(VISA_3DS).await;
    assert_eq!(shop.ledger().await[0]["status"], "AwaitingAuthentication");
    let answer = authenticate(&shop, &answer, "confirm").await;
    assert_eq!(outcome(&answer), (true, "Completed", Some(0)));
    assert!(answer["Model"]["Token"].as_str().unwrap().starts_with("success_"));
}

#[tokio::test]
async fn a_rejected_payment_is_declined_with_5206() {
    let shop = Shop::open().await;
    let answer = shop.pay(VISA_3DS).await;
    let answer = authenticate(&shop, &answer, "reject").await;
    assert_eq!(outcome(&answer), (false, "Declined", Some(5206)));
    assert_eq!(answer["Model"]["Reason"], "AuthenticationFailed");
    assert_eq!(answer["Model"]["Token"], Value::Null);
}

#[tokio::test]
async fn a_pa_res_is_good_for_its_own_transaction_only() {
    let shop = Shop::open().await;
    let [mine, other] = [shop.pay(VISA_3DS).await, shop.pay(VISA_3DS).await];
    let (_, pa_res) = visit_the_bank(&shop, &other["Model"], "confirm").await;
    for (payment, pa_res) in [(&mine, pa_res.as_str()), (&shop.pay(VISA_3DS).await, "eJxVUdtugkAQ")] {
        let id = &payment["Model"]["TransactionId"];
        let answer = shop.call("/payments/cards/post3ds", json!({ "TransactionId": id, "PaRes": pa_res })).await;
        assert_eq!(outcome(&answer), (false, "Declined", Some(5206)));
    }
}

#[tokio::test]
async fn a_payment_is_authenticated_once() {
    let shop = Shop::open().await;
    let answer = shop.pay(VISA_3DS).await;
    let (md, pa_res) = visit_the_bank(&shop, &answer["Model"], "confirm").await;
    let body = json!({ "TransactionId": md, "PaRes": pa_res });
    assert_eq!(shop.call("/payments/cards/post3ds", body.clone()).await["Success"], true);
    let again = shop.call("/payments/cards/post3ds", body.clone()).await;
    assert_eq!(refusal(&again), "Transaction is not awaiting authentication");
    let unknown = shop.call("/payments/cards/post3ds", json!({ "TransactionId": 1, "PaRes": pa_res })).await;
    assert_eq!(refusal(&unknown), "Transaction not found");
    let without_3ds = shop.pay(VISA).await["Model"]["TransactionId"].clone();
    let answer = shop.call("/payments/cards/post3ds", json!({ "TransactionId": without_3ds, "PaRes": pa_res })).await;
    assert_eq!(refusal(&answer), "Transaction is not awaiting authentication");
}

#[tokio::test]
async fn the_page_does_not_serve_strangers() {
    let shop = Shop::open().await;
    let answer = shop.pay(VISA_3DS).await;
    let model = &answer["Model"];
    let good = [
        ("PaReq", model["PaReq"].as_str().unwrap().to_owned()),
        ("MD", model["TransactionId"].to_string()),
        ("TermUrl", "https://shop.test/after".to_owned()),
    ];
    let open = |fields: Vec<(&'static str, String)>| shop.http.post(shop.url("/acs")).form(&fields).send();
    assert_eq!(open(good.to_vec()).await.unwrap().status(), 200);
    for (field, wrong) in [
        ("PaReq", "+/e30="),
        ("PaReq", "<script>alert(1)</script>"),
        ("MD", "1"),
        ("MD", "\"><script>"),
        ("TermUrl", "javascript:alert(1)"),
        ("TermUrl", "/after"),
    ] {
        let mut fields = good.to_vec();
        fields.iter_mut().find(|(name, _)| *name == field).unwrap().1 = wrong.to_owned();
        let response = open(fields).await.unwrap();
        assert_eq!(response.status(), 400, "{field}={wrong}");
        assert!(!response.text().await.unwrap().contains("<script>"));
    }
}

#[tokio::test]
async fn what_the_shop_puts_into_term_url_is_escaped() {
    let shop = Shop::open().await;
    let answer = shop.pay(VISA_3DS).await;
    let model = &answer["Model"];
    let fields = [
        ("PaReq", model["PaReq"].as_str().unwrap().to_owned()),
        ("MD", model["TransactionId"].to_string()),
        ("TermUrl", "https://shop.test/?q=\"><script>alert(1)</script>".to_owned()),
    ];
    let link = url::Url::parse_with_params(&shop.url("/acs"), &fields).unwrap();
    let page = shop.http.get(link).send().await.unwrap().text().await.unwrap();
    assert!(!page.contains("<script>alert"));
    assert_eq!(PageForm::of(&page).fields["TermUrl"], fields[2].1);
}

#[tokio::test]
async fn a_program_may_play_the_payer() {
    let shop = Shop::open().await;
    let mut body = charge(VISA_3DS);
    body["InvoiceId"] = "by a program".into();
    let answer = shop.call("/payments/cards/charge", body).await;
    let model = &answer["Model"];
    let id = model["TransactionId"].to_string();
    let fields = [
        ("PaReq", model["PaReq"].as_str().unwrap()),
        ("MD", &id),
        ("TermUrl", "https://shop.test/after"),
        ("answer", "confirm"),
    ];
    let request = shop.http.post(shop.url("/acs/answer")).header("Accept", "application/json").form(&fields);
    let back: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(back["TermUrl"], "https://shop.test/after");
    let body = json!({ "TransactionId": back["MD"], "PaRes": back["PaRes"] });
    assert_eq!(shop.call("/payments/cards/post3ds", body).await["Success"], true);
}
