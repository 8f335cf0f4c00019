//! Several instances over one log: they decide alike, whatever happens on the way.

use std::sync::atomic::Ordering;
use std::time::Duration;

use kelly_control::alert::Status;
use kelly_control::replica::{MAX_IN_FLIGHT, RING_DECISIONS, WatchEnd};
use kelly_control::{
    Actor, Change, Command, Health, Op, Outcome, Replica, Snapshots, State, Step, SubmitError, Verdict,
};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::support::{Fault, PATIENCE, Stage, acknowledge, both_logs, decided, quick_policy, raise, verdict};

both_logs! {
    of_two_at_once_one_wins_on_every_instance
    what_is_not_known_is_settled_by_the_log
    a_command_counts_once_however_often_it_is_sent
    an_instance_goes_on_from_its_snapshot
    followers_see_every_decision_or_are_told
    what_is_due_happens_though_nobody_writes
    records_that_are_no_commands_stop_nobody
    commands_under_way_are_bounded
}

/// Both have applied the same, and are equal.
async fn agree(one: &Replica, other: &Replica) {
    let places = [one.barrier().await.unwrap(), other.barrier().await.unwrap()];
    let last = places.into_iter().max().unwrap();
    // Each reads on until it has seen the other's barrier.
    for replica in [one, other] {
        let mut watcher = replica.watch(Some(last));
        let decision = tokio::time::timeout(PATIENCE, watcher.next()).await.unwrap().unwrap();
        assert!(decision.at.offset >= last);
    }
    let fingerprint =
        |replica: &Replica| replica.read(|state: &State| (state.position(), state.chain(), state.hash()));
    loop {
        let (one, other) = (fingerprint(one), fingerprint(other));
        // A tick may have come for one of them already.
        if one.0 == other.0 {
            assert_eq!(one, other);
            return;
        }
        tokio::task::yield_now().await;
    }
}

async fn of_two_at_once_one_wins_on_every_instance(stage: Stage) {
    let (one, two) = (stage.replica("one").await, stage.replica("two").await);
    for alert in 0..15 {
        // Both instances evaluate the same data.
        let command = raise(alert);
        let (raised, again) = tokio::join!(verdict(&one, &command), verdict(&two, &command));
        assert!(raised.is_applied(), "{raised:?}");
        assert_eq!(raised, again, "the same command, asked about on two instances");
        let (ada, ben) = (acknowledge("ada", alert), acknowledge("ben", alert));
        let (first, second) = tokio::join!(verdict(&one, &ada), verdict(&two, &ben));
        let (winner, loser) = match (&first, &second) {
            (Verdict::Applied { .. }, Verdict::Conflict(conflict)) => ("ada", conflict),
            (Verdict::Conflict(conflict), Verdict::Applied { .. }) => ("ben", conflict),
            other => panic!("{other:?}"),
        };
        assert_eq!(loser.by, Actor::person(winner));
        let held = |state: &State| {
            let alert = state.alerts().book().get(&Uuid::from_u128(alert)).cloned().unwrap();
            (alert.status, alert.acknowledged.unwrap().actor.id)
        };
        two.barrier().await.unwrap();
        for replica in [&one, &two] {
            replica.barrier().await.unwrap();
            assert_eq!(replica.read(held), (Status::Acknowledged, winner.to_owned()));
        }
    }
    agree(&one, &two).await;
    one.stop().await;
    two.stop().await;
}

async fn what_is_not_known_is_settled_by_the_log(stage: Stage) {
    let (one, two) = (stage.replica("one").await, stage.replica("two").await);
    for alert in 0..3 {
        assert!(verdict(&one, &raise(alert)).await.is_applied());
    }
    // The answer is lost, the command is there: the log has it before its cancel.
    stage.log.next(Fault::AnswerLost);
    let command = acknowledge("ada", 0);
    let recorded = decided(&one, &command).await;
    assert!(recorded.verdict.is_applied(), "{recorded:?}");
    assert_eq!(verdict(&two, &acknowledge("ben", 0)).await.code(), "conflict");

    // The command is under way for so long that it is taken back. When it comes it does nothing.
    let (now, at_last) = oneshot::channel();
    let (done, offset) = oneshot::channel();
    stage.log.next(Fault::Late(at_last, done));
    let command = acknowledge("ada", 1);
    let recorded = decided(&one, &command).await;
    assert!(matches!(recorded.verdict, Verdict::Cancelled { .. }), "{recorded:?}");
    assert!(verdict(&two, &acknowledge("ben", 1)).await.is_applied());
    now.send(()).unwrap();
    let offset = offset.await.unwrap();
    let mut watcher = two.watch(Some(offset));
    let late = watcher.next().await.unwrap();
    assert_eq!((late.at.offset, late.verdict.code()), (offset, "cancelled"));
    let holder =
        two.read(|state| state.alerts().book().get(&Uuid::from_u128(1)).unwrap().acknowledged.clone());
    assert_eq!(holder.unwrap().actor, Actor::person("ben"));

    // Neither the command nor its cancel is heard of: it is unknown, and can be asked for.
    stage.log.next(Fault::AnswerLost);
    stage.log.next(Fault::AnswerLost);
    let command = acknowledge("ada", 2);
    let outcome = one.submit(&command).await.unwrap();
    assert_eq!(outcome, Outcome::Unknown { id: command.id });
    for replica in [&one, &two] {
        replica.barrier().await.unwrap();
        assert!(replica.status(&command.id).unwrap().verdict.is_applied());
    }

    // What the log refused was not sent.
    stage.log.next(Fault::Refused);
    let refused = one.submit(&acknowledge("ada", 2)).await;
    assert!(matches!(refused, Err(SubmitError::NotSent(_))), "{refused:?}");
    agree(&one, &two).await;
}

async fn a_command_counts_once_however_often_it_is_sent(stage: Stage) {
    let (one, two) = (stage.replica("one").await, stage.replica("two").await);
    stage.log.next(Fault::Twice);
    let command = raise(0);
    let first = decided(&one, &command).await;
    assert!(first.verdict.is_applied());
    // Sent again by hand, and by another instance: what was decided first is answered.
    assert_eq!(decided(&one, &command).await, first);
    assert_eq!(decided(&two, &command).await, first);
    let other = Command { op: Op::Noop, ..command };
    assert_eq!(decided(&two, &other).await.verdict.reason(), "id_reused");
    let raised = two.read(|state| state.alerts().noise().get("slow").unwrap().raised);
    assert_eq!(raised, 1);
    agree(&one, &two).await;
}

async fn an_instance_goes_on_from_its_snapshot(stage: Stage) {
    let one = stage.replica("one").await;
    for alert in 0..20 {
        verdict(&one, &raise(alert)).await;
    }
    one.stop().await;
    assert!(matches!(one.health(), Health::Stopped(_)));
    let stopped = one.submit(&raise(50)).await;
    assert!(matches!(stopped, Err(SubmitError::Stopped(_))), "{stopped:?}");
    let snapshots = stage.snapshots("one").list().unwrap();
    assert_eq!(snapshots, [one.read(State::next_offset)]);

    // One that begins at the beginning, and goes on while the other is away.
    let two = stage.replica("two").await;
    for alert in 20..40 {
        verdict(&two, &raise(alert)).await;
        verdict(&two, &acknowledge("ada", alert - 20)).await;
    }
    let again = stage.replica("one").await;
    agree(&again, &two).await;
    // It is killed: without a snapshot of its end. It reads what came since the last one again.
    verdict(&again, &acknowledge("ben", 30)).await;
    drop(again);
    let again = stage.replica("one").await;
    agree(&again, &two).await;
    let third = stage.replica("three").await;
    agree(&third, &again).await;
}

async fn followers_see_every_decision_or_are_told(stage: Stage) {
    let one = stage.replica("one").await;
    let mut watcher = one.watch(Some(0));
    let mut now = one.watch(None);
    let raised = decided(&one, &raise(1)).await;
    let mut seen = Vec::new();
    while seen.last() != Some(&raised.at.offset) {
        seen.push(watcher.next().await.unwrap().at.offset);
    }
    assert!(seen.is_sorted() && seen.first() == Some(&0), "{seen:?}");
    let decision = now.next().await.unwrap();
    assert_eq!(decision.at, raised.at);
    assert!(decision.changes.contains(&Change::Alert { alert: Uuid::from_u128(1), step: Step::Raised }));
    assert_eq!(decision.alerts.len(), 1);

    // One that waits is woken.
    let waiting = tokio::spawn(async move { now.next().await.unwrap().at.offset });
    let acknowledged = decided(&one, &acknowledge("ada", 1)).await;
    assert_eq!(waiting.await.unwrap(), acknowledged.at.offset);

    // More than are kept: who has not followed is told where to go on.
    let noop = || Command::new(Actor::system(), Op::Noop).encode().unwrap();
    for _ in 0..5 {
        stage.append((0..RING_DECISIONS / 4).map(|_| noop()).collect()).await;
    }
    one.barrier().await.unwrap();
    let missed = watcher.next().await.unwrap_err();
    let WatchEnd::Missed(missed) = missed else { panic!("{missed:?}") };
    assert!(missed.oldest > acknowledged.at.offset);
    assert!(watcher.next().await.unwrap().at.offset >= missed.oldest);
    one.stop().await;
    let mut ended = one.watch(None);
    assert!(matches!(ended.next().await, Err(WatchEnd::Stopped(_))));
}

async fn what_is_due_happens_though_nobody_writes(stage: Stage) {
    let (one, two) = (stage.replica("one").await, stage.replica("two").await);
    assert!(verdict(&one, &quick_policy()).await.is_applied());
    let mut watchers = [one.watch(None), two.watch(None)];
    assert!(verdict(&one, &raise(1)).await.is_applied());
    let climbed = Change::Alert { alert: Uuid::from_u128(1), step: Step::Climbed };
    let mut places = Vec::new();
    for watcher in &mut watchers {
        let place = async {
            loop {
                let decision = watcher.next().await.unwrap();
                if decision.changes.contains(&climbed) {
                    return (decision.at, decision.command().map(|command| command.op.name()));
                }
            }
        };
        places.push(tokio::time::timeout(PATIENCE, place).await.expect("a tick comes"));
    }
    assert_eq!(places[0], places[1], "at the same record on both");
    assert_eq!(places[0].1, Some("tick"));
    agree(&one, &two).await;
}

async fn records_that_are_no_commands_stop_nobody(stage: Stage) {
    let one = stage.replica("one").await;
    let garbage = [b"".to_vec(), b"\xff".to_vec(), b"{\"v\":9}".to_vec(), vec![b'x'; 300_000]];
    let positions = stage.append(garbage.to_vec()).await;
    let two = stage.replica("two").await;
    agree(&one, &two).await;
    let mut watcher = two.watch(Some(0));
    let mut refused = Vec::new();
    while refused.len() < garbage.len() {
        let decision = watcher.next().await.unwrap();
        if decision.command().is_none() {
            assert_eq!(decision.verdict.code(), "refused");
            refused.push(decision.at.offset);
        }
    }
    assert_eq!(refused, positions.iter().map(|position| position.offset).collect::<Vec<_>>());
}

async fn commands_under_way_are_bounded(stage: Stage) {
    let one = stage.replica("one").await;
    stage.log.is_silent.store(true, Ordering::Relaxed);
    let mut under_way = JoinSet::new();
    for _ in 0..MAX_IN_FLIGHT {
        let replica = one.clone();
        // The place may be taken for a moment by who looks whether there is one.
        under_way.spawn(async move {
            while let Err(SubmitError::Busy) = replica.submit(&raise(1)).await {
                tokio::task::yield_now().await;
            }
        });
    }
    // Each of them takes a place before it waits; when the last one has is not announced.
    let busy = async {
        loop {
            match tokio::time::timeout(Duration::from_millis(20), one.submit(&raise(2))).await {
                Ok(Err(SubmitError::Busy)) => return,
                Ok(other) => panic!("{other:?}"),
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, busy).await.expect("all of them wait");
    // Who gives up gives his place back.
    under_way.shutdown().await;
    stage.log.is_silent.store(false, Ordering::Relaxed);
    assert!(verdict(&one, &raise(2)).await.is_applied());
}
