//! What a WebSocket costs: bytes that are allocated for it and not freed. Client and server of such a test run on its own thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use kelly_api::{Drained, LiveSettings};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::live::{Server, publish};

/// The system's allocator, counting per thread, so that other tests do not disturb.
struct Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
}

/// Notes bytes that were allocated and freed. What another thread allocated may be freed here, so it wraps.
fn note(allocated: usize, freed: usize) {
    // A thread that is being torn down has no counter any more, and is not ours.
    let _ = HELD.try_with(|held| held.set(held.get().wrapping_add(allocated).wrapping_sub(freed)));
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory of the caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size(), 0);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size(), 0);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(0, layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        note(new_size, layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Sockets among which what is held is divided.
const SOCKETS: usize = 100;

/// What a socket may hold on the heap, its client's connection with it. In memory it may cost 12 KiB; the rest of that is the
/// allocator's, which rounds up and leaves gaps.
const MOST: usize = 8 << 10;

/// A client in the room of all events that has its snapshot, and keeps nothing but the connection.
async fn follower(server: &Server) -> TcpStream {
    let mut client = server.follow(&["activity_feed"]).await;
    client.message_of("activity_snapshot").await;
    client.0.into_inner()
}

async fn read_until(stream: &mut TcpStream, text: &str) {
    let mut seen = Vec::new();
    while !seen.windows(text.len()).any(|window| window == text.as_bytes()) {
        assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_socket_holds_little_memory() {
    let server = Server::start(LiveSettings::default()).await;
    let conversation = "x".repeat(100);
    // Snapshots and bursts are as long as they are in use: tens of kilobytes, far more than a socket may keep.
    for offset in 0..100 {
        publish(&server.api.hub, 0, offset, "a", &conversation);
    }
    // What the first one makes is for all.
    let first = follower(&server).await;
    let before = HELD.get();
    let of_each = || HELD.get().wrapping_sub(before) / SOCKETS;
    let mut streams = Vec::with_capacity(SOCKETS);
    for _ in 0..SOCKETS {
        streams.push(follower(&server).await);
    }
    let idle = of_each();
    for offset in 100..200 {
        publish(&server.api.hub, 0, offset, "a", &conversation);
    }
    for stream in &mut streams {
        read_until(stream, "\"title\":\"0/199\"").await;
    }
    let loaded = of_each();
    assert!((1..MOST).contains(&idle) && (1..MOST).contains(&loaded), "{idle} idle, {loaded} loaded");
    drop((first, streams));
    assert_eq!(server.stop().await, Drained::Complete);
}
