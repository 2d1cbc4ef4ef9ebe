use std::fs::FileTimes;
use std::io;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);
const MINUTE: Duration = Duration::from_secs(60);

fn sample(name: &str, bytes: u64, hours: u32, cost: Cost) -> Thing {
    Thing { paths: vec![PathBuf::from(name)], bytes, idle: HOUR * hours, cost, guard: None }
}

#[test]
fn the_cheapest_and_oldest_go_first_and_no_more_than_needed() {
    let things = vec![
        sample("kernel", 50, 900, Cost::Minutes),
        sample("young", 10, 2, Cost::Seconds),
        sample("old", 10, 30, Cost::Seconds),
        sample("older", 10, 40, Cost::Seconds),
    ];
    let check = |excess: u64, expected: &[&str]| {
        let chosen: Vec<String> = choose(things.clone(), excess).iter().map(|thing| name(&thing.paths[0])).collect();
        assert_eq!(chosen, expected, "{excess} bytes");
    };
    check(0, &[]);
    check(1, &["older"]);
    check(10, &["older"]);
    check(11, &["older", "old"]);
    check(30, &["older", "old", "young"]);
    check(31, &["older", "old", "young", "kernel"]);
    check(u64::MAX, &["older", "old", "young", "kernel"]);
}

/// A cache of some files of 64 KiB each, last changed so long ago.
struct Cache(tempfile::TempDir);

impl Cache {
    fn with(files: &[(&str, Duration)]) -> io::Result<Self> {
        let cache = Self(tempfile::tempdir()?);
        for (file, _) in files {
            let path = cache.path(file);
            fs::create_dir_all(path.parent().unwrap())?;
            fs::write(&path, vec![1; 64 << 10])?;
        }
        for (file, idle) in files {
            // The folders too: adding the last file changed them.
            let path = cache.path(file);
            for path in path.ancestors().take_while(|path| *path != cache.0.path()) {
                let then = SystemTime::now() - *idle;
                File::open(path)?.set_times(FileTimes::new().set_accessed(then).set_modified(then))?;
            }
        }
        Ok(cache)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }
}

/// More than any disk has: everything that may goes.
const ALL: u64 = u64::MAX;

/// What is gone of `files` when so many bytes are to be free and the cache is to be empty.
fn check(free: u64, files: &[(&str, Duration)], gone: &[&str]) {
    let cache = Cache::with(files).unwrap();
    make(cache.0.path(), Wish { limit: 0, free }).unwrap();
    let missing: Vec<&str> = files.iter().map(|(file, _)| *file).filter(|file| !cache.path(file).exists()).collect();
    assert_eq!(missing, gone);
}

#[test]
fn results_go_after_their_rest() {
    check(
        0,
        &[
            ("esp/00ff/esp.img", DAY),
            ("esp/.busy", DAY),
            ("rootfs/aa/one", MINUTE),
            ("kernel/cc/Image", DAY * 7),
            ("kernel/dd/Image", DAY * 15),
            ("vendor/dd/crates/lib.rs", DAY / 2),
            ("vendor/ee/crates/lib.rs", DAY * 2),
            ("tmp/run-1/disk.img", DAY * 2),
            ("root/ff/bin/sh", DAY / 2),
            ("debs/1234.deb", DAY * 90),
            ("apt/lists/x", DAY * 90),
        ],
        &["esp/00ff/esp.img", "kernel/dd/Image", "vendor/ee/crates/lib.rs", "tmp/run-1/disk.img"],
    );
}

#[test]
fn of_a_compiler_s_output_goes_what_was_followed() {
    check(
        ALL,
        &[
            ("targets/used/checkout", MINUTE),
            ("targets/used/debug/.cargo-lock", DAY),
            ("targets/used/debug/incremental/wire-1/s/dep", DAY),
            ("targets/used/debug/incremental/wire-2/s/dep", MINUTE),
            ("targets/used/debug/deps/libwire-1.rlib", HOUR * 9),
            ("targets/used/debug/deps/wire-1.d", HOUR * 9),
            ("targets/used/debug/deps/libwire-2.rlib", HOUR * 8),
            ("targets/used/debug/deps/libwire-3.rlib", HOUR * 7),
            ("targets/used/debug/deps/wire-4", HOUR * 6),
            ("targets/used/debug/deps/wire-5.d", HOUR * 5),
            ("targets/used/debug/deps/libalone-1.rlib", DAY * 2),
            ("targets/used/a-triple/fast/.cargo-lock", DAY),
            ("targets/used/a-triple/fast/incremental/keelson-1/s/dep", DAY),
            ("targets/left/checkout", DAY * 3),
            ("targets/left/debug/deps/libwire-1.rlib", DAY * 3),
        ],
        &[
            "targets/used/debug/incremental/wire-1/s/dep",
            "targets/used/debug/deps/libwire-1.rlib",
            "targets/used/debug/deps/wire-1.d",
            "targets/used/a-triple/fast/incremental/keelson-1/s/dep",
            "targets/left/checkout",
            "targets/left/debug/deps/libwire-1.rlib",
        ],
    );
}

#[test]
fn while_there_is_space_a_compiler_s_output_stays_for_two_days() {
    check(
        0,
        &[
            ("targets/used/debug/.cargo-lock", DAY),
            ("targets/used/debug/incremental/wire-1/s/dep", DAY),
            ("targets/used/debug/incremental/wire-2/s/dep", DAY * 3),
            ("targets/used/checkout", MINUTE),
        ],
        &["targets/used/debug/incremental/wire-2/s/dep"],
    );
}

#[test]
fn what_cargo_works_on_stays() {
    let files = [("targets/used/debug/.cargo-lock", MINUTE), ("targets/used/debug/incremental/wire-1/dep", DAY)];
    let cache = Cache::with(&files).unwrap();
    let lock = File::open(cache.path(files[0].0)).unwrap();
    lock.lock().unwrap();
    let wish = Wish { limit: 0, free: ALL };
    assert_eq!(make(cache.0.path(), wish).unwrap(), Freed::default());
    drop(lock);
    assert_eq!(make(cache.0.path(), wish).unwrap().things, 1);
}

#[test]
fn a_cache_within_its_limit_is_left_and_a_full_disk_is_not() {
    let files = [("esp/00ff/esp.img", DAY), ("rootfs/00ff/one", DAY * 2)];
    let cache = Cache::with(&files).unwrap();
    let roomy = Wish { limit: GIB, free: 0 };
    assert_eq!(make(cache.0.path(), roomy).unwrap(), Freed::default());
    assert_eq!(make(cache.0.path(), Wish { free: ALL, ..roomy }).unwrap().things, 2);
}

#[test]
fn it_is_measured_once_an_hour_while_there_is_space() {
    let cache = Cache::with(&[("esp/00ff/esp.img", DAY)]).unwrap();
    let stamp = cache.path(".measured");
    File::create(&stamp).unwrap();
    let wish = Wish { limit: 0, free: 0 };
    assert_eq!(make(cache.0.path(), wish).unwrap(), Freed::default());
    File::open(&stamp).unwrap().set_modified(SystemTime::now() - HOUR * 2).unwrap();
    assert_eq!(make(cache.0.path(), wish).unwrap().things, 1);
}
