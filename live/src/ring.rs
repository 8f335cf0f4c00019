//! The recent events of a topic, in the order in which they were read, and the cursors of those who follow.
//!
//! What holds: an event at or behind `begin` of its partition and before `next` is in the ring; a cursor gives each of
//! them once, in the order of the ring, and none before its own position. So a cursor that is taken up at any position
//! that the ring reaches gives exactly what one that was never interrupted gives behind it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use kelly_auth::Accounts;
use serde_json::value::RawValue;

use crate::alert::OpenAlerts;
use crate::bounds::Bounds;
use crate::message::{
    ActivitySnapshot, AlertSnapshot, ResetReason, ServerMessage, SnapshotAlerts, SnapshotData, render,
};
use crate::position::{Place, Position};
use crate::rendered::{RenderedEvent, RenderedRecord, head};
use crate::room::Room;

/// Entries that one call looks at at most: bounds how long the ring is held.
const LOOK_AT: usize = 1_024;

/// Where a partition begins in a new life of the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beginning {
    /// The first record that is read. Those from here on are given to who resumes.
    pub read_from: u64,
    /// The first one that is news: what is before it was there already, and is given to nobody who enters.
    pub live_from: u64,
}

impl Beginning {
    /// All that is read is news.
    #[must_use]
    pub const fn at(offset: u64) -> Self {
        Self { read_from: offset, live_from: offset }
    }
}

/// What a cursor gives to whom.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// The accounts that are seen.
    pub(crate) accounts: Accounts,
    /// The conversation, where only one is followed.
    pub(crate) conversation: Option<Arc<str>>,
    /// The room that is followed.
    room: Room,
}

impl View {
    pub(crate) fn of(room: &Room, accounts: &Accounts) -> Self {
        let conversation = room.conversation_id().cloned();
        Self { accounts: accounts.clone(), conversation, room: room.clone() }
    }

    fn room(&self) -> String {
        self.room.name().into_owned()
    }

    fn shows(&self, account: Option<&Arc<str>>, conversation: Option<&Arc<str>>) -> bool {
        self.accounts.sees(account.map(|account| &**account))
            && self.conversation.as_ref().is_none_or(|id| conversation == Some(id))
    }
}

/// How far somebody has followed.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    /// Of the ring's lives, the one it belongs to.
    life: u64,
    /// Number of the next entry to look at.
    after: u64,
    /// The next event of each partition. Partitions beyond begin at their first.
    position: Vec<Place>,
    /// Bytes of the ring that had been pushed where it is.
    bytes: u64,
    /// Whether it has been at the end: before that it may be far behind it.
    has_caught_up: bool,
}

impl Cursor {
    pub(crate) fn position(&self) -> &[Place] {
        &self.position
    }
}

/// What a look at the ring found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// The end: nothing more for now.
    End,
    /// There may be more.
    More,
    /// The cursor has fallen behind further than it may.
    TooFarBehind,
    /// The ring has begun a new life.
    Reset(ResetReason),
}

#[derive(Debug)]
struct Entry {
    partition: u32,
    place: Place,
    next: Place,
    account: Option<Arc<str>>,
    conversation: Option<Arc<str>>,
    /// What its messages are.
    kind: &'static str,
    /// The message of the room of all events.
    text: Bytes,
    /// Where in it what follows the room begins.
    rest_at: usize,
    /// Where in it the event itself begins.
    data_at: usize,
    /// Bytes pushed before it.
    bytes_before: u64,
}

/// The entries of one conversation, so that its followers need not look at those of others.
#[derive(Debug, Default)]
struct Track {
    numbers: VecDeque<u64>,
    /// The newest that is not there any more.
    evicted: Option<u64>,
    followers: usize,
}

/// The ring.
#[derive(Debug)]
pub(crate) struct Ring {
    bounds: Bounds,
    epoch: Arc<str>,
    /// Counts lives, so that cursors notice.
    life: u64,
    /// Why this life began.
    began: ResetReason,
    /// Number of the first entry.
    first: u64,
    entries: VecDeque<Entry>,
    bytes: usize,
    pushed_bytes: u64,
    /// Of these, those that had been pushed before the newest records came.
    pushed_before_newest: u64,
    begin: Vec<Place>,
    next: Vec<Place>,
    /// What is before it was there when this life began.
    live_from: Vec<Place>,
    conversations: HashMap<Arc<str>, Track>,
    /// The alerts that are open at its end, where it is the ring of alerts.
    open: Option<OpenAlerts>,
}

impl Ring {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            epoch: "".into(),
            life: 0,
            began: ResetReason::OtherEpoch,
            first: 0,
            entries: VecDeque::new(),
            bytes: 0,
            pushed_bytes: 0,
            pushed_before_newest: 0,
            begin: Vec::new(),
            next: Vec::new(),
            live_from: Vec::new(),
            conversations: HashMap::new(),
            open: None,
        }
    }

    /// One of alerts.
    pub(crate) fn of_alerts(bounds: Bounds) -> Self {
        Self { open: Some(OpenAlerts::default()), ..Self::new(bounds) }
    }

    /// These alerts are open where its life begins.
    pub(crate) fn begin_with_open(&mut self, open: OpenAlerts) {
        self.open = Some(open);
    }

    pub(crate) fn epoch(&self) -> &Arc<str> {
        &self.epoch
    }

    /// The next event of each partition.
    pub(crate) fn position(&self) -> &[Place] {
        &self.next
    }

    /// What a life that goes on here would begin with: a backlog that has not been read stays one.
    pub(crate) fn beginnings(&self) -> Vec<Beginning> {
        let both = self.next.iter().zip(self.ends());
        both.map(|(next, end)| Beginning { read_from: next.offset, live_from: end.offset }).collect()
    }

    /// Events there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Begins a new life under this epoch. Whoever followed the one before is told to begin anew.
    pub(crate) fn begin(&mut self, epoch: &str, beginnings: &[Beginning], why: ResetReason) {
        self.first += self.entries.len() as u64;
        self.entries.clear();
        self.bytes = 0;
        for track in self.conversations.values_mut() {
            track.numbers.clear();
            track.evicted = None;
        }
        self.conversations.retain(|_, track| track.followers > 0);
        self.epoch = epoch.into();
        self.life += 1;
        self.began = why;
        self.begin = beginnings.iter().map(|beginning| Place::at(beginning.read_from)).collect();
        self.next = self.begin.clone();
        self.live_from = beginnings.iter().map(|beginning| Place::at(beginning.live_from)).collect();
    }

    /// Adds partitions that were added to the topic; they begin at these offsets.
    pub(crate) fn add_partitions(&mut self, offsets: &[u64]) {
        for offset in offsets {
            self.begin.push(Place::at(*offset));
            self.next.push(Place::at(*offset));
            self.live_from.push(Place::at(*offset));
        }
    }

    /// Whether everything that was there when this life began has been read: who enters before that has no snapshot yet.
    pub(crate) fn has_read_backlog(&self) -> bool {
        self.next.iter().zip(&self.live_from).all(|(next, live_from)| next >= live_from)
    }

    /// Records follow that came together: nobody has had time to take any of them before the last one is there.
    pub(crate) fn expect_more(&mut self) {
        self.pushed_before_newest = self.pushed_bytes;
    }

    /// Adds the events of a record, and lets go of the oldest ones where there is no room. What is not behind the last
    /// one of its partition was read before and is left out, and so is what was written down under another epoch.
    pub(crate) fn push(&mut self, record: RenderedRecord) {
        let Some(next) = self.next.get_mut(record.partition as usize) else { return };
        if Place::at(record.offset) < *next || record.epoch != self.epoch {
            return;
        }
        *next = Place::at(record.offset + 1);
        if let Some(open) = &mut self.open {
            record.alerts.into_iter().for_each(|alert| open.put(alert));
        }
        record.events.into_iter().for_each(|event| self.add(record.partition, event));
        self.make_room();
    }

    fn add(&mut self, partition: u32, event: RenderedEvent) {
        let RenderedEvent { place, next, account, conversation, kind, text, rest_at, data_at } = event;
        let conversation: Option<Arc<str>> = conversation.map(|id| {
            // One copy of a conversation's id for all its entries.
            self.conversations.get_key_value(&id).map_or_else(|| id.clone(), |(id, _)| id.clone())
        });
        if let Some(id) = &conversation {
            let number = self.first + self.entries.len() as u64;
            self.conversations.entry(id.clone()).or_default().numbers.push_back(number);
        }
        let bytes_before = self.pushed_bytes;
        self.bytes += text.len();
        self.pushed_bytes += text.len() as u64;
        self.entries.push_back(Entry {
            partition,
            place,
            next,
            account,
            conversation,
            kind,
            text,
            rest_at,
            data_at,
            bytes_before,
        });
    }

    fn make_room(&mut self) {
        while self.entries.len() > self.bounds.ring_events || self.bytes > self.bounds.ring_bytes {
            let Some(entry) = self.entries.pop_front() else { return };
            self.bytes -= entry.text.len();
            if let Some(begin) = self.begin.get_mut(entry.partition as usize) {
                *begin = entry.next;
            }
            if let Some(id) = entry.conversation
                && let Some(track) = self.conversations.get_mut(&id)
            {
                track.numbers.pop_front();
                track.evicted = Some(self.first);
                if track.numbers.is_empty() && track.followers == 0 {
                    self.conversations.remove(&id);
                }
            }
            self.first += 1;
        }
    }

    /// Somebody follows this conversation from now on.
    pub(crate) fn follow(&mut self, conversation: &Arc<str>) {
        self.conversations.entry(conversation.clone()).or_default().followers += 1;
    }

    /// And does so no more.
    pub(crate) fn leave(&mut self, conversation: &Arc<str>) {
        if let Some(track) = self.conversations.get_mut(conversation) {
            track.followers -= 1;
            if track.followers == 0 && track.numbers.is_empty() {
                self.conversations.remove(conversation);
            }
        }
    }

    /// A cursor at the end of what is there, whether or not all of it has been read yet.
    pub(crate) fn at_end(&self) -> Cursor {
        Cursor {
            life: self.life,
            after: self.first + self.entries.len() as u64,
            position: self.ends().collect(),
            bytes: self.pushed_bytes,
            has_caught_up: self.has_read_backlog(),
        }
    }

    /// The end of each partition.
    fn ends(&self) -> impl Iterator<Item = Place> {
        self.next.iter().zip(&self.live_from).map(|(next, live_from)| *next.max(live_from))
    }

    /// The same cursor, taken up anew: it was not moved while the backlog was read, which may have gone past it.
    pub(crate) fn taken_up(&self, cursor: &Cursor) -> Result<Cursor, ResetReason> {
        if cursor.life != self.life {
            return Err(self.began);
        }
        self.at(&Position { epoch: self.epoch.to_string(), offsets: cursor.position.clone() })
    }

    /// A cursor at this position, which may be ahead of what has been read here: another instance was faster.
    pub(crate) fn at(&self, position: &Position) -> Result<Cursor, ResetReason> {
        if *position.epoch != *self.epoch {
            return Err(ResetReason::OtherEpoch);
        }
        if position.offsets.len() > self.next.len() {
            return Err(ResetReason::NotReached);
        }
        // A partition that the client did not know was added since: it begins at its first record.
        let place = |partition: usize| position.offsets.get(partition).copied().unwrap_or_default();
        if self.begin.iter().enumerate().any(|(partition, begin)| place(partition) < *begin) {
            return Err(ResetReason::TooOld);
        }
        Ok(Cursor {
            life: self.life,
            after: self.first,
            position: (0..self.next.len()).map(place).collect(),
            bytes: self.entries.front().map_or(self.pushed_bytes, |entry| entry.bytes_before),
            has_caught_up: false,
        })
    }

    /// Whether the cursor is at a position that was not there when reading began and has not been read here yet.
    pub(crate) fn is_ahead(&self, cursor: &Cursor) -> bool {
        cursor.life == self.life && cursor.position.iter().zip(self.ends()).any(|(wanted, end)| *wanted > end)
    }

    /// Whether its position is one of this life.
    pub(crate) fn is_of_this_life(&self, cursor: &Cursor) -> bool {
        cursor.life == self.life
    }

    /// Gives what comes next, until so many bytes have been given or a bounded number of entries was looked at.
    pub(crate) fn read(
        &self,
        cursor: &mut Cursor,
        view: &View,
        max_bytes: usize,
        mut give: impl FnMut(Bytes),
    ) -> Found {
        if cursor.life != self.life {
            return Found::Reset(self.began);
        }
        if self.is_too_far_behind(cursor, view) {
            return Found::TooFarBehind;
        }
        let end = self.first + self.entries.len() as u64;
        let mut given = 0;
        for _ in 0..LOOK_AT {
            let Some(number) = self.next_number(cursor.after, view) else {
                self.catch_up(cursor);
                return Found::End;
            };
            if given >= max_bytes {
                return Found::More;
            }
            let Some(entry) = self.entry(number) else { break };
            cursor.after = number + 1;
            cursor.bytes = entry.bytes_before + entry.text.len() as u64;
            let partition = entry.partition as usize;
            if cursor.position.len() <= partition {
                cursor.position.resize(partition + 1, Place::default());
            }
            let Some(position) = cursor.position.get_mut(partition) else { break };
            if entry.place < *position {
                // Seen before it was interrupted.
                continue;
            }
            *position = entry.next;
            if view.shows(entry.account.as_ref(), entry.conversation.as_ref()) {
                let text = entry.text_for(view);
                given += text.len();
                give(text);
            }
        }
        if cursor.after >= end { Found::End } else { Found::More }
    }

    /// The number of the next entry to look at.
    fn next_number(&self, after: u64, view: &View) -> Option<u64> {
        let from = after.max(self.first);
        let Some(conversation) = &view.conversation else {
            return (from < self.first + self.entries.len() as u64).then_some(from);
        };
        let numbers = &self.conversations.get(conversation)?.numbers;
        numbers.get(numbers.partition_point(|number| *number < from)).copied()
    }

    /// Everything up to the end has been given: what has no event to show is behind the cursor too.
    fn catch_up(&self, cursor: &mut Cursor) {
        cursor.after = self.first + self.entries.len() as u64;
        cursor.bytes = self.pushed_bytes;
        cursor.has_caught_up |= self.has_read_backlog();
        if cursor.position.len() < self.next.len() {
            cursor.position.resize(self.next.len(), Place::default());
        }
        for (position, next) in cursor.position.iter_mut().zip(&self.next) {
            *position = (*position).max(*next);
        }
    }

    /// Whether what lies between the cursor and the end is more than may, or is not there any more.
    pub(crate) fn is_too_far_behind(&self, cursor: &Cursor, view: &View) -> bool {
        if cursor.life != self.life {
            // It is told so instead.
            return false;
        }
        let has_lost = match &view.conversation {
            None => cursor.after < self.first,
            Some(id) => self
                .conversations
                .get(id)
                .and_then(|track| track.evicted)
                .is_some_and(|evicted| cursor.after <= evicted),
        };
        // Where it begins far behind it is led to the end first.
        // What has only just come, nobody has had time to take, however much it is.
        let behind = self.pushed_before_newest.saturating_sub(cursor.bytes);
        let waits = view.conversation.is_none() && cursor.has_caught_up;
        has_lost || (waits && behind > self.bounds.behind_bytes as u64)
    }

    fn entry(&self, number: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// What there is for somebody who enters: the newest events before a cursor that are seen, newest first, or the open alerts;
    /// with its position.
    pub(crate) fn snapshot(&self, view: &View, cursor: &Cursor) -> Bytes {
        match &self.open {
            None => self.snapshot_of_events(view, cursor),
            Some(open) => self.snapshot_of_alerts(open, view, cursor),
        }
    }

    /// Open alerts are those at the end, which is where the cursor of somebody who enters is.
    fn snapshot_of_alerts(&self, open: &OpenAlerts, view: &View, cursor: &Cursor) -> Bytes {
        let (mut bytes, mut count) = (0, 0);
        let mut alerts: Vec<Box<RawValue>> = Vec::new();
        for alert in
            open.iter().filter(|alert| view.shows(alert.account.as_ref(), alert.conversation.as_ref()))
        {
            count += 1;
            bytes += alert.data.get().len();
            if alerts.len() < self.bounds.snapshot_alerts && bytes <= self.bounds.snapshot_bytes {
                alerts.push(alert.data.clone());
            }
        }
        render(&ServerMessage::AlertSnapshot(AlertSnapshot {
            room: view.room(),
            epoch: self.epoch.clone(),
            offsets: cursor.position().to_vec(),
            data: SnapshotAlerts { open: count, alerts },
        }))
    }

    fn snapshot_of_events(&self, view: &View, cursor: &Cursor) -> Bytes {
        let mut bytes = 0;
        let position = cursor.position();
        let is_before = |entry: &Entry| {
            position.get(entry.partition as usize).is_some_and(|position| entry.place < *position)
        };
        let is_wanted = |entry: &&Entry| {
            is_before(entry) && view.shows(entry.account.as_ref(), entry.conversation.as_ref())
        };
        // Of a conversation only its own entries are looked at.
        let candidates: Box<dyn Iterator<Item = &Entry>> = match &view.conversation {
            None => Box::new(self.entries.iter().rev()),
            Some(id) => {
                let numbers =
                    self.conversations.get(id).into_iter().flat_map(|track| track.numbers.iter().rev());
                Box::new(numbers.filter_map(|number| self.entry(*number)))
            }
        };
        let newest = candidates.filter(is_wanted).take(self.bounds.snapshot_events);
        let fits = newest.take_while(|entry| {
            bytes += entry.text.len();
            bytes <= self.bounds.snapshot_bytes
        });
        let events: Vec<Box<RawValue>> = fits.filter_map(Entry::event).collect();
        render(&ServerMessage::ActivitySnapshot(ActivitySnapshot {
            room: view.room(),
            epoch: self.epoch.clone(),
            offsets: position.to_vec(),
            data: SnapshotData { events },
        }))
    }
}

impl Entry {
    /// The message in the room that is followed.
    fn text_for(&self, view: &View) -> Bytes {
        match view.conversation {
            None => self.text.clone(),
            Some(_) => {
                let rest = self.text.get(self.rest_at..).unwrap_or_default();
                let mut text = head(self.kind, &view.room).into_bytes();
                text.extend_from_slice(rest);
                text.into()
            }
        }
    }

    /// The event alone.
    fn event(&self) -> Option<Box<RawValue>> {
        let end = self.text.len().checked_sub(1)?;
        let event = self.text.get(self.data_at..end)?;
        RawValue::from_string(String::from_utf8(event.to_vec()).ok()?).ok()
    }
}
