//! The API as its clients see it: over the wire, on real servers.
