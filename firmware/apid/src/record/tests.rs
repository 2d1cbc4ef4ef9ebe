use http_body::Frame;
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};

use super::*;

type Lines = Arc<Mutex<Vec<(Level, String)>>>;

const REBOOT: &str = "/machine.MachineService/Reboot";
const VERSION: &str = "/machine.MachineService/Version";

/// A recorder that keeps its lines. Lines of reads are wanted, too.
fn recorder() -> (Arc<Recorder>, Lines) {
    log::set_max_level(log::LevelFilter::Debug);
    let lines = Lines::default();
    let kept = Arc::clone(&lines);
    (Recorder::new(Box::new(move |level, line| kept.lock().unwrap().push((level, line.to_owned())))), lines)
}

fn request(path: &str) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = format!("https://node{path}").parse().unwrap();
    request
}

/// The only line, without the time that it took.
#[track_caller]
fn only(lines: &Lines) -> (Level, String) {
    let lines = lines.lock().unwrap();
    let [(level, line)] = &lines[..] else { panic!("{lines:?}") };
    let (before, after) = line.split_once(" in ").unwrap();
    (*level, format!("{before}{}", after.split_once(" ms").unwrap().1))
}

fn body(frames: Vec<Result<Frame<bytes::Bytes>, Status>>) -> UnsyncBoxBody<bytes::Bytes, Status> {
    StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync()
}

fn status_of(code: i32) -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from(code))])
}

#[tokio::test]
async fn a_line_says_how_a_call_ended() {
    for (path, frames, wanted) in [
        (
            REBOOT,
            vec![Ok(Frame::data("12345".into())), Ok(Frame::data("678".into())), Ok(Frame::trailers(status_of(0)))],
            (Level::Info, "/machine.MachineService/Reboot from nobody (no role): Ok, 0 bytes in, 8 out"),
        ),
        (
            VERSION,
            vec![Ok(Frame::trailers(status_of(0)))],
            (Level::Debug, "/machine.MachineService/Version from nobody (no role): Ok, 0 bytes in, 0 out"),
        ),
        (
            VERSION,
            vec![Ok(Frame::trailers(status_of(7)))],
            (Level::Info, "/machine.MachineService/Version from nobody (no role): PermissionDenied, 0 bytes in, 0 out"),
        ),
        (VERSION, vec![], (Level::Info, "/machine.MachineService/Version from nobody (no role): Unknown, 0 bytes in, 0 out")),
        (
            VERSION,
            vec![Err(Status::unavailable("with a secret"))],
            (Level::Info, "/machine.MachineService/Version from nobody (no role): Unavailable, 0 bytes in, 0 out"),
        ),
    ] {
        let (recorder, lines) = recorder();
        let recorded = Recorded::new(body(frames), recorder.record(&request(path)));
        let _ = recorded.collect().await;
        let (level, line) = only(&lines);
        assert_eq!((level, line.as_str()), wanted);
    }
}

#[tokio::test]
async fn what_a_caller_does_not_wait_for_was_called_off() {
    let (recorder, lines) = recorder();
    let frames = vec![Ok(Frame::data("12345".into())), Ok(Frame::trailers(status_of(0)))];
    let mut recorded = Recorded::new(body(frames), recorder.record(&request(REBOOT)));
    let _ = recorded.frame().await;
    assert!(lines.lock().unwrap().is_empty(), "before the end");
    drop(recorded);
    assert_eq!(only(&lines).1, "/machine.MachineService/Reboot from nobody (no role): Cancelled, 0 bytes in, 5 out");
}

#[tokio::test]
async fn a_line_says_who_called_whom() {
    let check = |decision: &Decision, roles: &[&'static str], wanted: &str| {
        let (recorder, lines) = recorder();
        let mut record = recorder.record(&request(REBOOT));
        record.went(&roles.iter().map(|role| HeaderValue::from_static(role)).collect::<Vec<_>>(), decision);
        record.metadata(&status_of(0));
        drop(record);
        assert_eq!(only(&lines).1, format!("/machine.MachineService/Reboot from nobody {wanted}: Ok, 0 bytes in, 0 out"));
    };
    let many = |count| {
        let targets = (1..=count).map(|number| Target { name: format!("n{number}"), local: false }).collect();
        Decision::Many { targets, merge: crate::route::Merge::Unary }
    };
    check(&Decision::Local, &["os:admin"], "(os:admin)");
    check(&Decision::One("node-2".into()), &["os:reader", "os:meta:writer"], "(os:reader, os:meta:writer) for node-2");
    check(&many(2), &["os:admin"], "(os:admin) for n1, n2");
    check(&many(9), &[], "(no role) for n1, n2, n3, n4 and 5 more");
    let long = "x".repeat(300);
    check(&Decision::One(long.clone()), &[], &format!("(no role) for {}...", &long[..128]));
}

#[tokio::test]
async fn what_a_caller_sends_is_counted() {
    let (recorder, lines) = recorder();
    let mut record = recorder.record(&request(REBOOT));
    let sent = record.count(Request::new(Body::new(body(vec![Ok(Frame::data("123".into())), Ok(Frame::data("4".into()))]))));
    sent.into_body().collect().await.expect("sent");
    record.refused(&Status::resource_exhausted("too many\ncalls"));
    drop(record);
    assert_eq!(
        only(&lines).1,
        "/machine.MachineService/Reboot from nobody (no role): ResourceExhausted, 4 bytes in, 0 out: too many\\ncalls"
    );
}

#[tokio::test]
async fn refused_calls_take_no_lines_from_changes() {
    let (recorder, lines) = recorder();
    let end = |path: &str, code: i32| {
        let mut record = recorder.record(&request(path));
        record.metadata(&status_of(code));
    };
    (0..1000).for_each(|_| end(VERSION, 7));
    (0..1000).for_each(|_| end(VERSION, 0));
    let before = lines.lock().unwrap().len();
    // A turn or two may have come back on a slow machine.
    assert!((100..150).contains(&before), "{before} lines");
    end(REBOOT, 0);
    let lines = lines.lock().unwrap();
    let (level, last) = lines.last().unwrap();
    assert!(lines.len() == before + 1 && *level == Level::Info && last.starts_with(REBOOT) && !last.contains("left out"), "{last}");
}

#[test]
fn every_read_is_in_the_api() {
    for (service, names) in READS {
        for name in *names {
            let path = format!("/{service}/{name}");
            assert!(wire::methods::find(&path).is_some() && is_read(&path), "{path}");
        }
    }
    for path in [
        REBOOT,
        "/machine.MachineService/GenerateClientConfiguration",
        "/machine.MachineService/Kubeconfig",
        "/",
        "",
        "/x/Version",
        "/machine.MachineService/Version/",
    ] {
        assert!(!is_read(path), "{path}");
    }
}

proptest::proptest! {
    #[test]
    fn any_text_is_short_and_has_no_line_breaks(text in ".{0,400}") {
        let shown = Cut(&text).to_string();
        // The longest escape of a letter has ten.
        proptest::prop_assert!(shown.chars().count() <= LONGEST * 10 + 3 && !shown.chars().any(char::is_control), "{shown:?}");
    }
}
