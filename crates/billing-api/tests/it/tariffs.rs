use billing_api::proto::{ListTariffsRequest, period::Length};

use crate::world::{FRONTEND, World, by};

#[tokio::test(flavor = "multi_thread")]
async fn tariffs_are_listed_cheapest_first_with_price_and_period() {
    let world = World::start().await;
    let answer = world.tariffs().list_tariffs(by(FRONTEND, ListTariffsRequest {})).await.expect("listed");
    let listed: Vec<_> = answer
        .into_inner()
        .tariffs
        .into_iter()
        .map(|tariff| (tariff.amount_kopecks, tariff.currency, tariff.period.and_then(|period| period.length)))
        .collect();
    assert_eq!(
        listed,
        [
            (5_900, "RUB".to_owned(), Some(Length::Days(1))),
            (39_900, "RUB".to_owned(), Some(Length::Months(1))),
            (299_000, "RUB".to_owned(), Some(Length::Months(12))),
        ]
    );
}
