//! What must always hold (ARCHITECTURE.md), as far as it can be read off the manifests and the sources.

mod dependencies;
mod reader;
mod sources;
