//! A worker that runs nothing: each task answers with a name of its own, so that one can see where it went.

use std::collections::{BTreeMap, VecDeque};

use celeriac::TaskOptions;
use celeriac::canvas::{Canvas, CanvasError, Parent, Plan, Publish, Publisher, Step, after_success, chord_ready};
use celeriac::protocol::{Json, TaskMessage};
use chrono::{DateTime, Utc};

pub(super) const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;
pub(super) const OID: &str = "client-oid";

/// Ids that tell in which order they were made.
pub(super) struct Ids(usize);

impl Ids {
    pub(super) fn new() -> Self {
        Self(0)
    }

    fn next(&mut self) -> String {
        self.0 += 1;
        format!("00000000-0000-4000-8000-{:012}", self.0)
    }

    /// Calls with a publisher that makes its ids here.
    pub(super) fn with<T>(&mut self, parent: Option<Parent>, call: impl FnOnce(&mut Publisher<'_>) -> T) -> T {
        let known = |name: &str| {
            (name.starts_with("proj.") || name.starts_with("celery.")).then_some(TaskOptions::DEFAULT.into())
        };
        let mut new_id = || self.next();
        call(&mut Publisher { now: NOW, reply_to: OID, new_id: &mut new_id, known: &known, parent })
    }
}

#[derive(Default)]
struct Chord {
    size: Option<usize>,
    parts: BTreeMap<String, (Option<i64>, String)>,
}

/// Publishes a workflow and runs it to its end; answers every step in its order.
pub(super) fn run(canvas: Canvas) -> Result<Vec<Step>, CanvasError> {
    let mut ids = Ids::new();
    let mut world = World::default();
    // As an application does it, ids first.
    let (plan, _) = ids.with(None, |publisher| canvas.begin(&[], publisher))?;
    world.take(plan);
    let mut count = 0;
    while let Some(publish) = world.queue.pop_front() {
        count += 1;
        assert!(count < 100, "the workflow does not end");
        // Over the wire and back, as between real workers.
        let task = TaskMessage::decode(publish.message.into_message()).unwrap();
        let result = format!("r{count}");
        let parent = Parent { id: task.id.clone(), root_id: task.root_id.clone().unwrap() };
        let plan =
            ids.with(Some(parent.clone()), |publisher| after_success(&task, &Json::Str(result.clone()), publisher))?;
        world.take(plan);
        if let Some((body, results)) = world.part(&task, result) {
            let plan = ids.with(Some(parent), |publisher| chord_ready(&body, results, publisher))?;
            world.take(plan);
        }
    }
    Ok(world.steps)
}

#[derive(Default)]
struct World {
    steps: Vec<Step>,
    queue: VecDeque<Publish>,
    chords: BTreeMap<String, Chord>,
}

impl World {
    fn take(&mut self, plan: Plan) {
        for step in plan.steps {
            match &step {
                Step::Publish(publish) => self.queue.push_back((**publish).clone()),
                Step::ChordSize(size) => {
                    self.chords.entry(size.group_id.clone()).or_default().size = Some(size.size);
                }
                Step::ApplyChord(_) => {}
            }
            self.steps.push(step);
        }
    }

    /// Hands in the part of a task; answers the body and the results when it was the last.
    fn part(&mut self, task: &TaskMessage, result: String) -> Option<(celeriac::canvas::Signature, Vec<Json>)> {
        let body = task.embed.chord.as_deref()?.clone();
        let chord = self.chords.entry(task.group.clone()?).or_default();
        chord.parts.insert(task.id.clone(), (task.group_index, result));
        if chord.size != Some(chord.parts.len()) {
            return None;
        }
        let mut parts: Vec<_> = chord.parts.values().cloned().collect();
        parts.sort();
        Some((body, parts.into_iter().map(|(_, result)| Json::Str(result)).collect()))
    }
}
