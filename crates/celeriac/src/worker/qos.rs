//! How many messages a consumer may hold: as many as it can run soon, and those that wait for their ETA.

/// RabbitMQ's limit; Celery asks for no limit at all above it.
const MAX: usize = 65_535;
/// Prefetch is raised for waiting messages in steps, because each change costs a round trip.
const STEP: usize = 8;

/// The prefetch count of one consumer.
#[derive(Debug)]
pub(crate) struct Qos {
    /// Multiplier × concurrency; 0 is without a limit.
    base: usize,
    /// How many waiting messages the broker was told of.
    room: usize,
    current: u16,
}

impl Qos {
    pub(crate) fn new(base: usize) -> Self {
        let mut qos = Self { base, room: 0, current: 0 };
        qos.current = qos.count();
        qos
    }

    /// What the broker was told.
    pub(crate) fn current(&self) -> u16 {
        self.current
    }

    /// What to tell the broker when so many messages wait for their ETA; `None`: nothing new. `base` changes with the
    /// size of the pool.
    pub(crate) fn adjust(&mut self, base: usize, waiting: usize) -> Option<u16> {
        self.base = base;
        if waiting > self.room || waiting < self.room / 4 || waiting == 0 {
            self.room = if waiting == 0 { 0 } else { waiting.next_power_of_two().max(STEP) };
        }
        let count = self.count();
        let changed = count != self.current;
        self.current = count;
        changed.then_some(count)
    }

    fn count(&self) -> u16 {
        match self.base + self.room {
            _ if self.base == 0 => 0,
            count if count > MAX => 0,
            count => u16::try_from(count).unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_messages_never_take_the_place_of_those_that_can_run() {
        let mut qos = Qos::new(16);
        assert_eq!(qos.current(), 16);
        for waiting in 0..5000 {
            qos.adjust(16, waiting);
            assert!(usize::from(qos.current()) >= 16 + waiting);
        }
    }

    #[test]
    fn the_broker_is_told_rarely_and_the_room_is_given_back() {
        let mut qos = Qos::new(16);
        let raised: Vec<_> = (1..=100).filter_map(|waiting| qos.adjust(16, waiting)).collect();
        assert_eq!(raised, [24, 32, 48, 80, 144]);
        let lowered: Vec<_> = (0..100).rev().filter_map(|waiting| qos.adjust(16, waiting)).collect();
        assert_eq!(lowered, [48, 24, 16]);
    }

    #[test]
    fn the_broker_is_told_when_the_pool_has_another_size() {
        let mut qos = Qos::new(16);
        assert_eq!(qos.adjust(20, 0), Some(20));
        assert_eq!(qos.adjust(20, 0), None);
        assert_eq!(qos.adjust(12, 3), None);
    }

    #[test]
    fn there_is_no_limit_where_none_was_set_or_the_count_would_not_fit() {
        assert_eq!(Qos::new(0).current(), 0);
        assert_eq!(Qos::new(0).adjust(0, 10), None);
        assert_eq!(Qos::new(70_000).current(), 0);
        let mut qos = Qos::new(60_000);
        assert_eq!(qos.adjust(60_000, 10_000), Some(0));
        assert_eq!(qos.adjust(60_000, 0), Some(60_000));
    }
}
