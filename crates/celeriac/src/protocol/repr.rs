//! Values as operators see them: Celery's `saferepr` (`celery/utils/saferepr.py`) and Python's `repr`.

mod hidden;
mod python;
mod safe;

pub use hidden::{REDACTED, hides, reveals, visible};
pub use python::{call, float, quoted, value as python_value};
pub use safe::{args, kwargs, redacted, redacted_args, value};
