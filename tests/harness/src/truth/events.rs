//! Activity events, and which row of each counts.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::rows::Event;
use super::verdict::TableVerdict;
use super::{Fate, Truth};

/// The columns of a row's place in time and on the log, which decides whether it counts.
const PLACE: [&str; 4] = ["created_at", "log_partition", "log_offset", "log_row"];

/// What is found of one event.
struct Found {
    count: u64,
    /// The least [`PLACE`] of its rows, as text.
    first: String,
}

impl Truth {
    /// Compares the events and their first rows. That a first row was written twice cannot be seen: the least one counts
    /// however often it is there.
    pub(super) async fn activity(
        &self,
        ask: &impl AsyncFn(String) -> Result<String>,
    ) -> Result<[TableVerdict; 2]> {
        let (events, found) = self.event_rows(ask).await?;
        let first = self.first_seen(ask, &found).await?;
        Ok([events, first])
    }

    /// By number.
    async fn event_rows(
        &self,
        ask: &impl AsyncFn(String) -> Result<String>,
    ) -> Result<(TableVerdict, BTreeMap<u64, Found>)> {
        let columns = format!("toUnixTimestamp64Milli(created_at), {}", PLACE[1..].join(", "));
        let place: Vec<String> =
            (1..=PLACE.len()).map(|position| format!("tupleElement(min(({columns})), {position})")).collect();
        let answer = ask(format!(
            "SELECT title, count(), groupUniqArray((toString(id), event_type, severity, account_id, \
             conversation_id)), {} FROM activity_events WHERE startsWith(title, '{} ') GROUP BY title",
            place.join(", "),
            self.name
        ))
        .await?;
        let mut verdict = TableVerdict::new("activity_events");
        let mut found = BTreeMap::new();
        for line in answer.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            let [title, count, contents, first @ ..] = &fields[..] else {
                anyhow::bail!("an event has other columns than asked for: {line}")
            };
            let number = title.rsplit(' ').next().and_then(|number| number.parse().ok());
            let number: u64 = number.with_context(|| format!("an event's title: {line}"))?;
            let count: u64 = count.parse().context("a count")?;
            verdict.found += count;
            let wanted = self.event(number);
            if *contents != as_stored(&wanted) || first[0] != wanted.created_at_ms.to_string() {
                verdict.wrong(format!("event {number} is not as it was sent: {line}"));
            }
            if count > wanted.copies {
                let copies = wanted.copies;
                verdict.twice(count - copies, format!("event {number} {count} times, sent {copies} times"));
            }
            match self.events.fate(number) {
                Some(Fate::Refused) => verdict.wrong(format!("event {number} was refused and is there")),
                None => verdict.wrong(format!("event {number} was never sent")),
                Some(Fate::Acknowledged | Fate::Unknown) => {}
            }
            found.insert(number, Found { count, first: first.join("\t") });
        }
        for (numbers, fate) in self.events.each() {
            for number in numbers {
                let copies = self.event(number).copies;
                let there = found.get(&number).map_or(0, |found| found.count);
                verdict.expected += match fate {
                    Fate::Acknowledged => copies,
                    Fate::Refused => 0,
                    Fate::Unknown => there.min(copies),
                };
                if fate == Fate::Acknowledged && there < copies {
                    verdict.lost(copies - there, format!("event {number}: {there} of {copies} rows"));
                }
            }
        }
        Ok((verdict, found))
    }

    /// Each event that is there has the least place of its rows, and no other has any.
    async fn first_seen(
        &self,
        ask: &impl AsyncFn(String) -> Result<String>,
        found: &BTreeMap<u64, Found>,
    ) -> Result<TableVerdict> {
        let place = PLACE.map(|name| {
            let element = format!("tupleElement(min(first), '{name}')");
            if name == PLACE[0] { format!("toUnixTimestamp64Milli({element})") } else { element }
        });
        let answer =
            ask(format!(
            "SELECT concat(toString(id), ' of ', account_id), {} FROM activity_first_seen GROUP BY id, account_id",
            place.join(", ")
        ))
        .await?;
        let numbers = self.events.each().flat_map(|(numbers, _)| numbers);
        let mut ours: BTreeMap<String, u64> =
            numbers.map(|number| (key(&self.event(number)), number)).collect();
        let mut verdict = TableVerdict::new("activity_first_seen");
        verdict.expected = found.len() as u64;
        for line in answer.lines() {
            let (event, first) = line.split_once('\t').context("an event and a place")?;
            // Others may share the store, and there is an event once.
            let Some(number) = ours.remove(event) else { continue };
            verdict.found += 1;
            match found.get(&number) {
                None => verdict.wrong(format!("event {number} counts and is not there")),
                Some(found) if found.first != first => {
                    verdict.wrong(format!("of event {number} counts {first:?}, not {:?}", found.first));
                }
                Some(_) => {}
            }
        }
        for number in ours.into_values().filter(|number| found.contains_key(number)) {
            verdict.lost(1, format!("which row of event {number} counts"));
        }
        Ok(verdict)
    }
}

/// What an event is: an id of an account.
fn key(event: &Event) -> String {
    format!("{} of {}", event.id, event.account)
}

/// All that its rows say, as the store prints the one tuple they have.
fn as_stored(event: &Event) -> String {
    let Event { id, event_type, severity, account, conversation, .. } = event;
    format!("[('{id}','{event_type}','{severity}','{account}','{conversation}')]")
}
