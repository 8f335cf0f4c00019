//! What a user has read, over two instances of `kelly serve` on one store: what is marked at one is seen at once at the other, and pushed to
//! the user's connections at both.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};

use kelly_auth::Role;
use kelly_harness::sign_in::{User, token_of};
use reqwest::Method;
use serde_json::{Value, json};

use crate::apart::{Apart, Changes};
use crate::kelly_process::{Kelly, free_address};
use crate::python;

const ACTIVITY: &str = "/api/v1/kelly/monitoring/activity";

/// A connection of a user, in the room of what is read.
struct Looking {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Looking {
    fn at(kelly: &Kelly, token: &str) -> Self {
        let url = format!("{}/ws/kelly/monitoring", kelly.url.replace("http://", "ws://"));
        let mut child = python::command("tests/e2e/reading_client.py", &[&url, token])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the tests' Python starts");
        let lines = BufReader::new(child.stdout.take().expect("its output is piped"));
        Self { child, lines }
    }

    /// Waits for the state after so many changes, and gives how much is unread by it. No state is older than the one before.
    fn unread_after(&mut self, changes: u64) -> u64 {
        let mut last = 0;
        loop {
            let mut line = String::new();
            assert_ne!(self.lines.read_line(&mut line).expect("a line"), 0, "the connection ended");
            let [offset, unread]: [u64; 2] = serde_json::from_str(&line).expect("two numbers");
            assert!(offset >= last && offset <= changes, "{line}");
            last = offset;
            if offset == changes {
                return unread;
            }
        }
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn ask(kelly: &Kelly, method: Method, token: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
    let client = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
    let mut request = client.request(method, format!("{}{ACTIVITY}{path}", kelly.url)).bearer_auth(token);
    if let Some(body) = body {
        request = request.json(body);
    }
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

async fn get(kelly: &Kelly, token: &str, path: &str) -> Value {
    let (status, body) = ask(kelly, Method::GET, token, path, None).await;
    assert_eq!(status, 200, "{path}: {body}");
    body
}

async fn mark(kelly: &Kelly, token: &str, what: Value) -> Value {
    let (status, body) = ask(kelly, Method::POST, token, "/mark-read", Some(&what)).await;
    assert_eq!(status, 200, "{what}: {body}");
    body["mark_id"].clone()
}

async fn unread_titles(kelly: &Kelly, token: &str, feed: &str) -> Vec<String> {
    let page = get(kelly, token, &format!("/{feed}?unread=true")).await;
    let events = page["events"].as_array().expect("events");
    events.iter().map(|event| event["title"].as_str().expect("a title").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_sees_at_every_instance_what_they_marked_at_one() {
    let stage = Apart::set(Changes::default()).await;
    let ingest = stage.spawn(&["ingest"]);
    stage.until_topics().await;
    let addresses = [free_address(), free_address()];
    let [mut one, mut other] = addresses.each_ref().map(|address| stage.spawn_at(address, &["serve"]));
    one.until_ready().await;
    other.until_ready().await;
    let token = |subject: &str| {
        let user = User { subject: subject.to_owned(), ..User::with(Role::Admin) };
        token_of(&stage.file(""), &user).expect("the instances share their secret")
    };
    let (ada, bob) = (token("ada"), token("bob"));
    let now = chrono::Utc::now();
    let rows: Vec<Value> = (0..5)
        .map(|number| {
            let at = now - chrono::TimeDelta::seconds(60 - number);
            json!({"event_type": "e", "title": number.to_string(), "account_id": "a", "conversation_id": "c",
                "severity": if number == 4 { "critical" } else { "low" }, "created_at": at.to_rfc3339()})
        })
        .collect();
    let (status, answer) = ask(&one, Method::POST, &ada, "/record", Some(&json!(rows))).await;
    assert_eq!(status, 202, "{answer}");
    stage.until_drained().await;

    let mut looking = [Looking::at(&one, &ada), Looking::at(&other, &ada)];
    let mut bobs = Looking::at(&other, &bob);
    for looking in looking.iter_mut().chain([&mut bobs]) {
        assert_eq!(looking.unread_after(0), 5);
    }

    // Marked at the one, seen at once at the other.
    let page = get(&one, &ada, "/feed").await;
    let newest = &page["events"][0];
    let first =
        mark(&one, &ada, json!({"events": [{"id": newest["id"], "account_id": newest["account_id"]}]})).await;
    assert_eq!(unread_titles(&other, &ada, "feed").await, ["3", "2", "1", "0"]);
    assert!(unread_titles(&other, &ada, "vip").await.is_empty());
    assert_eq!(get(&other, &ada, "/unread").await["unread"], 4);
    let all = mark(&other, &ada, json!({"up_to": {"cursor": page["newest_cursor"]}})).await;
    assert!(unread_titles(&one, &ada, "feed").await.is_empty());
    assert_eq!(get(&one, &ada, "/unread").await["unread"], 0);
    for looking in &mut looking {
        assert_eq!(looking.unread_after(2), 0);
    }

    // Undone, it is as it was before: also what another mark says beside it.
    mark(&one, &ada, json!({"undo": all})).await;
    assert_eq!(unread_titles(&other, &ada, "feed").await, ["3", "2", "1", "0"]);
    mark(&other, &ada, json!({"undo": first})).await;
    assert_eq!(unread_titles(&one, &ada, "feed").await.len(), 5);
    assert_eq!(unread_titles(&one, &ada, "vip").await, ["4"]);
    for looking in &mut looking {
        assert_eq!(looking.unread_after(4), 5);
    }

    // Nothing of it is another user's, whose first state after the beginning is of their own mark.
    assert_eq!(unread_titles(&one, &bob, "feed").await.len(), 5);
    mark(&one, &bob, json!({"up_to": {"cursor": page["newest_cursor"]}})).await;
    assert_eq!(bobs.unread_after(1), 0);
    assert_eq!(get(&other, &ada, "/unread").await["unread"], 5);
    drop((looking, bobs));
    for instance in [one, other, ingest] {
        assert_eq!(instance.terminate(), Some(0));
    }
}
