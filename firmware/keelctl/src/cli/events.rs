//! Events: what each kind says, and the command that prints them.

use std::{fmt::Write, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use prost::Message;
use tonic::Streaming;
use wire::machine::{self, Event, EventsRequest, machine_status_event::MachineStage};

use crate::client::{Client, next};

use super::{
    args::{self, Insecure},
    nodes::{Fleet, each},
};

pub async fn run(fleet: &Fleet, args: args::Events) -> Result<ExitCode> {
    let seconds = args.duration.map_or(0, |span| i32::try_from(span.as_secs()).unwrap_or(i32::MAX));
    let request = EventsRequest {
        tail_events: args.tail,
        tail_id: args.since.clone().unwrap_or_default(),
        tail_seconds: seconds,
        with_actor_id: args.actor_id.clone().unwrap_or_default(),
    };
    let nodes = fleet.nodes(&Insecure::default()).await?;
    println!("{}", row("NODE", "ID", "EVENT", "ACTOR", "MESSAGE"));
    let (request, quiet) = (&request, args.no_follow.then_some(Duration::from_secs(1)));
    let call = async |node: String, client: Client| {
        let mut stream = client.events(request.clone()).await?;
        while let Some(event) = next_or_quiet(&mut stream, quiet).await? {
            if let Some((kind, message)) = describe(&event) {
                println!("{}", row(&node, &event.id, kind, &event.actor_id, &message));
            }
        }
        Ok(())
    };
    Ok(each(nodes, call).await.1)
}

async fn next_or_quiet(stream: &mut Streaming<Event>, quiet: Option<Duration>) -> Result<Option<Event>> {
    let event = next("Events", stream);
    match quiet {
        Some(limit) => tokio::time::timeout(limit, event).await.unwrap_or(Ok(None)),
        None => event.await,
    }
    .context("follow the events")
}

/// Events come one at a time, so the columns have fixed widths: an event id has 20 letters, an action id 36.
fn row(node: &str, id: &str, kind: &str, actor: &str, message: &str) -> String {
    let clean: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("{node:15}   {id:20}   {kind:26}   {actor:36}   {clean}").trim_end().to_owned()
}

/// Kind and message of an event; `None` for the empty first one and for kinds that this client does not know.
pub fn describe(event: &Event) -> Option<(&'static str, String)> {
    let data = event.data.as_ref()?;
    let name = data.type_url.strip_prefix(wire::EVENT_TYPE_PREFIX)?;
    let kind = |known: &'static str| name.strip_prefix("machine.").filter(|short| *short == known).map(|_| known);
    macro_rules! known {
        ($($message:ident => |$m:ident| $text:expr;)*) => {
            $(if let Some(kind) = kind(stringify!($message)) {
                let $m = machine::$message::decode(data.value.as_slice()).ok()?;
                return Some((kind, $text));
            })*
        };
    }
    known! {
        SequenceEvent => |m| {
            let mut text = format!("sequence {}: {}", m.sequence, m.action().as_str_name());
            if let Some(error) = &m.error {
                let _ = write!(text, " error {}: {}", error.code().as_str_name(), error.message);
            }
            text
        };
        PhaseEvent => |m| format!("phase {}: {}", m.phase, m.action().as_str_name());
        TaskEvent => |m| format!("task {}: {}", m.task, m.action().as_str_name());
        ServiceStateEvent => |m| format!("service {}: {}: {}", m.service, m.action().as_str_name(), m.message);
        RestartEvent => |m| format!("restart, command {:#x}", m.cmd);
        ConfigLoadErrorEvent => |m| m.error;
        ConfigValidationErrorEvent => |m| m.error;
        AddressEvent => |m| format!("{}: {}", m.hostname, m.addresses.join(", "));
        MachineStatusEvent => |m| status(&m);
    }
    None
}

fn status(event: &machine::MachineStatusEvent) -> String {
    let mut text = format!("stage {}", event.stage().as_str_name());
    if let Some(status) = &event.status {
        let _ = write!(text, ", ready {}", status.ready);
        for unmet in &status.unmet_conditions {
            let _ = write!(text, "; {}: {}", unmet.name, unmet.reason);
        }
    }
    text
}

/// Whether the event says that the node runs and is ready.
pub fn is_ready(event: &Event) -> bool {
    let Some(data) = &event.data else { return false };
    data.type_url.ends_with(".MachineStatusEvent")
        && machine::MachineStatusEvent::decode(data.value.as_slice())
            .is_ok_and(|event| event.stage() == MachineStage::Running && event.status.is_some_and(|status| status.ready))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, message: &impl Message) -> Event {
        let data = prost_types::Any { type_url: format!("{}machine.{name}", wire::EVENT_TYPE_PREFIX), value: message.encode_to_vec() };
        Event { data: Some(data), ..Event::default() }
    }

    #[test]
    fn known_events_are_sentences_and_unknown_ones_skipped() {
        let phase = machine::PhaseEvent { phase: "network".into(), action: 1 };
        assert_eq!(describe(&event("PhaseEvent", &phase)), Some(("PhaseEvent", "phase network: STOP".into())));
        assert_eq!(describe(&event("FutureEvent", &phase)), None);
        assert_eq!(describe(&Event::default()), None);
        let failed = machine::SequenceEvent {
            sequence: "boot".into(),
            action: 0,
            error: Some(wire::common::Error { code: 1, message: "busy".into(), ..Default::default() }),
        };
        let text = describe(&event("SequenceEvent", &failed)).expect("known").1;
        assert_eq!(text, "sequence boot: NOOP error LOCKED: busy");
    }

    #[test]
    fn readiness_is_seen() {
        let mut running = machine::MachineStatusEvent { stage: MachineStage::Running.into(), status: None };
        assert!(!is_ready(&event("MachineStatusEvent", &running)));
        running.status = Some(machine::machine_status_event::MachineStatus { ready: true, ..Default::default() });
        assert!(is_ready(&event("MachineStatusEvent", &running)));
    }
}
