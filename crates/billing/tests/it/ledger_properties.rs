//! Whatever comes in whatever order: the ledger balances, and what is deferred is what is not earned.

use billing::ledger::{
    self, Deferral, Entry, LedgerAccount as Account, Return, ReturnedBy, Standing, Subject, Taken, VatRate,
};
use billing::{Currency, Kopecks, PaymentId, TariffId};
use chrono::{DateTime, Days, NaiveDate, Utc};
use chrono_tz::Tz;
use proptest::prelude::*;

const ZONE: Tz = Tz::Europe__Moscow;

fn day(n: u64) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 1, 1).unwrap() + Days::new(n)
}

fn noon_of(day: NaiveDate) -> DateTime<Utc> {
    day.and_hms_opt(9, 0, 0).unwrap().and_utc()
}

proptest! {
    /// However it rounds, and whenever it became known: the days come to the amount, and none is negative.
    #[test]
    fn the_days_of_a_period_come_to_its_amount(
        amount in 1_i64..=100_000_000, starts in 0_u64..60, days in 1_u64..400, known in 0_u64..500,
    ) {
        let sold = Deferral::new(Kopecks::new(amount), day(starts), day(starts + days), day(known));
        let each: Vec<i64> = (0..=1_000).map(|n| sold.earned_on(day(n)).get()).collect();
        prop_assert_eq!(each.iter().sum::<i64>(), amount);
        prop_assert!(each.iter().all(|earned| *earned >= 0));
        // No day is a kopeck away from its even share, but the one that catches up.
        for n in 0..1_000 {
            let is_plain = n > known && n >= starts && n < starts + days;
            let share = amount / i64::try_from(days).unwrap();
            prop_assert!(!is_plain || (each[usize::try_from(n).unwrap()] - share).abs() <= 1);
        }
    }

    /// The same, when it is cut on the way and goes on with less.
    #[test]
    fn what_is_cut_earns_what_was_left_of_it(
        amount in 1_i64..=1_000_000, starts in 0_u64..60, days in 1_u64..100, known in 0_u64..120, cut in 0_u64..200,
        share in 0_i64..=100,
    ) {
        let sold = Deferral::new(Kopecks::new(amount), day(starts), day(starts + days), day(known));
        // Nobody gives back what has not come.
        let cut_on = day(cut.max(known));
        let less = Kopecks::new(sold.unearned_from(cut_on).get() * share / 100);
        let rest = sold.rest(cut_on, less);
        let cut = Deferral { cut_on: Some(cut_on), ..sold };
        let earned = |n| cut.earned_on(day(n)).get() + rest.map_or(0, |rest| rest.earned_on(day(n)).get());
        prop_assert_eq!((0..=1_000).map(earned).sum::<i64>(), amount - less.get());
        prop_assert!((0..=1_000).all(|n| earned(n) >= 0 && (day(n) >= cut_on || earned(n) == sold.earned_on(day(n)).get())));
    }

    #[test]
    fn vat_is_within_the_price(price in 0_i64..=100_000_000, percent in 0_i32..=99) {
        let vat = VatRate::percent(percent).unwrap().within(Kopecks::new(price)).get();
        let net = price - vat;
        prop_assert!(vat >= 0 && net >= 0);
        // The rate of the net price, to half a kopeck on either.
        prop_assert!((net * i64::from(percent) - vat * 100).abs() <= 100 + i64::from(percent));
    }
}

/// One thing that may happen next.
#[derive(Debug, Clone)]
enum Step {
    /// A period is bought that begins so many days from today, or before.
    Buys { amount: i64, from: i64, days: u64, is_owed: bool, vat: Option<i32> },
    /// So much of one of the payments goes back.
    Returns { which: usize, amount: i64, by: ReturnedBy },
    /// The days up to yesterday are entered.
    Recognizes,
    /// Nothing happens for so long.
    Passes(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let vat = proptest::option::of(prop_oneof![Just(0), Just(5), Just(20), Just(22)]);
    let by = prop_oneof![3 => Just(ReturnedBy::Refund), 1 => Just(ReturnedBy::Chargeback)];
    prop_oneof![
        3 => (1_i64..=500_000, -40_i64..40, 1_u64..400, proptest::bool::weighted(0.8), vat)
            .prop_map(|(amount, from, days, is_owed, vat)| Step::Buys { amount, from, days, is_owed, vat }),
        3 => (any::<usize>(), 1_i64..=300_000, by).prop_map(|(which, amount, by)| Step::Returns { which, amount, by }),
        2 => Just(Step::Recognizes),
        2 => (0_u64..40).prop_map(Step::Passes),
    ]
}

#[derive(Debug)]
struct Bought {
    taken: Taken,
    returned: i64,
    plan: Vec<Deferral>,
}

/// A ledger in memory, kept by the rules that the store keeps its by.
#[derive(Debug, Default)]
struct Books {
    today: u64,
    /// The days before are entered.
    open: u64,
    entries: Vec<Entry>,
    bought: Vec<Bought>,
}

impl Books {
    #[expect(clippy::needless_pass_by_value, reason = "a step is taken once")]
    fn take(&mut self, step: Step) {
        match step {
            Step::Buys { amount, from, days, is_owed, vat } => self.buy(amount, from, days, is_owed, vat),
            Step::Returns { which, amount, by } => self.give_back(which, amount, by),
            Step::Recognizes => {
                while self.open < self.today {
                    self.recognize(day(self.open));
                    self.open += 1;
                }
            }
            Step::Passes(days) => self.today += days,
        }
    }

    fn buy(&mut self, amount: i64, from: i64, days: u64, is_kept: bool, vat: Option<i32>) {
        let amount = Kopecks::new(amount);
        let vat = vat.map_or(Kopecks::new(0), |percent| VatRate::percent(percent).unwrap().within(amount));
        let (payment_id, subject) = (PaymentId::new(), Subject::default());
        let taken =
            Taken { payment_id, subject, amount, vat, returned: Kopecks::new(0), currency: Currency::RUB, is_kept };
        self.entries.push(ledger::taken(&taken, noon_of(day(self.today)), ZONE));
        let starts = day(self.today.saturating_add_signed(from));
        let known = day(self.today.max(self.open));
        let plan = taken.sold().map(|net| Deferral::new(net, starts, starts + Days::new(days), known));
        self.bought.push(Bought { taken, returned: 0, plan: plan.into_iter().collect() });
    }

    fn give_back(&mut self, which: usize, amount: i64, by: ReturnedBy) {
        let (today, first_open) = (noon_of(day(self.today)), day(self.today.max(self.open)));
        let all = self.bought.len();
        let Some(bought) = self.bought.get_mut(which % all.max(1)) else { return };
        let amount = amount.min(bought.taken.amount.get() - bought.returned);
        let unearned: i64 = bought.plan.iter().map(|plan| plan.unearned_from(first_open).get()).sum();
        let standing = Standing {
            subject: Subject::default(),
            currency: Currency::RUB,
            taken: bought.taken.amount,
            vat: bought.taken.vat,
            returned: Kopecks::new(bought.returned),
            is_kept: bought.taken.is_kept,
            unearned: Kopecks::new(unearned),
        };
        let back = Return { key: "x".into(), by, amount: Kopecks::new(amount), transaction_id: None };
        let (entry, mut less) = ledger::returned(&standing, &back, today, ZONE);
        bought.returned += amount;
        self.entries.push(entry);
        let mut rests = Vec::new();
        for plan in bought.plan.iter_mut().filter(|plan| plan.cut_on.is_none()) {
            let here = less.min(plan.unearned_from(first_open));
            less = Kopecks::new(less.get() - here.get());
            if here.get() > 0 {
                rests.extend(plan.rest(first_open, here));
                plan.cut_on = Some(first_open);
            }
        }
        assert_eq!(less, Kopecks::new(0));
        bought.plan.extend(rests);
    }

    fn recognize(&mut self, day: NaiveDate) {
        let plans = self.bought.iter().flat_map(|bought| &bought.plan);
        let earned: i64 = plans.map(|plan| plan.earned_on(day).get()).sum();
        let tariff = TariffId::from(uuid::Uuid::nil());
        let at = noon_of(day + Days::new(1));
        self.entries.push(ledger::earned(day, tariff, Kopecks::new(earned), Currency::RUB, at, ZONE));
    }

    fn balance(&self, account: Account) -> i64 {
        self.entries.iter().map(|entry| entry.change_of(account)).sum()
    }
}

proptest! {
    #[test]
    fn whatever_happens_deferred_revenue_is_what_is_not_earned(steps in proptest::collection::vec(step(), 1..40)) {
        let mut books = Books { today: 60, open: 60, ..Books::default() };
        for step in steps {
            books.take(step);
            prop_assert!(books.entries.iter().all(|entry| entry.lines().map(|(_, amount)| amount).sum::<i64>() == 0));
            let taken: i64 = books.bought.iter().map(|bought| bought.taken.amount.get() - bought.returned).sum();
            prop_assert_eq!(books.balance(Account::GatewayClearing), taken, "what the gateway has");
            let plans = books.bought.iter().flat_map(|bought| &bought.plan);
            let left: i64 = plans.clone().map(|plan| {
                let in_all = plan.earned_by(day(10_000)).get();
                in_all - books.open.checked_sub(1).map_or(0, |last| plan.earned_by(day(last)).get())
            }).sum();
            prop_assert_eq!(books.balance(Account::DeferredRevenue), -left);
            prop_assert_eq!(books.balance(Account::Receivable), 0);
            prop_assert_eq!(books.balance(Account::Suspense), 0);
        }
        // Once all has passed nothing is deferred, and what went back whole has left no VAT.
        books.take(Step::Passes(1_000));
        books.take(Step::Recognizes);
        prop_assert_eq!(books.balance(Account::DeferredRevenue), 0);
        if books.bought.iter().all(|bought| bought.returned == bought.taken.amount.get()) {
            prop_assert_eq!(books.balance(Account::Vat), 0);
            prop_assert_eq!(books.balance(Account::Revenue) + books.balance(Account::Chargebacks), 0);
        }
    }
}
