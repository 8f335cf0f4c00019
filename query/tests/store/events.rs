//! The activity feed: pages, cursors, filters, and events recorded more than once.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use futures_util::StreamExt;
use kelly_query::{
    Accounts, ActivityExportRequest, ExportFormat, ExportRequest, FeedPage, FeedRequest, RangeRequest,
    Timeframe,
};
use uuid::Uuid;

use crate::fixture::{Fixture, Recorded, now};

/// Event `number`, so many seconds ago.
fn event(number: u64, seconds_ago: i64) -> Recorded {
    Recorded {
        id: Uuid::from_u128(u128::from(number) << 64 | 0x8000_0000_0000_0000),
        at: now() - TimeDelta::seconds(seconds_ago),
        offset: number,
        account: if number.is_multiple_of(3) { "acme" } else { "globex" },
        severity: ["low", "medium", "high", "critical"][(number % 4) as usize],
    }
}

/// Follows the cursors to the end; `between` runs after each page.
async fn follow(
    fixture: &Fixture,
    request: FeedRequest,
    mut between: impl AsyncFnMut(usize),
) -> Vec<FeedPage> {
    let mut pages: Vec<FeedPage> = Vec::new();
    loop {
        let cursor = pages.last().map(|page| page.next_cursor.clone().unwrap());
        let page = fixture.service.feed(FeedRequest { cursor, ..request.clone() }).await.unwrap();
        assert_eq!(page.has_more, page.next_cursor.is_some());
        let more = page.has_more;
        pages.push(page);
        if !more {
            return pages;
        }
        between(pages.len()).await;
    }
}

fn offsets(pages: &[FeedPage]) -> Vec<u64> {
    let events = pages.iter().flat_map(|page| &page.events);
    let offset = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap()["offset"].as_u64();
    events.map(|event| offset(event.metadata.as_ref().unwrap().text()).unwrap()).collect()
}

fn limit(limit: u32) -> FeedRequest {
    FeedRequest { limit: Some(limit), ..FeedRequest::newest(Accounts::All) }
}

#[tokio::test]
async fn pages_hold_every_event_once_newest_first() {
    let fixture = Fixture::create().await;
    assert_eq!(follow(&fixture, limit(10), async |_| ()).await[0].events, []);
    // Five events share each instant: the order among them must hold across pages too.
    let events: Vec<Recorded> = (0..97).map(|number| event(number, 1 + number as i64 / 5)).collect();
    fixture.record_events(&events).await;
    for size in [1, 7, 48, 97, 200] {
        let pages = follow(&fixture, limit(size), async |_| ()).await;
        let full = pages.split_last().unwrap().1;
        assert!(full.iter().all(|page| page.events.len() == size as usize));
        let instants: Vec<_> =
            pages.iter().flat_map(|page| &page.events).map(|event| event.created_at).collect();
        assert!(instants.is_sorted_by(|newer, older| newer >= older));
        let mut seen = offsets(&pages);
        seen.sort_unstable();
        assert_eq!(seen, (0..97).collect::<Vec<u64>>());
    }
}

#[tokio::test]
async fn cursors_stay_right_while_events_arrive() {
    let fixture = Fixture::create().await;
    let events: Vec<Recorded> = (0..40).map(|number| event(number, 10 + number as i64)).collect();
    fixture.record_events(&events).await;
    let pages = follow(&fixture, limit(7), async |page| {
        // A newer one, which belongs before the first page, and one that comes late, far behind.
        let page = page as u64;
        fixture.record_events(&[event(1_000 + page, 1), event(2_000 + page, 500 + page as i64)]).await;
    })
    .await;
    let seen = offsets(&pages);
    let unique: BTreeSet<u64> = seen.iter().copied().collect();
    assert_eq!(unique.len(), seen.len(), "no event twice");
    assert!((0..40).all(|number| unique.contains(&number)), "no event lost");
    assert!(unique.iter().all(|offset| !(1_000..2_000).contains(offset)), "nothing newer slips in");
}

/// Between two pages the clock that dates the events is set back by an hour, and ahead by a month.
#[tokio::test]
async fn cursors_stay_right_while_the_clock_jumps() {
    const HOUR: i64 = 3_600;
    let fixture = Fixture::create().await;
    // Five minutes apart, so that what is dated an hour back lies among them.
    let events: Vec<Recorded> = (0..40).map(|number| event(number, 10 + 300 * number as i64)).collect();
    fixture.record_events(&events).await;
    let pages = follow(&fixture, limit(7), async |page| {
        let number = page as u64;
        let (back, ahead) = (HOUR - page as i64, -30 * 24 * HOUR - page as i64);
        fixture.record_events(&[event(1_000 + number, back), event(2_000 + number, ahead)]).await;
    })
    .await;
    let seen = offsets(&pages);
    let unique: BTreeSet<u64> = seen.iter().copied().collect();
    assert_eq!(unique.len(), seen.len(), "no event twice");
    assert!((0..40).all(|number| unique.contains(&number)), "no event lost");
    assert!(unique.iter().all(|offset| *offset < 2_000), "nothing newer slips in");
    assert!(unique.contains(&1_001), "what lies behind the cursor comes in its place");
    let instants: Vec<_> = pages.iter().flat_map(|page| &page.events).map(|event| event.created_at).collect();
    assert!(instants.is_sorted_by(|newer, older| newer >= older));
    // A feed that begins anew begins with the month ahead.
    let anew = follow(&fixture, limit(200), async |_| ()).await;
    assert_eq!(offsets(&anew).len(), 40 + 2 * (pages.len() - 1));
    assert_eq!(offsets(&anew)[0], 2_000 + pages.len() as u64 - 1);
}

#[tokio::test]
async fn an_event_recorded_again_shows_once_and_pages_stay_full() {
    let fixture = Fixture::create().await;
    let first: Vec<Recorded> = (0..30).map(|number| event(number, 100 + number as i64)).collect();
    // Again under the same id, with a later time, with the same one, and a hundred times at the very top.
    let again = first.iter().map(|event| Recorded { at: now(), offset: event.offset + 100, ..*event });
    let same = first.iter().map(|event| Recorded { offset: event.offset + 200, ..*event });
    let many = (0..100).map(|number| Recorded {
        at: now() + TimeDelta::seconds(1),
        offset: 300 + number,
        ..first[0]
    });
    // One read holds nothing but one key, recorded more often than a page is long.
    let stuck = (0..25).map(|number| Recorded { offset: 500 + number, ..first[29] });
    let all: Vec<Recorded> =
        first.iter().copied().chain(again).chain(same).chain(many).chain(stuck).collect();
    fixture.record_events(&all).await;
    let pages = follow(&fixture, limit(8), async |_| ()).await;
    assert_eq!(offsets(&pages), (0..30).collect::<Vec<u64>>());
    let sizes: Vec<usize> = pages.iter().map(|page| page.events.len()).collect();
    assert_eq!(sizes, [8, 8, 8, 6]);
    // A page shorter than the repeats of one event loses nothing either.
    assert_eq!(offsets(&follow(&fixture, limit(1), async |_| ()).await), (0..30).collect::<Vec<u64>>());
}

#[tokio::test]
async fn filters_choose_and_the_vip_feed_is_a_filter() {
    let fixture = Fixture::create().await;
    let events: Vec<Recorded> = (0..60).map(|number| event(number, number as i64)).collect();
    fixture.record_events(&events).await;
    let chosen = async |request: FeedRequest| offsets(&follow(&fixture, request, async |_| ()).await);
    let all = |keep: fn(&u64) -> bool| (0..60).filter(keep).collect::<Vec<u64>>();
    let high = FeedRequest { severity: Some("high".to_owned()), ..limit(4) };
    assert_eq!(chosen(high.clone()).await, all(|number| number % 4 == 2));
    let acme = FeedRequest { account_id: Some("acme".to_owned()), ..limit(4) };
    assert_eq!(chosen(acme.clone()).await, all(|number| number % 3 == 0));
    let both = FeedRequest { account_id: Some("acme".to_owned()), ..high.clone() };
    assert_eq!(chosen(both).await, all(|number| number % 12 == 6));
    let other = FeedRequest { event_type: Some("never".to_owned()), ..limit(4) };
    assert!(chosen(other).await.is_empty());

    let vip = fixture.service.vip(limit(200)).await.unwrap();
    assert_eq!(offsets(std::slice::from_ref(&vip)), all(|number| number % 4 >= 2));
    assert!(vip.events.iter().all(|event| event.is_vip));

    let cursor = fixture.service.feed(high).await.unwrap().next_cursor;
    let mixed = FeedRequest { cursor: cursor.clone(), ..acme };
    assert_eq!(fixture.service.feed(mixed).await.unwrap_err().code(), "cursor_of_other_filters");
    let wrong_feed = FeedRequest { cursor, severity: Some("high".to_owned()), ..limit(4) };
    assert_eq!(fixture.service.vip(wrong_feed).await.unwrap_err().code(), "cursor_of_other_filters");
}

/// Whoever records the id of another account's event under an account of their own hides nothing of it, whatever time they give.
#[tokio::test]
async fn an_id_says_nothing_about_the_event_of_another_account() {
    let fixture = Fixture::create().await;
    let theirs = Recorded { account: "globex", ..event(1, 10) };
    let of_acme =
        |offset: u64, seconds_ago: i64| Recorded { account: "acme", offset, ..event(1, seconds_ago) };
    // Long before the event it copies.
    fixture.record_events(&[theirs, of_acme(2, 100)]).await;
    let seen_by = async |accounts: Accounts| {
        let request = FeedRequest { limit: Some(1), ..FeedRequest::newest(accounts) };
        offsets(&follow(&fixture, request, async |_| ()).await)
    };
    let only = |account: &str| Accounts::only([account]).unwrap();
    assert_eq!(seen_by(Accounts::All).await, [1, 2]);
    assert_eq!((seen_by(only("globex")).await, seen_by(only("acme")).await), (vec![1], vec![2]));
    // At the very same instant, and before it on the log: pages of one event lose neither.
    fixture.record_events(&[of_acme(0, 10)]).await;
    assert_eq!(seen_by(Accounts::All).await, [1, 2]);
    let same = Recorded { account: "acme", offset: 3, ..event(5, 20) };
    fixture.record_events(&[same, Recorded { account: "globex", offset: 4, ..same }]).await;
    assert_eq!(seen_by(Accounts::All).await, [1, 3, 4, 2]);
    assert_eq!((seen_by(only("globex")).await, seen_by(only("acme")).await), (vec![1, 4], vec![3, 2]));
    let export = ExportRequest::Activity(ActivityExportRequest {
        accounts: only("globex"),
        range: RangeRequest::Last(Timeframe::OneHour),
        severity: None,
        event_type: None,
        account_id: None,
    });
    let mut rows = fixture.service.export(&export, ExportFormat::JsonLines).await.unwrap().bytes;
    let mut text = Vec::new();
    while let Some(bytes) = rows.next().await {
        text.extend(bytes.unwrap());
    }
    let text = String::from_utf8(text).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.lines().all(|line| line.contains("globex")), "{text}");
}
