//! The series of one figure, looked up without building their labels anew each time.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

/// Names come from outside too. What is beyond this shares one series, or the watcher's memory would have no bound.
const MOST: usize = 1_000;
/// How that series is called.
const OTHERS: &str = "(others)";

/// By the second name.
type Inner<T> = HashMap<Box<str>, Arc<T>>;

/// Series by two names, `("", name)` for one.
pub(super) struct Series<T> {
    made: RwLock<HashMap<Box<str>, Inner<T>>>,
    make: fn(&str, &str) -> T,
}

impl<T> Series<T> {
    pub(super) fn new(make: fn(&str, &str) -> T) -> Self {
        Self { made: RwLock::default(), make }
    }

    pub(super) fn get(&self, first: &str, second: &str) -> Arc<T> {
        if let Some(found) = self.made.read().get(first).and_then(|inner| inner.get(second)) {
            return Arc::clone(found);
        }
        let mut made = self.made.write();
        let is_full = made.values().map(HashMap::len).sum::<usize>() >= MOST;
        let is_known = made.get(first).is_some_and(|inner| inner.contains_key(second));
        let (first, second) = if is_full && !is_known { (OTHERS, OTHERS) } else { (first, second) };
        let inner = made.entry(first.into()).or_default();
        Arc::clone(inner.entry(second.into()).or_insert_with(|| Arc::new((self.make)(first, second))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_limit_share_one_series() {
        let series = Series::new(|first, second| format!("{first}/{second}"));
        for n in 0..MOST {
            assert_eq!(*series.get("queue", &n.to_string()), format!("queue/{n}"));
        }
        for n in 0..10 {
            assert_eq!(*series.get("late", &n.to_string()), "(others)/(others)");
        }
        assert_eq!(*series.get("queue", "7"), "queue/7", "who came in time keeps his own");
    }
}
