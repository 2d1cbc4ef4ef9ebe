//! A node of the tests' making: real TLS and gRPC on loopback, with answers that a test chooses, and the client's program
//! in front of it. It stands in for what a node of this version does not serve.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Output},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::stream;
use pki::{Authority, AuthorityKind, ClientRequest, Context, ServerRequest, Talosconfig};
use prost::Message;
use rustls::{ServerConfig, pki_types::CertificateDer, server::WebPkiClientVerifier};
use tempfile::TempDir;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Code, Request, Response, Status, body::Body, server::Grpc};
use wire::{
    raw::Raw,
    tls::{
        self,
        accept::{self, Doorman, Limits, Revoked},
    },
};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Messages, and the error after them.
pub type Answer = (Vec<Vec<u8>>, Option<Status>);

/// Decides on a method's path and the request's bytes.
pub type Decide = dyn Fn(&str, &Bytes) -> Answer + Send + Sync;

/// One message.
pub fn one(message: &impl Message) -> Answer {
    (vec![message.encode_to_vec()], None)
}

/// Several.
pub fn many<M: Message>(messages: &[M]) -> Answer {
    (messages.iter().map(Message::encode_to_vec).collect(), None)
}

/// Bytes in pieces, as byte streams carry them.
pub fn pieces(bytes: &[u8], size: usize) -> Answer {
    let data = |piece: &[u8]| wire::common::Data { metadata: None, bytes: Bytes::copy_from_slice(piece) }.encode_to_vec();
    (bytes.chunks(size).map(data).collect(), None)
}

/// An error and nothing else.
pub fn error(code: Code, message: &str) -> Answer {
    (Vec::new(), Some(Status::new(code, message)))
}

/// What a node says of a method that it does not have.
pub fn absent(path: &str) -> Answer {
    error(Code::Unimplemented, &format!("{} is not in this version", path.trim_start_matches('/')))
}

/// A node, and a folder with a client configuration for it.
pub struct Stub {
    pub folder: TempDir,
    pub address: SocketAddr,
    /// Methods called, with their requests.
    pub seen: Arc<Mutex<Vec<(String, Bytes)>>>,
    stop: CancellationToken,
    serving: Option<JoinHandle<()>>,
}

struct Door(Arc<ServerConfig>);

impl Doorman for Door {
    type Peer = SocketAddr;

    fn settings(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0)
    }

    fn admit(&self, address: SocketAddr, _: Option<&[CertificateDer<'_>]>) -> (SocketAddr, Revoked) {
        (address, Box::pin(std::future::pending()))
    }
}

impl Stub {
    pub fn start(decide: impl Fn(&str, &Bytes) -> Answer + Send + Sync + 'static) -> Self {
        let now = SystemTime::now();
        let ca = Authority::generate(AuthorityKind::Os, now).expect("authority");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("set");
        let address = listener.local_addr().expect("address");
        let folder = tempfile::tempdir().expect("folder");
        let client = ca.issue_client(&ClientRequest { common_name: None, organization: "os:admin", life: DAY }, now).expect("certificate");
        let context = Context::new(vec![address.to_string()], ca.cert_pem(), &client);
        let config = Talosconfig::single("test", context).to_yaml().expect("text");
        std::fs::write(folder.path().join("talosconfig"), config.expose()).expect("written");

        let request = ServerRequest { common_name: "node", names: &[], addresses: &[address.ip()], life: DAY };
        let server = ca.issue_server(&request, now).expect("certificate");
        let identity = tls::Identity::from_pem(&server.cert_pem, server.key_pem.expose()).expect("usable");
        let roots = Arc::new(tls::roots("the authority", ca.cert_pem()).expect("roots"));
        let clients = WebPkiClientVerifier::builder_with_provider(roots, tls::provider()).build().expect("verifier");
        let door = Door(tls::server_config(identity, Some(clients)).expect("settings"));
        let (seen, stop) = (Arc::default(), CancellationToken::new());
        let (calls, ended): (Arc<Mutex<_>>, _) = (Arc::clone(&seen), stop.clone());
        let decide: Arc<Decide> = Arc::new(decide);
        let serving = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("listener");
                let limits = Limits { handshakes: 16, connections: 16 };
                let incoming = accept::connections("stub", listener, door, limits, TaskTracker::new(), ended.clone());
                let service =
                    tower::service_fn(move |request: http::Request<Body>| answer(request, Arc::clone(&decide), Arc::clone(&calls)));
                let server = tonic::transport::Server::builder();
                server.serve_with_incoming_shutdown(service, incoming, ended.cancelled_owned()).await.expect("served");
            });
        });
        Self { folder, address, seen, stop, serving: Some(serving) }
    }

    /// The program with this line, in the folder. Words are split at spaces.
    pub fn keelctl(&self, line: &str) -> Output {
        self.keelctl_with(line, &[])
    }

    pub fn keelctl_with(&self, line: &str, variables: &[(&str, &str)]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_keelctl"))
            .args(line.split_whitespace())
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("TMPDIR", self.folder.path())
            .env("TALOSCONFIG", self.folder.path().join("talosconfig"))
            .envs(variables.iter().copied())
            .output()
            .expect("keelctl runs")
    }

    /// Its standard output; it must succeed.
    #[track_caller]
    pub fn ok(&self, line: &str) -> String {
        let output = self.keelctl(line);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Its standard error; it must fail.
    #[track_caller]
    pub fn fails(&self, line: &str) -> String {
        let output = self.keelctl(line);
        assert_eq!(output.status.code(), Some(1), "{line} should fail: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The last request of a method.
    pub fn last<M: Message + Default>(&self, method: &str) -> M {
        let seen = self.seen.lock().expect("calls");
        let (_, request) = seen.iter().rev().find(|(path, _)| path.ends_with(&format!("/{method}"))).expect(method);
        M::decode(request.clone()).expect("a message")
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(serving) = self.serving.take() {
            drop(serving.join());
        }
    }
}

async fn answer(
    request: http::Request<Body>,
    decide: Arc<Decide>,
    calls: Arc<Mutex<Vec<(String, Bytes)>>>,
) -> Result<http::Response<Body>, std::convert::Infallible> {
    let path = request.uri().path().to_owned();
    // On the wire a reply is a stream with one message.
    let reply = tower::service_fn(move |request: Request<Bytes>| {
        let request = request.into_inner();
        calls.lock().expect("calls").push((path.clone(), request.clone()));
        let (messages, error) = decide(&path, &request);
        let items = messages.into_iter().map(|message| Ok(Bytes::from(message))).chain(error.map(Err));
        std::future::ready(Ok::<_, Status>(Response::new(stream::iter(items.collect::<Vec<_>>()))))
    });
    Ok(Grpc::new(Raw).server_streaming(reply, request).await)
}
