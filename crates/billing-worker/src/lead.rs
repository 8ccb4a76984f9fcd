//! Whether renewals can be charged as early as `RENEWAL_LEAD` wants: never before half of the paid period is over.

use billing::models::Tariff;
use billing::store::tariffs;
use chrono::TimeDelta;

use crate::config::ConfigError;
use crate::desk::Desk;

/// # Errors
/// [`ConfigError::LeadTooLong`] for a lead that is longer than half of `longest`, which is called `name`.
pub(crate) fn fits(lead: TimeDelta, longest: TimeDelta, name: impl FnOnce() -> String) -> Result<(), ConfigError> {
    let most = longest / 2;
    if lead <= most { Ok(()) } else { Err(ConfigError::LeadTooLong { longest: name(), hours: most.num_hours() }) }
}

/// Holds the lead against the tariffs: one that fits none of them is refused.
///
/// # Errors
/// [`ConfigError::LeadTooLong`].
pub(crate) fn fits_one_of(lead: TimeDelta, tariffs: &[Tariff]) -> Result<(), ConfigError> {
    let longest = tariffs.iter().max_by_key(|tariff| tariff.period.at_most());
    longest.map_or(Ok(()), |longest| {
        fits(lead, longest.period.at_most(), || {
            format!("the longest tariff, \u{ab}{}\u{bb} of {}", longest.name, longest.period)
        })
    })
}

/// Likewise, and says for which tariffs it is cut. A database that does not answer now will be asked by every task: that
/// keeps no worker from starting.
pub(crate) async fn check(desk: &Desk) -> Result<(), ConfigError> {
    let known = match desk.services.db.conn().await {
        Ok(mut conn) => tariffs::all(&mut conn).await,
        Err(error) => Err(error),
    };
    let known = known.unwrap_or_else(|error| {
        tracing::warn!(%error, "the tariffs cannot be read: whether RENEWAL_LEAD fits them is not known");
        Vec::new()
    });
    fits_one_of(desk.renewal_lead, &known)?;
    for tariff in known.iter().filter(|tariff| desk.renewal_lead > tariff.period.at_most() / 2) {
        let (name, period) = (&tariff.name, tariff.period);
        tracing::warn!(name, %period, "RENEWAL_LEAD is longer than half of this tariff: it is renewed when half is over");
    }
    Ok(())
}
