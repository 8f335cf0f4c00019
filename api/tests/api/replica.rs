//! Over a replica that follows a real log: two people at once, and what is pushed.

use std::sync::Arc;

use axum::body::Body;
use kelly_api::LiveSettings;
use kelly_auth::{Accounts, Identity, Role, Roles};
use kelly_control::{FileSnapshots, Replica, ReplicaConfig};
use kelly_stream::{EmbeddedConfig, EmbeddedLog, Log};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::decisions::raise;
use crate::live::{Client, Server};
use crate::support::{Setup, everything, identity};

/// A server over a log of its own.
struct Stage {
    server: Server,
    replica: Arc<Replica>,
    pushing: JoinHandle<()>,
    _directory: TempDir,
}

impl Stage {
    async fn start(who: Identity) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("log");
        let log: Arc<dyn Log> = Arc::new(EmbeddedLog::open(EmbeddedConfig::new(place)).unwrap());
        let snapshots = Arc::new(FileSnapshots::new(directory.path().join("snapshots")));
        let replica = Replica::start(log, ReplicaConfig::new(snapshots)).await.unwrap();
        let live = LiveSettings::default();
        let setup = Setup { live, decisions: Some(replica.clone()), ..Setup::default() };
        let server = Server::start_with(setup, who).await;
        let (live, following) = (server.api.live.clone(), replica.clone());
        let pushing = tokio::spawn(async move { live.push_alerts(&following, 7).await });
        Self { server, replica, pushing, _directory: directory }
    }

    async fn raise(&self, number: u128, account: &str) {
        // The log's clock is that of now.
        let mut command = raise(Uuid::from_u128(number), account);
        if let kelly_control::Op::Transition(transition) = &mut command.op {
            transition.at_ms = chrono::Utc::now().timestamp_millis();
        }
        match self.replica.submit(&command).await.unwrap() {
            kelly_control::Outcome::Decided(recorded) => assert!(recorded.verdict.is_applied()),
            kelly_control::Outcome::Unknown { .. } => panic!("the log did not answer"),
        }
    }

    async fn acknowledge(&self, who: &Identity, number: u128) -> (u16, Value) {
        let path = format!("/api/v1/kelly/alerts/acknowledge/{}", Uuid::from_u128(number));
        let answer = self.server.api.send_as(who, "POST", &path, &[], Body::empty()).await;
        (answer.status.as_u16(), answer.json())
    }

    async fn stop(self) {
        self.server.stop().await;
        self.replica.stop().await;
        self.pushing.await.unwrap();
    }
}

fn operator(subject: &str) -> Identity {
    Identity { subject: subject.into(), ..identity(Roles::of(&[Role::Operator]), Accounts::All) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_act_at_once_get_one_winner_and_one_conflict() {
    let stage = Stage::start(everything()).await;
    let (ada, ben) = (operator("ada"), operator("ben"));
    for number in 1..=20 {
        stage.raise(number, "a").await;
        let answers = tokio::join!(stage.acknowledge(&ada, number), stage.acknowledge(&ben, number));
        let mut told = [("ada", &answers.0), ("ben", &answers.1)];
        told.sort_by_key(|(_, (status, _))| *status);
        let [(winner, (200, won)), (_, (409, lost))] = told else { panic!("{answers:?}") };
        assert_eq!(won["alert"]["acknowledged"]["by"]["name"], winner);
        assert_eq!((&lost["errors"][0]["by"], &lost["code"]), (&json!(winner), &json!("already_decided")));
        assert_eq!(lost["errors"][0]["version"], won["decided"]["version"]);
    }
    stage.stop().await;
}

async fn alerts_of(client: &mut Client) -> (Value, Value) {
    (client.message_of("subscribed").await, client.message_of("alert_snapshot").await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerts_are_pushed_as_they_change_and_a_cut_connection_goes_on() {
    let stage = Stage::start(everything()).await;
    stage.raise(1, "a").await;
    let mut client = stage.server.connect("/ws/kelly/alerts").await.unwrap();
    let (entered, snapshot) = alerts_of(&mut client).await;
    assert_eq!(
        (&entered["rooms"][0]["room"], &entered["rooms"][0]["kind"]),
        (&json!("alerts_monitoring"), &json!("every_one"))
    );
    assert_eq!(
        (&snapshot["data"]["open"], &snapshot["data"]["alerts"][0]["explanation"]),
        (&json!(1), &json!("a-e: response_time is 5200, above 5000"))
    );
    stage.raise(2, "b").await;
    let raised = client.message_of("alert_notification").await;
    assert_eq!((&raised["steps"], &raised["data"]["id"]), (&json!(["raised"]), &json!(Uuid::from_u128(2))));
    assert_eq!(raised["by"], json!({"name": "evaluator", "kind": "evaluator"}));
    drop(client);
    stage.acknowledge(&operator("ada"), 2).await;
    stage.acknowledge(&operator("ada"), 1).await;
    let next = &raised["next"];
    let epoch = raised["epoch"].as_str().unwrap();
    let resume = format!("/ws/kelly/alerts?resume=alerts_monitoring%3D{epoch}%3A{next}");
    let mut again = stage.server.connect(&resume).await.unwrap();
    assert_eq!(again.message_of("subscribed").await["rooms"][0]["resumed"], true);
    for number in [2, 1] {
        let update = again.message().await;
        assert_eq!(
            (&update["type"], &update["data"]["id"]),
            (&json!("alert_update"), &json!(Uuid::from_u128(number)))
        );
        assert_eq!(
            (&update["by"]["name"], &update["data"]["status"]),
            (&json!("ada"), &json!("acknowledged"))
        );
    }
    // One from before this instance began is too old: the snapshot says what is open.
    let mut late = stage
        .server
        .connect(&format!("/ws/kelly/alerts?resume=alerts_monitoring%3D{epoch}%3A0"))
        .await
        .unwrap();
    assert_eq!(late.message_of("reset").await["reason"], "too_old");
    let (_, snapshot) = alerts_of(&mut late).await;
    assert_eq!(snapshot["data"]["open"], 2);
    drop((again, late));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_gets_its_alerts_and_a_limited_caller_those_of_its_accounts() {
    let who = identity(Roles::of(&[Role::Viewer]), Accounts::only(["b"]).unwrap());
    let stage = Stage::start(who).await;
    let mut all = stage.server.follow(&["alerts_monitoring"]).await;
    let mut one = stage.server.connect("/ws/kelly/conversation/b-c").await.unwrap();
    let mut other = stage.server.connect("/ws/kelly/conversation/a-c").await.unwrap();
    for client in [&mut all, &mut one, &mut other] {
        alerts_of(client).await;
    }
    stage.raise(1, "a").await;
    stage.raise(2, "b").await;
    let pushed = all.message_of("alert_notification").await;
    assert_eq!(pushed["data"]["account_id"], "b", "that of another account is not sent");
    let pushed = one.message_of("alert_notification").await;
    assert_eq!(
        (&pushed["room"], &pushed["data"]["account_id"]),
        (&json!("conversation_alerts:b-c"), &json!("b"))
    );
    other.send(json!({"type": "ping"})).await;
    let answer = other.message().await;
    assert_eq!(answer["type"], "pong", "of another account, and of another conversation");
    drop((all, one, other));
    stage.stop().await;
}
