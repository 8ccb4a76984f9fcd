//! Everything that `billing standalone` writes is below its own directory.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use secrecy::ExposeSecret as _;

use super::{EMBEDDED, StandaloneConfig};
use crate::exit::Exit;

/// Where caches go (XDG Base Directory Specification), and the directory below which macOS has them.
const CACHE: &str = "XDG_CACHE_HOME";
const HOME: &str = "HOME";

/// The embedded `PostgreSQL` unpacks itself into the cache of whoever starts it, and without a home it does not start. So
/// this program is begun anew, with its own directory as home: the library can be told so by the environment only, which a
/// running process cannot change safely. Returns where that is done, or not needed. To be called before anything begins.
///
/// # Errors
/// The program cannot be started again.
pub(crate) fn settle(config: &StandaloneConfig) -> Result<(), Exit> {
    if config.services.database_url.expose_secret() != EMBEDDED {
        return Ok(());
    }
    let home = std::path::absolute(&config.data_dir)?;
    let cache = cache_in(&home);
    if std::env::var_os(CACHE).is_some_and(|set| Path::new(&set) == cache) {
        return Ok(());
    }
    let mut arguments = std::env::args_os();
    let mut again = Command::new(std::env::current_exe()?);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    // Returns only where it fails.
    let failed = again.args(arguments).env(CACHE, cache).env(HOME, home).exec();
    Err(failed.into())
}

fn cache_in(home: &Path) -> PathBuf {
    home.join("cache")
}
