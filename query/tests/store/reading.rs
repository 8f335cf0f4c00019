//! What users have read: marks, marks up to a cursor, and undoing, held against a set of what was named.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use kelly_harness::chance::{Chance, SEED_VARIABLE};
use kelly_query::feed::FeedEvent;
use kelly_query::{
    Accounts, EventName, FeedPage, FeedRequest, MAX_MARKED, MarkRequest, Marked, Reader, ReaderView,
    ReadingVersion,
};
use uuid::Uuid;

use crate::fixture::{Fixture, Recorded, now};

/// An event as it is named.
type Name = (Uuid, Option<String>);

fn name(event: &FeedEvent) -> Name {
    (event.id, event.account_id.clone())
}

fn reader(subject: &str) -> Reader {
    Reader { issuer: "kelly".to_owned(), subject: subject.to_owned() }
}

/// A user with the sets that the marks which stand have named.
struct User {
    reader: Reader,
    accounts: Accounts,
    named: Vec<(Uuid, BTreeSet<Name>)>,
}

impl User {
    fn new(subject: &str, accounts: Accounts) -> Self {
        Self { reader: reader(subject), accounts, named: Vec::new() }
    }

    fn read(&self) -> BTreeSet<Name> {
        self.named.iter().flat_map(|(_, names)| names.clone()).collect()
    }

    async fn version(&self, fixture: &Fixture) -> ReadingVersion {
        fixture.service.reading_versions(std::slice::from_ref(&self.reader)).await.unwrap().remove(0)
    }

    fn feed(&self) -> FeedRequest {
        FeedRequest { limit: Some(200), ..FeedRequest::newest(self.accounts.clone()) }
    }

    /// Marks this; whether the mark is in force.
    async fn mark(&self, fixture: &Fixture, mark: Uuid, what: Marked) -> bool {
        let request =
            MarkRequest { reader: self.reader.clone(), accounts: self.accounts.clone(), mark, what };
        fixture.service.mark_read(&request).await.unwrap()
    }

    /// The feed, page by page, of this user.
    async fn pages(&self, fixture: &Fixture, unread_only: bool, limit: u32) -> Vec<FeedEvent> {
        let version = self.version(fixture).await;
        let view = ReaderView { reader: self.reader.clone(), version, unread_only };
        let (mut cursor, mut events) = (None, Vec::new());
        loop {
            let request =
                FeedRequest { reader: Some(view.clone()), cursor, limit: Some(limit), ..self.feed() };
            let page = fixture.service.feed(request).await.unwrap();
            events.extend(page.events);
            cursor = page.next_cursor;
            if cursor.is_none() {
                return events;
            }
        }
    }

    /// Everything that tells what is read tells the same as the sets.
    async fn check(&self, fixture: &Fixture, chance: &mut Chance) {
        let all = fixture.service.feed(self.feed()).await.unwrap().events;
        let read = self.read();
        let wanted: Vec<Name> = all.iter().map(name).filter(|name| !read.contains(name)).collect();
        let unread = self.pages(fixture, true, 1 + chance.below(40) as u32).await;
        assert_eq!(unread.iter().map(name).collect::<Vec<_>>(), wanted, "{}", self.reader.subject);
        assert!(unread.iter().all(|event| event.is_read == Some(false)));
        let flagged = self.pages(fixture, false, 200).await;
        assert_eq!(flagged.len(), all.len());
        for event in &flagged {
            assert_eq!(event.is_read, Some(read.contains(&name(event))), "{event:?}");
        }
        let version = self.version(fixture).await;
        let counted = fixture.service.unread(&self.reader, &version, &self.accounts).await.unwrap();
        let of = |severity: &str| unread.iter().filter(|event| event.severity == severity).count() as u64;
        let by = counted.by_severity;
        assert_eq!((counted.unread, counted.more), (wanted.len() as u64, false));
        assert_eq!(
            (by.low, by.medium, by.high, by.critical),
            (of("low"), of("medium"), of("high"), of("critical"))
        );
        assert_eq!(counted.vip, of("high") + of("critical"));
    }
}

/// One of few instants of the last hours, so that many events share one; ids that differ in either half, and some that several
/// accounts have.
fn event(chance: &mut Chance, offset: u64, there: &mut BTreeSet<(Uuid, &'static str)>) -> Recorded {
    let (id, account) = loop {
        let few = u128::from(chance.below(3)) << 64 | u128::from(chance.below(3));
        let id = if chance.below(2) == 0 { few } else { u128::from(chance.below(u64::MAX)) << 60 };
        let event = (Uuid::from_u128(id + 1), *chance.one_of(&["acme", "globex", ""][..]));
        if there.insert(event) {
            break event;
        }
    };
    Recorded {
        id,
        at: now() - TimeDelta::minutes(1 + 10 * chance.below(6) as i64),
        offset,
        account,
        severity: chance.one_of::<&str>(&["low", "medium", "high", "critical"]),
    }
}

/// A feed with filters, by chance.
fn some_feed(chance: &mut Chance, user: &User) -> (FeedRequest, bool) {
    let severity = (chance.below(4) == 0).then(|| "high".to_owned());
    let account_id = (chance.below(4) == 0).then(|| "acme".to_owned());
    (FeedRequest { severity, account_id, ..user.feed() }, chance.below(4) == 0)
}

async fn page_of(fixture: &Fixture, request: FeedRequest, vip_only: bool) -> FeedPage {
    if vip_only {
        fixture.service.vip(request).await.unwrap()
    } else {
        fixture.service.feed(request).await.unwrap()
    }
}

#[tokio::test]
async fn what_is_read_is_what_marks_that_stand_have_named() {
    const STEPS: u64 = 60;
    let mut chance = Chance::from_environment();
    eprintln!("play this again with {SEED_VARIABLE}={}", chance.seed());
    let fixture = Fixture::create().await;
    let mut there = BTreeSet::new();
    let mut users = [
        User::new("ada", Accounts::All),
        User::new("bob", Accounts::All),
        User::new("carol", Accounts::only(["acme"]).unwrap()),
    ];
    for step in 0..STEPS {
        let user = &mut users[chance.below(3) as usize];
        let mark = Uuid::new_v4();
        match chance.below(8) {
            0..3 => {
                let events: Vec<Recorded> =
                    (0..3).map(|number| event(&mut chance, step * 3 + number, &mut there)).collect();
                fixture.record_events(&events).await;
            }
            3 => {
                let all = fixture.service.feed(user.feed()).await.unwrap().events;
                let names: BTreeSet<Name> =
                    all.iter().filter(|_| chance.below(4) == 0).take(MAX_MARKED).map(name).collect();
                if !names.is_empty() {
                    let events = names.iter().cloned().map(|(id, account_id)| EventName { id, account_id });
                    user.mark(&fixture, mark, Marked::Events(events.collect())).await;
                    user.named.push((mark, names));
                }
            }
            4..6 => {
                let (feed, vip_only) = some_feed(&mut chance, user);
                let listed = page_of(&fixture, feed.clone(), vip_only).await;
                if listed.events.is_empty() {
                    continue;
                }
                // The newest event of all, or the last one of a page.
                let (mut from, mut cursor) = (0, listed.newest_cursor);
                let limit = 1 + chance.below(listed.events.len() as u64) as u32;
                let page =
                    page_of(&fixture, FeedRequest { limit: Some(limit), ..feed.clone() }, vip_only).await;
                if page.next_cursor.is_some() {
                    (from, cursor) = (limit as usize - 1, page.next_cursor);
                }
                let feed = FeedRequest { cursor, ..feed };
                user.mark(&fixture, mark, Marked::UpTo { feed, vip_only }).await;
                user.named.push((mark, listed.events[from..].iter().map(name).collect()));
            }
            _ if !user.named.is_empty() => {
                let (mark, _) = user.named.swap_remove(chance.below(user.named.len() as u64) as usize);
                assert!(fixture.service.undo_mark(&user.reader, mark).await.unwrap());
                // Once more changes nothing.
                assert!(fixture.service.undo_mark(&user.reader, mark).await.unwrap());
            }
            _ => {}
        }
        if step % 6 == 5 {
            for user in &users {
                user.check(&fixture, &mut chance).await;
            }
        }
    }
}

/// However much a user has marked, a look reads what was counted when it was marked.
#[tokio::test]
async fn how_much_is_marked_is_counted_ahead() {
    let fixture = Fixture::create().await;
    let database = &fixture.database;
    let rows = "INSERT INTO activity_reads (issuer, subject, kind, mark, event_id, marked_at, ages_from) \
                SELECT 'kelly', 'ada', 'event', generateUUIDv4(), generateUUIDv4(), now64(3) - toIntervalDay(1), now() + 604800 FROM numbers(20000)";
    database.query(rows).await;
    let ada = User::new("ada", Accounts::All);
    let known = ada.version(&fixture).await;
    assert_eq!(known.offset, 20_000);
    ada.mark(
        &fixture,
        Uuid::new_v4(),
        Marked::Events(vec![EventName { id: Uuid::new_v4(), account_id: None }]),
    )
    .await;
    assert_eq!(ada.version(&fixture).await, ReadingVersion { offset: 20_001, ..known });
    let question = "EXPLAIN SELECT * FROM reading_versions(issuers = ['kelly'], subjects = ['ada'])";
    let explained = database.query(question).await;
    assert!(explained.contains("ReadFromMergeTree (changes)"), "{explained}");
}

#[tokio::test]
async fn a_mark_up_to_a_cursor_leaves_what_comes_late_unread() {
    let fixture = Fixture::create().await;
    let at = |offset: u64, ago: TimeDelta| Recorded {
        id: Uuid::from_u128(u128::from(offset) + 1),
        at: now() - ago,
        offset,
        account: "acme",
        severity: "low",
    };
    fixture.record_events(&[at(0, TimeDelta::minutes(10)), at(1, TimeDelta::minutes(1))]).await;
    let ada = User::new("ada", Accounts::All);
    let cursor = fixture.service.feed(ada.feed()).await.unwrap().newest_cursor;
    let what = Marked::UpTo { feed: FeedRequest { cursor, ..ada.feed() }, vip_only: false };
    ada.mark(&fixture, Uuid::new_v4(), what).await;
    assert_eq!(ada.pages(&fixture, true, 200).await, []);
    let late = [at(2, TimeDelta::minutes(5)), at(3, TimeDelta::hours(47)), at(4, TimeDelta::hours(49))];
    fixture.record_events(&late).await;
    fixture.record_events(&[at(5, TimeDelta::seconds(1))]).await;
    let unread: Vec<Uuid> = ada.pages(&fixture, true, 200).await.iter().map(|event| event.id).collect();
    // Newest first; what comes two days after it happened counts as if it had been there.
    assert_eq!(unread, [6, 3, 4].map(Uuid::from_u128));
    let version = ada.version(&fixture).await;
    assert_eq!(fixture.service.unread(&ada.reader, &version, &Accounts::All).await.unwrap().unread, 3);
}

/// Whoever marks the same again at each visit has not read less for it.
#[tokio::test]
async fn what_is_marked_again_and_again_leaves_other_marks_in_force() {
    const AGAIN: u32 = 300;
    let fixture = Fixture::create().await;
    let event = |offset: u64, severity: &'static str| Recorded {
        id: Uuid::from_u128(u128::from(offset) + 1),
        at: now() - TimeDelta::minutes(10) + TimeDelta::minutes(offset as i64),
        offset,
        account: "acme",
        severity,
    };
    let ada = User::new("ada", Accounts::All);
    let mark_all = async |feed: FeedRequest| {
        let cursor = fixture.service.feed(feed.clone()).await.unwrap().newest_cursor;
        let what = Marked::UpTo { feed: FeedRequest { cursor, ..feed }, vip_only: false };
        ada.mark(&fixture, Uuid::new_v4(), what).await;
    };
    fixture.record_events(&[event(0, "low")]).await;
    mark_all(ada.feed()).await;
    fixture.record_events(&[event(1, "high")]).await;
    mark_all(FeedRequest { severity: Some("high".to_owned()), ..ada.feed() }).await;
    let again = |seconds: u32| {
        format!(
            "INSERT INTO activity_reads (issuer, subject, kind, mark, created_at, event_id, account_id, scope, arrived, marked_at, ages_from) \
             SELECT issuer, subject, kind, generateUUIDv4(), created_at, event_id, account_id, scope, arrived, \
             marked_at + toIntervalSecond({seconds} * (number + 1)), ages_from \
             FROM activity_reads CROSS JOIN numbers({AGAIN}) AS n WHERE scope LIKE '%high%' AND kind = 'up_to' LIMIT {AGAIN}"
        )
    };
    fixture.database.query(&again(15)).await;
    assert_eq!(ada.pages(&fixture, true, 200).await, []);
}

#[tokio::test]
async fn a_mark_is_its_users_and_of_accounts_that_the_user_sees() {
    let fixture = Fixture::create().await;
    let event = |offset: u64, account: &'static str| Recorded {
        id: Uuid::from_u128(u128::from(offset) + 1),
        at: now() - TimeDelta::seconds(offset as i64),
        offset,
        account,
        severity: "high",
    };
    // One id of two accounts: who reads the one has not read the other.
    let copy = Recorded { account: "globex", ..event(0, "acme") };
    fixture.record_events(&[event(0, "acme"), copy, event(1, ""), event(2, "globex")]).await;
    let [ada, bob] = ["ada", "bob"].map(|subject| User::new(subject, Accounts::All));
    // As the same user under an earlier token, which saw less.
    let limited = User::new("ada", Accounts::only(["acme"]).unwrap());
    let of = |id: u128, account: &str| EventName {
        id: Uuid::from_u128(id),
        account_id: (!account.is_empty()).then(|| account.to_owned()),
    };
    let mark = Uuid::from_u128(77);
    limited.mark(&fixture, mark, Marked::Events(vec![of(1, "acme")])).await;
    let read = async |user: &User| {
        let events = user.pages(&fixture, false, 200).await;
        events.iter().filter(|event| event.is_read == Some(true)).map(name).collect::<Vec<_>>()
    };
    assert_eq!(read(&ada).await, [(Uuid::from_u128(1), Some("acme".to_owned()))]);
    assert!(read(&bob).await.is_empty());
    // The same mark again is the one mark; another user may choose the same id.
    let version = ada.version(&fixture).await;
    assert!(limited.mark(&fixture, mark, Marked::Events(vec![of(1, "acme")])).await);
    let cursor = fixture.service.feed(limited.feed()).await.unwrap().newest_cursor;
    let all = Marked::UpTo { feed: FeedRequest { cursor, ..limited.feed() }, vip_only: false };
    assert!(
        limited.mark(&fixture, mark, all.clone()).await,
        "the mark is what it was, whatever is sent later"
    );
    assert_eq!(ada.version(&fixture).await, version);
    bob.mark(&fixture, mark, Marked::Events(vec![of(2, "")])).await;
    assert_eq!(read(&bob).await, [(Uuid::from_u128(2), None)]);
    assert!(fixture.service.undo_mark(&bob.reader, mark).await.unwrap());
    assert!(read(&bob).await.is_empty());
    assert_eq!(read(&ada).await.len(), 1);
    assert!(!fixture.service.undo_mark(&bob.reader, Uuid::from_u128(78)).await.unwrap(), "no such mark");
    // One that was undone is so for good.
    let version = bob.version(&fixture).await;
    assert!(!bob.mark(&fixture, mark, Marked::Events(vec![of(2, "")])).await);
    assert!(!bob.mark(&fixture, mark, all).await);
    assert!(fixture.service.undo_mark(&bob.reader, mark).await.unwrap(), "to undo it again does no harm");
    assert!(read(&bob).await.is_empty());
    assert_eq!(bob.version(&fixture).await, version);
    // Everything up to a cursor is everything that the user saw.
    let cursor = fixture.service.feed(limited.feed()).await.unwrap().newest_cursor;
    let what = Marked::UpTo { feed: FeedRequest { cursor, ..limited.feed() }, vip_only: false };
    limited.mark(&fixture, Uuid::from_u128(79), what).await;
    assert_eq!(read(&ada).await.len(), 1);
    // A mark of what is not there yet, as what was just pushed, holds once it is.
    ada.mark(&fixture, Uuid::from_u128(80), Marked::Events(vec![of(10, "acme")])).await;
    fixture.record_events(&[event(9, "acme")]).await;
    assert_eq!(read(&ada).await.len(), 2);

    let refused = async |user: &User, what: Marked| {
        let (reader, accounts) = (user.reader.clone(), user.accounts.clone());
        let request = MarkRequest { reader, accounts, mark: Uuid::new_v4(), what };
        fixture.service.mark_read(&request).await.unwrap_err().code()
    };
    let before = ada.version(&fixture).await;
    for account in ["globex", "", "nobodys"] {
        let what = Marked::Events(vec![of(1, "acme"), of(1, account)]);
        assert_eq!(refused(&limited, what).await, "account_not_permitted", "{account:?}");
    }
    assert_eq!(refused(&ada, Marked::Events(Vec::new())).await, "bad_parameter");
    let many = (0..=MAX_MARKED as u128).map(|id| of(id, "acme")).collect();
    assert_eq!(refused(&ada, Marked::Events(many)).await, "bad_parameter");
    let cursor = fixture.service.feed(ada.feed()).await.unwrap().newest_cursor;
    let other = FeedRequest { cursor: cursor.clone(), severity: Some("high".to_owned()), ..ada.feed() };
    let up_to = |feed, vip_only| Marked::UpTo { feed, vip_only };
    assert_eq!(refused(&ada, up_to(other, false)).await, "cursor_of_other_filters");
    assert_eq!(
        refused(&ada, up_to(FeedRequest { cursor, ..ada.feed() }, true)).await,
        "cursor_of_other_filters"
    );
    assert_eq!(refused(&ada, up_to(ada.feed(), false)).await, "bad_cursor");
    let others = FeedRequest { account_id: Some("globex".to_owned()), ..limited.feed() };
    assert_eq!(refused(&limited, up_to(others, false)).await, "account_not_permitted");
    assert_eq!(ada.version(&fixture).await, before, "what is refused marks nothing");
}
