//! `netstat`: connections and listening sockets of nodes.

use std::{net::IpAddr, process::ExitCode};

use anyhow::Result;
use wire::machine::{
    ConnectRecord, NetstatRequest, connect_record,
    netstat_request::{Feature, Filter, L4proto, NetNs},
};

use crate::client::Client;

use super::{
    args::{self, Insecure},
    nodes::{Fleet, each},
    report::{Cell, Report},
};

pub async fn run(fleet: &Fleet, args: args::Netstat) -> Result<ExitCode> {
    let nodes = fleet.nodes(&Insecure::default()).await?;
    let request = &request(&args);
    let (replies, code) = each(nodes, async |_, client: Client| Ok(client.netstat(request.clone()).await?)).await;
    report(&args, replies).print(args.output)?;
    Ok(code)
}

fn request(args: &args::Netstat) -> NetstatRequest {
    let filter = match (args.all, args.listening) {
        (true, _) => Filter::All,
        (_, true) => Filter::Listening,
        _ => Filter::Connected,
    };
    let every = !(args.tcp || args.udp || args.udplite || args.raw);
    let (v4, v6) = (!args.ipv6, !args.ipv4);
    let l4proto = L4proto {
        tcp: (every || args.tcp) && v4,
        tcp6: (every || args.tcp) && v6,
        udp: (every || args.udp) && v4,
        udp6: (every || args.udp) && v6,
        udplite: (every || args.udplite) && v4,
        udplite6: (every || args.udplite) && v6,
        raw: (every || args.raw) && v4,
        raw6: (every || args.raw) && v6,
    };
    NetstatRequest {
        filter: filter.into(),
        feature: Some(Feature { pid: args.programs }),
        l4proto: Some(l4proto),
        netns: Some(NetNs { hostnetwork: true, netns: Vec::new(), allnetns: args.pods }),
    }
}

fn report(args: &args::Netstat, replies: Vec<(String, Vec<ConnectRecord>)>) -> Report {
    let mut columns = vec!["NODE", "PROTO", "RECV-Q", "SEND-Q", "LOCAL ADDRESS", "FOREIGN ADDRESS", "STATE"];
    let more: [(bool, &[&'static str]); 4] =
        [(args.extend, &["UID", "INODE"]), (args.programs, &["PID/PROGRAM"]), (args.pods, &["NETNS"]), (args.timers, &["TIMER"])];
    columns.extend(more.iter().filter(|(wanted, _)| *wanted).flat_map(|(_, names)| names.iter()));
    let mut report = Report::with_columns(columns);
    for (node, records) in replies {
        for record in records {
            let mut row: Vec<Cell> = vec![
                node.as_str().into(),
                record.l4proto.as_str().into(),
                record.rxqueue.into(),
                record.txqueue.into(),
                address(&record.localip, record.localport).into(),
                address(&record.remoteip, record.remoteport).into(),
                state(&record).into(),
            ];
            if args.extend {
                row.extend([u64::from(record.uid).into(), record.inode.into()]);
            }
            if args.programs {
                let process = record.process.as_ref().filter(|process| process.pid != 0);
                row.push(process.map_or_else(|| "-".to_owned(), |process| format!("{}/{}", process.pid, process.name)).into());
            }
            if args.pods {
                row.push(record.netns.as_str().into());
            }
            if args.timers {
                row.push(timer(&record).into());
            }
            report.row(row);
        }
    }
    report
}

/// `10.0.0.1:443`, `[fd00::1]:443`; `*` for any port.
fn address(ip: &str, port: u32) -> String {
    let port = if port == 0 { "*".to_owned() } else { port.to_string() };
    match ip.parse() {
        Ok(IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
        _ => format!("{ip}:{port}"),
    }
}

/// TCP's states; sockets without connections have none.
fn state(record: &ConnectRecord) -> &'static str {
    use connect_record::State;
    let has_states = record.l4proto.starts_with("tcp");
    match record.state() {
        State::Reserved => "",
        // The kernel's name for "not connected", which is what those without connections are.
        State::Close if !has_states => "",
        state => state.as_str_name(),
    }
}

/// `keepalive (12.34/0/1)`: what it is, seconds left, retransmissions, probes unanswered.
fn timer(record: &ConnectRecord) -> String {
    use connect_record::TimerActive;
    let name = match record.tr() {
        TimerActive::Off => "off",
        TimerActive::On => "on",
        TimerActive::Keepalive => "keepalive",
        TimerActive::Timewait => "timewait",
        TimerActive::Probe => "probe",
    };
    // Hundredths of a second: the kernel's USER_HZ.
    format!("{name} ({:.2}/{}/{})", record.timerwhen as f64 / 100.0, record.retrnsmt, record.timeout)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::args::{Cli, Command, Format};

    fn args(line: &str) -> args::Netstat {
        let cli = Cli::try_parse_from(["keelctl", "netstat"].into_iter().chain(line.split_whitespace())).expect("a line");
        match cli.command {
            Command::Netstat(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_choose_sockets() {
        let check = |line, filter: Filter, protocols: &str| {
            let request = request(&args(line));
            let wanted = request.l4proto.expect("set");
            let list = [
                ("tcp", wanted.tcp),
                ("tcp6", wanted.tcp6),
                ("udp", wanted.udp),
                ("udp6", wanted.udp6),
                ("udplite", wanted.udplite),
                ("udplite6", wanted.udplite6),
                ("raw", wanted.raw),
                ("raw6", wanted.raw6),
            ];
            let found: Vec<&str> = list.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect();
            assert_eq!((request.filter, found.join(" ").as_str()), (i32::from(filter), protocols), "{line}");
        };
        check("", Filter::Connected, "tcp tcp6 udp udp6 udplite udplite6 raw raw6");
        check("-l -t", Filter::Listening, "tcp tcp6");
        check("-a -tu -4", Filter::All, "tcp udp");
        check("-w -6", Filter::Connected, "raw6");
    }

    #[test]
    fn sockets_are_rows() {
        let listening = ConnectRecord {
            l4proto: "tcp6".into(),
            localip: "::".into(),
            localport: 50000,
            remoteip: "::".into(),
            state: connect_record::State::Listen.into(),
            process: Some(connect_record::Process { pid: 7, name: "apid".into() }),
            ..ConnectRecord::default()
        };
        let udp = ConnectRecord {
            l4proto: "udp".into(),
            localip: "10.0.0.1".into(),
            localport: 68,
            remoteip: "0.0.0.0".into(),
            state: connect_record::State::Close.into(),
            ..ConnectRecord::default()
        };
        let text = report(&args("-ap"), vec![("n".into(), vec![listening, udp])]);
        let expect = "NODE   PROTO   RECV-Q   SEND-Q   LOCAL ADDRESS   FOREIGN ADDRESS   STATE    PID/PROGRAM\n\
                      n      tcp6    0        0        [::]:50000      [::]:*            LISTEN   7/apid\n\
                      n      udp     0        0        10.0.0.1:68     0.0.0.0:*                  -\n";
        assert_eq!(text.render(Format::Table).expect("text"), expect);
    }
}
