//! Every method times every role times every kind of certificate, over TLS through apid to machined and its gate.
//!
//! The node is machined's API server with its own supervisor, which starts this very program as apid; machined admits it by what the
//! kernel says of the connection. What is expected is in [`table`]. One test, because a process has one reaper.

mod coverage;
mod strangers;
mod table;

use std::{collections::BTreeMap, env, path::Path, process::ExitCode, time::SystemTime};

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, stream};
use libtest_mimic::{Arguments, Trial};
use pki::{Authority, AuthorityKind};
use qemu::coverage::{Asked, LETTERS, ask, requests};
use table::{CALLERS, Caller, ROWS, Row};
use test_support::{
    Host,
    certificates::{Flaw, client},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Code, Status, transport::Channel};
use wire::tls;

/// Calls of one caller at the same time: fewer than apid takes on one connection, and than wait for a turn to read files.
const AT_ONCE: usize = 12;

fn main() -> ExitCode {
    let arg0 = env::args().next().unwrap_or_default();
    if Path::new(&arg0).file_name().is_some_and(|name| name == "apid") {
        return apid::run();
    }
    let arguments = Arguments::from_args();
    let test = Trial::test("every_method_times_every_role_times_every_certificate", || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(run()).map_err(|error| format!("{error:#}").into())
    });
    libtest_mimic::run(&arguments, vec![test]).exit_code()
}

async fn run() -> Result<()> {
    let (tasks, reaping) = (TaskTracker::new(), CancellationToken::new());
    test_support::reap(&tasks, reaping.clone())?;
    let rows = rows()?;
    let authority = Authority::generate(AuthorityKind::Os, SystemTime::now())?;
    let config = test_support::configuration(&authority, &[])?;
    let all = requests(&config);
    let host = Host::start(&env::current_exe()?).await?;

    // Nobody has a certificate that counts, and everybody is a reader who may set the node up.
    for metadata in [&[][..], &[("talos-role", "os:admin"), ("proxyfrom", "10.0.0.1")]] {
        let channel = host.connect(tls::insecure_client_config(None)?).await?;
        let may = |row: &Row| row.stranger;
        walk(&host, &channel, metadata, &all, &rows, may).await.with_context(|| format!("without a configuration, with {metadata:?}"))?;
    }
    let open = qemu::coverage::open(&host.connect(tls::insecure_client_config(None)?).await?).await?;

    host.configure(config.clone()).await?;
    for Caller { roles, metadata, letters } in CALLERS {
        let channel = host.client(&authority, client(&authority, roles, Flaw::None)?).await?;
        let may = |row: &Row| row.may.chars().any(|letter| letters.contains(letter));
        walk(&host, &channel, metadata, &all, &rows, may).await.with_context(|| format!("as {roles:?} with {metadata:?}"))?;
    }
    strangers::are_refused(&host, &authority, &all).await?;
    unknown_methods_are_not_there(&host, &authority).await?;
    secrets_are_the_administrators(&host, &authority).await?;

    let mut callers = Vec::new();
    for (letter, role) in LETTERS {
        callers.push((letter, host.client(&authority, client(&authority, &[role], Flaw::None)?).await?));
    }
    let seen = qemu::coverage::observe(&all, &callers, &open).await?;
    drop(callers);
    host.stop().await?;
    reaping.cancel();
    coverage::compare(&seen)
}

/// The table by path; it names every method once, and no other.
fn rows() -> Result<BTreeMap<String, &'static Row>> {
    let mut rows = BTreeMap::new();
    for row in ROWS {
        for method in row.methods {
            let path = format!("/{}/{method}", row.service);
            ensure!(wire::methods::find(&path).is_some(), "{path} is no method");
            ensure!(rows.insert(path.clone(), row).is_none(), "{path} is twice in the table");
        }
    }
    for method in wire::methods::METHODS {
        ensure!(rows.contains_key(method.path), "the table has no row for {}", method.path);
    }
    Ok(rows)
}

/// One caller asks everything.
async fn walk(
    host: &Host,
    channel: &Channel,
    metadata: &[(&'static str, &'static str)],
    all: &[Asked],
    rows: &BTreeMap<String, &'static Row>,
    may: impl Fn(&Row) -> bool,
) -> Result<()> {
    let calls = all.iter().map(|asked| async {
        let answer = ask(channel.clone(), asked.method.path, &asked.message, metadata).await.map(drop);
        let row = rows.get(asked.method.path).context("no row")?;
        judge(row, may(row), answer).with_context(|| asked.method.path)
    });
    let judged: Vec<Result<()>> = stream::iter(calls).buffer_unordered(AT_ONCE).collect().await;
    judged.into_iter().collect::<Result<()>>()?;
    // Nobody was refused after all had been done that they asked for.
    let (ordered, path) = (host.orders(), |name| format!("/machine.MachineService/{name}"));
    for (order, method) in [("reboot", "Reboot"), ("shutdown", "Shutdown"), ("reset", "Reset"), ("apply", "ApplyConfiguration")] {
        let may = rows.get(&path(method)).is_some_and(|row| may(row));
        ensure!(may || !ordered.iter().any(|given| given == order), "{method} was refused and ordered: {ordered:?}");
    }
    let may_reboot = rows.get(&path("Reboot")).is_some_and(|row| may(row));
    ensure!(may_reboot == ordered.iter().any(|given| given == "reboot"), "who may reboot gets to the main loop: {ordered:?}");
    Ok(())
}

/// Exactly the gate's words for those who may not, anything of a handler's for those who may.
fn judge(row: &Row, may: bool, answer: Result<(), Status>) -> Result<()> {
    let refused = answer.as_ref().err().filter(|status| matches!(status.code(), Code::PermissionDenied | Code::Unauthenticated));
    let wanted = if may { row.never } else { Some("not authorized") };
    match (wanted, refused) {
        (Some(text), Some(status)) if status.code() == Code::PermissionDenied && status.message() == text => Ok(()),
        (None, None) => {
            let lost = answer.as_ref().err().is_some_and(|status| std::error::Error::source(status).is_some());
            let lost =
                lost || answer.as_ref().err().is_some_and(|status| status.message() == "the node's API is not available at the moment");
            ensure!(!lost, "no answer of machined's: {answer:?}");
            Ok(())
        }
        _ => anyhow::bail!("answered {answer:?}, and should be {}", wanted.unwrap_or("allowed")),
    }
}

/// Whoever asks.
async fn unknown_methods_are_not_there(host: &Host, authority: &Authority) -> Result<()> {
    for roles in [&["os:admin"][..], &[]] {
        let channel = host.client(authority, client(authority, roles, Flaw::None)?).await?;
        for path in ["/machine.MachineService/Nothing", "/nothing.Service/Version", "/machine.MachineService/version", "/"] {
            let answer = ask(channel.clone(), path, &[], &[]).await;
            let code = answer.as_ref().err().map(Status::code);
            ensure!(code == Some(Code::Unimplemented), "{path} as {roles:?}: {answer:?}");
        }
    }
    Ok(())
}

/// The method is open to readers, the kind of resource is not.
async fn secrets_are_the_administrators(host: &Host, authority: &Authority) -> Result<()> {
    use wire::cosi::{GetRequest, state_client::StateClient};
    let request =
        GetRequest { namespace: "config".into(), r#type: "MachineConfigs.config.talos.dev".into(), id: "v1alpha1".into(), options: None };
    for (role, letter) in table::SINGLE {
        let channel = host.client(authority, client(authority, &[role], Flaw::None)?).await?;
        let answer = StateClient::new(channel).get(request.clone()).await;
        let refused = answer.as_ref().err().filter(|status| status.code() == Code::PermissionDenied);
        match (letter, refused) {
            ("A", None) => ensure!(answer.is_ok(), "the administrator: {answer:?}"),
            (letter, Some(status)) if letter != "A" => ensure!(status.message() == "not authorized", "{role}: {status:?}"),
            _ => anyhow::bail!("{role} asks for the configuration: {:?}", answer.map(drop)),
        }
    }
    Ok(())
}
