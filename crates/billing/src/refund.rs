//! Money on its way back to a customer, as a state machine. Pure: no I/O, no clock, no `async`.
//!
//! The rules are those of a charge ([`payment`](crate::payment)): what went back is never forgotten, and doubt ends by the
//! gateway's word alone – for a refund that is sent anew while the first may have arrived could give the money back twice.

use chrono::{DateTime, TimeDelta, Utc};

use crate::macros::text_enum;
use crate::resolve::{ResolvePolicy, Sent, Step};
use crate::{Kopecks, RefundId};

text_enum! {
    /// Where a refund stands. The texts are the values of `refund.state`.
    pub enum RefundState {
        /// Written down; nothing is at the gateway. It waits to be sent, or for a second person.
        Requested = "requested",
        /// The request is on its way, or its sender died on the way.
        Sending = "sending",
        /// Sent, no answer: the gateway is asked until it is known what became of it.
        Unknown = "unknown",
        /// The money is back.
        Succeeded = "succeeded",
        /// Nothing went back.
        Failed = "failed",
    }
}

impl RefundState {
    /// While a refund is unfinished its payment takes no other.
    #[must_use]
    pub const fn is_unfinished(self) -> bool {
        matches!(self, Self::Requested | Self::Sending | Self::Unknown)
    }
}

text_enum! {
    /// Who wanted it.
    pub enum RefundSource {
        /// A person of the staff, here.
        Ours = "ours",
        /// Nobody owed the money: it goes back by itself.
        Automatic = "automatic",
        /// Somebody in the gateway's cabinet; known from a notification, a look or the reconciliation.
        External = "external",
    }
}

text_enum! {
    /// How the money goes back.
    pub enum RefundWay {
        /// It was taken: `payments/refund`.
        Refund = "refund",
        /// It was only held: `payments/void`.
        Void = "void",
    }
}

text_enum! {
    /// What becomes of the access that the payment bought.
    pub enum AccessEffect {
        /// It stays.
        Keep = "keep",
        /// The paid time ends earlier by the part of the period that the money is of the price.
        Shorten = "shorten",
        /// It ends at once, and nothing is charged any more.
        End = "end",
    }
}

impl AccessEffect {
    /// What a refund does if nobody has chosen: once all of the money for the present period is back by it (`is_whole`), that
    /// ends; anything else changes nothing.
    #[must_use]
    pub const fn by_default(is_whole: bool, is_of_present_period: bool) -> Self {
        if is_whole && is_of_present_period { Self::End } else { Self::Keep }
    }
}

/// The gateway gives nothing back for transactions older than this.
pub const REFUND_LIFE: TimeDelta = TimeDelta::days(365);

/// The state of a refund and all that its next state depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    pub id: RefundId,
    pub state: RefundState,
    pub amount: Kopecks,
    /// It waits for a second person who has not spoken yet.
    pub waits_for_approval: bool,
    /// The gateway's number of the refund.
    pub gateway_tx_id: Option<i64>,
    /// How many times it was sent, each time with the same request id. What was provably not processed does not count.
    pub sends: i32,
    pub first_sent_at: Option<DateTime<Utc>>,
    pub last_sent_at: Option<DateTime<Utc>>,
    pub look_again_at: Option<DateTime<Utc>>,
    /// When all searches first showed nothing of it.
    pub absent_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    /// The last remark, for operators.
    pub info: Option<String>,
}

/// What became of a request, or of a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefundOutcome {
    /// The money is back. `None`: the gateway says so of the payment, and does not name the refund.
    Done { gateway_tx_id: Option<i64> },
    /// Provably not processed (429, 401, connection refused): may be sent again.
    NotSent { why: String, again_at: DateTime<Utc> },
    /// Not understood; the same request will never do better.
    Rejected { why: String },
    /// Sent, and no answer that tells what became of it.
    Unknown { why: String, look_again_at: DateTime<Utc> },
    /// Looked for and not found; `absent`: by all searches, and late enough to count as evidence.
    NotFound { absent: bool, look_again_at: DateTime<Utc> },
    /// Absent twice, far enough apart: the gateway never executed it.
    NotExecuted,
    /// By the gateway's word it did not happen, and cannot any more: what was to be let go was taken.
    Refuted { why: String },
    /// Taken back before it was sent.
    Withdrawn { why: String },
}

/// The outcome does not fit the refund: a bug of the caller. Nothing changes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a refund that is {state} cannot take {outcome:?}")]
pub struct IllegalRefundStep {
    pub state: RefundState,
    pub outcome: RefundOutcome,
}

impl Refund {
    /// What the rules of resolving need to know. `None`: it was never sent.
    #[must_use]
    pub fn sent(&self) -> Option<Sent> {
        let (first_at, last_at) = self.first_sent_at.zip(self.last_sent_at)?;
        Some(Sent { first_at, last_at, absent_at: self.absent_at })
    }

    /// Whether it may be sent for the first time at `now`.
    #[must_use]
    pub fn may_be_sent(&self, now: DateTime<Utc>) -> bool {
        self.state == RefundState::Requested
            && !self.waits_for_approval
            && self.look_again_at.is_none_or(|at| at <= now)
    }

    /// Whether the identical request may be repeated at `now`.
    #[must_use]
    pub fn may_be_repeated(&self, policy: &ResolvePolicy, now: DateTime<Utc>) -> bool {
        self.state == RefundState::Unknown
            && self.sent().is_some_and(|sent| policy.step(&sent, now) == Step::LookThenResend)
    }

    /// It is on its way, once more. Written down before the request leaves.
    #[must_use]
    pub fn begin_sending(self, now: DateTime<Utc>) -> Self {
        Self {
            state: RefundState::Sending,
            sends: self.sends.saturating_add(1),
            first_sent_at: self.first_sent_at.or(Some(now)),
            last_sent_at: Some(now),
            look_again_at: None,
            ..self
        }
    }

    /// Takes what became of it and returns where it stands now.
    ///
    /// # Errors
    /// [`IllegalRefundStep`] when this cannot happen to a refund in its state.
    pub fn apply(self, outcome: RefundOutcome, now: DateTime<Utc>) -> Result<Self, IllegalRefundStep> {
        use {RefundOutcome as O, RefundState as S};
        Ok(match (self.state, outcome) {
            // Money that went back went back, whatever was believed before.
            (_, O::Done { gateway_tx_id }) => self.done(gateway_tx_id, now),
            (S::Succeeded | S::Failed, _) => self,

            (S::Requested, O::Withdrawn { why } | O::Rejected { why }) => self.failed(&why, now),
            (S::Requested, O::NotSent { why, again_at }) => self.put_off(&why, again_at),
            (S::Requested, outcome) => return Err(IllegalRefundStep { state: S::Requested, outcome }),

            // What a repetition came to says nothing of the request before it.
            (S::Sending, O::NotSent { why, again_at } | O::Unknown { why, look_again_at: again_at })
                if self.sends > 1 =>
            {
                self.in_doubt(&why, again_at)
            }
            (S::Sending, O::Rejected { why }) if self.sends > 1 => self.in_doubt(&why, now + PAUSE),
            (S::Sending, O::NotSent { why, again_at }) => {
                let unsent = Self { state: S::Requested, sends: 0, first_sent_at: None, last_sent_at: None, ..self };
                unsent.put_off(&why, again_at)
            }
            (S::Sending, O::Rejected { why }) => self.failed(&why, now),
            (S::Sending, O::Unknown { why, look_again_at }) => self.in_doubt(&why, look_again_at),
            (S::Sending | S::Unknown, O::Refuted { why }) => self.failed(&why, now),
            (S::Sending, outcome) => return Err(IllegalRefundStep { state: S::Sending, outcome }),

            (S::Unknown, O::Unknown { why, look_again_at }) => self.in_doubt(&why, look_again_at),
            (S::Unknown, O::NotFound { absent, look_again_at }) => {
                let absent_at = if absent { self.absent_at.or(Some(now)) } else { None };
                Self { absent_at, look_again_at: Some(look_again_at), ..self }
            }
            (S::Unknown, O::NotExecuted) if self.absent_at.is_some() => {
                self.failed("the gateway never executed it", now)
            }
            (S::Unknown, outcome) => return Err(IllegalRefundStep { state: S::Unknown, outcome }),
        })
    }

    fn done(self, gateway_tx_id: Option<i64>, now: DateTime<Utc>) -> Self {
        // A number that is known stays: another one is another refund.
        let gateway_tx_id = self.gateway_tx_id.or(gateway_tx_id);
        if self.state == RefundState::Succeeded {
            return Self { gateway_tx_id, ..self };
        }
        let finished_at = Some(now);
        Self { state: RefundState::Succeeded, gateway_tx_id, finished_at, look_again_at: None, info: None, ..self }
    }

    fn failed(self, why: &str, now: DateTime<Utc>) -> Self {
        Self { state: RefundState::Failed, finished_at: Some(now), look_again_at: None, info: Some(clip(why)), ..self }
    }

    fn in_doubt(self, why: &str, look_again_at: DateTime<Utc>) -> Self {
        let info = Some(clip(why));
        Self { state: RefundState::Unknown, look_again_at: Some(look_again_at), info, ..self }
    }

    fn put_off(self, why: &str, again_at: DateTime<Utc>) -> Self {
        Self { look_again_at: Some(again_at), info: Some(clip(why)), ..self }
    }
}

/// Between a repetition that was not understood and the next look.
const PAUSE: TimeDelta = TimeDelta::seconds(15);

/// The texts of a gateway are cut here, and have no NUL, which PostgreSQL cannot keep.
pub(crate) fn clip(text: &str) -> String {
    text.replace('\0', "").chars().take(1_000).collect()
}

/// `refund_id` of the `JsonData` of a refund, which says that it is ours.
#[must_use]
pub fn refund_in(json_data: &str) -> Option<RefundId> {
    let json: serde_json::Value = serde_json::from_str(json_data).ok()?;
    json.get("refund_id")?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn noon() -> DateTime<Utc> {
        "2026-03-10T12:00:00Z".parse().expect("a time")
    }

    fn requested() -> Refund {
        Refund {
            id: RefundId::new(),
            state: RefundState::Requested,
            amount: Kopecks::new(39_900),
            waits_for_approval: false,
            gateway_tx_id: None,
            sends: 0,
            first_sent_at: None,
            last_sent_at: None,
            look_again_at: None,
            absent_at: None,
            finished_at: None,
            info: None,
        }
    }

    #[derive(Debug, Clone)]
    enum Happening {
        Sent,
        Repeated,
        Told(RefundOutcome),
    }

    fn happening() -> impl Strategy<Value = Happening> {
        let later = noon() + TimeDelta::minutes(1);
        let why = || "why".to_owned();
        prop_oneof![
            3 => Just(Happening::Sent),
            2 => Just(Happening::Repeated),
            2 => prop::option::of(1i64..3).prop_map(|id| Happening::Told(RefundOutcome::Done { gateway_tx_id: id })),
            2 => Just(Happening::Told(RefundOutcome::NotSent { why: why(), again_at: later })),
            2 => Just(Happening::Told(RefundOutcome::Rejected { why: why() })),
            3 => Just(Happening::Told(RefundOutcome::Unknown { why: why(), look_again_at: later })),
            2 => any::<bool>().prop_map(move |absent| {
                Happening::Told(RefundOutcome::NotFound { absent, look_again_at: later })
            }),
            1 => Just(Happening::Told(RefundOutcome::NotExecuted)),
            1 => Just(Happening::Told(RefundOutcome::Refuted { why: why() })),
            1 => Just(Happening::Told(RefundOutcome::Withdrawn { why: why() })),
        ]
    }

    /// Every step that was taken, a minute apart.
    fn history(happenings: &[Happening]) -> Vec<(Refund, Happening, Refund)> {
        let (mut refund, mut taken) = (requested(), Vec::new());
        let policy = ResolvePolicy::default();
        for (n, happening) in happenings.iter().enumerate() {
            let now = noon() + TimeDelta::minutes(i64::try_from(n).expect("few"));
            let before = refund.clone();
            let after = match happening {
                Happening::Sent if refund.may_be_sent(now) => Ok(refund.clone().begin_sending(now)),
                Happening::Repeated if refund.may_be_repeated(&policy, now) => Ok(refund.clone().begin_sending(now)),
                Happening::Sent | Happening::Repeated => continue,
                Happening::Told(outcome) => refund.clone().apply(outcome.clone(), now),
            };
            if let Ok(after) = after {
                taken.push((before, happening.clone(), after.clone()));
                refund = after;
            }
        }
        taken
    }

    proptest! {
        #[test]
        fn what_went_back_is_never_forgotten(happenings in prop::collection::vec(happening(), 0..90)) {
            let steps = history(&happenings);
            let went = steps.iter().any(|(_, h, _)| matches!(h, Happening::Told(RefundOutcome::Done { .. })));
            for (before, _, after) in &steps {
                if before.state == RefundState::Succeeded {
                    prop_assert_eq!(after.state, RefundState::Succeeded);
                    prop_assert!(before.gateway_tx_id.is_none() || before.gateway_tx_id == after.gateway_tx_id);
                }
            }
            let last = steps.last().map(|(_, _, after)| after.state);
            prop_assert_eq!(went, last == Some(RefundState::Succeeded));
        }

        /// Once a request may have arrived, only evidence ends the refund, and it is never again one that was not sent.
        #[test]
        fn doubt_ends_by_evidence_alone(happenings in prop::collection::vec(happening(), 0..90)) {
            let mut may_have_arrived = false;
            for (before, happening, after) in history(&happenings) {
                let is_unknown = matches!(happening, Happening::Told(RefundOutcome::Unknown { .. }));
                may_have_arrived |= is_unknown && before.state == RefundState::Sending;
                if may_have_arrived {
                    prop_assert!(after.state != RefundState::Requested);
                    if after.state == RefundState::Failed && before.state != RefundState::Failed {
                        let Happening::Told(outcome) = happening else { panic!("{happening:?}") };
                        let is_evidence = match outcome {
                            RefundOutcome::NotExecuted => before.absent_at.is_some(),
                            outcome => matches!(outcome, RefundOutcome::Refuted { .. }),
                        };
                        prop_assert!(is_evidence);
                    }
                }
            }
        }

        #[test]
        fn the_row_is_always_one_the_database_takes(happenings in prop::collection::vec(happening(), 0..90)) {
            for (_, _, after) in history(&happenings) {
                prop_assert_eq!(after.finished_at.is_none(), after.state.is_unfinished());
                let is_out = matches!(after.state, RefundState::Sending | RefundState::Unknown);
                prop_assert!(!is_out || (after.sends > 0 && after.sent().is_some()));
            }
        }
    }

    #[test]
    fn nothing_is_sent_before_the_second_person_has_spoken() {
        let waiting = Refund { waits_for_approval: true, ..requested() };
        assert!(!waiting.may_be_sent(noon()));
        assert!(requested().may_be_sent(noon()));
    }

    #[test]
    fn it_is_repeated_between_the_sixth_and_the_fiftieth_minute_only() {
        let policy = ResolvePolicy::default();
        let later = |minutes| noon() + TimeDelta::minutes(minutes);
        let doubt = RefundOutcome::Unknown { why: "no answer".into(), look_again_at: later(1) };
        let unknown = requested().begin_sending(noon()).apply(doubt, later(1)).unwrap();
        for (minutes, may) in [(1, false), (5, false), (6, true), (49, true), (50, false), (61, false), (3_000, false)]
        {
            assert_eq!(unknown.may_be_repeated(&policy, later(minutes)), may, "{minutes}");
        }
    }

    #[test]
    fn only_our_own_number_in_the_data_says_that_a_refund_is_ours() {
        let id = RefundId::new();
        assert_eq!(refund_in(&format!(r#"{{"refund_id":"{id}","cloudPayments":{{}}}}"#)), Some(id));
        for data in ["", "{}", r#"{"refund_id":7}"#, r#"{"refund_id":"x"}"#, "order 7"] {
            assert_eq!(refund_in(data), None, "{data}");
        }
    }

    #[test]
    fn all_of_the_money_for_the_present_period_ends_it_unless_something_else_is_chosen() {
        for (whole, present, effect) in [
            (true, true, AccessEffect::End),
            (true, false, AccessEffect::Keep),
            (false, true, AccessEffect::Keep),
            (false, false, AccessEffect::Keep),
        ] {
            assert_eq!(AccessEffect::by_default(whole, present), effect);
        }
    }
}
