//! The domain of subscription billing: state machines, models, queries and the task contract.
