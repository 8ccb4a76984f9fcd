//! What holds for every subscription, whatever its charges come to and whatever the clock does.

use std::collections::HashMap;

use billing::AccountId;
use billing::account::{Account, AccountStatus, DOUBT};
use billing::decline::GRACE;
use billing::payment::Outcome;
use billing::store::payments::PaymentView;
use chrono::{DateTime, Duration, TimeDelta, Utc};

use crate::shop::{Shop, day, month, refused, took, unknown, year};
use crate::support::{hours, minutes, noon};
use crate::timetable::Timetable;

/// Each seed is another history of as many subscriptions.
const SEEDS: u64 = 3;
const SUBSCRIPTIONS: i64 = 12;
const TICKS: usize = 70;

/// Numbers that are the same for the same seed (splitmix64).
struct Dice(u64);

impl Dice {
    /// One of `0..sides`.
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn up_to(&mut self, most: i64) -> i64 {
        i64::try_from(self.roll(most.unsigned_abs())).unwrap() + 1
    }
}

/// What a charge comes to.
fn outcome(dice: &mut Dice, payment: &PaymentView, transaction_id: i64, now: DateTime<Utc>) -> Option<Outcome> {
    const CODES: [i32; 9] = [5051, 5043, 5091, 5054, 5063, 6025, 5005, 5096, 0];
    match dice.roll(10) {
        0..=2 => Some(took(payment, transaction_id)),
        3..=5 => {
            let code = CODES[usize::try_from(dice.roll(9)).unwrap()];
            let retry_after = (dice.roll(5) == 0).then(|| now + hours(dice.up_to(300)));
            let refusal = refused(code);
            let Outcome::Declined { transaction_id, reason, cardholder_message, .. } = refusal else { unreachable!() };
            Some(Outcome::Declined { transaction_id, code, reason, cardholder_message, retry_after })
        }
        6 | 7 => Some(Outcome::Rejected { message: "Token does not belong to this AccountId".into() }),
        8 => Some(unknown(now)),
        _ => None,
    }
}

/// How the clock goes on: mostly in steps of hours, now and then by an outage.
fn pause(dice: &mut Dice) -> TimeDelta {
    match dice.roll(12) {
        0 => Duration::days(dice.up_to(75)),
        1..=3 => minutes(dice.up_to(50)),
        _ => hours(dice.up_to(30)),
    }
}

/// What was seen of a subscription since it last paid.
struct Unpaid {
    period_no: i32,
    charges: usize,
    rejections: usize,
    /// Time with access that is not paid.
    given: TimeDelta,
}

struct World<'a> {
    timetable: Timetable<'a>,
    dice: Dice,
    now: DateTime<Utc>,
    accounts: Vec<AccountId>,
    unpaid: HashMap<AccountId, Unpaid>,
    doubtful: Vec<billing::PaymentId>,
    transactions: i64,
}

impl World<'_> {
    async fn tick(&mut self) {
        let before: HashMap<AccountId, usize> =
            self.accounts.iter().map(|id| (*id, self.timetable.charges_of(*id).len())).collect();
        let (now, dice, transactions) = (self.now, &mut self.dice, &mut self.transactions);
        let mut rejected = Vec::new();
        let mut doubtful = Vec::new();
        self.timetable
            .tick(now, &mut |payment| {
                *transactions += 1;
                let outcome = outcome(dice, payment, *transactions, now);
                match outcome {
                    Some(Outcome::Rejected { .. }) => rejected.push(payment.account_id),
                    Some(Outcome::Unknown { .. }) => doubtful.push(payment.id),
                    _ => {}
                }
                outcome
            })
            .await;
        self.doubtful.extend(doubtful);
        self.end_some_doubt().await;
        for id in self.accounts.clone() {
            let account = self.timetable.shop.account_of(id).await;
            let charges = self.timetable.charges_of(id).len() - before[&id];
            let rejections = rejected.iter().filter(|rejected| **rejected == id).count();
            self.see(&account, charges, rejections);
        }
    }

    /// The gateway says at last what became of a charge in doubt – or never does.
    async fn end_some_doubt(&mut self) {
        let mut still = Vec::new();
        for id in std::mem::take(&mut self.doubtful) {
            let payment = self.timetable.shop.view(id).await;
            self.transactions += 1;
            let outcome = match self.dice.roll(8) {
                0 => took(&payment, self.transactions),
                1 => refused(5051),
                2 => {
                    let absent = Outcome::NotFound { absent: true, look_again_at: self.now };
                    self.timetable.shop.apply(id, absent, self.now - minutes(1)).await;
                    Outcome::NotExecuted
                }
                _ => {
                    still.push(id);
                    continue;
                }
            };
            self.timetable.shop.apply(id, outcome, self.now).await;
        }
        self.doubtful = still;
    }

    fn see(&mut self, account: &Account, charges: usize, rejections: usize) {
        let fresh = Unpaid { period_no: account.period_no, charges: 0, rejections: 0, given: TimeDelta::zero() };
        let unpaid = self.unpaid.entry(account.id).or_insert(fresh);
        if unpaid.period_no != account.period_no {
            *unpaid = Unpaid { period_no: account.period_no, charges: 0, rejections: 0, given: TimeDelta::zero() };
            return;
        }
        unpaid.charges += charges;
        unpaid.rejections += rejections;
        assert!(unpaid.rejections <= 3, "our own fault is tried three times: {account:?}");
        assert!(unpaid.charges <= 8, "three for our fault and five for the card's: {account:?}");
    }

    /// Lets the clock go on, and counts who has access meanwhile that is not paid.
    async fn go_on(&mut self, pause: TimeDelta) {
        let until = self.now + pause;
        for id in self.accounts.clone() {
            let account = self.timetable.shop.account_of(id).await;
            let (Some(paid), Some(access)) = (account.paid_until, account.access_until) else { continue };
            let unpaid = self.unpaid.get_mut(&id).unwrap();
            if account.is_running() {
                unpaid.given += (access.min(until) - paid.max(self.now)).max(TimeDelta::zero());
            }
            // A doubt about the period behind the paid one, one about that which is charged after an outage, and grace.
            assert!(unpaid.given <= DOUBT * 2 + GRACE, "{} of access are not paid: {account:?}", unpaid.given);
        }
        self.now = until;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_subscription_is_paid_or_ends_and_nobody_watches_for_nothing() {
    for seed in 0..SEEDS {
        let shop = Shop::open().await;
        let mut accounts = Vec::new();
        for n in 0..SUBSCRIPTIONS {
            let tariff = [day(), month(), year()][usize::try_from(n % 3).unwrap()];
            // Anywhere in the window.
            let account = AccountId::new();
            shop.known(account).await;
            shop.buys(account, tariff, n + 1).await;
            accounts.push(account);
        }
        let timetable = Timetable::of(&shop);
        let (dice, unpaid, doubtful) = (Dice(seed), HashMap::new(), Vec::new());
        let mut world = World { timetable, dice, now: noon(), accounts, unpaid, doubtful, transactions: 1_000 };
        for _ in 0..TICKS {
            world.tick().await;
            let pause = pause(&mut world.dice);
            world.go_on(pause).await;
        }
        world.timetable.assert_cards_are_left_alone();
        assert!(world.timetable.charges.len() > 20, "something happened");

        // From now on nobody pays any more: everything ends.
        for _ in 0..60 {
            let mut rejects = |_: &PaymentView| Some(Outcome::Rejected { message: "?".into() });
            world.timetable.tick(world.now, &mut rejects).await;
            world.now += Duration::days(15);
        }
        world.timetable.assert_cards_are_left_alone();
        for id in world.accounts {
            let account = shop.account_of(id).await;
            assert!(!account.access(world.now).has_access, "{account:?}");
            let in_doubt =
                format!("payment join bill on bill.id = bill_id where state = 'unknown' and account_id = '{id}'");
            let ended = account.status == AccountStatus::Canceled || shop.count(&in_doubt).await == 1;
            assert!(ended && account.next_charge_at.is_none(), "{account:?}");
        }
        assert_eq!(shop.count("bill where status = 'Not paid'").await, 0);
        let twice = "(select from bill where status = 'Paid' group by account_id, period_no having count(*) > 1) twice";
        assert_eq!(shop.count(twice).await, 0, "no period is paid twice");
    }
}
