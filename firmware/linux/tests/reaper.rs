//! The reaper with many children at once. A process of its own: nothing else here may wait for children.

use std::{io::Write, sync::Arc, time::Duration};

use linux::process::{Collect, Exit, Finished, Input, Resource, Signal, Spec, orphans, run, signal, spawn, start_reaper};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Named limit of every wait in here.
const LIMIT: Duration = Duration::from_secs(60);
/// Children that are alive at the same time.
const PARALLEL: i32 = 200;

fn shell(script: &str) -> Spec {
    Spec::new("/bin/sh", ["-c", script])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_status_reaches_its_owner() {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    nix::sys::prctl::set_child_subreaper(true).expect("become the parent of orphans");
    assert!(spawn(&shell("exit 0")).is_err(), "no reaper yet");
    start_reaper(&tasks, stop.clone()).expect("first reaper");
    assert!(start_reaper(&tasks, stop.clone()).is_err(), "second reaper");

    parallel_children().await;
    lost_parents().await;
    settings().await;
    failures().await;

    stop.cancel();
    tasks.close();
    timeout(LIMIT, tasks.wait()).await.expect("reaper ends");
}

async fn parallel_children() {
    let mut waiting = Vec::new();
    for number in 0..PARALLEL {
        // Started from blocking threads, so that starts and ends overlap.
        waiting.push(tokio::task::spawn_blocking(move || (number, spawn(&shell(&format!("exit {}", number % 100))))));
    }
    for started in waiting {
        let (number, child) = started.await.expect("no panic");
        let child = child.expect("started");
        let exit = timeout(LIMIT, child.exit).await.expect("ends in time").expect("status kept");
        assert_eq!(exit, Exit::Code(number % 100));
    }
    assert_eq!(orphans(), 0);
}

async fn lost_parents() {
    let before = orphans();
    let mut children = Vec::new();
    for _ in 0..PARALLEL / 4 {
        children.push(spawn(&shell("(exit 3) & (exit 4) & exit 7")).expect("started"));
    }
    for child in children {
        assert_eq!(timeout(LIMIT, child.exit).await.expect("in time").expect("kept"), Exit::Code(7));
    }
    let wanted = before + u64::try_from(PARALLEL / 2).expect("positive");
    // A shell may have collected its own child before it ended, so "none is left", not an exact count.
    let end = Instant::now() + LIMIT;
    while orphans() < wanted && children_left() > 0 {
        assert!(Instant::now() < end, "zombies are left");
        sleep(Duration::from_millis(5)).await;
    }
    assert!(orphans() > before);
}

/// Children of this process as the kernel counts them.
fn children_left() -> usize {
    let mut count = 0;
    for task in std::fs::read_dir("/proc/self/task").expect("own tasks").flatten() {
        let list = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        count += list.split_whitespace().count();
    }
    count
}

/// Like `run`, with something to read for the child.
async fn run_with_input(mut spec: Spec, input: &[u8]) -> Finished {
    let output = Arc::new(Collect::new(16 * 1024));
    spec.output = Some(output.clone());
    let mut child = spawn(&spec).expect("starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input).expect("room in the pipe");
    drop(stdin);
    let exit = timeout(LIMIT, child.exit).await.expect("in time").expect("collected");
    timeout(LIMIT, child.output_end).await.expect("in time").expect("pumped");
    Finished { exit, output: output.text() }
}

async fn settings() {
    let root = nix::unistd::geteuid().is_root();
    let mut spec = shell(
        "cat; echo err >&2; ulimit -n; echo $PATH $A; cat /proc/self/oom_score_adj; grep -E '^(NoNewPrivs|Cap|Groups|Uid|SigBlk|SigIgn)' /proc/self/status",
    );
    spec.stdin = Input::Pipe;
    spec.env = vec![("A".into(), "b".into())];
    spec.rlimits = vec![(Resource::RLIMIT_NOFILE, 64)];
    spec.oom_score_adj = Some(500);
    spec.no_new_privs = true;
    if root {
        spec.user = Some(linux::process::User { uid: 50, gid: 50 });
        spec.capabilities = Some(linux::process::Capabilities::NONE);
    }
    let done = run_with_input(spec, b"from stdin\n").await;
    assert!(done.exit.success(), "{done:?}");
    for wanted in ["from stdin\nerr\n64\n", "/usr/sbin:/usr/bin:/sbin:/bin b\n500\n", "NoNewPrivs:\t1", "SigBlk:\t0000000000000000"] {
        assert!(done.output.contains(wanted), "{wanted:?} is not in {:?}", done.output);
    }
    let ignored = done.output.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    assert_eq!(ignored.map(|set| set & 1 << (Signal::SIGPIPE as i32 - 1)), Some(0), "this process ignores SIGPIPE: {done:?}");
    if root {
        let lines: Vec<&str> = done.output.lines().collect();
        assert!(lines.iter().filter(|l| l.starts_with("Cap")).all(|l| l.ends_with("\t0000000000000000")), "{lines:?}");
        assert!(lines.contains(&"Uid:\t50\t50\t50\t50") && lines.iter().any(|l| l.trim_end() == "Groups:"), "{lines:?}");
    }
}

async fn failures() {
    let error = spawn(&Spec::new("/nonexistent", ["x"])).expect_err("no such file");
    assert_eq!(error.to_string(), "start /nonexistent");
    assert!(spawn(&Spec::new("/bin/sh", ["a\0b"])).is_err(), "no string for the kernel");
    let nowhere = Spec { cgroup: Some("/nonexistent".into()), ..shell("exit 0") };
    assert_eq!(spawn(&nowhere).expect_err("no such group").to_string(), "start /bin/sh: prepare the control group");
    let sink = Arc::new(Collect::new(1024));
    let child = spawn(&Spec { output: Some(sink.clone()), ..shell("echo up; exec sleep 1000") }).expect("started");
    let end = Instant::now() + LIMIT;
    while sink.text() != "up\n" {
        assert!(Instant::now() < end, "the child's line arrives");
        sleep(Duration::from_millis(5)).await;
    }
    assert!(signal(child.pid, Signal::SIGTERM).expect("sent"));
    assert_eq!(timeout(LIMIT, child.exit).await.expect("in time").expect("kept"), Exit::Signal(15));
    timeout(LIMIT, child.output_end).await.expect("in time").expect("pump ended");
    assert!(!signal(child.pid, Signal::SIGTERM).expect("known to be gone"));
    let late = run(shell("sleep 1000"), Duration::from_millis(50)).await.expect_err("too slow");
    assert!(late.to_string().contains("did not end"), "{late}");
}
