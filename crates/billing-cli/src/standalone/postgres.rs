//! A real `PostgreSQL` inside this process, with its files in a directory of ours.

use std::path::Path;

use anyhow::Context as _;
use pglite_oxide::PgliteServer;

/// A running embedded server. It serves one connection at a time, so the pool on it holds one.
pub(super) struct EmbeddedPostgres {
    server: PgliteServer,
}

impl EmbeddedPostgres {
    /// Starts the server on a free port of the loopback interface; the first start lays out the files.
    pub(super) async fn start(directory: &Path) -> anyhow::Result<Self> {
        let directory = directory.to_owned();
        tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(&directory)
                .with_context(|| format!("cannot make {} (BILLING_DATA_DIR)", directory.display()))?;
            let server = PgliteServer::builder().path(&directory).start().with_context(|| {
                format!(
                    "cannot start the embedded PostgreSQL in {} (BILLING_DATA_DIR); does another process use it?",
                    directory.display()
                )
            })?;
            Ok(Self { server })
        })
        .await?
    }

    pub(super) fn url(&self) -> String {
        self.server.database_url()
    }

    /// Stops the server. All clients must have gone before.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        tokio::task::spawn_blocking(move || self.server.shutdown()).await?
    }
}
