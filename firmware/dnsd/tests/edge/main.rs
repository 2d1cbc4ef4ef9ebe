//! dnsd over real sockets, against name servers that do what they should, and others.

mod world;

use std::time::Duration;

use dnsd::message::{Name, Query, Rcode, write};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::{Instant, timeout},
};
use wire::dnsd::Transport;
use world::{LIMIT, Server, Upstream, addresses, converse, good, place, silent};

#[tokio::test]
async fn a_question_is_asked_once_and_kept() {
    let upstream = Upstream::start(good).await;
    let server = Server::start(&[upstream.address]).await;
    let said = server.ask("Www.Example.ORG").await;
    assert_eq!((said.rcode, said.name.as_str(), said.records), (Rcode::NoError, "Www.Example.ORG", 1));
    assert_eq!(server.ask("www.example.org").await.records, 1);
    assert_eq!(server.ask_tcp("WWW.example.org").await.records, 1);
    assert_eq!(upstream.times(), 1);
    // Another kind of answer, and what is known here.
    assert_eq!(server.ask_with("www.example.org", Some(true)).await.records, 1);
    assert_eq!(upstream.times(), 2);
    assert_eq!((server.ask("db.lan").await.records, server.ask("printer").await.rcode), (1, Rcode::NxDomain));
    assert_eq!(upstream.times(), 2);
}

#[tokio::test]
async fn who_asks_the_same_at_the_same_time_shares_one_answer() {
    let upstream = Upstream::start(good).await;
    let server = Server::start(&[upstream.address]).await;
    let all = futures_util::future::join_all((0..50).map(|_| server.ask("busy.example.org"))).await;
    assert!(all.iter().all(|said| said.records == 1));
    assert_eq!(upstream.times(), 1);
}

#[tokio::test]
async fn a_server_that_is_silent_is_passed_by_until_it_speaks() {
    let first = Upstream::start(silent).await;
    let second = Upstream::start(good).await;
    let server = Server::start(&[first.address, second.address]).await;
    let well = |status: &wire::dnsd::DnsdStatus| status.upstreams.iter().map(|upstream| upstream.healthy).collect::<Vec<_>>();
    for name in ["a.example.org", "b.example.org"] {
        assert_eq!(server.ask(name).await.records, 1);
    }
    server.wait("for the silent one to be a bad one", |status| well(status) == [false, true]).await;
    let quick = Instant::now();
    assert_eq!(server.ask("c.example.org").await.records, 1);
    assert!(quick.elapsed() < Duration::from_millis(500), "the good one is asked first: {:?}", quick.elapsed());

    let address = first.address;
    drop(first);
    // The sockets are closed by their tasks.
    let first = timeout(LIMIT, async {
        loop {
            if UdpSocket::bind(address).await.is_ok() && tokio::net::TcpListener::bind(address).await.is_ok() {
                return Upstream::start_at(address, good).await;
            }
            tokio::task::yield_now().await;
        }
    });
    let first = first.await.expect("its place is free");
    let mut number = 0;
    let back = async {
        while well(&server.dnsd.status().borrow()) != [true, true] {
            number += 1;
            assert_eq!(server.ask(&format!("n{number}.example.org")).await.records, 1);
        }
    };
    timeout(LIMIT, back).await.expect("the first one is well again");
    assert!(first.times() >= 1);
}

/// Over UDP the answer does not fit.
fn long(query: &Query, transport: Transport) -> Vec<Vec<u8>> {
    match transport {
        Transport::Udp => {
            let mut reply = addresses(query, 0);
            reply[2] |= 0x02;
            vec![reply]
        }
        Transport::Tcp => vec![addresses(query, 100)],
    }
}

#[tokio::test]
async fn what_does_not_fit_comes_over_tcp() {
    let upstream = Upstream::start(long).await;
    let server = Server::start(&[upstream.address]).await;
    let said = server.ask("long.example.org").await;
    assert!(said.cut && said.records == 0, "{said:?}");
    assert_eq!(server.ask_tcp("long.example.org").await.records, 100);
    let asked: Vec<_> = upstream.asked.lock().unwrap().iter().map(|(_, transport)| *transport).collect();
    assert_eq!(asked, [Transport::Udp, Transport::Tcp]);
}

/// Noise, another number, another question, and at last the answer.
fn among_others(query: &Query, _: Transport) -> Vec<Vec<u8>> {
    let mut number = addresses(query, 3);
    number[1] ^= 1;
    let mut other = query.clone();
    other.question.name = Name::from_text("other.example.org").unwrap();
    let other = write::Answer::own(&other.question, Rcode::NxDomain, 0, &[]).reply(&other, 0, 512);
    vec![b"noise".to_vec(), number, other, addresses(query, 1)]
}

/// A server that has names in lower case only, over UDP with lies: as good as somebody who guesses.
fn flat(query: &Query, transport: Transport) -> Vec<Vec<u8>> {
    let mut query = query.clone();
    query.question.name = query.question.name.lower();
    vec![addresses(&query, if transport == Transport::Udp { 7 } else { 1 })]
}

/// One that does not know of EDNS.
fn old(query: &Query, _: Transport) -> Vec<Vec<u8>> {
    if query.edns.is_some() { vec![write::refusal(query.id, query.flags, Rcode::FormErr)] } else { good(query, Transport::Udp) }
}

#[tokio::test]
async fn servers_of_all_kinds() {
    for (conduct, asked) in [(among_others as world::Conduct, 1), (flat, 2), (old, 2)] {
        let upstream = Upstream::start(conduct).await;
        let server = Server::start(&[upstream.address]).await;
        // Long enough that its case does not stay by chance.
        let said = server.ask("a-name-of-many-letters-and-more-letters.example.org").await;
        assert_eq!((said.rcode, said.records, upstream.times()), (Rcode::NoError, 1, asked));
    }
}

/// Knows nothing about names that begin with `n`.
fn helpless(query: &Query, _: Transport) -> Vec<Vec<u8>> {
    if query.question.name.to_string().to_ascii_lowercase().starts_with('n') {
        return vec![write::Answer::own(&query.question, Rcode::ServFail, 0, &[]).reply(query, 0, 512)];
    }
    good(query, Transport::Udp)
}

#[tokio::test]
async fn a_server_with_an_excuse_is_not_the_last_word() {
    let (first, second) = (Upstream::start(helpless).await, Upstream::start(good).await);
    let server = Server::start(&[first.address, second.address]).await;
    assert_eq!((server.ask("n.example.org").await.records, second.times()), (1, 1));
    let server = Server::start(&[first.address]).await;
    assert_eq!(server.ask("n.example.org").await.rcode, Rcode::ServFail);
    let before = first.times();
    assert_eq!(server.ask("n.example.org").await.rcode, Rcode::ServFail);
    assert_eq!(first.times(), before, "for a moment it is remembered that nobody knows");
    assert!(server.dnsd.status().borrow().upstreams[0].healthy);
}

#[tokio::test]
async fn without_servers_there_is_an_answer_too() {
    let server = Server::start(&[]).await;
    assert_eq!(server.ask("example.org").await.rcode, Rcode::ServFail);
    // Nobody at the place, and nobody who speaks.
    let upstream = Upstream::start(silent).await;
    let server = Server::start(&[place(), upstream.address]).await;
    let before = Instant::now();
    assert_eq!(server.ask("example.org").await.rcode, Rcode::ServFail);
    assert!(before.elapsed() < Duration::from_secs(5), "sooner than the C library asks again: {:?}", before.elapsed());
}

#[tokio::test]
async fn everything_changes_while_it_runs() {
    let (first, second) = (Upstream::start(good).await, Upstream::start(good).await);
    let mut server = Server::start(&[first.address]).await;
    assert_eq!(server.ask("example.org").await.records, 1);
    let before = server.at();
    // An address that is not there can be listened on all the same.
    server.config.listen = vec![place(), "192.0.2.53:5335".parse().unwrap()];
    server.config.hosts.clear();
    server.change().await;
    assert_eq!((server.ask("example.org").await.records, first.times()), (1, 1), "what is kept stays");
    server.config.upstreams = vec![second.address];
    server.change().await;
    assert_eq!((server.ask("example.org").await.records, second.times()), (1, 1), "others may say something else");
    let gone = UdpSocket::bind(before).await;
    assert!(gone.is_ok() && TcpStream::connect(before).await.is_err(), "{gone:?}");
    let own = server.at();
    server.config.upstreams = vec![own];
    server.change().await;
    assert_eq!(server.ask("loop.example.org").await.rcode, Rcode::ServFail);
}

#[tokio::test]
async fn a_place_that_is_taken_is_waited_for() {
    let upstream = Upstream::start(good).await;
    let mut server = Server::start(&[upstream.address]).await;
    let taken = UdpSocket::bind(place()).await.unwrap();
    let address = taken.local_addr().unwrap();
    server.config.listen.push(address);
    server.dnsd.set(&server.config);
    server.wait("for the half that is free", |status| status.listening.len() == 3).await;
    assert_eq!(server.ask("example.org").await.records, 1, "the other place works");
    drop(taken);
    server.wait("for the other half", |status| status.listening.len() == 4).await;
}

#[tokio::test]
async fn connections_and_garbage_have_limits() {
    let upstream = Upstream::start(good).await;
    let server = Server::start(&[upstream.address]).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for length in 0..200 {
        let noise: Vec<u8> = (0..length).map(|at: u32| (at * 37 + length * 11) as u8).collect();
        socket.send_to(&noise, server.at()).await.unwrap();
    }
    // Several questions on one connection; a length that is too much ends it.
    let mut stream = TcpStream::connect(server.at()).await.unwrap();
    for name in ["a.example.org", "b.example.org"] {
        assert_eq!(converse(&mut stream, name).await.unwrap().records, 1);
    }
    stream.write_all(&[0xff, 0xff, 0]).await.unwrap();
    assert_eq!(timeout(LIMIT, stream.read(&mut [0; 9])).await.expect("closed").unwrap_or(0), 0);

    let mut many = Vec::new();
    for _ in 0..80 {
        many.push(TcpStream::connect(server.at()).await.unwrap());
    }
    let mut answered = 0;
    for stream in &mut many {
        answered += usize::from(converse(stream, "a.example.org").await.is_ok());
    }
    assert!((1..=64).contains(&answered), "{answered} of 80 connections are served");
    drop(many);
    // Those that are gone make room.
    let again = async { while TcpStream::connect(server.at()).await.is_err() || server.ask("c.example.org").await.records != 1 {} };
    timeout(LIMIT, again).await.expect("it still serves");
}

#[tokio::test]
async fn it_ends_when_it_is_told_to() {
    let upstream = Upstream::start(silent).await;
    let server = Server::start(&[upstream.address]).await;
    let mut waiting = TcpStream::connect(server.at()).await.unwrap();
    let tasks = server.tasks.clone();
    let asking = tokio::spawn(async move { converse(&mut waiting, "example.org").await.map(drop) });
    timeout(LIMIT, async {
        while upstream.times() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("asked");
    drop(server);
    tasks.close();
    timeout(LIMIT, tasks.wait()).await.expect("all tasks have ended");
    assert!(asking.await.unwrap().is_err());
}
