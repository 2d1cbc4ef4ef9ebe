//! A batch to the kernel, and what the kernel has.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use nix::{
    errno::Errno,
    sys::{
        socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendto, setsockopt, socket, sockopt},
        time::TimeVal,
    },
};

use super::{
    Table, Verdict,
    compile::{self, Batch, GET_CHAIN, GET_RULE, INET, SUBSYSTEM},
    message::{DUMP, FAMILY_HEADER, HEADER, Messages, attributes, messages, number, text},
};

/// `NLMSG_ERROR`, `NLMSG_DONE`, and the text in an error (`NLMSGERR_ATTR_MSG`).
const ERROR: u16 = 2;
const DONE: u16 = 3;
const ERROR_TEXT: u16 = 1;
/// The kernel's answers are taken in pieces of at most this.
const BUFFER: usize = 64 * 1024;
/// Room for answers to a batch that is refused message by message.
const RECEIVE: usize = 1 << 20;
/// The kernel answers while it is told; a longer wait is a lost answer.
const PATIENCE_SECONDS: i64 = 10;

/// The kernel did not do it.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are the object and the cause of the operation in the message")]
pub enum FilterError {
    #[error("speak to the kernel's packet filter")]
    Socket { source: io::Error },
    #[error("the kernel refuses {what}{detail}")]
    Refused { what: String, detail: String, source: io::Error },
    #[error("the kernel has another table than it was given: {what}")]
    Differs { what: String },
}

/// A table as the kernel has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its chains, in the kernel's order.
    pub chains: Vec<SeenChain>,
}

/// A chain as the kernel has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenChain {
    /// Its name.
    pub name: String,
    /// Where it hooks in.
    pub hook: u32,
    /// Its priority.
    pub priority: i32,
    /// What it does with packets that no rule decides on.
    pub policy: u32,
    /// Names of the expressions of each rule.
    pub rules: Vec<Vec<String>>,
}

/// Makes the table what it is here, or removes it when it has no chains: packets see the old rules or the new. Then reads it back.
/// Blocks for as long as the kernel takes.
///
/// # Errors
/// [`FilterError`]; after [`FilterError::Refused`] the old rules hold.
pub fn replace(table: &Table) -> Result<(), FilterError> {
    let batch = compile::replace(table);
    let socket = open()?;
    send(&socket, batch.messages.bytes())?;
    acknowledged(&socket, &batch)?;
    let seen = read(&table.name)?;
    differs(table, &seen).map_or(Ok(()), |what| Err(FilterError::Differs { what }))
}

/// What the kernel has under a table's name; no chains when there is no such table.
///
/// # Errors
/// [`FilterError`].
pub fn read(name: &str) -> Result<Seen, FilterError> {
    let mut seen = Seen::default();
    for attributes in dump(GET_CHAIN, name)? {
        let find = |kind: u16| attributes.iter().find(|(known, _)| *known == kind).map(|(_, value)| value.as_slice());
        if find(1).map(text).as_deref() != Some(name) {
            continue;
        }
        let hook = find(4).map(super::message::attributes).unwrap_or_default();
        let part = |kind: u16| hook.iter().find(|(known, _)| *known == kind).map_or(0, |(_, value)| number(value));
        seen.chains.push(SeenChain {
            name: find(3).map(text).unwrap_or_default(),
            hook: part(1),
            priority: part(2).cast_signed(),
            policy: find(5).map_or(0, number),
            rules: Vec::new(),
        });
    }
    for attributes in dump(GET_RULE, name)? {
        let find = |kind: u16| attributes.iter().find(|(known, _)| *known == kind).map(|(_, value)| value.as_slice());
        let chain = find(2).map(text).unwrap_or_default();
        if find(1).map(text).as_deref() == Some(name)
            && let Some(chain) = seen.chains.iter_mut().find(|known| known.name == chain)
        {
            chain.rules.push(expressions(find(4).unwrap_or_default()));
        }
    }
    Ok(seen)
}

/// Names of the expressions in a rule's list.
fn expressions(list: &[u8]) -> Vec<String> {
    let name = |element: &[u8]| attributes(element).iter().find(|(kind, _)| *kind == 1).map(|(_, name)| text(name));
    attributes(list).into_iter().filter_map(|(_, element)| name(element)).collect()
}

/// Where the kernel's table is not the wanted one.
fn differs(table: &Table, seen: &Seen) -> Option<String> {
    if table.chains.len() != seen.chains.len() {
        return Some(format!("{} chains instead of {}", seen.chains.len(), table.chains.len()));
    }
    for chain in &table.chains {
        let Some(found) = seen.chains.iter().find(|found| found.name == chain.name) else {
            return Some(format!("no chain {}", chain.name));
        };
        let policy = if chain.policy == Verdict::Drop { 0 } else { 1 };
        if (found.hook, found.priority, found.policy) != (chain.hook as u32, chain.priority, policy) {
            return Some(format!("chain {} hooks in elsewhere or has another policy", chain.name));
        }
        let wanted: usize = chain.rules.iter().map(|rule| compile::families(rule).len()).sum();
        if found.rules.len() != wanted {
            return Some(format!("chain {} has {} rules instead of {wanted}", chain.name, found.rules.len()));
        }
    }
    None
}

fn open() -> Result<OwnedFd, FilterError> {
    let opened = || -> nix::Result<OwnedFd> {
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkNetFilter)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        // Beyond the usual limit where the process may; a short buffer only loses words of an error.
        let _ = setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE).or_else(|_| setsockopt(&fd, sockopt::RcvBuf, &RECEIVE));
        setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::new(PATIENCE_SECONDS, 0))?;
        Ok(fd)
    };
    let fd = opened().map_err(failed)?;
    words(&fd);
    Ok(fd)
}

fn failed(errno: Errno) -> FilterError {
    FilterError::Socket { source: errno.into() }
}

/// Asks for errors with the kernel's own words and without the message they are about; a kernel that does not know them leaves
/// both as they were.
fn words(fd: &OwnedFd) {
    let on: libc::c_int = 1;
    for option in [libc::NETLINK_CAP_ACK, libc::NETLINK_EXT_ACK] {
        let length = libc::socklen_t::try_from(size_of_val(&on)).unwrap_or_default();
        // SAFETY: the pointer is to an integer that lives through the call, and its length is that of an integer.
        let _ = unsafe { libc::setsockopt(fd.as_raw_fd(), libc::SOL_NETLINK, option, (&raw const on).cast(), length) };
    }
}

/// A batch is one datagram: the kernel takes no longer one than the socket's buffer.
fn send(socket: &OwnedFd, bytes: &[u8]) -> Result<(), FilterError> {
    let room = bytes.len() + BUFFER;
    let _ = setsockopt(socket, sockopt::SndBufForce, &room).or_else(|_| setsockopt(socket, sockopt::SndBuf, &room));
    sendto(socket.as_raw_fd(), bytes, &NetlinkAddr::new(0, 0), MsgFlags::empty()).map(drop).map_err(failed)
}

/// Waits for the answer to the batch's last message. Errors of the others come before it.
fn acknowledged(socket: &OwnedFd, batch: &Batch) -> Result<(), FilterError> {
    let mut buffer = vec![0; BUFFER];
    let mut refused = None;
    loop {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()).map_err(failed)?;
        for message in messages(buffer.get(..length).unwrap_or_default()).into_iter().filter(|message| message.kind == ERROR) {
            let (code, detail) = error(message.payload);
            if code != 0 && refused.is_none() {
                let subject = batch.subjects.iter().find(|(sequence, _)| *sequence == message.sequence);
                let what = subject.map_or_else(|| "the batch".to_owned(), |(_, subject)| subject.clone());
                refused = Some(FilterError::Refused { what, detail, source: io::Error::from_raw_os_error(code) });
            }
            // The batch as a whole (sequence of its begin) is answered only when something is wrong with it.
            if message.sequence == batch.last || message.sequence <= 1 {
                return refused.map_or(Ok(()), Err);
            }
        }
    }
}

/// An error's number and the kernel's words for it.
fn error(payload: &[u8]) -> (i32, String) {
    let code = payload.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes)).saturating_neg();
    let said = attributes(payload.get(4 + HEADER..).unwrap_or_default());
    let said = said.iter().find(|(kind, _)| *kind == ERROR_TEXT).map(|(_, words)| format!(" ({})", text(words)));
    (code, said.unwrap_or_default())
}

/// What is understood of a datagram: of each message its kind, its error, and the expressions in each of its attributes.
pub(crate) fn understood(datagram: &[u8]) -> Vec<(u16, i32, Vec<String>)> {
    let one = |payload: &[u8]| {
        let lists = attributes(payload.get(FAMILY_HEADER..).unwrap_or_default());
        (error(payload).0, lists.into_iter().flat_map(|(_, list)| expressions(list)).collect())
    };
    let all = messages(datagram).into_iter().map(|message| (message.kind, one(message.payload)));
    all.map(|(kind, (code, expressions))| (kind, code, expressions)).collect()
}

/// Attributes of a message.
type Object = Vec<(u16, Vec<u8>)>;

/// Everything of a kind.
fn dump(kind: u16, table: &str) -> Result<Vec<Object>, FilterError> {
    let socket = open()?;
    let mut request = Messages::default();
    request.add(SUBSYSTEM << 8 | kind, DUMP, INET, 0, |out| _ = out.text(1, table));
    send(&socket, request.bytes())?;
    let (mut found, mut buffer) = (Vec::new(), vec![0; BUFFER]);
    loop {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()).map_err(failed)?;
        for message in messages(buffer.get(..length).unwrap_or_default()) {
            match message.kind {
                DONE => return Ok(found),
                ERROR => {
                    let (code, detail) = error(message.payload);
                    // There is no such table.
                    if code == libc::ENOENT {
                        return Ok(Vec::new());
                    }
                    let source = io::Error::from_raw_os_error(code);
                    return Err(FilterError::Refused { what: format!("to show table {table}"), detail, source });
                }
                _ => {
                    let owned = attributes(message.payload.get(FAMILY_HEADER..).unwrap_or_default());
                    found.push(owned.into_iter().map(|(kind, value)| (kind, value.to_vec())).collect());
                }
            }
        }
    }
}
