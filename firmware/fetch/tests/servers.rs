//! Against servers in this process that answer by a script.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use fetch::{Client, FetchError, Limits, Url, web_roots};
use rustls::{RootCertStore, ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

const LIMITS: Limits = Limits { bytes: 1000, redirects: 3, connect: Duration::from_secs(10), attempt: Duration::from_secs(20) };

/// A server: its answers, one a connection, and the heads of the requests that it got.
struct Server {
    origin: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(answers: &[&str], tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let origin = format!("{scheme}://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let mut answers: VecDeque<String> = answers.iter().map(|answer| answer.replace("ORIGIN", &origin)).collect();
        let heard = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Some(answer) = answers.pop_front() {
                let (stream, _) = listener.accept().await.unwrap();
                match &tls {
                    // A client that does not believe the server goes away.
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            serve(stream, &answer, &heard).await
                        }
                    }
                    None => serve(stream, &answer, &heard).await,
                }
            }
        });
        Self { origin, requests }
    }

    fn url(&self, path: &str) -> Url {
        Url::parse(&format!("{}{path}", self.origin)).unwrap()
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str, heard: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    heard.lock().unwrap().push(String::from_utf8(head).unwrap());
    stream.write_all(answer.as_bytes()).await.unwrap();
    // "hang": no end of it.
    if answer.ends_with("hang") {
        std::future::pending::<()>().await;
    }
    // A client that has enough does not wait for the end.
    let _ = stream.shutdown().await;
}

fn client() -> Client {
    Client::new(web_roots(), LIMITS).unwrap()
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntext";

/// What `/start?a=b` brings from a server with these answers.
async fn get(answers: &[&str]) -> (Result<String, FetchError>, Vec<String>) {
    let server = Server::start(answers, None).await;
    let found = client().get(&server.url("/start?a=b")).await;
    let requests = server.requests.lock().unwrap().clone();
    (found.map(|bytes| String::from_utf8(bytes).unwrap()), requests)
}

#[track_caller]
fn first_lines(requests: &[String]) -> Vec<&str> {
    requests.iter().map(|head| head.lines().next().unwrap()).collect()
}

#[tokio::test]
async fn documents_of_all_kinds_of_servers() {
    let (found, requests) = get(&[OK]).await;
    assert_eq!(found.unwrap(), "text");
    assert_eq!(first_lines(&requests), ["GET /start?a=b HTTP/1.1"]);
    let head = requests[0].to_ascii_lowercase();
    assert!(head.contains("\r\nhost: 127.0.0.1:") && head.contains("\r\naccept-encoding: gzip\r\n"), "{head}");
    assert!(head.contains("\r\nuser-agent: keelson/") && !head.contains("authorization"), "{head}");
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nte\r\n2\r\nxt\r\n0\r\n\r\n";
    assert_eq!(get(&[chunked]).await.0.unwrap(), "text");
    assert_eq!(get(&["HTTP/1.0 200 OK\r\n\r\ntext"]).await.0.unwrap(), "text");
}

#[tokio::test]
async fn redirects_are_followed_but_not_for_ever() {
    let to = |place: &str| format!("HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n");
    let (found, requests) = get(&[&to("/b"), &to("c?d"), &to("ORIGIN/e"), OK]).await;
    assert_eq!(found.unwrap(), "text");
    assert_eq!(first_lines(&requests), ["GET /start?a=b HTTP/1.1", "GET /b HTTP/1.1", "GET /c?d HTTP/1.1", "GET /e HTTP/1.1"]);
    let (found, _) = get(&[&to("/b"), &to("/start?a=b")]).await;
    assert!(matches!(found, Err(FetchError::Circle { .. })), "{found:?}");
    let (found, _) = get(&[&to("/b"), &to("/c"), &to("/d"), &to("/e")]).await;
    assert!(matches!(found, Err(FetchError::TooFar { most: 3, .. })), "{found:?}");
    let (found, _) = get(&[&to("ftp://x/")]).await;
    assert!(matches!(found, Err(FetchError::Redirect { .. })), "{found:?}");
    let (found, _) = get(&["HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"]).await;
    assert!(matches!(found, Err(FetchError::Status { status, .. }) if status == 302), "{found:?}");
}

#[tokio::test]
async fn what_is_no_document() {
    let (found, _) = get(&["HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno"]).await;
    let error = found.unwrap_err().to_string();
    assert!(error.contains("/start?... was answered with 503 Service Unavailable"), "{error}");
    let large = format!("HTTP/1.1 200 OK\r\n\r\n{}", "a".repeat(1001));
    assert!(matches!(get(&[&large]).await.0, Err(FetchError::TooLarge { most: 1000, .. })));
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ntext";
    assert!(matches!(get(&[cut]).await.0, Err(FetchError::Ask { .. })), "half a document is none");
    assert!(matches!(get(&["SSH-2.0-x\r\n"]).await.0, Err(FetchError::Ask { .. })));
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let refused = client().get(&Url::parse(&format!("http://{free}/")).unwrap()).await;
    assert!(matches!(refused, Err(FetchError::Connect { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_server_that_says_nothing_has_its_time() {
    let server = Server::start(&["HTTP/1.1 200 OK\r\n\r\nhang"], None).await;
    let client = Client::new(web_roots(), Limits { attempt: Duration::from_millis(200), ..LIMITS }).unwrap();
    let found = client.get(&server.url("/")).await;
    assert!(matches!(found, Err(FetchError::TimedOut { .. })), "{found:?}");
}

#[tokio::test]
async fn a_password_goes_to_its_server_only() {
    let other = Server::start(&[OK], None).await;
    let elsewhere = format!("HTTP/1.1 307 There\r\nLocation: {}/x\r\nContent-Length: 0\r\n\r\n", other.origin);
    let server = Server::start(&["HTTP/1.1 301 There\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n", &elsewhere], None).await;
    let url = Url::parse(&server.origin.replace("http://", "http://u:p@")).unwrap();
    assert_eq!(client().get(&url).await.unwrap(), b"text");
    let told = |server: &Server| -> Vec<bool> {
        server.requests.lock().unwrap().iter().map(|head| head.to_ascii_lowercase().contains("\r\nauthorization: basic dtpw\r\n")).collect()
    };
    assert_eq!((told(&server), told(&other)), (vec![true, true], vec![false]));
}

#[tokio::test]
async fn https_needs_a_server_that_is_known() {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let der = certificate.der().clone();
    let config = ServerConfig::builder_with_provider(wire::tls::provider()).with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![der.clone()], private).unwrap();
    let away = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n";
    let server = Server::start(&[OK, OK, away], Some(TlsAcceptor::from(Arc::new(config)))).await;
    let refused = client().get(&server.url("/")).await;
    assert!(matches!(refused, Err(FetchError::Tls { .. })), "{refused:?}");
    let mut roots = RootCertStore::empty();
    roots.add(der).unwrap();
    let client = Client::new(roots, LIMITS).unwrap();
    assert_eq!(client.get(&server.url("/")).await.unwrap(), b"text");
    let refused = client.get(&server.url("/")).await;
    assert!(matches!(refused, Err(FetchError::Downgrade { .. })), "{refused:?}");
}

#[test]
fn the_roots_of_the_web_are_few_bytes() {
    let roots = web_roots().roots;
    let bytes = |root: &rustls::pki_types::TrustAnchor<'_>| {
        root.subject.len() + root.subject_public_key_info.len() + root.name_constraints.as_ref().map_or(0, |names| names.len())
    };
    let all: usize = roots.iter().map(bytes).sum();
    assert!(roots.len() > 100 && all < 96 << 10, "{} roots, {all} bytes", roots.len());
    println!("{} roots, {all} bytes", roots.len());
}
