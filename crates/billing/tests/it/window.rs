//! When within the window before the paid time ends an account is charged.

use billing::AccountId;
use billing::account::{WINDOW, renewal_at, window_place};
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

use crate::shop::{Shop, day, month, year};
use crate::support::{at, hours};

fn id(text: &str) -> AccountId {
    text.parse().unwrap()
}

/// Another value in another release would move the charge of every subscriber.
#[test]
fn the_place_of_an_account_is_the_same_in_every_release() {
    for (account, place, of_a_day, of_half_a_day) in [
        ("00000000-0000-0000-0000-000000000000", 927_402_239, 18_656, 9_328),
        ("ffffffff-ffff-ffff-ffff-ffffffffffff", 1_522_967_956, 30_636, 15_318),
        ("018f4e6a-7c3b-7d2e-9a41-5b6c7d8e9fa0", 418_615_299, 8_421, 4_210),
    ] {
        let account = id(account);
        assert_eq!(window_place(account), place);
        let end = at("2026-04-10T09:00:00Z");
        let behind = |before: TimeDelta, window: TimeDelta| renewal_at(account, end - before, end) - (end - window);
        assert_eq!(behind(TimeDelta::days(31), WINDOW).num_seconds(), of_a_day);
        assert_eq!(behind(hours(24), hours(12)).num_seconds(), of_half_a_day);
    }
}

/// However ids are given: one after the other, or with the time in front.
#[test]
fn charges_are_spread_evenly_over_the_day() {
    const ACCOUNTS: u32 = 24_000;
    let in_order = |n: u32| AccountId::from(uuid::Uuid::from_u128(n.into()));
    let timed = |_| AccountId::new();
    let end = at("2026-04-10T09:00:00Z");
    for ids in [(0..ACCOUNTS).map(in_order).collect::<Vec<_>>(), (0..ACCOUNTS).map(timed).collect()] {
        let mut by_hour = [0_u32; 24];
        for id in ids {
            let into = renewal_at(id, end - TimeDelta::days(31), end) - (end - WINDOW);
            by_hour[usize::try_from(into.num_hours()).unwrap()] += 1;
        }
        // A thousand each; five standard deviations are 155.
        assert!(by_hour.iter().all(|accounts| (845..=1_155).contains(accounts)), "{by_hour:?}");
    }
}

proptest! {
    #[test]
    fn a_renewal_is_charged_in_the_last_day_and_never_in_the_first_half(bits: u128, seconds in 1_i64..400_000_000) {
        let account = AccountId::from(uuid::Uuid::from_u128(bits));
        let begins: DateTime<Utc> = at("2026-03-10T09:00:00Z");
        let ends = begins + TimeDelta::seconds(seconds);
        let charged = renewal_at(account, begins, ends);
        prop_assert!(ends - WINDOW <= charged && charged <= ends);
        prop_assert!(charged - begins >= (ends - begins) / 2);
    }
}

/// The trigger for what support moves by hand is the same function.
#[tokio::test(flavor = "multi_thread")]
async fn the_database_and_the_program_agree_on_when_an_account_is_charged() {
    let shop = Shop::open().await;
    for n in 0..20 {
        let account = AccountId::new();
        let place = shop.text(&format!("window_place('{account}')")).await.unwrap();
        assert_eq!(place, window_place(account).to_string(), "{account}");
        shop.known(account).await;
        shop.buys(account, [day(), month(), year()][n % 3], i64::try_from(n).unwrap()).await;
        let planned = shop.account_of(account).await.next_charge_at.unwrap();
        let select =
            format!("select extract(epoch from renewal_at(account))::bigint from account where id = '{account}'");
        assert_eq!(shop.text(&select).await.unwrap(), planned.timestamp().to_string());
    }
}
