//! How long the gateway may take, and when it is asked about what is in doubt. Workers act by these times, and the API
//! tells people of them: so both are told the same.

use std::time::Duration;

use chrono::TimeDelta;
use clap::Args;

use crate::duration;
use crate::resolve::{ContradictoryPolicy, ResolvePolicy};

/// The same for all roles. The defaults of RESOLVE_… follow from what the gateway documents: it answers for up to five
/// minutes and remembers a request id for one hour.
#[derive(Debug, Clone, Args)]
#[group(id = "times")]
pub struct TimesConfig {
    /// How long to wait for the gateway's response; after that the outcome is unknown and is asked for. Workers act by this
    /// and by RESOLVE_…, and the API tells people when: set them for both
    #[arg(long, env = "GATEWAY_TIMEOUT", default_value = "60s", value_parser = duration::parse, value_name = "DURATION")]
    pub gateway_timeout: Duration,

    /// The first look at a payment in doubt
    #[arg(
        long,
        env = "RESOLVE_FIRST_LOOK",
        default_value = "15s",
        value_parser = duration::parse,
        value_name = "DURATION"
    )]
    pub resolve_first_look: Duration,

    /// Until then nothing is repeated: the gateway may still be at work
    #[arg(
        long,
        env = "RESOLVE_LOOK_ONLY",
        default_value = "6m",
        value_parser = duration::parse,
        value_name = "DURATION"
    )]
    pub resolve_look_only: Duration,

    /// From then on nothing is repeated: the gateway may have forgotten the request id
    #[arg(
        long,
        env = "RESOLVE_RESEND_UNTIL",
        default_value = "50m",
        value_parser = duration::parse,
        value_name = "DURATION"
    )]
    pub resolve_resend_until: Duration,

    /// Not found this long after the last try is evidence that it never was
    #[arg(
        long,
        env = "RESOLVE_NOT_EXECUTED_AFTER",
        default_value = "60m",
        value_parser = duration::parse,
        value_name = "DURATION"
    )]
    pub resolve_not_executed_after: Duration,

    /// How far apart two such pieces of evidence must be
    #[arg(
        long,
        env = "RESOLVE_NOT_FOUND_GAP",
        default_value = "10m",
        value_parser = duration::parse,
        value_name = "DURATION"
    )]
    pub resolve_not_found_gap: Duration,
}

/// The checked times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    pub gateway_timeout: Duration,
    /// A request without a response written down for so long has lost its sender; then the gateway is asked.
    pub answer_within: TimeDelta,
    pub resolve: ResolvePolicy,
}

/// The times cannot be worked with. Names the variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrongTimes {
    #[error("must not be zero")]
    Zero,
    #[error("with RESOLVE_RESEND_UNTIL it must stay within the hour for which the gateway knows a request again")]
    ForgottenRequest,
    #[error(transparent)]
    Contradictory(#[from] ContradictoryPolicy),
}

impl WrongTimes {
    /// The settings in question.
    #[must_use]
    pub const fn variable(self) -> &'static str {
        match self {
            Self::Zero | Self::ForgottenRequest => "GATEWAY_TIMEOUT",
            Self::Contradictory(_) => {
                "RESOLVE_FIRST_LOOK, RESOLVE_LOOK_ONLY, RESOLVE_RESEND_UNTIL, RESOLVE_NOT_EXECUTED_AFTER, \
                 RESOLVE_NOT_FOUND_GAP"
            }
        }
    }
}

/// How long the gateway knows a request id. A request under one that it has forgotten is a new charge.
const REQUEST_ID_LIVES: TimeDelta = TimeDelta::hours(1);

/// The gateway's client may wait for a free slot as long as for the response; then the outcome is written down.
const WRITE_DOWN_WITHIN: TimeDelta = TimeDelta::seconds(15);

impl TimesConfig {
    /// # Errors
    /// [`WrongTimes`].
    pub fn times(&self) -> Result<Times, WrongTimes> {
        let resolve = ResolvePolicy {
            first_look: delta(self.resolve_first_look),
            look_only: delta(self.resolve_look_only),
            resend_until: delta(self.resolve_resend_until),
            not_executed_after: delta(self.resolve_not_executed_after),
            not_found_gap: delta(self.resolve_not_found_gap),
        }
        .checked()?;
        let timeout = delta(self.gateway_timeout);
        if timeout.is_zero() {
            return Err(WrongTimes::Zero);
        }
        // A request that may just be repeated can wait for a free slot as long as for its response.
        if resolve.resend_until + timeout >= REQUEST_ID_LIVES {
            return Err(WrongTimes::ForgottenRequest);
        }
        let answer_within = timeout * 2 + WRITE_DOWN_WITHIN;
        Ok(Times { gateway_timeout: self.gateway_timeout, answer_within, resolve })
    }
}

/// Settings are at most a century.
fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}
