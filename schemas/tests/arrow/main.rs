//! Arrow messages: the same rows as JSON gives, every reason for which one is refused, and that no
//! bytes whatever do more than be refused.

mod columns;
mod cut;
mod damage;
mod messages;
mod refusals;
mod same_as_json;
