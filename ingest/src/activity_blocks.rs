//! Activity events of one batch as the blocks of their two tables.

use std::sync::Arc;

use arrow_array::builder::{FixedSizeBinaryBuilder, StringBuilder};
use arrow_array::{ArrayRef, StructArray, UInt8Array};
use kelly_schemas::Activity;
use kelly_sql::{Table, tables};

use crate::block::Block;
use crate::columns::{self, Origins};
use crate::dictionary::Dictionary;

/// Accumulates events.
pub struct ActivityBlocks {
    ids: FixedSizeBinaryBuilder,
    event_types: (Dictionary, Vec<i32>),
    titles: StringBuilder,
    descriptions: StringBuilder,
    accounts: (Dictionary, Vec<i32>),
    conversations: StringBuilder,
    users: StringBuilder,
    severities: (Dictionary, Vec<i32>),
    categories: (Dictionary, Vec<i32>),
    created: Vec<i64>,
    metadata: StringBuilder,
    vip: Vec<u8>,
    origins: Origins,
}

impl Default for ActivityBlocks {
    fn default() -> Self {
        Self {
            ids: FixedSizeBinaryBuilder::new(16),
            event_types: Default::default(),
            titles: Default::default(),
            descriptions: Default::default(),
            accounts: Default::default(),
            conversations: Default::default(),
            users: Default::default(),
            severities: Default::default(),
            categories: Default::default(),
            created: Vec::new(),
            metadata: Default::default(),
            vip: Vec::new(),
            origins: Origins::default(),
        }
    }
}

fn push((dictionary, rows): &mut (Dictionary, Vec<i32>), text: &str) {
    let number = dictionary.intern(text);
    rows.push(number as i32);
}

fn finish((dictionary, rows): (Dictionary, Vec<i32>)) -> ArrayRef {
    Arc::new(dictionary.column(rows))
}

impl ActivityBlocks {
    /// Adds an event.
    pub fn push(&mut self, event: &Activity<'_>, offset: u64, row: u32) {
        // The builder's only refusal is a wrong width, and a UUID has sixteen bytes.
        if self.ids.append_value(event.id.as_bytes()).is_err() {
            unreachable!("a UUID has sixteen bytes");
        }
        push(&mut self.event_types, &event.event_type);
        self.titles.append_value(&event.title);
        self.descriptions.append_value(&event.description);
        push(&mut self.accounts, &event.account_id);
        self.conversations.append_value(&event.conversation_id);
        self.users.append_value(&event.user_id);
        push(&mut self.severities, event.severity.as_str());
        push(&mut self.categories, &event.category);
        self.created.push(event.created_at_ms);
        self.metadata.append_value(&event.metadata);
        self.vip.push(u8::from(event.is_vip()));
        self.origins.push(offset, row);
    }

    /// Rows added.
    pub fn rows(&self) -> usize {
        self.created.len()
    }

    /// The blocks.
    pub fn finish(mut self, partition: u32) -> Vec<Block> {
        let ids: ArrayRef = Arc::new(self.ids.finish());
        let created = columns::milliseconds(self.created);
        let origins = self.origins.columns(partition);
        let mut first = vec![Arc::clone(&created)];
        first.extend(origins.iter().cloned());
        let first = StructArray::new(tables::first_fields(), first, None);
        let accounts = finish(self.accounts);
        let mut events = vec![
            Arc::clone(&ids),
            finish(self.event_types),
            columns::finish_text(self.titles),
            columns::finish_text(self.descriptions),
            Arc::clone(&accounts),
            columns::finish_text(self.conversations),
            columns::finish_text(self.users),
            finish(self.severities),
            finish(self.categories),
            created,
            columns::finish_text(self.metadata),
            Arc::new(UInt8Array::from(self.vip)),
        ];
        events.extend(origins);
        // Which row counts is written before the rows themselves: the other way round an event
        // recorded twice would show twice in between.
        vec![
            Block::new(Table::ActivityFirstSeen, vec![ids, accounts, Arc::new(first)]),
            Block::new(Table::ActivityEvents, events),
        ]
    }
}
