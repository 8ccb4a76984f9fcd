//! What a worker cannot do anything with goes to the parking queue instead of being lost.

use super::channel::Channel;
use super::shared::Shared;
use crate::broker::Publication;
use crate::parking::{Note, Reason, noted, parking_queue};
use crate::protocol::Message;

/// A message as it came, for the case that it is to be parked.
///
/// Copies are made of what was delivered before, and only if there is something to park: what comes for the first time is
/// read without one. If it turns out to be unfit it is given back, and looked at for a second time.
pub(super) type Original = Box<Message>;

/// The message that goes to the parking queue.
pub(super) fn parked(
    shared: &Shared,
    channel: &Channel,
    original: Message,
    (exchange, routing_key): (&str, &str),
    (reason, error): (&Reason, &str),
) -> Box<Publication> {
    let note = Note { reason, error, queue: &channel.queue, exchange, routing_key, worker: &shared.hostname };
    Box::new(Publication {
        exchange: String::new(),
        routing_key: parking_queue(&channel.queue),
        mandatory: true,
        message: noted(original, note, crate::clock::now()),
    })
}
