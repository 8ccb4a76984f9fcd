//! Who may have how many requests to the gateway at once, of those that all workers have together.

use billing::payment::identity::Terminal;

use crate::Config;

/// What the gateway takes at once on a live and on a test terminal; more is answered with 429.
const LIVE: usize = 30;
const TEST: usize = 5;

/// Of the requests at once (`GATEWAY_MAX_IN_FLIGHT`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shares {
    pub(crate) renewals: usize,
    pub(crate) lookups: usize,
    /// Both together. What is left is for payments alone.
    pub(crate) beside_payments: usize,
}

impl Config {
    /// The queues to take tasks from.
    pub(crate) fn queues(&self) -> impl Iterator<Item = &str> {
        let taken = self.worker_queues.iter().filter(|queue| !self.worker_exclude_queues.contains(queue));
        taken.map(String::as_str)
    }

    /// Requests to the gateway at once, from all workers together: what it takes, unless the settings say otherwise.
    pub(crate) fn max_in_flight(&self) -> usize {
        let taken = match self.terminal() {
            Terminal::Live => LIVE,
            Terminal::Test => TEST,
        };
        self.gateway_max_in_flight.unwrap_or(taken)
    }

    pub(crate) fn shares(&self) -> Shares {
        let all = self.max_in_flight();
        let renewals = self.worker_renewals_concurrency.unwrap_or(all / 2).max(1);
        let lookups = self.worker_lookups_concurrency.unwrap_or(all / 6).max(1);
        // Whoever takes no payments leaves places to the workers that do.
        let others = all.saturating_sub(1).max(1);
        Shares { renewals, lookups, beside_payments: (renewals + lookups).min(others) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ConfigError;

    fn shares(options: &str) -> [usize; 3] {
        let Shares { renewals, lookups, beside_payments } = Config::of(options).shares();
        [renewals, lookups, beside_payments]
    }

    #[test]
    fn of_two_requests_at_once_or_more_one_at_least_is_for_payments_alone() {
        assert_eq!(shares("--cloudpayments-terminal live"), [15, 5, 20]);
        assert_eq!(shares(""), [2, 1, 3], "a gateway at plain http is that of a test terminal");
        assert_eq!(shares("--gateway-max-in-flight 5"), [2, 1, 3]);
        assert_eq!(shares("--gateway-max-in-flight 2"), [1, 1, 1]);
        assert_eq!(shares("--gateway-max-in-flight 1"), [1, 1, 1]);
        assert_eq!(shares("--worker-renewals-concurrency 3 --worker-lookups-concurrency 2"), [3, 2, 4]);
    }

    #[test]
    fn a_worker_that_takes_no_payments_keeps_places_for_those_of_others() {
        assert_eq!(shares("-Q renewals,lookups --gateway-max-in-flight 2"), [1, 1, 1]);
    }

    #[test]
    fn shares_that_leave_nothing_for_payments_are_refused() {
        let greedy = Config::of("--gateway-max-in-flight 30 --worker-renewals-concurrency 25").check();
        assert!(matches!(greedy, Err(ConfigError::NothingForPayments { max_in_flight: 30 })), "{greedy:?}");
        assert!(Config::of("--gateway-max-in-flight 30 --worker-renewals-concurrency 24").check().is_ok());
    }
}
