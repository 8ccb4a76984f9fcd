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
    /// The tariff on trial, which is shorter than its periods.
    Try,
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
    /// Another tariff, or the present one again, from the next period on.
    Choose(u128),
    /// The other tariff at once.
    ChangeAtOnce(Fate),
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
        1 => Just(Step::Try),
        6 => fate().prop_map(Step::Renew),
        2 => fate().prop_map(Step::Settle),
        3 => Just(Step::RunOut),
        2 => Just(Step::Cancel),
        2 => Just(Step::Resume),
        1 => Just(Step::ForgetCard),
        1 => any::<bool>().prop_map(Step::Close),
        2 => (0..3_u128).prop_map(Step::Choose),
        2 => fate().prop_map(Step::ChangeAtOnce),
    ]
}

/// A subscription, and what its subscriber is owed by what they asked for.
struct Life {
    account: Account,
    period: Period,
    now: DateTime<Utc>,
    /// What a charge in doubt is for: its kind, period and tariff.
    doubt: Option<(BillKind, i32, TariffId)>,
    /// The tariff that is to follow.
    choice: Option<TariffId>,
    cancelled: bool,
    /// The period that was the trial.
    trial: Option<i32>,
    /// Whether the person has waived what is paid.
    waived: bool,
    /// Time with access that is not paid, since the last payment.
    given: TimeDelta,
}

fn tariff(n: u128) -> TariffId {
    uuid::Uuid::from_u128(n).into()
}

impl Life {
    fn new(period: Period) -> Self {
        Self {
            account: Account::registered(AccountId::new(), Tz::Europe__Moscow),
            period,
            now: noon(),
            doubt: None,
            choice: None,
            cancelled: false,
            trial: None,
            waived: false,
            given: TimeDelta::zero(),
        }
    }

    fn apply(&mut self, event: AccountEvent) {
        self.account = self.account.clone().apply(event, self.now).unwrap_or_else(|error| panic!("{event:?}: {error}"));
    }

    fn paid(&mut self, kind: BillKind, tariff_id: TariffId, period_no: i32, card: KeptCard) {
        let before = self.account.period_no;
        self.apply(AccountEvent::Paid { kind, tariff_id, period: self.period, period_no, card });
        assert!(self.account.period_no > before, "a period is paid once");
        assert_eq!(self.account.tariff_id, Some(tariff_id), "who pays for a tariff has it");
        if kind == BillKind::Change {
            // What was paid for the period that is left behind was credited.
            assert_eq!(self.account.term.expect("it is paid").anchor_at, self.now, "a new term begins");
        }
        self.cancelled &= kind != BillKind::Primary;
        // A renewal that was under way when another tariff was chosen is not the choice.
        self.choice = self.choice.filter(|choice| kind == BillKind::Renewal && *choice != tariff_id);
        (self.given, self.waived) = (TimeDelta::zero(), false);
    }

    fn buy(&mut self) {
        let account = &self.account;
        if account.closed_at.is_some() || account.is_paid_up(self.now) || self.doubt.is_some() {
            return;
        }
        if account.continues(tariff(0)) {
            let next = account.next_period(self.period, self.now).unwrap();
            self.paid(BillKind::Renewal, tariff(0), next.no, KeptCard::New);
        } else {
            self.paid(BillKind::Primary, tariff(0), account.period_no + 1, KeptCard::New);
        }
    }

    /// As the store allows it: once, and not while a subscription runs.
    fn try_out(&mut self) {
        let account = &self.account;
        if account.closed_at.is_some() || account.is_running() || self.doubt.is_some() || self.trial.is_some() {
            return;
        }
        let (tariff_id, period_no) = (tariff(0), account.period_no + 1);
        let period = Period::days(3).expect("three days are a period");
        self.apply(AccountEvent::TrialBegun { tariff_id, period, period_no, card: KeptCard::New });
        assert!(self.account.is_on_trial() && self.account.has_token, "{:?}", self.account);
        assert_eq!(self.account.paid_until, Some(self.now + TimeDelta::days(3)), "no longer than it was promised");
        (self.trial, self.choice, self.cancelled) = (Some(period_no), None, false);
        (self.given, self.waived) = (TimeDelta::zero(), false);
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
        let tariff_id = self.account.next_tariff_id().expect("it runs");
        self.apply(AccountEvent::RenewalOpened);
        self.doubt = Some((BillKind::Renewal, next.no, tariff_id));
        self.settle(fate);
    }

    fn settle(&mut self, fate: Fate) {
        let Some((kind, period_no, tariff_id)) = self.doubt else { return };
        match fate {
            Fate::Doubt => return,
            // It was never a renewal: the store tells the machine nothing.
            Fate::Refused(_) | Fate::NotCharged if kind == BillKind::Change => {}
            // Its subscription ended meanwhile: it goes back.
            Fate::Paid if kind == BillKind::Change && !self.account.is_running() => {}
            // Nobody owes it: it goes back.
            Fate::Paid if self.account.closed_at.is_some() => {}
            Fate::Paid => self.paid(kind, tariff_id, period_no, KeptCard::Same),
            Fate::Refused(group) => {
                let terms = RetryTerms::seeded(group);
                self.apply(AccountEvent::RenewalRefused { period_no, terms, retry_after: None });
            }
            Fate::NotCharged => self.apply(AccountEvent::RenewalNotCharged { period_no }),
        }
        self.doubt = None;
    }

    fn choose(&mut self, tariff_id: TariffId) {
        let changes = matches!(self.doubt, Some((BillKind::Change, ..)));
        if !self.account.is_running() || self.account.cancel_at_period_end || changes {
            return;
        }
        let before = self.account.clone();
        self.apply(AccountEvent::TariffChosen(tariff_id));
        self.choice = Some(tariff_id).filter(|_| self.account.tariff_id != Some(tariff_id));
        let after = Account { pending_tariff_id: before.pending_tariff_id, ..self.account.clone() };
        assert_eq!(after, before, "nothing else changes by a choice");
    }

    /// As the store allows it: of what runs, is paid up, and can be charged.
    fn change_at_once(&mut self, fate: Fate) {
        let account = &self.account;
        let other = if account.tariff_id == Some(tariff(1)) { tariff(2) } else { tariff(1) };
        let is_paid = account.status == AccountStatus::Active && account.paid_until.is_some_and(|end| end > self.now);
        if !is_paid || account.cancel_at_period_end || !account.can_be_charged() || self.doubt.is_some() {
            return;
        }
        self.doubt = Some((BillKind::Change, account.period_no + 1, other));
        let before = account.clone();
        self.settle(fate);
        assert!(matches!(fate, Fate::Paid) || self.account == before, "it costs nothing until it is paid");
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
            Step::Try => self.try_out(),
            Step::Renew(fate) => self.renew(fate),
            Step::Settle(fate) => self.settle(fate),
            Step::RunOut => self.run_out(),
            Step::Cancel if self.account.is_running() => {
                self.apply(AccountEvent::CancelRequested);
                self.cancelled = true;
            }
            Step::Cancel => {}
            Step::Choose(n) => self.choose(tariff(n)),
            Step::ChangeAtOnce(fate) => self.change_at_once(fate),
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

    fn check(&mut self) {
        if !self.account.is_running() || self.account.closed_at.is_some() {
            self.choice = None;
        }
        let account = &self.account;
        assert_eq!(account.trial_period_no, self.trial, "a trial is never had again: {account:?}");
        let is_first = self.trial == Some(account.period_no) && account.is_running();
        assert_eq!(account.is_on_trial(), is_first, "until the first full price is paid: {account:?}");
        assert_eq!(account.pending_tariff_id, self.choice, "no choice is lost: {account:?}");
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
        first in prop_oneof![Just(Step::Buy), Just(Step::Try)],
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut life = Life::new(Period::days(days).unwrap());
        life.take(first);
        for step in steps {
            life.take(step);
        }
    }
}
