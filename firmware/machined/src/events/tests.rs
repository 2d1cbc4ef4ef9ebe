use proptest::prelude::*;

use super::*;

fn filled(count: usize) -> Arc<Events> {
    let events = Events::new();
    (0..count).for_each(|number| events.publish(&phase(&number.to_string(), true), "actor"));
    events
}

async fn replay(events: &Arc<Events>, tail: Tail) -> usize {
    let mut subscription = events.subscribe(tail);
    let end = events.lock().next();
    let mut seen = 0;
    while subscription.next < end && subscription.next().await.is_some() {
        seen += 1;
    }
    seen
}

#[tokio::test]
async fn tails_replay_what_they_say() {
    for (written, tail, wanted) in [
        (0, Tail::All, 0),
        (5, Tail::None, 0),
        (5, Tail::All, 5),
        (5, Tail::Count(2), 2),
        (5, Tail::Count(50), 5),
        (5, Tail::Since(Duration::ZERO), 5),
        (5, Tail::Since(Duration::MAX), 0),
        (CAPACITY, Tail::All, CAPACITY - GAP),
        (CAPACITY * 2 + 3, Tail::All, CAPACITY - GAP),
        (CAPACITY * 2 + 3, Tail::Count(CAPACITY), CAPACITY - GAP),
        (CAPACITY * 2 + 3, Tail::Count(7), 7),
    ] {
        assert_eq!(replay(&filled(written), tail).await, wanted, "{tail:?} of {written}");
    }
}

#[tokio::test]
async fn an_id_resumes_after_itself() {
    let events = filled(20);
    let mut all = events.subscribe(Tail::All);
    let mut third = None;
    for _ in 0..3 {
        third = all.next().await;
    }
    let third = third.expect("three events");
    assert_eq!((third.name, &*third.actor), ("machine.PhaseEvent", "actor"));
    assert_eq!(replay(&events, Tail::After(third.id)).await, 17);
}

#[tokio::test]
async fn a_slow_reader_is_cut_off_and_a_live_one_waits() {
    let events = filled(3);
    let mut slow = events.subscribe(Tail::All);
    let mut live = events.subscribe(Tail::None);
    let writer = Arc::clone(&events);
    let (got, ()) = tokio::join!(live.next(), async move { writer.publish(&task("stopAllServices", true), "") });
    assert_eq!(got.map(|entry| entry.name), Some("machine.TaskEvent"));
    (0..CAPACITY + 5).for_each(|_| events.publish(&phase("x", false), ""));
    assert_eq!(slow.next().await, None);
}

proptest! {
    /// The ring never grows past its capacity and numbers stay those of writing.
    #[test]
    fn bounded_and_numbered(written in 0_usize..3 * CAPACITY, count in 0_usize..2 * CAPACITY) {
        let events = filled(written);
        let ring = events.lock();
        prop_assert!(ring.entries.len() <= CAPACITY);
        prop_assert_eq!(ring.next(), written as u64);
        let start = ring.start(Tail::Count(count));
        prop_assert!(start >= ring.oldest() && start <= ring.next());
        prop_assert!(ring.entries.iter().zip(ring.entries.iter().skip(1)).all(|(a, b)| a.id < b.id));
    }
}
