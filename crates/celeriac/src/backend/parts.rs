//! Cuts what is to be stored into calls of a bounded size.

use super::StoredResult;

/// Limits of one call: a longer one would keep other clients of the server waiting.
const MAX_RESULTS_PER_CALL: usize = 256;
const MAX_BYTES_PER_CALL: usize = 1 << 20;

/// A result that is larger than the bound alone is a call of its own.
pub(super) fn parts(mut rest: &[StoredResult]) -> impl Iterator<Item = &[StoredResult]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fitting = rest
            .iter()
            .take(MAX_RESULTS_PER_CALL)
            .take_while(|result| {
                bytes += result.meta.len();
                bytes <= MAX_BYTES_PER_CALL
            })
            .count();
        let (part, remaining) = rest.split_at_checked(fitting.max(1))?;
        rest = remaining;
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(lengths: &[usize]) -> Vec<usize> {
        let results: Vec<_> = lengths
            .iter()
            .map(|length| StoredResult { task_id: String::new(), meta: "x".repeat(*length), is_final: true })
            .collect();
        parts(&results).map(<[_]>::len).collect()
    }

    #[test]
    fn calls_are_bounded_in_number_and_bytes_and_nothing_is_left_out() {
        assert!(sizes(&[]).is_empty());
        assert_eq!(sizes(&[1; 3]), [3]);
        assert_eq!(sizes(&[1; 600]), [256, 256, 88]);
        assert_eq!(sizes(&[MAX_BYTES_PER_CALL / 2; 5]), [2, 2, 1]);
        assert_eq!(sizes(&[1, MAX_BYTES_PER_CALL * 2, 1]), [1, 1, 1]);
    }
}
