use std::{collections::VecDeque, net::Ipv4Addr};

use super::*;

/// A client that follows a script and notes what it is told.
struct Scripted {
    script: VecDeque<Option<State>>,
    told: mpsc::UnboundedSender<String>,
}

impl Client for Scripted {
    const BLIND: bool = true;

    async fn discover(&mut self, hostname: Option<&str>) -> Result<(), ClientError> {
        let _ = self.told.send(format!("discover {}", hostname.unwrap_or("-")));
        Ok(())
    }

    async fn recall(&mut self, address: Ipv4Addr, hostname: Option<&str>) -> Result<(), ClientError> {
        let _ = self.told.send(format!("recall {address} {}", hostname.unwrap_or("-")));
        Ok(())
    }

    async fn verify(&mut self, hostname: Option<&str>) -> Result<(), ClientError> {
        let _ = self.told.send(format!("verify {}", hostname.unwrap_or("-")));
        Ok(())
    }

    async fn next(&mut self) -> Result<State, ClientError> {
        match self.script.pop_front() {
            Some(Some(state)) => Ok(state),
            // Silence; the script goes on after the next start.
            Some(None) | None => std::future::pending().await,
        }
    }
}

fn lease() -> Box<Lease> {
    Box::new(Lease {
        address: "10.0.2.15/24".parse().unwrap(),
        routers: vec![],
        routes: vec![],
        resolvers: vec![],
        search: vec![],
        hostname: None,
        mtu: None,
        time_servers: vec![],
        server: Ipv4Addr::LOCALHOST.into(),
        lifetime: Duration::from_secs(3600),
    })
}

/// Plays a script with the cable in; answers what the client was told and what the owner heard, up to `told` starts.
async fn check(script: Vec<Option<State>>, starts: &[&str], heard: &[&str]) {
    check_with(None, script, starts, heard).await;
}

/// As [`check`], for a link whose last address is remembered.
async fn check_with(remembered: Option<Ipv4Addr>, script: Vec<Option<State>>, starts: &[&str], heard: &[&str]) {
    let (told, mut telling) = mpsc::unbounded_channel();
    let (events, mut hearing) = mpsc::channel(16);
    let (_conditions, receiver) = watch::channel(Conditions { carrier: true, hostname: Some("n1".to_owned()), link_local: None });
    let stop = CancellationToken::new();
    let task = tokio::spawn(drive(
        Scripted { script: script.into(), told },
        std::future::ready(remembered),
        "dhcp4/eth0".into(),
        receiver,
        events,
        stop.clone(),
    ));
    for wanted in starts {
        assert_eq!(telling.recv().await.as_deref(), Some(*wanted));
    }
    for wanted in heard {
        let event = match hearing.recv().await {
            Some(Event::Bound { id, .. }) if &*id == "dhcp4/eth0" => "bound",
            Some(Event::Lost { id }) if &*id == "dhcp4/eth0" => "lost",
            other => panic!("{other:?}"),
        };
        assert_eq!(event, *wanted);
    }
    stop.cancel();
    task.await.unwrap();
    assert!(hearing.try_recv().is_err(), "nothing else was heard");
}

#[tokio::test(start_paused = true)]
async fn the_usual_way() {
    let script = vec![Some(State::Requesting), Some(State::Bound(lease())), Some(State::Renewing), Some(State::Bound(lease()))];
    check(script, &["discover n1"], &["bound", "bound"]).await;
}

const LAST: Option<Ipv4Addr> = Some(Ipv4Addr::new(10, 0, 2, 15));

#[tokio::test(start_paused = true)]
async fn a_remembered_address_is_asked_for_first() {
    check_with(LAST, vec![Some(State::Bound(lease()))], &["recall 10.0.2.15 n1"], &["bound"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_remembered_address_that_is_refused_or_unknown_is_forgotten() {
    let refused = vec![Some(State::Refused), Some(State::Requesting), Some(State::Bound(lease()))];
    check_with(LAST, refused, &["recall 10.0.2.15 n1"], &["lost", "bound"]).await;
    let unknown = vec![None, Some(State::Requesting), Some(State::Bound(lease()))];
    check_with(LAST, unknown, &["recall 10.0.2.15 n1", "discover n1"], &["bound"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_starts_over() {
    let script = vec![Some(State::Requesting), None, Some(State::Requesting), Some(State::Bound(lease()))];
    check(script, &["discover n1", "discover n1"], &["bound"]).await;
}

#[tokio::test(start_paused = true)]
async fn an_unanswered_renewal_is_verified_and_a_refusal_gives_the_lease_up() {
    let script = vec![
        Some(State::Bound(lease())),
        Some(State::Renewing),
        None,
        Some(State::Refused),
        Some(State::Requesting),
        Some(State::Bound(lease())),
    ];
    check(script, &["discover n1", "verify n1"], &["bound", "lost", "bound"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_costs_no_lease() {
    let script = vec![Some(State::Bound(lease())), Some(State::Renewing), None, Some(State::Discovering), None];
    check(script, &["discover n1", "verify n1"], &["bound"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_cable_that_comes_back_verifies_and_none_at_all_waits() {
    let (told, mut telling) = mpsc::unbounded_channel();
    let (events, mut hearing) = mpsc::channel(16);
    let (conditions, receiver) = watch::channel(Conditions::default());
    let stop = CancellationToken::new();
    let script = vec![Some(State::Bound(lease()))].into();
    let task =
        tokio::spawn(drive(Scripted { script, told }, std::future::ready(None), "dhcp4/eth0".into(), receiver, events, stop.clone()));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(telling.try_recv().is_err(), "no cable, no start");
    conditions.send_modify(|now| now.carrier = true);
    assert_eq!(telling.recv().await.as_deref(), Some("discover -"));
    assert!(matches!(hearing.recv().await, Some(Event::Bound { .. })));
    conditions.send_modify(|now| now.carrier = false);
    tokio::task::yield_now().await;
    conditions.send_modify(|now| now.carrier = true);
    assert_eq!(telling.recv().await.as_deref(), Some("verify -"));
    conditions.send_modify(|now| now.hostname = Some("n2".to_owned()));
    assert_eq!(telling.recv().await.as_deref(), Some("verify n2"));
    stop.cancel();
    task.await.unwrap();
}
