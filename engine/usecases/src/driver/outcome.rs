//! The report of an effect: made in any case, since an object whose effect never ends is stuck for ever.

use super::{Inbox, Message};

/// Reports how an effect ended when it is dropped: what was last said of it, at first that it panicked.
pub(super) struct Outcome {
    inbox: Inbox,
    message: Option<Message>,
}

impl Outcome {
    /// Takes what is to be reported if nothing else is said.
    pub(super) fn new(inbox: Inbox, unless_said: Message) -> Self {
        Self { inbox, message: Some(unless_said) }
    }

    /// Reports how the effect ended.
    pub(super) fn say(mut self, message: Message) {
        self.message = Some(message);
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        if let Some(message) = self.message.take() {
            // A driver that has ended needs no answer.
            drop(self.inbox.send(message));
        }
    }
}

/// Message of an effect whose task did not come to its end.
pub(super) const PANICKED: &str = "the task that did it panicked, a fault of orlop; the log says where";
