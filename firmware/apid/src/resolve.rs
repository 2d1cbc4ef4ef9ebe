//! Names of other nodes to addresses: questions to the node's name servers over TCP (RFC 1035, RFC 7766).
//!
//! Of its own because the C library's resolver reads files, starts threads and sends datagrams, and apid's sandbox has none of these.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// One server's answer to one question; then the next server is asked.
const LIMIT: Duration = Duration::from_secs(3);
/// Servers that are asked.
const SERVERS: usize = 3;
const PORT: u16 = 53;
/// Bytes before the questions of a message.
const HEADER: usize = 12;
/// Longest label, bytes.
const LABEL: usize = 63;
/// Addresses of a name that are looked at.
const ADDRESSES: usize = 8;
const CLASS_IN: u16 = 1;

/// Address families, with their number of a record.
const FAMILIES: [u16; 2] = [A, AAAA];
const A: u16 = 1;
const AAAA: u16 = 28;

/// The addresses of a name: the first server's that knows any.
pub(crate) async fn addresses(name: &str, servers: &[IpAddr]) -> io::Result<Vec<IpAddr>> {
    let mut problem = io::Error::other("this node has no name servers; use an address");
    for server in servers.iter().take(SERVERS) {
        match timeout(LIMIT, ask((*server, PORT).into(), name)).await {
            Ok(Ok(addresses)) if !addresses.is_empty() => return Ok(addresses),
            Ok(Ok(_)) => problem = io::Error::new(io::ErrorKind::NotFound, format!("{name} has no address")),
            Ok(Err(error)) => problem = io::Error::new(error.kind(), format!("ask {server} for {name}: {error}")),
            Err(_) => problem = io::Error::new(io::ErrorKind::TimedOut, format!("ask {server} for {name}: no answer")),
        }
    }
    Err(problem)
}

async fn ask(server: SocketAddr, name: &str) -> io::Result<Vec<IpAddr>> {
    let mut stream = TcpStream::connect(server).await?;
    let mut addresses = Vec::new();
    for (id, family) in (1..).zip(FAMILIES) {
        let question = question(id, name, family).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a host name"))?;
        stream.write_all(&question).await?;
        let length = stream.read_u16().await?;
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await?;
        let found = read(&answer, id).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no answer to the question"))?;
        addresses.extend(found);
    }
    addresses.truncate(ADDRESSES);
    Ok(addresses)
}

/// A question with its length in front, as TCP has it.
fn question(id: u16, name: &str, family: u16) -> Option<Vec<u8>> {
    let mut body = Vec::with_capacity(HEADER + name.len() + 6);
    // Recursion is desired; one question, nothing else.
    for word in [id, 0x0100, 1, 0, 0, 0] {
        body.extend(word.to_be_bytes());
    }
    for label in name.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=LABEL).contains(&usize::from(*length)))?;
        body.push(length);
        body.extend(label.bytes());
    }
    body.push(0);
    body.extend(family.to_be_bytes());
    body.extend(CLASS_IN.to_be_bytes());
    let mut message = u16::try_from(body.len()).ok()?.to_be_bytes().to_vec();
    message.extend(body);
    Some(message)
}

/// The addresses in an answer, whatever chain of names leads to them; `None` when it is no answer to that question.
fn read(message: &[u8], id: u16) -> Option<Vec<IpAddr>> {
    let word = |at: usize| message.get(at..)?.first_chunk::<2>().map(|pair| u16::from_be_bytes(*pair));
    let (flags, questions, answers) = (word(2)?, word(4)?, word(6)?);
    // An answer, whole, and either good or "no such name".
    if word(0)? != id || flags & 0x8000 == 0 || flags & 0x0200 != 0 || !matches!(flags & 0xf, 0 | 3) {
        return None;
    }
    let mut at = HEADER;
    for _ in 0..questions {
        at = skip_name(message, at)?.checked_add(4)?;
    }
    let mut addresses = Vec::new();
    for _ in 0..answers {
        at = skip_name(message, at)?;
        let (kind, class, length) = (word(at)?, word(at + 2)?, usize::from(word(at + 8)?));
        let data = message.get(at + 10..)?.get(..length)?;
        match (kind, class) {
            (A, CLASS_IN) => addresses.extend(<[u8; 4]>::try_from(data).ok().map(|bytes| IpAddr::from(Ipv4Addr::from(bytes)))),
            (AAAA, CLASS_IN) => addresses.extend(<[u8; 16]>::try_from(data).ok().map(|bytes| IpAddr::from(Ipv6Addr::from(bytes)))),
            _ => {}
        }
        at += 10 + length;
    }
    Some(addresses)
}

/// Where a name ends. A pointer ends it; what it points at is not looked at.
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length if length & 0xc0 == 0xc0 => return Some(at + 2),
            length if usize::from(length) <= LABEL => at += 1 + usize::from(length),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Made by hand after RFC 1035, section 4: `n.lan`, an alias of `m`, which has one address of each family.
    fn answer(id: u16, flags: u16) -> Vec<u8> {
        let mut message = Vec::new();
        for word in [id, flags, 1, 3, 0, 0] {
            message.extend(word.to_be_bytes());
        }
        message.extend(b"\x01n\x03lan\0\0\x01\0\x01");
        message.extend(b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x03\x01m\0");
        message.extend(b"\x01m\0\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x07");
        message.extend(b"\xc0\x20\0\x1c\0\x01\0\0\0\x3c\0\x10\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x07");
        message
    }

    #[test]
    fn questions_are_those_of_the_rfc() {
        let wanted = b"\0\x17\0\x07\x01\0\0\x01\0\0\0\0\0\0\x01n\x03lan\0\0\x1c\0\x01";
        assert_eq!(question(7, "n.lan.", AAAA).as_deref(), Some(&wanted[..]));
        for bad in ["", "a..b", &"x".repeat(64)] {
            assert_eq!(question(7, bad, A), None, "{bad:?}");
        }
    }

    #[test]
    fn answers_are_read_through_aliases() {
        let found: Vec<String> = read(&answer(7, 0x8180), 7).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.0.7", "fd00::7"]);
        assert_eq!(read(&answer(8, 0x8180), 7), None, "of another question");
        assert_eq!(read(&answer(7, 0x0100), 7), None, "a question");
        assert_eq!(read(&answer(7, 0x8182), 7), None, "the server failed");
        assert_eq!(read(&answer(7, 0x8380), 7), None, "cut");
        for length in 0..answer(7, 0x8180).len() {
            assert_eq!(read(&answer(7, 0x8180)[..length], 7), None, "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn garbage_does_no_harm(mut bytes in prop::collection::vec(any::<u8>(), 0..120), whole in any::<bool>()) {
            let _ = read(&bytes, 7);
            if whole {
                let mut message = answer(7, 0x8180)[..HEADER].to_vec();
                message.append(&mut bytes);
                let _ = read(&message, 7);
            }
        }

        #[test]
        fn any_name_is_asked_for_or_refused(name in ".{0,300}") {
            let _ = question(1, &name, A);
        }
    }

    /// A server of one connection.
    #[tokio::test]
    async fn a_server_is_asked_for_both_families() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let server = listener.local_addr().expect("address");
        let serving = async {
            let (mut stream, _) = listener.accept().await.expect("accepted");
            for _ in FAMILIES {
                let length = stream.read_u16().await.expect("length");
                let mut question = vec![0; usize::from(length)];
                stream.read_exact(&mut question).await.expect("question");
                let id = u16::from_be_bytes([question[0], question[1]]);
                let answer = answer(id, 0x8180);
                stream.write_u16(u16::try_from(answer.len()).expect("short")).await.expect("sent");
                stream.write_all(&answer).await.expect("sent");
            }
        };
        let (found, ()) = tokio::join!(ask(server, "n.lan"), serving);
        assert_eq!(found.expect("answered").len(), 4);
    }
}
