//! The ledger file: one line of JSON per command, written before its answer is given.
//!
//! The first line is the header (version and secret of the terminal), every other an array of [`Change`]s. A write goes
//! to the kernel before the answer leaves, so a killed process loses nothing it has answered; a power cut may lose the
//! last moments – this is a sandbox, and does not wait for the disk. A line cut off in the middle by a kill was never
//! answered, and is dropped at the next start.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::ledger::{Change, secret::Secret};

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Header {
    cloudpayments_sandbox_ledger: u32,
    secret: String,
}

/// The ledger file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    #[error("cannot use {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} is in use by another sandbox")]
    InUse { path: PathBuf },
    #[error("{path} is not a ledger of this sandbox (line {line}): move it away to begin anew")]
    Foreign { path: PathBuf, line: usize },
}

/// An open ledger file. It is locked: two sandboxes would write into each other's lines.
pub(crate) struct Journal {
    path: PathBuf,
    file: BufReader<File>,
    /// Up to here the file is whole.
    length: u64,
}

impl Journal {
    /// Opens a ledger file and returns its secret, or begins a file with the secret given. Then [`Journal::replay`].
    pub(crate) fn open(path: &Path, fresh: Secret) -> Result<(Self, Secret), JournalError> {
        let io = |source| JournalError::Io { path: path.to_owned(), source };
        let file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(io)?;
        file.try_lock().map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => JournalError::InUse { path: path.to_owned() },
            std::fs::TryLockError::Error(source) => io(source),
        })?;
        let mut journal = Self { path: path.to_owned(), file: BufReader::new(file), length: 0 };
        if let Some(line) = journal.next_line().map_err(io)? {
            let secret = read_header(&line).ok_or_else(|| journal.foreign(1))?;
            return Ok((journal, secret));
        }
        let header = Header { cloudpayments_sandbox_ledger: VERSION, secret: fresh.to_base64() };
        journal.file.get_ref().set_len(0).map_err(io)?;
        journal.write(&header).map_err(io)?;
        Ok((journal, fresh))
    }

    /// Hands out every change the file holds, in order, and leaves it ready to be appended to.
    pub(crate) fn replay(&mut self, mut apply: impl FnMut(Change)) -> Result<(), JournalError> {
        for number in 2.. {
            let Some(line) = self.next_line().map_err(|source| self.io(source))? else { break };
            let changes: Vec<Change> = serde_json::from_slice(&line).map_err(|_| self.foreign(number))?;
            changes.into_iter().for_each(&mut apply);
        }
        self.file.get_ref().set_len(self.length).map_err(|source| self.io(source))
    }

    /// Writes one command's changes. After an error nothing of them is in the file.
    pub(crate) fn append(&mut self, changes: &[Change]) -> io::Result<()> {
        self.write(&changes)
    }

    /// The next whole line; `None` at the end, or where a kill cut a line off.
    fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let read = self.file.read_until(b'\n', &mut line)?;
        if line.last() == Some(&b'\n') {
            self.length += read as u64;
            return Ok(Some(line));
        }
        if read > 0 {
            tracing::warn!(path = %self.path.display(), "dropping the unfinished last line of the ledger file");
        }
        Ok(None)
    }

    fn write(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        let file = self.file.get_mut();
        if let Err(error) = file.write_all(&bytes) {
            // A full disk may have taken half of the line.
            file.set_len(self.length)?;
            return Err(error);
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn io(&self, source: io::Error) -> JournalError {
        JournalError::Io { path: self.path.clone(), source }
    }

    fn foreign(&self, line: usize) -> JournalError {
        JournalError::Foreign { path: self.path.clone(), line }
    }
}

fn read_header(line: &[u8]) -> Option<Secret> {
    let header: Header = serde_json::from_slice(line).ok()?;
    if header.cloudpayments_sandbox_ledger != VERSION {
        return None;
    }
    Secret::from_base64(&header.secret)
}
