//! The event messages, and short ways to make those of the boot sequences.

use prost::Message;
use wire::{
    common,
    machine::{
        AddressEvent, ConfigLoadErrorEvent, ConfigValidationErrorEvent, MachineStatusEvent, PhaseEvent, RestartEvent, SequenceEvent,
        ServiceStateEvent, TaskEvent, phase_event, sequence_event, task_event,
    },
};

/// A message that may be the payload of an event.
pub trait Payload: Message {
    /// Full message name, the end of the payload's type URL.
    const NAME: &'static str;
}

macro_rules! payloads {
    ($($message:ident),* $(,)?) => {
        $(impl Payload for $message { const NAME: &'static str = concat!("machine.", stringify!($message)); })*
    };
}

payloads!(
    AddressEvent,
    ConfigLoadErrorEvent,
    ConfigValidationErrorEvent,
    MachineStatusEvent,
    PhaseEvent,
    RestartEvent,
    SequenceEvent,
    ServiceStateEvent,
    TaskEvent,
);

/// A sequence (`boot`, `reboot`, ...) starts or ends well.
#[must_use]
pub fn sequence(name: &str, start: bool) -> SequenceEvent {
    let action = if start { sequence_event::Action::Start } else { sequence_event::Action::Stop };
    SequenceEvent { sequence: name.to_owned(), action: action.into(), error: None }
}

/// A sequence does not start, or not come to its end. Clients see the node as going down after a fatal error.
#[must_use]
pub fn sequence_refused(name: &str, code: common::Code, message: String) -> SequenceEvent {
    let error = common::Error { code: code.into(), message, details: Vec::new() };
    SequenceEvent { sequence: name.to_owned(), action: sequence_event::Action::Noop.into(), error: Some(error) }
}

/// A phase starts or ends.
#[must_use]
pub fn phase(name: &str, start: bool) -> PhaseEvent {
    let action = if start { phase_event::Action::Start } else { phase_event::Action::Stop };
    PhaseEvent { phase: name.to_owned(), action: action.into() }
}

/// A task (`stopAllServices`, ...) starts or ends.
#[must_use]
pub fn task(name: &str, start: bool) -> TaskEvent {
    let action = if start { task_event::Action::Start } else { task_event::Action::Stop };
    TaskEvent { task: name.to_owned(), action: action.into() }
}
