//! The task that enters revenue.

use billing::tasks::{RecognizeRevenue, RollUpReports};
use serde_json::json;

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn the_days_that_are_over_are_entered_once_whoever_is_at_it() {
    let world = World::start().await;
    assert_eq!(world.tick(RecognizeRevenue {}).await, json!(0), "no money has come");
    // Thirty months, bought on thirty days, the last of them 32 days ago.
    world.are_due(30).await;
    let (one, another) = tokio::join!(world.tick(RecognizeRevenue {}), world.tick(RecognizeRevenue {}));
    let entered = one.as_i64().unwrap() + another.as_i64().unwrap();
    assert_eq!(world.count("revenue_day").await, entered);
    // Until yesterday; within the hour after midnight, until the day before.
    let last = "revenue_day where day >= (now() at time zone 'Europe/Moscow' - interval '25 hours')::date
        and day < (now() at time zone 'Europe/Moscow')::date";
    assert_eq!(world.count(last).await, 1);
    assert_eq!(world.tick(RecognizeRevenue {}).await, json!(0));
    let earned = "(select -sum(l.amount) as earned from journal_line l where account = 'revenue') r,
        (select sum(amount) as sold from deferral) s where earned = sold";
    assert_eq!(world.count(earned).await, 1, "all months are over, and earned to the kopeck");
    let days =
        "(select day, tariff_id from journal_entry where kind = 'revenue' group by 1, 2 having count(*) > 1) twice";
    assert_eq!(world.count(days).await, 0);

    // And then they are added up for reports.
    let (one, another) = tokio::join!(world.tick(RollUpReports {}), world.tick(RollUpReports {}));
    assert_eq!(one.as_i64().unwrap() + another.as_i64().unwrap(), entered);
    assert_eq!(world.count("report_day natural join revenue_day").await, entered);
    assert_eq!(world.tick(RollUpReports {}).await, json!(0));
}
