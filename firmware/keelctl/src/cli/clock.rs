//! `time`: a node's clock beside a time server's.

use std::process::ExitCode;

use anyhow::Result;
use wire::time::Time;

use crate::client::Client;

use super::{
    args::{self, Insecure},
    nodes::{Fleet, each},
    report::{Cell, Report},
};

pub async fn run(fleet: &Fleet, args: args::Time) -> Result<ExitCode> {
    let nodes = fleet.nodes(&Insecure::default()).await?;
    let check = args.check.as_deref();
    let call = async |_, client: Client| {
        Ok(match check {
            Some(server) => client.time_check(server).await?,
            None => client.time().await?,
        })
    };
    let (replies, code) = each(nodes, call).await;
    table(replies).print(args.output.output)?;
    Ok(code)
}

fn table(replies: Vec<(String, Time)>) -> Report {
    let mut report = Report::new(&["NODE", "NTP-SERVER", "NODE-TIME", "NTP-SERVER-TIME", "DIFFERENCE"]);
    for (node, time) in replies {
        let read = |stamp: Option<prost_types::Timestamp>| stamp.and_then(|stamp| jiff::Timestamp::new(stamp.seconds, stamp.nanos).ok());
        let (local, remote) = (read(time.localtime), read(time.remotetime));
        let text = |time: Option<jiff::Timestamp>| time.map_or_else(String::new, |time| time.to_string());
        let difference = match (local, remote) {
            (Some(local), Some(remote)) => {
                let seconds = local.duration_since(remote).as_secs_f64();
                Cell::shown(seconds, format!("{seconds:+.3} s"))
            }
            _ => "".into(),
        };
        report.row([node.into(), time.server.into(), text(local).into(), text(remote).into(), difference]);
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Format;

    #[test]
    fn both_clocks_and_how_far_apart_they_are() {
        let stamp = |seconds, nanos| Some(prost_types::Timestamp { seconds, nanos });
        let time = Time { server: "ntp.lan".into(), localtime: stamp(10, 250_000_000), remotetime: stamp(10, 0), ..Time::default() };
        let text = table(vec![("n".into(), time)]).render(Format::Table).expect("text");
        assert_eq!(text.lines().nth(1), Some("n      ntp.lan      1970-01-01T00:00:10.25Z   1970-01-01T00:00:10Z   +0.250 s"));
        let lost = Time { localtime: stamp(i64::MAX, 0), ..Time::default() };
        assert_eq!(table(vec![("n".into(), lost)]).render(Format::Table).expect("text").lines().nth(1), Some("n"));
    }
}
