//! Nodes that ask trustd on loopback, over real connections.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use pki::{Authority, AuthorityKind, ClientRequest, Identity, Secret, ServerRequest};
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Code, Request, Status};
use trustd::{Changer, Signer};
use wire::{
    security::{CertificateRequest, CertificateResponse, security_service_client::SecurityServiceClient},
    tls,
    trustd_config::TrustdConfig,
};
use zeroize::Zeroizing;

const TOKEN: &str = "abcdef.0123456789abcdef";
const DAY: Duration = Duration::from_secs(24 * 3600);
const LIMIT: Duration = Duration::from_secs(10);
const LOCALHOST: [IpAddr; 1] = [IpAddr::V4(Ipv4Addr::LOCALHOST)];
const ADDRESSES: [IpAddr; 1] = [IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2))];

struct World {
    ca: Authority,
    config: TrustdConfig,
    port: u16,
    changer: Changer,
    tasks: TaskTracker,
    stop: CancellationToken,
}

fn config(ca: &Authority, accepted: &str) -> TrustdConfig {
    let request = ServerRequest { common_name: "node-1", names: &[], addresses: &LOCALHOST, life: DAY };
    let server = ca.issue_server(&request, SystemTime::now()).expect("certificate");
    let own = ca.to_pem().expect("authority");
    let secret = |text: &Secret| Zeroizing::new(text.expose().to_owned());
    TrustdConfig {
        listen: "127.0.0.1:0".parse().expect("address"),
        server_chain_pem: server.cert_pem,
        server_key_pem: secret(&server.key_pem),
        authority_pem: own.cert_pem,
        authority_key_pem: secret(&own.key_pem.expect("a key")),
        accepted_pem: accepted.to_owned(),
        token: Zeroizing::new(TOKEN.to_owned()),
    }
}

async fn world() -> World {
    let ca = Authority::generate(AuthorityKind::Os, SystemTime::now()).expect("authority");
    let config = config(&ca, ca.cert_pem());
    let signer = Signer::bind(config.clone()).await.expect("bound");
    let (port, changer) = (signer.address().port(), signer.changer());
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    tasks.spawn(signer.serve(tasks.clone(), stop.clone()));
    World { ca, config, port, changer, tasks, stop }
}

impl World {
    /// Asks with a request for these names.
    async fn ask(&self, token: Option<&str>, own: Option<&Identity>, names: &[&str]) -> Result<Identity, Status> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let request = ServerRequest { common_name: "node-2", names: &names, addresses: &ADDRESSES, life: DAY };
        let (request, key) = pki::request_server(&request, self.ca.cert_pem()).expect("request");
        let reply = self.send(token, own, request.into_bytes()).await?;
        Ok(Identity { cert_pem: String::from_utf8(reply.crt).expect("text"), key_pem: key })
    }

    async fn send(&self, token: Option<&str>, own: Option<&Identity>, csr: Vec<u8>) -> Result<CertificateResponse, Status> {
        let roots = tls::roots("the authority", &self.config.accepted_pem).expect("roots");
        let own = own.map(|own| tls::Identity::from_pem(&own.cert_pem, own.key_pem.expose()).expect("usable"));
        let settings: Arc<_> = tls::client_config(roots, own).expect("settings");
        let endpoint = tls::endpoint("127.0.0.1", self.port).expect("endpoint");
        let channel = tls::connect(endpoint, "127.0.0.1", self.port, settings).await.expect("connected");
        let mut message = Request::new(CertificateRequest { csr });
        if let Some(token) = token {
            message.metadata_mut().insert("token", token.parse().expect("value"));
        }
        let mut client = SecurityServiceClient::new(channel);
        timeout(LIMIT, client.certificate(message)).await.expect("in time").map(tonic::Response::into_inner)
    }

    fn check(&self, identity: &Identity) -> Result<usize, pki::Error> {
        pki::check_server(&identity.cert_pem, &identity.key_pem, self.ca.cert_pem(), SystemTime::now())
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, text: &str) {
    let status = answer.expect_err(text);
    assert_eq!((status.code(), status.message().contains(text)), (code, true), "{status:?}");
}

#[tokio::test]
async fn the_token_opens() {
    let world = world().await;
    let signed = world.ask(Some(TOKEN), None, &["node-2", "node-2.lan"]).await.expect("signed");
    assert_eq!(world.check(&signed).expect("good"), 0);
    let leaf = &pki::read_chain(&signed.cert_pem).expect("chain")[0];
    assert_eq!(pki::server_names(leaf).expect("names"), ["10.0.0.2", "node-2", "node-2.lan"].map(str::to_owned).into());
    let life = pki::expires(leaf).expect("end").duration_since(SystemTime::now()).expect("later");
    assert!(life <= DAY && life > DAY - LIMIT * 6, "{life:?}");
    refused(world.ask(None, None, &[]).await, Code::Unauthenticated, "missing token");
    refused(world.ask(Some("abcdef.0123456789abcdeg"), None, &[]).await, Code::Unauthenticated, "invalid token");
    for csr in [vec![], b"rubbish".to_vec(), vec![0xff; 9], vec![b'x'; pki::MAX_REQUEST + 1]] {
        refused(world.send(Some(TOKEN), None, csr).await, Code::InvalidArgument, "");
    }
    // Longer than any message may be.
    world.send(Some(TOKEN), None, vec![b'x'; 1 << 20]).await.expect_err("too long");
    world.stop.cancel();
    world.tasks.close();
    timeout(LIMIT, world.tasks.wait()).await.expect("all tasks end");
}

#[tokio::test]
async fn a_certificate_is_renewed_without_the_token_and_says_no_more_than_before() {
    let world = world().await;
    let first = world.ask(Some(TOKEN), None, &["node-2"]).await.expect("signed");
    let second = world.ask(None, Some(&first), &["node-2"]).await.expect("renewed");
    assert_eq!(world.check(&second).expect("good"), 0);
    world.ask(None, Some(&second), &[]).await.expect("fewer names");
    refused(world.ask(None, Some(&second), &["node-1"]).await, Code::PermissionDenied, "takes the token");
    world.ask(Some(TOKEN), Some(&second), &["node-3"]).await.expect("more names, and the token");
    refused(world.ask(Some("wrong"), Some(&second), &["node-2"]).await, Code::Unauthenticated, "invalid token");
}

#[tokio::test]
async fn other_certificates_open_nothing() {
    let world = world().await;
    // An administrator's is none of a node's: who has one must not become a node.
    let admin = ClientRequest { common_name: None, organization: "os:admin", life: DAY };
    let admin = world.ca.issue_client(&admin, SystemTime::now()).expect("certificate");
    world.ask(None, Some(&admin), &["node-2"]).await.expect_err("a client's");
    let foreign = Authority::generate(AuthorityKind::Os, SystemTime::now()).expect("authority");
    let request = ServerRequest { common_name: "node-2", names: &[], addresses: &ADDRESSES, life: DAY };
    let stranger = foreign.issue_server(&request, SystemTime::now()).expect("certificate");
    world.ask(None, Some(&stranger), &[]).await.expect_err("of another authority");
    let late = world.ca.issue_server(&request, SystemTime::now() - DAY * 2).expect("certificate");
    world.ask(None, Some(&late), &[]).await.expect_err("run out");
    assert!(world.ask(None, Some(&world.ca.issue_server(&request, SystemTime::now()).expect("certificate")), &[]).await.is_ok());
}

#[tokio::test]
async fn who_guesses_waits() {
    let world = world().await;
    for _ in 0..10 {
        refused(world.ask(Some("wrong"), None, &[]).await, Code::Unauthenticated, "invalid token");
    }
    refused(world.ask(Some("wrong"), None, &[]).await, Code::ResourceExhausted, "wait a minute");
    refused(world.ask(Some(TOKEN), None, &[]).await, Code::ResourceExhausted, "wait a minute");
}

#[tokio::test]
async fn authorities_change_while_it_serves() {
    let world = world().await;
    let old = world.ask(Some(TOKEN), None, &["node-2"]).await.expect("signed");
    let new = Authority::generate(AuthorityKind::Os, SystemTime::now()).expect("authority");
    let both = format!("{}{}", new.cert_pem(), world.ca.cert_pem());
    let listen = world.config.listen;
    world.changer.change(&TrustdConfig { listen, ..config(&new, &both) }).expect("changed");
    let world = World { config: TrustdConfig { accepted_pem: both.clone(), ..world.config.clone() }, ..world };
    let signed = world.ask(None, Some(&old), &["node-2"]).await.expect("the old one renews");
    assert_eq!(pki::check_server(&signed.cert_pem, &signed.key_pem, &both, SystemTime::now()).expect("good"), 0, "the new one signs");
    // The old one goes.
    world.changer.change(&TrustdConfig { listen, ..config(&new, new.cert_pem()) }).expect("changed");
    world.ask(None, Some(&old), &["node-2"]).await.expect_err("not accepted any more");
    world.ask(None, Some(&signed), &["node-2"]).await.expect("accepted");
    // What cannot be used changes nothing.
    for broken in [
        TrustdConfig { listen: "127.0.0.1:1".parse().expect("address"), ..config(&new, new.cert_pem()) },
        TrustdConfig { token: Zeroizing::default(), listen, ..config(&new, new.cert_pem()) },
        TrustdConfig { authority_key_pem: Zeroizing::new("rubbish".into()), listen, ..config(&new, new.cert_pem()) },
        TrustdConfig { authority_pem: world.ca.cert_pem().to_owned(), listen, ..config(&new, new.cert_pem()) },
    ] {
        world.changer.change(&broken).expect_err("refused");
    }
    world.ask(Some(TOKEN), None, &["node-2"]).await.expect("still there");
}
