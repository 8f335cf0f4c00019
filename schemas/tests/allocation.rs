//! A plain row allocates nothing: what keeps the decoder's speed from slipping away unseen.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use kelly_schemas::decode::{self, Origin};
use kelly_schemas::{Limits, Stream};

/// The system's allocator, counting per thread, so that the test runner's own threads do not disturb.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    // A thread that is being torn down has no counter any more, and is not ours.
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory of the caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations while decoding, and how many rows passed.
fn allocations(stream: Stream, payload: &str) -> (usize, usize) {
    let limits = Limits::default();
    let origin = Origin { partition: 0, offset: 0, log_time_ms: 1_726_068_650_000, limits: &limits };
    let mut rows = 0;
    let before = ALLOCATIONS.get();
    match stream {
        Stream::Metrics => {
            decode::metrics(payload.as_bytes(), &origin, &mut |_, row| rows += usize::from(row.is_ok()));
        }
        Stream::Activity => {
            decode::activities(payload.as_bytes(), &origin, &mut |_, row| rows += usize::from(row.is_ok()));
        }
    }
    (ALLOCATIONS.get() - before, rows)
}

const METRIC: &str = r#"{"metric_name":"response_time","value":145.25,"timestamp":"2024-09-11T15:30:45.250Z",
    "account_id":"account123","conversation_id":"conv456","user_id":"user789","metadata":{"model":"claude","n":1}}"#;

const EVENT: &str = r#"{"event_type":"user_interaction","title":"User started conversation","severity":"low",
    "account_id":"account123","conversation_id":"conv456","metadata":{"vip":false}}"#;

#[test]
fn a_plain_metric_allocates_nothing() {
    // The first one reads the catalogue.
    allocations(Stream::Metrics, METRIC);
    assert_eq!(allocations(Stream::Metrics, METRIC), (0, 1));
}

#[test]
fn a_plain_event_allocates_nothing() {
    assert_eq!(allocations(Stream::Activity, EVENT), (0, 1));
}

#[test]
fn an_array_allocates_its_rows_once() {
    allocations(Stream::Metrics, METRIC);
    let array = format!("[{}]", vec![METRIC; 500].join(","));
    assert_eq!(allocations(Stream::Metrics, &array), (1, 500));
}
