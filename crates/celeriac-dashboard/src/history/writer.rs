//! Writes behind: every half second what has changed, in batches. While the database is away or slow, what changes waits in
//! memory within bounds; what finds no room there is counted as lost. Nobody else waits.

use std::sync::Arc;
use std::time::Duration;

use celeriac::clock::unix_seconds;
use dial::postgres::Link;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_postgres::Client;

use super::{History, Id, Trouble, days, schema, text};
use crate::Core;
use crate::log::Done;
use crate::memory::{Kept, Known, Minute};
use crate::pauses::Pause;

/// How often what has changed is written.
const EVERY: Duration = Duration::from_millis(500);
/// Rows of one statement.
const BATCH: usize = 1_000;
/// Tasks that memory has let go of may wait to be written up to this many.
const ROOM: usize = 20_000;
/// How often minutes and workers are written.
const PICTURE_EVERY: Duration = Duration::from_secs(5);
/// How often it is looked which days there are, and how large they are.
const DAYS_EVERY: Duration = Duration::from_secs(60);
/// How long to wait before a database is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(2);
/// The last is written within this when the dashboard ends.
const ENDS_WITHIN: Duration = Duration::from_secs(3);
/// Who has this writes; it ends with the session.
const WRITER: i64 = 4_858_217_053_091_302;
/// Workers that have been gone for longer are forgotten, in seconds.
const FORGET_WORKERS: f64 = 30.0 * 86_400.0;
/// Actions that are read again at the start.
const ACTIONS: i64 = 500;
/// Silences that are shown: those of the last so many times that somebody listened.
const LISTENINGS: i64 = 10;
/// A shorter silence is none, in seconds: that is how often it is written that somebody listens.
const SILENCE: f64 = 15.0;

/// Writes until the dashboard is shut down, and what is left then.
pub(crate) fn start(core: &Arc<Core>) {
    if core.history.is_some() {
        core.picture.write().keeps_a_journal(ROOM);
        tokio::spawn(keep(Arc::clone(core)));
    }
}

async fn keep(core: Arc<Core>) {
    let Some(history) = &core.history else { return };
    loop {
        let wrote = write(&core, history).await;
        let trouble = match wrote {
            Ok(()) => return,
            Err(trouble) => trouble.to_string(),
        };
        if history.status.write().trouble.replace(trouble.clone()).is_none() {
            tracing::warn!(error = trouble, "the history of the dashboard is not written; trying again");
        }
        if core.stop.run_until_cancelled(sleep(AGAIN_AFTER)).await.is_none() {
            return;
        }
    }
}

/// Until the end, or until something goes wrong.
async fn write(core: &Core, history: &History) -> Result<(), Trouble> {
    let mut link = history.dialer.connect().await?;
    schema::migrate(&mut link.client).await?;
    become_the_writer(core, history, &link).await?;
    let mut writer = Writer { core, history, link, began: unix_seconds(), since: 0, is_full: false };
    writer.look_at_days().await?;
    writer.remember().await?;
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut picture_at, mut days_at) = (Instant::now(), Instant::now());
    loop {
        let goes_on = core.stop.run_until_cancelled(ticks.tick()).await.is_some();
        if !goes_on {
            let last = async {
                writer.tasks().await?;
                writer.picture().await
            };
            return tokio::time::timeout(ENDS_WITHIN, last).await.unwrap_or(Err(Trouble::Slow));
        }
        writer.tasks().await?;
        if picture_at.elapsed() >= PICTURE_EVERY {
            writer.picture().await?;
            picture_at = Instant::now();
        }
        if days_at.elapsed() >= DAYS_EVERY {
            writer.look_at_days().await?;
            days_at = Instant::now();
        }
    }
}

/// Waits for its turn. Who waits keeps no journal: the other one writes the same.
async fn become_the_writer(core: &Core, history: &History, link: &Link) -> Result<(), Trouble> {
    loop {
        let won = link.client.query_one("SELECT pg_try_advisory_lock($1)", &[&WRITER]).await?;
        if won.get(0) {
            return Ok(());
        }
        core.picture.write().tears_the_journal();
        history.status.write().trouble = Some("another dashboard writes it".to_owned());
        if core.stop.run_until_cancelled(sleep(AGAIN_AFTER)).await.is_none() {
            return Err(Trouble::Unreachable("the dashboard ends".to_owned()));
        }
    }
}

struct Writer<'a> {
    core: &'a Core,
    history: &'a History,
    link: Link,
    /// Since when this one listens, in seconds since 1970.
    began: f64,
    /// From when on there are days, in microseconds since 1970.
    since: i64,
    is_full: bool,
}

impl Writer<'_> {
    async fn look_at_days(&mut self) -> Result<(), Trouble> {
        let kept = days::keep(&mut self.link.client, self.history.retention, unix_seconds()).await?;
        (self.since, self.is_full) = (kept.since, kept.is_full);
        let mut status = self.history.status.write();
        (status.since, status.bytes) = (Some(kept.since), kept.bytes);
        let full = "today takes more than all may: nothing more of today is kept";
        status.trouble = kept.is_full.then(|| full.to_owned());
        Ok(())
    }

    /// Takes in what was known before: what had not ended, and what stands on the overview.
    async fn remember(&self) -> Result<(), Trouble> {
        let client = &self.link.client;
        let room = i64::try_from(self.core.bounds.tasks / 2).unwrap_or(i64::MAX);
        let open = "SELECT heard, id, story FROM celeriac_dashboard.task
                    WHERE state IN ('PENDING', 'RECEIVED', 'STARTED', 'RETRY') ORDER BY heard DESC LIMIT $1";
        let open: Vec<Kept> = client.query(open, &[&room]).await?.iter().filter_map(read_kept).collect();
        let minutes =
            client.query("SELECT counts FROM celeriac_dashboard.minute ORDER BY number DESC LIMIT 60", &[]).await?;
        let minutes: Vec<Minute> =
            minutes.iter().rev().filter_map(|row| serde_json::from_str(row.get(0)).ok()).collect();
        let workers = client.query("SELECT told FROM celeriac_dashboard.worker", &[]).await?;
        let workers: Vec<Known> = workers.iter().filter_map(|row| serde_json::from_str(row.get(0)).ok()).collect();
        let listened = "SELECT began, until FROM celeriac_dashboard.listening ORDER BY began DESC LIMIT $1";
        let mut listened: Vec<(f64, f64)> =
            client.query(listened, &[&LISTENINGS]).await?.iter().rev().map(|row| (row.get(0), row.get(1))).collect();
        listened.push((self.core.picture.read().since, self.began));
        let silences = listened.windows(2).map(|pair| (pair[0].1, pair[1].0));
        let silences = silences.filter(|(from, to)| to - from > SILENCE).collect();
        let done = "SELECT form, at, who, what, why, answers FROM celeriac_dashboard.action ORDER BY at DESC LIMIT $1";
        let done: Vec<Done> = client.query(done, &[&ACTIONS]).await?.iter().rev().filter_map(read_done).collect();
        self.core.log.recall(done);
        let paused = client.query("SELECT queue, nodes, at FROM celeriac_dashboard.paused", &[]).await?;
        self.core.pauses.recall(paused.iter().filter_map(read_pause).collect());
        let mut picture = self.core.picture.write();
        picture.remembers(minutes, workers, silences);
        picture.recalls(&[], open);
        Ok(())
    }

    /// Everything that has changed.
    async fn tasks(&self) -> Result<(), Trouble> {
        loop {
            let unread = self.core.picture.read().unread(BATCH);
            let found =
                if unread.is_empty() { Vec::new() } else { read(&self.link.client, &unread, self.since).await? };
            let rows = {
                let mut picture = self.core.picture.write();
                picture.recalls(&unread, found);
                picture.take_changed(BATCH)
            };
            if rows.is_empty() {
                self.actions().await?;
                return self.pauses().await;
            }
            // What was heard of first on a day that was dropped has no place any more.
            let has_place = |kept: &&Kept| kept.key.0 >= self.since && !self.is_full;
            let placed: Vec<&Kept> = rows.iter().filter(has_place).collect();
            if self.is_full {
                self.core.picture.write().loses(rows.len());
            }
            if let Err(trouble) = insert(&self.link.client, &placed).await {
                self.core.picture.write().put_back(rows);
                return Err(trouble);
            }
        }
    }

    /// Minutes, workers, and that somebody listens.
    async fn picture(&self) -> Result<(), Trouble> {
        let now = unix_seconds();
        let (minutes, workers, since, lost) = {
            let picture = self.core.picture.read();
            let minutes = picture.minutes.since((now / 60.0) as i64 - 1);
            let workers: Vec<Known> = picture.workers.all().into_iter().cloned().collect();
            (minutes, workers, picture.since, i64::try_from(picture.lost() + picture.dropped).unwrap_or(i64::MAX))
        };
        let (numbers, counts): (Vec<i64>, Vec<String>) =
            minutes.iter().filter_map(|minute| Some((minute.number, serde_json::to_string(minute).ok()?))).unzip();
        let told = |known: &Known| Some((text(&known.told.hostname), serde_json::to_string(known).ok()?));
        let (names, told): (Vec<String>, Vec<String>) = workers.iter().filter_map(told).unzip();
        let client = &self.link.client;
        client
            .execute(
                "INSERT INTO celeriac_dashboard.minute SELECT * FROM unnest($1::bigint[], $2::text[])
                 ON CONFLICT (number) DO UPDATE SET counts = excluded.counts",
                &[&numbers, &counts],
            )
            .await?;
        client
            .execute(
                "INSERT INTO celeriac_dashboard.worker SELECT name, told, $3 FROM unnest($1::text[], $2::text[]) AS w (name, told)
                 ON CONFLICT (name) DO UPDATE SET told = excluded.told, written = excluded.written",
                &[&names, &told, &now],
            )
            .await?;
        client
            .execute(
                "INSERT INTO celeriac_dashboard.listening VALUES ($1, $2, $3)
                 ON CONFLICT (began) DO UPDATE SET until = excluded.until, lost = excluded.lost",
                &[&since, &now, &lost],
            )
            .await?;
        let (minute, before) = ((now / 60.0) as i64 - 120, now - FORGET_WORKERS);
        client.execute("DELETE FROM celeriac_dashboard.minute WHERE number < $1", &[&minute]).await?;
        client.execute("DELETE FROM celeriac_dashboard.worker WHERE written < $1", &[&before]).await?;
        Ok(())
    }

    /// What operators did, and what was said to it.
    async fn actions(&self) -> Result<(), Trouble> {
        for done in self.core.log.unwritten() {
            let answers = done.answers.as_ref().and_then(|answers| serde_json::to_string(answers).ok());
            self.link
                .client
                .execute(
                    "INSERT INTO celeriac_dashboard.action VALUES ($1, $2, $3, $4, $5, $6)
                     ON CONFLICT (form) DO UPDATE SET answers = excluded.answers",
                    &[
                        &done.form.to_string(),
                        &done.at,
                        &text(&done.who),
                        &text(&done.what),
                        &text(&done.why),
                        &answers.map(|answers| text(&answers)),
                    ],
                )
                .await?;
            self.core.log.is_written(&done);
        }
        Ok(())
    }

    /// Which queues are paused, and which no longer.
    async fn pauses(&self) -> Result<(), Trouble> {
        let client = &self.link.client;
        for (queue, pause) in self.core.pauses.unwritten() {
            let name = text(&queue);
            let nodes = pause.as_ref().and_then(|pause| serde_json::to_string(&pause.nodes).ok());
            match (&pause, nodes) {
                (Some(pause), Some(nodes)) => {
                    client
                        .execute(
                            "INSERT INTO celeriac_dashboard.paused VALUES ($1, $2, $3)
                             ON CONFLICT (queue) DO UPDATE SET nodes = excluded.nodes, at = excluded.at",
                            &[&name, &nodes, &pause.at],
                        )
                        .await?
                }
                _ => client.execute("DELETE FROM celeriac_dashboard.paused WHERE queue = $1", &[&name]).await?,
            };
            self.core.pauses.is_written(&queue, &pause);
        }
        Ok(())
    }
}

fn read_pause(row: &tokio_postgres::Row) -> Option<(String, Pause)> {
    let nodes = serde_json::from_str(row.get(1)).ok()?;
    Some((row.get(0), Pause { nodes, at: row.get(2) }))
}

fn read_kept(row: &tokio_postgres::Row) -> Option<Kept> {
    Kept::read((row.get(0), row.get::<_, &str>(1).into()), row.get(2)).ok()
}

fn read_done(row: &tokio_postgres::Row) -> Option<Done> {
    let answers: Option<&str> = row.get(5);
    Some(Done {
        number: 0,
        form: row.get::<_, &str>(0).parse().ok()?,
        at: row.get(1),
        who: row.get(2),
        what: row.get(3),
        why: row.get(4),
        answers: answers.and_then(|answers| serde_json::from_str(answers).ok()),
        is_written: true,
    })
}

/// What is known of these.
async fn read(client: &Client, ids: &[Id], since: i64) -> Result<Vec<Kept>, Trouble> {
    let ids: Vec<String> = ids.iter().map(|id| text(id)).collect();
    let all = "SELECT heard, id, story FROM celeriac_dashboard.task WHERE id = ANY($1) AND heard >= $2";
    Ok(client.query(all, &[&ids, &since]).await?.iter().filter_map(read_kept).collect())
}

async fn insert(client: &Client, rows: &[&Kept]) -> Result<(), Trouble> {
    let stories: Vec<(&Kept, String)> = rows.iter().filter_map(|kept| Some((*kept, kept.written().ok()?))).collect();
    if stories.is_empty() {
        return Ok(());
    }
    let column = |of: fn(&Kept) -> Option<&str>| -> Vec<Option<String>> {
        stories.iter().map(|(kept, _)| of(kept).map(text)).collect()
    };
    let heard: Vec<i64> = stories.iter().map(|(kept, _)| kept.key.0).collect();
    let ids = column(|kept| Some(&kept.key.1));
    let names = column(|kept| kept.task.name.as_deref());
    let states = column(|kept| Some(kept.task.state.as_str()));
    let workers = column(|kept| kept.task.worker.as_deref());
    let queues = column(|kept| kept.task.queue.as_deref());
    let roots = column(|kept| kept.task.root_id.as_deref());
    let errors = column(Kept::error_class);
    let ran: Vec<Option<f64>> = stories.iter().map(|(kept, _)| kept.ran()).collect();
    let arguments =
        |kept: &Kept| [&kept.task.args, &kept.task.kwargs].map(|text| text.as_deref().unwrap_or("")).join(" ");
    let arguments: Vec<String> = stories.iter().map(|(kept, _)| text(&arguments(kept)).to_lowercase()).collect();
    let texts: Vec<String> = stories.iter().map(|(_, story)| text(story)).collect();
    client
        .execute(
            "INSERT INTO celeriac_dashboard.task (heard, id, name, state, worker, queue, root_id, ran, arguments, story, error)
             SELECT DISTINCT ON (heard, id) * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[],
                 $6::text[], $7::text[], $8::double precision[], $9::text[], $10::text[], $11::text[])
                 AS t (heard, id, name, state, worker, queue, root_id, ran, arguments, story, error)
             ON CONFLICT (heard, id) DO UPDATE SET name = excluded.name, state = excluded.state, worker = excluded.worker,
                 queue = excluded.queue, root_id = excluded.root_id, ran = excluded.ran, arguments = excluded.arguments,
                 story = excluded.story, error = excluded.error",
            &[&heard, &ids, &names, &states, &workers, &queues, &roots, &ran, &arguments, &texts, &errors],
        )
        .await?;
    Ok(())
}
