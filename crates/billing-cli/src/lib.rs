//! The one binary, billing: every role behind a subcommand.
