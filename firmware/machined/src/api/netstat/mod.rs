//! `Netstat`: the sockets of the host's network namespace, from the tables in /proc/net.
//!
//! - [`table`]: what a line of a table says, pure;
//! - [`owners`]: which process holds a socket.

mod owners;
mod table;

use std::{
    fs::File,
    io::{BufRead, BufReader, ErrorKind, Read},
    path::{Path, PathBuf},
};

use tonic::Status;
use wire::machine::{
    ConnectRecord, Netstat, NetstatRequest, NetstatResponse,
    netstat_request::{Filter, L4proto},
};

use self::table::Table;
pub(crate) use self::table::parse_all;

/// The tables of the namespace that machined is in, which is the host's.
const TABLES: &str = "/proc/net";
/// Longest line of a table; the kernel's have some 150 bytes.
const LINE: u64 = 1024;
/// Most sockets in one answer: it has to fit in a message.
const MOST: usize = 150_000;

/// Rules: reference, behaviour (c) "Details of file, process and container calls".
pub(super) fn netstat(request: &NetstatRequest) -> Result<NetstatResponse, Status> {
    let wanted = Wanted::of(request)?;
    let mut records = Vec::new();
    for table in &wanted.tables {
        read(&Path::new(TABLES).join(table.name()), *table, wanted.filter, &mut records)?;
    }
    if wanted.owners {
        owners::name(&mut records);
    }
    Ok(NetstatResponse { messages: vec![Netstat { metadata: None, connectrecord: records }] })
}

/// A request as it is meant.
#[derive(Debug, PartialEq)]
struct Wanted {
    tables: Vec<Table>,
    filter: Filter,
    owners: bool,
}

impl Wanted {
    /// No protocol named is all of them, no namespace named the host's.
    fn of(request: &NetstatRequest) -> Result<Self, Status> {
        let filter =
            Filter::try_from(request.filter).map_err(|_| Status::invalid_argument(format!("filter {} is unknown", request.filter)))?;
        let named = request.netns.as_ref().and_then(|spaces| spaces.netns.first());
        if let Some(name) = named {
            return Err(Status::not_found(format!(
                "there is no network namespace {name:?}: this version runs no pods, all its sockets are in the host's namespace"
            )));
        }
        let chosen: Vec<Table> = request.l4proto.map(|protocols| chosen(&protocols)).unwrap_or_default();
        let tables = if chosen.is_empty() { Table::ALL.to_vec() } else { chosen };
        Ok(Self { tables, filter, owners: request.feature.is_some_and(|feature| feature.pid) })
    }
}

fn chosen(protocols: &L4proto) -> Vec<Table> {
    let L4proto { tcp, tcp6, udp, udp6, udplite, udplite6, raw, raw6 } = *protocols;
    Table::ALL
        .into_iter()
        .zip([tcp, tcp6, udp, udp6, udplite, udplite6, raw, raw6])
        .filter_map(|(table, wanted)| wanted.then_some(table))
        .collect()
}

/// Adds the sockets of one table. A kernel without the protocol has no table of it.
fn read(path: &PathBuf, table: Table, filter: Filter, records: &mut Vec<ConnectRecord>) -> Result<(), Status> {
    let failed = |error: std::io::Error| Status::unknown(format!("read {}: {error}", path.display()));
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        opened => opened.map_err(failed)?,
    };
    let mut file = BufReader::new(file);
    let mut line = String::new();
    loop {
        line.clear();
        if (&mut file).take(LINE).read_line(&mut line).map_err(failed)? == 0 {
            return Ok(());
        }
        let Some(record) = table.line(&line).filter(|record| passes(record, filter)) else { continue };
        if records.len() >= MOST {
            let text = format!("there are more than {MOST} sockets; ask for fewer protocols, or only for those that listen");
            return Err(Status::resource_exhausted(text));
        }
        records.push(record);
    }
}

/// A socket without a peer listens; one with a peer is connected.
fn passes(record: &ConnectRecord, filter: Filter) -> bool {
    let alone = record.remoteport == 0 && record.remoteip.parse().is_ok_and(|address: std::net::IpAddr| address.is_unspecified());
    match filter {
        Filter::All => true,
        Filter::Listening => alone,
        Filter::Connected => !alone,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    use tonic::Code;
    use wire::machine::{
        connect_record::State,
        netstat_request::{Feature, NetNs},
    };

    use super::*;

    fn spaces(names: &[&str], hostnetwork: bool) -> Option<NetNs> {
        Some(NetNs { hostnetwork, netns: names.iter().map(|name| (*name).to_owned()).collect(), allnetns: false })
    }

    #[test]
    fn requests_are_understood() {
        let plain = NetstatRequest::default();
        assert_eq!(Wanted::of(&plain).expect("fine").tables, Table::ALL);
        let some = L4proto { tcp6: true, raw: true, ..L4proto::default() };
        let wanted = Wanted::of(&NetstatRequest { l4proto: Some(some), netns: spaces(&[], true), ..plain.clone() }).expect("fine");
        assert_eq!(wanted.tables.iter().map(|table| table.name()).collect::<Vec<_>>(), ["tcp6", "raw"]);
        for (request, code, text) in [
            (NetstatRequest { filter: 7, ..plain.clone() }, Code::InvalidArgument, "filter 7"),
            (NetstatRequest { netns: spaces(&["cni-1"], true), ..plain }, Code::NotFound, "\"cni-1\""),
        ] {
            let status = Wanted::of(&request).expect_err(text);
            assert!(status.code() == code && status.message().contains(text), "{status}");
        }
    }

    #[test]
    fn sockets_of_this_process_are_found_with_their_owner() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
        let port = u32::from(listener.local_addr().expect("bound").port());
        let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let near = u32::from(client.local_addr().expect("connected").port());
        let ask = |filter: Filter| {
            let l4proto = Some(L4proto { tcp: true, ..L4proto::default() });
            let request = NetstatRequest { filter: filter.into(), feature: Some(Feature { pid: true }), l4proto, netns: None };
            netstat(&request).expect("read").messages.remove(0).connectrecord
        };
        let listening = ask(Filter::Listening);
        let own = listening.iter().find(|record| record.localport == port).expect("listed");
        assert_eq!((own.localip.as_str(), own.state(), own.l4proto.as_str()), ("127.0.0.1", State::Listen, "tcp"));
        assert_eq!(own.process.as_ref().expect("named").pid, std::process::id());
        assert!(!listening.iter().any(|record| record.localport == near));
        let connected = ask(Filter::Connected);
        let own = connected.iter().find(|record| record.localport == near).expect("listed");
        assert_eq!((own.remoteip.as_str(), own.remoteport, own.state()), ("127.0.0.1", port, State::Established));
        assert!(ask(Filter::All).len() >= 3);
    }
}
