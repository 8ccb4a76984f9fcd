//! Chords and groups inside the process, by the same rules as in Redis.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use super::chord::{CLAIM, ChordPart, ChordProgress, CompleteChord, DONE, EXTENDED_CLAIM};

/// What has expired is swept out when there are this many, and then whenever there are twice as many as were left.
const FIRST_SWEEP: usize = 1024;

#[derive(Default)]
pub(super) struct Chords {
    chords: HashMap<String, Chord>,
    groups: HashMap<String, (String, Option<Instant>)>,
    sweep_at: usize,
}

#[derive(Default)]
struct Chord {
    size: Option<usize>,
    /// Tasks that were added to the header later.
    added: usize,
    /// By index, those without one last, and task id: a task that runs twice has one part.
    parts: BTreeMap<(i64, String), String>,
    claim: Option<(String, Instant)>,
    is_done: bool,
    expires_at: Option<Instant>,
}

impl Chords {
    pub(super) fn begin(&mut self, group_id: &str, size: usize, now: Instant, expires: Option<Duration>) {
        self.sweep(now);
        let chord = self.alive(group_id, now);
        chord.size = Some(size);
        chord.claim = None;
        chord.is_done = false;
        chord.expires_at = expires.map(|expires| now + expires);
    }

    pub(super) fn part(
        &mut self,
        part: &ChordPart,
        token: &str,
        now: Instant,
        expires: Option<Duration>,
    ) -> ChordProgress {
        self.sweep(now);
        let group = self.group(&part.group_id, now);
        let chord = self.alive(&part.group_id, now);
        if chord.is_done {
            return ChordProgress::Open;
        }
        let place = (part.group_index.unwrap_or(i64::MAX), part.task_id.clone());
        chord.parts.entry(place).or_insert_with(|| part.to_json());
        chord.expires_at = expires.map(|expires| now + expires);
        if chord.size.map(|size| size + chord.added) != Some(chord.parts.len()) {
            return ChordProgress::Open;
        }
        match &chord.claim {
            Some((holder, until)) if holder != token && *until > now => ChordProgress::Claimed,
            _ => {
                chord.claim = Some((token.to_owned(), now + CLAIM));
                ChordProgress::Complete(CompleteChord { parts: chord.parts.values().cloned().collect(), group })
            }
        }
    }

    pub(super) fn add(&mut self, group_id: &str, now: Instant) {
        self.alive(group_id, now).added += 1;
    }

    pub(super) fn extend(&mut self, group_id: &str, token: &str, now: Instant) -> bool {
        let chord = self.alive(group_id, now);
        let is_free = chord.claim.as_ref().is_none_or(|(holder, until)| holder == token || *until <= now);
        let may = is_free && chord.size.is_some() && !chord.is_done;
        if may {
            chord.claim = Some((token.to_owned(), now + EXTENDED_CLAIM));
        }
        may
    }

    pub(super) fn end(&mut self, group_id: &str, token: &str, now: Instant) {
        let chord = self.alive(group_id, now);
        if chord.claim.as_ref().is_some_and(|(holder, _)| holder == token) {
            *chord = Chord { is_done: true, expires_at: Some(now + DONE), ..Chord::default() };
        }
    }

    pub(super) fn fail(&mut self, group_id: &str, now: Instant) {
        self.alive(group_id, now).size = None;
    }

    pub(super) fn save_group(&mut self, group_id: &str, group: String, now: Instant, expires: Option<Duration>) {
        self.sweep(now);
        self.groups.insert(group_id.to_owned(), (group, expires.map(|expires| now + expires)));
    }

    pub(super) fn group(&self, group_id: &str, now: Instant) -> Option<String> {
        self.groups.get(group_id).filter(|(_, at)| is_alive(*at, now)).map(|(group, _)| group.clone())
    }

    pub(super) fn forget_group(&mut self, group_id: &str) {
        self.groups.remove(group_id);
    }

    fn alive(&mut self, group_id: &str, now: Instant) -> &mut Chord {
        let chord = self.chords.entry(group_id.to_owned()).or_default();
        if !is_alive(chord.expires_at, now) {
            *chord = Chord::default();
        }
        chord
    }

    fn sweep(&mut self, now: Instant) {
        if self.chords.len() + self.groups.len() >= self.sweep_at.max(FIRST_SWEEP) {
            self.chords.retain(|_, chord| is_alive(chord.expires_at, now));
            self.groups.retain(|_, (_, at)| is_alive(*at, now));
            self.sweep_at = 2 * (self.chords.len() + self.groups.len());
        }
    }
}

fn is_alive(expires_at: Option<Instant>, now: Instant) -> bool {
    expires_at.is_none_or(|at| at > now)
}
