//! Providers that fail in every way, while what sends is killed again and again: nothing is lost, nothing is told twice, every end
//! arrives.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kelly_harness::chance::{Chance, SEED_VARIABLE};
use kelly_harness::provider::{Does, Got, Provider};

use crate::stage::{PATIENCE, Stage, until};

/// One in four of what is asked fails, each in its own way. Not more: who fails often is left alone for longer each time.
fn moody(dice: &Arc<Mutex<Chance>>) -> impl FnMut(&str) -> Does + Send + 'static {
    let dice = dice.clone();
    move |_| match dice.lock().unwrap().below(28) {
        0 => Does::Busy(1),
        1 => Does::Answer(500),
        2 => Does::Hang,
        3 => Does::Reset,
        4 | 5 => Does::TakeAndReset,
        6 => Does::Answer(503),
        _ => Does::Take,
    }
}

fn settings(stub: &Provider) -> String {
    format!(
        "[[destination]]\nid = 'hook'\nkind = 'webhook'\nurl = '{}/x'\nsecret_file = 'SECRET_FILE'\nper_minute = 6000\n\
         [[route]]\nid = 'all'\ndestinations = ['hook']\ngroup_by = ['alert']\n[digest]\nover = 100000\n",
        stub.url()
    )
}

/// The alerts of a message.
fn alerts(got: &Got) -> Vec<String> {
    let alerts = got.body["data"]["alerts"].as_array().unwrap();
    alerts.iter().map(|alert| alert["id"].as_str().unwrap().to_owned()).collect()
}

/// What somebody has who takes each id once, as the standard says: by key, in order, what was told.
fn told(stub: &Provider) -> BTreeMap<String, Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for got in stub.taken() {
        if seen.insert(got.id().to_owned()) {
            told.entry(got.key().to_owned()).or_default().push(got.reason().to_owned());
        }
    }
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_told_twice_whatever_is_killed() {
    kill_again_and_again(Stage::new().await, 25).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_told_twice_whatever_is_killed_over_kafka() {
    kill_again_and_again(Stage::kafka().await, 8).await;
}

async fn kill_again_and_again(mut stage: Stage, most_kills: usize) {
    const ALERTS: u128 = 60;
    let chance = Chance::from_environment();
    eprintln!("play this again with {SEED_VARIABLE}={}", chance.seed());
    let dice = Arc::new(Mutex::new(chance));
    let stub = Provider::start(moody(&dice)).await;
    let text = settings(&stub);
    let roll = |sides| dice.lock().unwrap().below(sides);
    let mut service = Some(stage.service(&text).await);
    // From then on it is kept how far decisions were read.
    stage.raise(1).await;
    until("the first one", || !stub.taken().is_empty()).await;
    let (mut next, mut open) = (2, BTreeSet::from([1]));
    let mut kills = 0;
    while next <= ALERTS || !open.is_empty() {
        match roll(8) {
            0..=3 if next <= ALERTS => {
                stage.raise(next).await;
                open.insert(next);
                next += 1;
            }
            4 | 5 if !open.is_empty() => {
                let number = *open.iter().nth(usize::try_from(roll(open.len() as u64)).unwrap()).unwrap();
                open.remove(&number);
                stage.resolve(number).await;
            }
            6 if kills < most_kills => {
                kills += 1;
                // Dropped in the middle of whatever it does.
                tokio::time::sleep(Duration::from_millis(roll(60))).await;
                drop(service.take());
                if roll(3) == 0 {
                    // Decisions are made while nobody is there, and the next replica does not tell of them.
                    for _ in 0..roll(4) {
                        if next <= ALERTS {
                            stage.raise(next).await;
                            open.insert(next);
                            next += 1;
                        }
                    }
                    stage.new_replica().await;
                }
                service = Some(stage.service(&text).await);
            }
            _ => {}
        }
    }
    stub.choose(|_| Does::Take);
    let service = service.unwrap();
    let begun = tokio::time::Instant::now();
    loop {
        let told = told(&stub);
        let is_over = |reasons: &Vec<String>| reasons.last().is_some_and(|last| last == "resolved");
        if told.len() >= 60 && told.values().all(is_over) {
            break;
        }
        let overview = service.outbox().overview();
        assert!(begun.elapsed() < PATIENCE, "{} keys; {:?}; {told:?}", told.len(), overview.destinations);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let told = told(&stub);
    assert_eq!(told.len(), 60, "one key an alert");
    for (key, reasons) in &told {
        assert_eq!(reasons, &["firing", "resolved"], "{key}");
    }
    // Every alert is in the messages of one key alone.
    let mut keys: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for got in stub.got() {
        for alert in alerts(&got) {
            keys.entry(alert).or_default().insert(got.key().to_owned());
        }
        texts.entry(got.id().to_owned()).or_default().insert(got.text.clone());
    }
    assert_eq!(keys.len(), 60);
    assert!(keys.values().all(|keys| keys.len() == 1));
    assert!(texts.values().all(|texts| texts.len() == 1), "a message is the same at every try");
    // A message is sent again only when nobody could know that it was taken: its connection broke, or its sender was killed.
    let mut well: BTreeMap<String, usize> = BTreeMap::new();
    for got in stub.got().iter().filter(|got| got.did == Does::Take) {
        *well.entry(got.id().to_owned()).or_default() += 1;
    }
    let twice = well.values().map(|count| count - 1).sum::<usize>();
    assert!(twice <= kills * kelly_notify::MAX_IN_FLIGHT, "{twice} times again after {kills} kills");
    assert_eq!(service.outbox().overview().dead.len(), 0);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_instances_one_sends_and_another_goes_on_for_it() {
    instances(Stage::new().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_instances_one_sends_and_another_goes_on_for_it_over_kafka() {
    instances(Stage::kafka().await).await;
}

async fn instances(stage: Stage) {
    let stub = Provider::willing().await;
    let text = settings(&stub);
    let first = stage.service(&text).await;
    let second = stage.service(&text).await;
    for number in 1..=10 {
        stage.raise(number).await;
    }
    until("all", || stub.taken().len() == 10).await;
    first.stop().await;
    for number in 1..=10 {
        stage.resolve(number).await;
    }
    until("all ends", || stub.taken().len() >= 20).await;
    second.stop().await;
    let third = stage.service(&text).await;
    stage.raise(11).await;
    until("one more", || told(&stub).len() == 11).await;
    let both = ["firing".to_owned(), "resolved".to_owned()];
    let whole = told(&stub).into_values().filter(|reasons| *reasons == both).count();
    assert_eq!(whole, 10, "{:?}", told(&stub));
    third.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_began_and_ended_while_nobody_was_there_is_told() {
    let mut stage = Stage::new().await;
    let stub = Provider::willing().await;
    let text = settings(&stub);
    // What is open at the very first start is told; what was over then is not.
    stage.raise(1).await;
    stage.raise(2).await;
    stage.resolve(2).await;
    let service = stage.service(&text).await;
    until("the open one", || stub.taken().len() == 1).await;
    service.stop().await;
    stage.resolve(1).await;
    stage.raise(3).await;
    stage.resolve(3).await;
    stage.raise(4).await;
    stage.new_replica().await;
    let service = stage.service(&text).await;
    until("the rest", || stub.taken().len() == 5).await;
    let mut told: Vec<_> = told(&stub).into_values().collect();
    told.sort();
    let both = vec!["firing".to_owned(), "resolved".to_owned()];
    assert_eq!(told, [vec!["firing".to_owned()], both.clone(), both]);
    service.stop().await;
}
