//! What every log has to do, tried on both: nothing above the port may tell them apart.

mod compacted;
mod handing_over;
mod positions;
mod readers;
mod records;

use std::sync::Arc;

use kelly_stream::{Commit, TopicPartition};

use super::support::{Stage, record};

/// Has each of these functions try both logs.
macro_rules! conformance {
    ($($name:ident)*) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::support::Stage::embedded()).await;
            })*
        }
        mod kafka {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::support::Stage::kafka()).await;
            })*
        }
    };
}

use conformance;

fn commit(partition: TopicPartition, epoch: u64, offset: u64, metadata: &str) -> Commit {
    Commit { partition, epoch, offset, metadata: metadata.into() }
}

async fn append_texts(
    stage: &Stage,
    topic: &Arc<str>,
    partition: u32,
    texts: impl IntoIterator<Item = String>,
) {
    for text in texts {
        stage.log.append(vec![record(topic, Some(partition), text)]).await.unwrap();
    }
}

fn numbered(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}
