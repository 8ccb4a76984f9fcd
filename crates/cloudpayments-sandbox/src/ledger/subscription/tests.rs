//! The rules of subscriptions, by example and by property.

use proptest::prelude::*;

use super::*;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn subscription(interval: Interval, period: u32, max_periods: Option<u32>) -> Subscription {
    let terms = Terms {
        token: Token("token".to_owned()),
        account_id: "account".to_owned(),
        description: "cinema".to_owned(),
        email: None,
        amount: Amount::from_kopecks(39_900),
        currency: Currency::RUB,
        two_stage: false,
        start: at("2027-01-31T10:00:00Z"),
        interval,
        period,
        max_periods,
        culture: "ru-RU".to_owned(),
        receipt: None,
    };
    Subscription::new(SubscriptionId("sc_1".to_owned()), terms)
}

fn charge(subscription: &mut Subscription, approved: bool) {
    let due = subscription.next_at.unwrap();
    subscription.charged(approved, due);
}

#[test]
fn months_are_counted_from_the_start() {
    let mut it = subscription(Interval::Month, 1, None);
    let mut dates = Vec::new();
    for _ in 0..4 {
        dates.push(it.next_at.unwrap().date_naive().to_string());
        charge(&mut it, true);
    }
    assert_eq!(dates, ["2027-01-31", "2027-02-28", "2027-03-31", "2027-04-30"]);
}

#[test]
fn three_failures_in_a_row_reject_it_and_two_do_not() {
    let mut it = subscription(Interval::Month, 1, None);
    let mut seen = Vec::new();
    for approved in [false, false, true, false, false, false] {
        charge(&mut it, approved);
        seen.push((it.status, it.next_at.map(|next| next.date_naive().to_string())));
    }
    let (past_due, on) = (Status::PastDue, |date: &str| Some(date.to_owned()));
    assert_eq!(
        seen,
        [
            (past_due, on("2027-02-01")),
            (past_due, on("2027-02-02")),
            (Status::Active, on("2027-02-28")),
            (past_due, on("2027-03-01")),
            (past_due, on("2027-03-02")),
            (Status::Rejected, None),
        ]
    );
    assert_eq!((it.successful, it.failed), (1, 5));
}

#[test]
fn it_expires_after_its_periods_and_an_update_revives_it() {
    let mut it = subscription(Interval::Day, 5, Some(2));
    charge(&mut it, true);
    charge(&mut it, true);
    assert_eq!((it.status, it.next_at), (Status::Expired, None));
    it.update(&Patch { max_periods: Some(9), ..Patch::default() }, at("2027-02-06T00:00:00Z"));
    assert_eq!((it.status, it.next_at), (Status::Active, Some(at("2027-02-10T10:00:00Z"))));
    it.cancel();
    assert_eq!((it.status, it.next_at), (Status::Cancelled, None));
}

#[derive(Clone, Debug)]
enum Step {
    Charge(bool),
    Cancel,
    Update(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any::<bool>().prop_map(Step::Charge),
        1 => Just(Step::Cancel),
        1 => (1u32..40).prop_map(Step::Update),
    ]
}

proptest! {
    /// It is charged next exactly while it lives, always later than before, and never after three failures in a row.
    #[test]
    fn it_has_a_next_charge_exactly_while_it_lives(
        interval in prop_oneof![Just(Interval::Day), Just(Interval::Week), Just(Interval::Month)],
        period in 1u32..40,
        max_periods in proptest::option::of(1u32..6),
        steps in prop::collection::vec(step(), 0..40),
    ) {
        let mut it = subscription(interval, period, max_periods);
        let (mut now, mut in_row) = (it.terms.start, 0);
        for step in steps {
            match step {
                Step::Charge(approved) => {
                    let Some(due) = it.next_at else { continue };
                    now = now.max(due);
                    it.charged(approved, due);
                    in_row = if approved { 0 } else { in_row + 1 };
                    prop_assert!(it.next_at.is_none_or(|next| next > due));
                    prop_assert_eq!(it.status == Status::Rejected, in_row == 3);
                }
                Step::Cancel => it.cancel(),
                Step::Update(period) => {
                    it.update(&Patch { period: Some(period), ..Patch::default() }, now);
                    in_row = it.failures_in_row;
                    prop_assert!(it.next_at.is_some_and(|next| next > now));
                }
            }
            prop_assert_eq!(it.next_at.is_some(), it.status.is_live());
        }
    }
}
