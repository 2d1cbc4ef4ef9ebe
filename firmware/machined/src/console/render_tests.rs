use proptest::prelude::*;

use super::*;
use crate::node::{ApiStatus, BootStatus, DiskStatus, MachineStatus, NetworkStatus, Unmet, Warning};

fn partition(number: u32, label: &str, mib: u64, content: &str, mount: Option<&str>) -> PartitionStatus {
    PartitionStatus {
        number,
        label: label.to_owned(),
        device: format!("/dev/vda{number}").into(),
        start: 0,
        size: mib << 20,
        content: content.to_owned(),
        mounted_on: mount.map(Into::into),
    }
}

fn service(id: &str, state: ServiceState, healthy: Option<bool>, message: &str) -> Service {
    Service { id: id.to_owned(), state, healthy, message: message.to_owned() }
}

fn sample() -> Snapshot {
    let fixed = |minutes: u64, text: &str| Warning { at: Duration::from_secs(36_000 + minutes * 60), text: text.to_owned() };
    Snapshot {
        version: "0.1.0".to_owned(),
        uptime: Duration::from_secs(93),
        boot: BootStatus {
            board: "qemu-x86_64".to_owned(),
            kernel: "6.12.118".to_owned(),
            slot: Some(Slot::A),
            root_hash: "5c1e9f0a".repeat(8),
            through_firmware: true,
            ..BootStatus::default()
        },
        disk: DiskStatus {
            name: "vda".to_owned(),
            size: 4 << 30,
            sector: 512,
            partitions: vec![
                partition(1, "EFI", 512, "vfat", None),
                partition(2, "ROOT-A", 512, "erofs+verity", Some("/")),
                partition(3, "META", 1, "meta", None),
                partition(4, "ROOT-B", 512, "empty", None),
                partition(5, "STATE", 512, "xfs", Some("/system/state")),
                partition(6, "EPHEMERAL", 2047, "xfs", Some("/var")),
            ],
            problem: None,
            state_lost: false,
            settled: true,
        },
        network: NetworkStatus {
            kubernetes: vec![],
            domain: String::new(),
            search: vec![],
            hostname: "keelson-123456".to_owned(),
            links: vec![LinkStatus {
                name: "eth0".to_owned(),
                mac: "52:54:00:12:34:56".to_owned(),
                up: true,
                addresses: vec!["10.0.2.15/24".parse().unwrap()],
                source: "dhcp".to_owned(),
            }],
            gateways: vec!["10.0.2.2".parse().unwrap()],
            resolvers: vec!["10.0.2.3".parse().unwrap()],
            time_servers: vec![],
            etc_files: true,
        },
        machine: MachineStatus {
            stage: Stage::Running,
            unmet: vec![Unmet { name: "services".to_owned(), reason: "apid not healthy".to_owned() }],
        },
        config_source: Some("state"),
        config_error: None,
        api: ApiStatus { port: Some(50000), ..ApiStatus::default() },
        services: vec![
            service("machined", ServiceState::Running, Some(true), ""),
            service("apid", ServiceState::Running, Some(false), "connection refused"),
            service("containerd", ServiceState::Waiting, None, "waiting for EPHEMERAL"),
        ],
        memory: Some((488 << 20, (431 << 20) + (512 << 10))),
        dropped: vec![("ttyS0".to_owned(), 12)],
        warnings: vec![fixed(1, "the clock is not set"), fixed(2, "evil \x1b[2J text\nsecond line")],
    }
}

fn maintenance() -> Snapshot {
    let mut snapshot = sample();
    snapshot.machine = MachineStatus { stage: Stage::Maintenance, unmet: vec![] };
    snapshot.config_source = None;
    snapshot.config_error = Some("line 3: machine.typo: unknown field".to_owned());
    snapshot.api.maintenance_fingerprint = Some("q1w2e3r4t5y6u7i8o9p0a1s2d3f4g5h6j7k8l9z0x1c=".to_owned());
    snapshot.services.truncate(1);
    snapshot.dropped.clear();
    snapshot
}

#[track_caller]
fn check(snapshot: &Snapshot, view: View, columns: u16, rows: u16, log: &[&str], wanted: &str) {
    let log: Vec<_> = log.iter().map(|line| (*line).to_owned()).collect();
    let lines = render(snapshot, view, Size { columns, rows }, &log);
    let seen: String = lines.iter().map(|line| format!("{}\n", line.trim_end())).collect();
    assert_eq!(seen, wanted, "seen:\n{seen}");
}

#[test]
fn golden_screens() {
    check(&sample(), View::Status, 80, 24, &[], include_str!("golden/running-80x24.txt"));
    check(&sample(), View::Status, 120, 40, &[], include_str!("golden/running-120x40.txt"));
    check(&maintenance(), View::Status, 80, 24, &[], include_str!("golden/maintenance-80x24.txt"));
    check(&Snapshot::default(), View::Status, 80, 24, &[], include_str!("golden/empty-80x24.txt"));
    check(&sample(), View::Help, 80, 24, &[], include_str!("golden/help-80x24.txt"));
}

#[test]
fn tiny_screens() {
    check(&sample(), View::Status, 20, 4, &[], "Keelson 0.1.0  qem~\nverity   5c1e9f0a5~\nstage    running, ~\nkeys: 1 status  2 ~\n");
    check(&sample(), View::Status, 1, 1, &[], "\n");
    check(&sample(), View::Kernel, 24, 4, &["one", "two", "three"], "== kernel log ==\ntwo\nthree\nkeys: 1 status  2 kern~\n");
}

#[test]
fn logs_are_titled_and_never_escape() {
    check(
        &sample(),
        View::Service(1),
        60,
        6,
        &["a\x1b[31mred", "b\ttab"],
        "== log of apid (running) ==\na?[31mred\nb  tab\nkeys: 1 status  2 kernel log  3 service logs (n next, p pr~\n",
    );
    check(
        &sample(),
        View::Service(9),
        60,
        6,
        &[],
        "== no such service ==\n(empty)\nkeys: 1 status  2 kernel log  3 service logs (n next, p pr~\n",
    );
}

#[test]
fn keys_lead_where_they_say() {
    for (from, keys, to) in [
        (View::Status, "k", View::Kernel),
        (View::Kernel, "1", View::Status),
        (View::Status, "l", View::Service(0)),
        (View::Status, "5", View::Service(2)),
        (View::Status, "6", View::Status),
        (View::Service(2), "n", View::Service(0)),
        (View::Service(0), "p", View::Service(2)),
        (View::Status, "n", View::Service(0)),
        (View::Kernel, "?q", View::Status),
        (View::Kernel, "x\x0c", View::Kernel),
    ] {
        assert_eq!(keys.chars().fold(from, |view, key| view.after_key(key, 3)), to, "{from:?} {keys}");
    }
    assert_eq!(View::Service(2).after_key('n', 0), View::Service(2));
}

#[test]
fn sizes_read_well() {
    for (size, wanted) in [(0, "0 B"), (1023, "1023 B"), (1 << 20, "1 MiB"), (1536 << 20, "1.5 GiB"), (u64::MAX, "17179869183.9 GiB")] {
        assert_eq!(bytes(size), wanted);
    }
}

proptest! {
    #[test]
    fn every_size_holds(columns in 0_u16..400, rows in 1_u16..150, text in ".{0,300}") {
        let mut snapshot = maintenance();
        snapshot.network.hostname = text.clone();
        snapshot.disk.problem = Some(text.clone());
        for view in [View::Status, View::Kernel, View::Service(0), View::Help] {
            let lines = render(&snapshot, view, Size { columns, rows }, std::slice::from_ref(&text));
            prop_assert!(lines.len() <= usize::from(rows));
            for line in lines {
                prop_assert!(line.len() <= usize::from(columns.saturating_sub(1)));
                prop_assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            }
        }
    }
}
