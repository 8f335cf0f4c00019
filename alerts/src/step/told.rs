//! All that a sentence about a transition is made of.

use super::reading::Reading;
use super::state::{Data, Open};
use crate::entity::Entity;
use crate::rule::Compiled;
use crate::transition::Change;

/// All that a sentence about a transition is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told<'t> {
    pub(crate) rule: &'t Compiled,
    pub(crate) entity: &'t Entity,
    pub(crate) alert: &'t Open,
    pub(crate) change: Change,
    pub(crate) at_ms: i64,
    pub(crate) reading: Reading,
    pub(super) data: &'t Data,
}

impl Told<'_> {
    /// Of a row's own thresholds: whether more is worse.
    pub(crate) fn own_more_is_worse(&self) -> bool {
        matches!(self.data, Data::Own(Some(own)) if own.more_is_worse)
    }

    /// What the engine was told is wrong.
    pub(crate) fn why(&self) -> &str {
        match self.data {
            Data::Told(_, why) => why,
            _ => "",
        }
    }
}
