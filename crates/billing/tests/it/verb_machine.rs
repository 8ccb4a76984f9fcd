//! What holds for every subscription whatever its subscriber asks for, whatever its charges come to, and whatever the clock
//! does: the machine alone.

use billing::account::{Account, AccountEvent, AccountStatus, DOUBT, KeptCard};
use billing::bill::BillKind;
use billing::decline::{DeclineGroup, GRACE, RetryTerms};
use billing::period::Period;
use billing::{AccountId, TariffId};
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use proptest::prelude::*;

use crate::support::{hours, noon};

/// What a charge comes to.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Paid,
    Refused(DeclineGroup),
    /// Through our own fault.
    NotCharged,
    /// Nobody knows yet.
    Doubt,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Wait(i64),
    Buy,
    /// The timetable opens what is due and charges it.
    Renew(Fate),
    /// What was in doubt is known.
    Settle(Fate),
    /// The timetable ends what has run out.
    RunOut,
    Cancel,
    Resume,
    ForgetCard,
    Close(bool),
}

fn fate() -> impl Strategy<Value = Fate> {
    use DeclineGroup as G;
    let groups = [G::Hard, G::Soft, G::Technical, G::Conditional, G::CustomerAction, G::Configuration];
    prop_oneof![
        3 => Just(Fate::Paid),
        3 => proptest::sample::select(groups.to_vec()).prop_map(Fate::Refused),
        1 => Just(Fate::NotCharged),
        2 => Just(Fate::Doubt),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..24_i64 * 20).prop_map(Step::Wait),
        3 => (1..20_i64).prop_map(Step::Wait),
        2 => Just(Step::Buy),
        6 => fate().prop_map(Step::Renew),
        2 => fate().prop_map(Step::Settle),
        3 => Just(Step::RunOut),
        2 => Just(Step::Cancel),
        2 => Just(Step::Resume),
        1 => Just(Step::ForgetCard),
        1 => any::<bool>().prop_map(Step::Close),
    ]
}

/// A subscription, and what its subscriber is owed by what they asked for.
struct Life {
    account: Account,
    period: Period,
    now: DateTime<Utc>,
    /// The period of a charge in doubt.
    doubt: Option<i32>,
    cancelled: bool,
    /// Whether the person has waived what is paid.
    waived: bool,
    /// Time with access that is not paid, since the last payment.
    given: TimeDelta,
}

fn tariff() -> TariffId {
    uuid::Uuid::from_u128(1).into()
}

impl Life {
    fn new(period: Period) -> Self {
        Self {
            account: Account::registered(AccountId::new(), Tz::Europe__Moscow),
            period,
            now: noon(),
            doubt: None,
            cancelled: false,
            waived: false,
            given: TimeDelta::zero(),
        }
    }

    fn apply(&mut self, event: AccountEvent) {
        self.account = self.account.clone().apply(event, self.now).unwrap_or_else(|error| panic!("{event:?}: {error}"));
    }

    fn paid(&mut self, kind: BillKind, period_no: i32, card: KeptCard) {
        let before = self.account.period_no;
        self.apply(AccountEvent::Paid { kind, tariff_id: tariff(), period: self.period, period_no, card });
        assert!(self.account.period_no > before, "a period is paid once");
        self.cancelled &= kind == BillKind::Renewal;
        (self.given, self.waived) = (TimeDelta::zero(), false);
    }

    fn buy(&mut self) {
        let account = &self.account;
        if account.closed_at.is_some() || account.is_paid_up(self.now) || self.doubt.is_some() {
            return;
        }
        if account.continues(tariff()) {
            let next = account.next_period(self.period, self.now).unwrap();
            self.paid(BillKind::Renewal, next.no, KeptCard::New);
        } else {
            self.paid(BillKind::Primary, account.period_no + 1, KeptCard::New);
        }
    }

    fn renew(&mut self, fate: Fate) {
        if self.doubt.is_some() || self.account.next_charge_at.is_none_or(|at| at > self.now) {
            return;
        }
        if !self.account.can_be_charged() {
            return self.apply(AccountEvent::NoCard);
        }
        assert!(!self.cancelled && self.account.closed_at.is_none(), "charged against their will");
        let next = self.account.next_period(self.period, self.now).unwrap();
        self.apply(AccountEvent::RenewalOpened);
        self.doubt = Some(next.no);
        self.settle(fate);
    }

    fn settle(&mut self, fate: Fate) {
        let Some(period_no) = self.doubt else { return };
        match fate {
            Fate::Doubt => return,
            // Nobody owes it: it goes back.
            Fate::Paid if self.account.closed_at.is_some() => {}
            Fate::Paid => self.paid(BillKind::Renewal, period_no, KeptCard::Same),
            Fate::Refused(group) => {
                let terms = RetryTerms::seeded(group);
                self.apply(AccountEvent::RenewalRefused { period_no, terms, retry_after: None });
            }
            Fate::NotCharged => self.apply(AccountEvent::RenewalNotCharged { period_no }),
        }
        self.doubt = None;
    }

    /// As the store chooses whom to end: not while a charge is in doubt.
    fn run_out(&mut self) {
        let account = &self.account;
        let is_over = account.is_running() && account.access_until.is_some_and(|end| end <= self.now);
        let waits = account.next_charge_at.is_some_and(|at| at <= self.now);
        let doubted = account.status == AccountStatus::Active && !account.cancel_at_period_end && !waits;
        let ends = (account.status == AccountStatus::Overdue || account.cancel_at_period_end) && self.doubt.is_none();
        if is_over && (doubted || ends) {
            self.apply(AccountEvent::AccessRanOut);
        }
    }

    fn resume(&mut self) {
        let account = &self.account;
        let may = account.is_running() && account.cancel_at_period_end && account.closed_at.is_none();
        if may && account.paid_until.is_some_and(|end| end > self.now) && account.can_be_charged() {
            self.apply(AccountEvent::Resumed);
            self.cancelled = false;
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Wait(n) => self.wait(hours(n)),
            Step::Buy => self.buy(),
            Step::Renew(fate) => self.renew(fate),
            Step::Settle(fate) => self.settle(fate),
            Step::RunOut => self.run_out(),
            Step::Cancel if self.account.is_running() => {
                self.apply(AccountEvent::CancelRequested);
                self.cancelled = true;
            }
            Step::Cancel => {}
            Step::Resume => self.resume(),
            Step::ForgetCard => {
                self.apply(AccountEvent::CardForgotten);
                assert!(!self.account.has_token);
            }
            Step::Close(access_ends_at_once) => {
                self.waived |= access_ends_at_once;
                self.apply(AccountEvent::Closed { access_ends_at_once });
            }
        }
        self.check();
    }

    fn wait(&mut self, time: TimeDelta) {
        let until = self.now + time;
        if let (Some(paid), Some(access)) = (self.account.paid_until, self.account.access_until)
            && self.account.is_running()
        {
            self.given += (access.min(until) - paid.max(self.now)).max(TimeDelta::zero());
        }
        self.now = until;
    }

    fn check(&self) {
        let account = &self.account;
        let is_paid = account.paid_until.is_some_and(|end| end > self.now);
        assert!(!is_paid || self.waived || account.access(self.now).has_access, "what is paid is given: {account:?}");
        // A doubt about the period behind the paid one, one about that which is charged after an outage, and grace.
        assert!(self.given <= DOUBT * 2 + GRACE, "{} of access are not paid: {account:?}", self.given);
        if self.cancelled || account.closed_at.is_some() {
            assert!(account.cancel_at_period_end || !account.is_running(), "the wish is lost: {account:?}");
            assert_eq!(account.next_charge_at, None, "{account:?}");
        }
        if account.closed_at.is_some() {
            assert!(!account.has_token && !account.renews(), "{account:?}");
            let is_more = account.is_running() && account.access_until > account.paid_until;
            assert!(!is_more, "a closed account is given what is paid, no more: {account:?}");
        }
        if account.is_running() && !account.cancel_at_period_end {
            let back = account.clone().apply(AccountEvent::CancelRequested, self.now).unwrap();
            let back = back.apply(AccountEvent::Resumed, self.now).unwrap();
            assert!(!is_paid || back.access_until <= account.access_until, "it grows by going and coming: {account:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn whatever_a_subscriber_asks_for_is_kept_and_gives_no_access_that_is_not_paid(
        days in proptest::sample::select(vec![1_u32, 7, 30]),
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut life = Life::new(Period::days(days).unwrap());
        life.take(Step::Buy);
        for step in steps {
            life.take(step);
        }
    }
}
