//! `billing keys`: the keys that seal secrets, and changing them while everything runs.

use std::io::{Stdout, Write as _};
use std::time::Duration;

use billing::cipher::Cipher;
use billing::db::Db;
use billing::store::keys::{self, Cursor, KeyInUse, NotAdmitted, Resealed};
use chrono::TimeDelta;
use clap::{Args, Subcommand};

use crate::exit::{self, Exit};

#[derive(Args, Debug)]
pub struct KeysConfig {
    #[command(subcommand)]
    pub verb: KeysVerb,
    #[command(flatten)]
    pub services: billing::ServicesConfig,
}

#[derive(Subcommand, Debug)]
pub enum KeysVerb {
    /// Shows the keys that are in use or were, how many rows each has sealed, and until when backups need it
    List,
    /// Seals anew, with the first of ENCRYPTION_KEYS, what other keys have sealed. Everything may run meanwhile, and it may be
    /// stopped and run again. At its end it says from when on a key may be taken away
    Rotate(Backups),
}

#[derive(Args, Clone, Copy, Debug)]
pub struct Backups {
    /// For how long backups of the database are kept: so long a key is needed after its last row
    #[arg(long, env = "BACKUPS_KEPT", default_value = "35d", value_parser = billing::duration::parse, value_name = "DURATION")]
    pub backups_kept: Duration,
}

/// Rows that are sealed anew in one transaction.
const CHUNK: i64 = 200;

/// Rounds over all rows. What somebody works with in one is found by the next.
const ROUNDS: usize = 5;

pub(crate) async fn run(config: KeysConfig) -> Result<u8, Exit> {
    let cipher = config.services.cipher().map_err(crate::roles::services_error)?;
    let db = config.services.connect_database().await.map_err(crate::roles::services_error)?;
    let mut out = std::io::stdout();
    match config.verb {
        KeysVerb::List => {
            let known = keys::usage(&mut *db.conn().await?).await?;
            show(&known, &cipher, &db, &mut out)?;
            Ok(exit::OK)
        }
        KeysVerb::Rotate(backups) => {
            keys::admit(&mut *db.conn().await?, &cipher, db.now()).await.map_err(refused)?;
            let is_whole = rotate(&db, &cipher, &mut out).await?;
            let kept = TimeDelta::from_std(backups.backups_kept).map_err(Exit::configuration)?;
            let known = keys::retire(&mut *db.conn().await?, &cipher, kept, db.now()).await?;
            let left = show(&known, &cipher, &db, &mut out)?;
            if is_whole && left == 0 { Ok(exit::OK) } else { Ok(exit::FAILED) }
        }
    }
}

/// `false`: something does not open, and somebody must look.
async fn rotate(db: &Db, cipher: &Cipher, out: &mut Stdout) -> Result<bool, Exit> {
    let mut done = 0;
    for _ in 0..ROUNDS {
        let round = round(db, cipher).await?;
        done += round.done;
        for (place, error) in &round.lost {
            writeln!(out, "{place:?}: {error}")?;
        }
        if round.passed_over == 0 || !round.lost.is_empty() {
            writeln!(out, "{done} secrets sealed anew, {} lost", round.lost.len())?;
            return Ok(round.lost.is_empty());
        }
    }
    writeln!(out, "{done} secrets sealed anew; some rows were in use in each of {ROUNDS} rounds: run it again")?;
    Ok(false)
}

/// Once over all that is sealed, a chunk at a time.
async fn round(db: &Db, cipher: &Cipher) -> Result<Resealed, Exit> {
    let (mut total, mut from) = (Resealed::default(), Some(Cursor::BEGIN));
    while let Some(cursor) = from {
        // A connection for each chunk: where there is only one, others are to have their turn.
        let mut conn = db.conn().await?;
        let page = keys::page(&mut conn, cursor, CHUNK).await?;
        let chunk = keys::reseal(&mut conn, &page.sealed, cipher).await?;
        total.done += chunk.done;
        total.passed_over += chunk.passed_over;
        total.lost.extend(chunk.lost);
        from = page.next;
    }
    Ok(total)
}

/// Returns how many rows are sealed with others than the first key.
fn show(known: &[(KeyInUse, usize)], cipher: &Cipher, db: &Db, out: &mut Stdout) -> Result<usize, Exit> {
    let first = cipher.key_ids().next().unwrap_or_default().to_owned();
    let mut left = 0;
    for (key, rows) in known {
        let KeyInUse { id, needed_until, .. } = key;
        let is_configured = cipher.key_ids().any(|configured| configured == id.as_str());
        let told = match needed_until {
            _ if *id == first => "seals".to_owned(),
            None => "is needed".to_owned(),
            Some(until) if *until > db.now() => format!("is needed for backups until {}", until.format("%Y-%m-%d")),
            Some(_) if is_configured => "may be taken away".to_owned(),
            Some(_) => "was taken away".to_owned(),
        };
        writeln!(out, "{id}  {rows} rows  {told}")?;
        left += if *id == first { 0 } else { *rows };
    }
    Ok(left)
}

fn refused(error: NotAdmitted) -> Exit {
    match error {
        NotAdmitted::Store(error) => error.into(),
        error => Exit::configuration(anyhow::anyhow!("ENCRYPTION_KEYS: {error}")),
    }
}
