//! The timetable and its workers on a clock of the test's own: what is due is opened, what is open is sent, and what has run
//! out is closed.

use billing::payment::Outcome;
use billing::store::payments::{Begin, Effect, PaymentView};
use billing::store::renewals;
use billing::{AccountId, PaymentId};
use chrono::{DateTime, TimeDelta, Utc};

use crate::shop::Shop;
use crate::support::hours;

/// What the gateway says to a charge; `None`: it is not sent at all, and stays as it is.
pub(crate) type Answer = Option<Outcome>;

pub(crate) struct Timetable<'a> {
    pub(crate) shop: &'a Shop,
    /// When which account was charged without its customer.
    pub(crate) charges: Vec<(AccountId, DateTime<Utc>)>,
    pub(crate) effects: Vec<Effect>,
}

impl<'a> Timetable<'a> {
    pub(crate) fn of(shop: &'a Shop) -> Self {
        Self { shop, charges: Vec::new(), effects: Vec::new() }
    }

    /// All that is done at `now`.
    pub(crate) async fn tick(&mut self, now: DateTime<Utc>, answer: &mut impl FnMut(&PaymentView) -> Answer) {
        self.open(now).await;
        for id in self.waiting().await {
            let payment = self.shop.view(id).await;
            let Some(outcome) = answer(&payment) else {
                // The last look is taken all the same; then the gateway cannot be reached.
                if let Begin::Send(_) = self.shop.begin(id, now).await {
                    let unsent = Outcome::NotSent { why: "connection refused".into(), retry_after: None };
                    self.shop.apply(id, unsent, now).await;
                }
                continue;
            };
            let Begin::Send(order) = self.shop.begin(id, now).await else { continue };
            self.charges.push((order.account_id, now));
            self.effects.extend(self.shop.apply(id, outcome, now).await.effects);
        }
        self.shop.close(now).await;
    }

    /// Ticks every `every` from `from` until `until`.
    pub(crate) async fn run(
        &mut self,
        from: DateTime<Utc>,
        until: DateTime<Utc>,
        every: TimeDelta,
        mut answer: impl FnMut(&PaymentView) -> Answer,
    ) {
        let mut now = from;
        while now <= until {
            self.tick(now, &mut answer).await;
            now += every;
        }
    }

    /// As the task does it: until a chunk is not full.
    async fn open(&self, now: DateTime<Utc>) {
        for chunk in 0.. {
            assert!(chunk < 20, "what was opened or put off must not be due at once again");
            let mut conn = self.shop.conn().await;
            if renewals::open_due(&mut conn, now, 10).await.unwrap().accounts < 10 {
                return;
            }
        }
    }

    async fn waiting(&self) -> Vec<PaymentId> {
        let ids = "select string_agg(id::text, ' ' order by id) from payment where state = 'created'
                   and instrument = 'token'";
        let ids = self.shop.text(ids).await.unwrap_or_default();
        ids.split_whitespace().map(|id| id.parse().unwrap()).collect()
    }

    pub(crate) fn charges_of(&self, account: AccountId) -> Vec<DateTime<Utc>> {
        self.charges.iter().filter(|(id, _)| *id == account).map(|(_, at)| *at).collect()
    }

    /// Fails if a card was charged more than twice within 24 hours.
    pub(crate) fn assert_cards_are_left_alone(&self) {
        let mut accounts: Vec<AccountId> = self.charges.iter().map(|(id, _)| *id).collect();
        accounts.sort_unstable();
        accounts.dedup();
        for account in accounts {
            let charges = self.charges_of(account);
            for three in charges.windows(3) {
                assert!(three[2] - three[0] > hours(24), "{account} was charged three times in a day: {charges:?}");
            }
        }
    }
}
