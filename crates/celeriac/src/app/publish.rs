//! Publishes workflows.

use super::chord::Opening;
use super::{App, Destination, Route, SendError};
use crate::backend::BackendError;
use crate::broker::Publication;
use crate::canvas::{
    Canvas, CanvasError, ChordSize, KnownTask, Parent, Plan, Publish, Publisher, Step, added_to_chord, replacement,
};
use crate::protocol::{Headers, Json};
use crate::result::{GetError, GroupResult, Published};
use crate::worker::Run;

/// Why a workflow could not be published.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PublishError {
    /// It can never be published.
    #[error(transparent)]
    Canvas(#[from] CanvasError),
    /// It has no task.
    #[error("the workflow is empty")]
    Empty,
    /// The broker did not take all of its first tasks; others may run already.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The result backend does not know of its chord, so nothing was sent.
    #[error("result backend {0}")]
    Backend(#[from] BackendError),
    /// A task that is part of no chord cannot add another one to it.
    #[error("Current task is not member of any chord")]
    NoChord,
}

/// What is left of a plan when it is known where each message goes.
pub(crate) struct Prepared {
    /// To be told to the result backend first: headers that have groups in them, by their ids.
    pub(crate) groups: Vec<(String, String)>,
    /// To be told to it next.
    pub(crate) chords: Vec<ChordSize>,
    pub(crate) publications: Vec<Publication>,
}

impl Prepared {
    /// The messages belong to the trace of the task that sends them.
    pub(crate) fn trace(&mut self, pass_on: impl Fn(&mut Headers)) {
        for publication in &mut self.publications {
            pass_on(&mut publication.message.headers);
        }
    }
}

impl App {
    /// Publishes a workflow: its first tasks are sent, the others follow from them.
    ///
    /// Returns once the broker has taken responsibility for all that was sent. Published from within a task, what is
    /// sent becomes a child of that task.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// use celeriac::canvas::{Canvas, Signature};
    ///
    /// # async fn example(app: celeriac::App) -> Result<(), Box<dyn std::error::Error>> {
    /// let sum = Canvas::chord(
    ///     [Signature::new("math.add").arg(1).arg(1), Signature::new("math.add").arg(2).arg(2)],
    ///     Signature::new("math.sum"),
    /// );
    /// assert_eq!(app.publish(sum).await?.get::<i64>(Duration::from_secs(10)).await?, 6);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn publish(&self, canvas: impl Into<Canvas>) -> Result<Published, PublishError> {
        self.publish_with(canvas.into(), &[]).await
    }

    /// Publishes what takes the place of the task whose body is running.
    pub(crate) async fn publish_instead_of(&self, run: &Run, with: Canvas) -> Result<Published, PublishError> {
        let replacement = {
            let known = |name: &str| run.known(name);
            let mut new_id = || uuid::Uuid::new_v4().to_string();
            let mut publisher = self.publisher(&mut new_id, &known, Some(run.as_parent()));
            replacement(&run.request, with, &mut publisher)?
        };
        self.publish_with(replacement, &[]).await
    }

    /// Publishes what the body of a task adds to the chord of both (`celery/app/task.py`, `add_to_chord`).
    pub(crate) async fn publish_in_chord(&self, run: &Run, canvas: Canvas) -> Result<Published, PublishError> {
        let task = &run.request.message;
        let added = {
            let known = |name: &str| run.known(name);
            let mut new_id = || uuid::Uuid::new_v4().to_string();
            let mut publisher = self.publisher(&mut new_id, &known, Some(run.as_parent()));
            added_to_chord(task, canvas, &mut publisher)
        };
        let (canvas, parts) = added.ok_or(PublishError::NoChord)?;
        for _ in 0..parts {
            self.backend().add_to_chord(task.group.as_deref().unwrap_or_default()).await?;
        }
        self.publish_with(canvas, &[]).await
    }

    /// Publishes a workflow; `arguments` come in front of those of its first tasks.
    pub(crate) async fn publish_with(&self, canvas: Canvas, arguments: &[Json]) -> Result<Published, PublishError> {
        let run = Run::current();
        let (plan, result) = {
            let known = |name: &str| run.as_ref().and_then(|run| run.known(name));
            let parent = run.as_ref().map(|run| run.as_parent());
            let mut new_id = || uuid::Uuid::new_v4().to_string();
            let mut publisher = self.publisher(&mut new_id, &known, parent);
            canvas.begin(arguments, &mut publisher)?
        };
        if plan.steps.is_empty() && result.children.is_none() {
            return Err(PublishError::Empty);
        }
        let mut prepared = self.prepare_plan(&plan).await?;
        if let Some(run) = &run {
            prepared.trace(|headers| run.pass_on_trace(headers));
        }
        for (id, group) in &prepared.groups {
            self.backend().save_group(id, group).await?;
        }
        for chord in &prepared.chords {
            self.backend().begin_chord(&chord.group_id, chord.size).await?;
        }
        for confirmation in self.broker().publish_batch(prepared.publications).await {
            confirmation.map_err(SendError::from)?;
        }
        if let Some(run) = run {
            run.add_children(plan.children);
        }
        Ok(Published::new(result, self))
    }

    /// A group whose tasks were [saved](GroupResult::save), by us or by a Python program; `None` if none is stored.
    ///
    /// # Errors
    /// The backend cannot be asked, or what is stored cannot be read.
    pub async fn restore_group(&self, id: &str) -> Result<Option<GroupResult>, GetError> {
        GroupResult::restore(id, self).await
    }

    /// Who publishes now.
    pub(crate) fn publisher<'a>(
        &'a self,
        new_id: &'a mut dyn FnMut() -> String,
        known: &'a dyn Fn(&str) -> Option<KnownTask>,
        parent: Option<Parent>,
    ) -> Publisher<'a> {
        Publisher { now: crate::clock::now(), reply_to: &self.inner.reply_to, new_id, known, parent }
    }

    /// Finds out where the messages of a plan go, and declares those queues. The sizes of chords come before all
    /// messages: nothing of a chord may run before its size is stored.
    pub(crate) async fn prepare_plan(&self, plan: &Plan) -> Result<Prepared, SendError> {
        let mut prepared =
            Prepared { groups: Vec::new(), chords: Vec::new(), publications: Vec::with_capacity(plan.steps.len()) };
        for step in &plan.steps {
            match step {
                Step::ApplyChord(chord) => match self.open_chord(chord).await? {
                    Opening::Nothing => {}
                    Opening::Group { id, group } => prepared.groups.push((id, group)),
                    Opening::Unlock(publication) => prepared.publications.push(*publication),
                },
                Step::ChordSize(chord) if self.backend().counts_chords() => prepared.chords.push(chord.clone()),
                Step::ChordSize(_) => {}
                Step::Publish(publish) => prepared.publications.push(self.publication((**publish).clone()).await?),
            }
        }
        Ok(prepared)
    }

    pub(super) async fn publication(&self, publish: Publish) -> Result<Publication, SendError> {
        let Publish { mut message, route } = publish;
        let said = Route { queue: route.queue, exchange: route.exchange, routing_key: route.routing_key };
        let Destination { exchange, routing_key, queue, undeclared } = self.destination(&message, &said, None);
        if let Some(queue) = undeclared {
            self.declare_queue(&queue).await?;
        }
        message.origin.get_or_insert_with(|| self.inner.origin.clone());
        let due = message.due();
        let message = self.message(message)?;
        let mut publication = Publication { exchange, routing_key, mandatory: true, message };
        if let Some(queue) = queue {
            self.postpone(&queue, &mut publication, due).await;
        }
        Ok(publication)
    }
}
