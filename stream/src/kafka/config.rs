//! The configuration of a Kafka log, and the librdkafka settings it makes of it.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;

use super::failure::failure;
use crate::bounds::MAX_RECORD_BYTES;
use crate::error::LogError;
use crate::port::Result;

/// How to reach Kafka. `KafkaConfig { brokers, properties, ..Default::default() }`.
#[derive(Debug, Clone)]
pub struct KafkaConfig {
    /// `host:port[,host:port]`.
    pub brokers: String,
    /// Handed to librdkafka as they are: `security.protocol`, `sasl.*`, `ssl.*`, time-outs. Those
    /// that exactly-once rests on are refused, see [`KafkaConfig::verify`].
    pub properties: BTreeMap<String, String>,
    /// A name of this instance that survives its restart (`group.instance.id`): it then gets its
    /// partitions back at once after a crash, but when it leaves for good the others wait for the
    /// session to time out. One consumer a group and name.
    pub instance_id: Option<String>,
    /// Bytes that may wait for their acknowledgement; beyond it an append is [`LogError::Full`].
    pub queue_bytes: usize,
    /// Records that may wait for their acknowledgement; likewise.
    pub queue_records: usize,
    /// How long a request for metadata, positions or topics may take.
    pub request_timeout: Duration,
    /// How long an append is tried before it is given up. Less than HTTP waits for it, so that the
    /// log has the time to say whether anything of it was sent.
    pub delivery_timeout: Duration,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            brokers: "127.0.0.1:9092".into(),
            properties: BTreeMap::new(),
            instance_id: None,
            queue_bytes: 64 * 1024 * 1024,
            queue_records: 200_000,
            request_timeout: Duration::from_secs(10),
            delivery_timeout: Duration::from_secs(20),
        }
    }
}

/// Properties this crate sets itself, because what stands above the port relies on them.
const RESERVED: &[&str] = &[
    "acks",
    "allow.auto.create.topics",
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "isolation.level",
    "partition.assignment.strategy",
    "partitioner",
    "request.required.acks",
    "transactional.id",
];

/// Properties whose values are no secrets, besides those that end as [`SHOWN_ENDS`] say.
const SHOWN: &[&str] = &[
    "client.id",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "security.protocol",
    "ssl.ca.location",
];

/// Durations and sizes.
const SHOWN_ENDS: &[&str] = &[".ms", ".bytes"];

/// Whether the value of a property may be shown. A name that is not known may be a slip of the pen
/// for one that holds a secret, so only what is known to be harmless is shown.
pub fn may_be_shown(name: &str) -> bool {
    SHOWN.contains(&name) || SHOWN_ENDS.iter().any(|end| name.ends_with(end))
}

/// Name under which whole topics are read: librdkafka wants one. Nothing is committed under it, and nobody joins it.
const READING_GROUP: &str = "kelly-read";

/// Room for the record's own framing above [`MAX_RECORD_BYTES`].
const MESSAGE_OVERHEAD_BYTES: usize = 64 * 1024;

/// What a topic's `max.message.bytes` must at least be.
pub(super) const MAX_MESSAGE_BYTES: usize = MAX_RECORD_BYTES + MESSAGE_OVERHEAD_BYTES;

impl KafkaConfig {
    /// The defaults, for `host:port[,host:port]`.
    pub fn new(brokers: impl Into<String>) -> Self {
        Self { brokers: brokers.into(), ..Self::default() }
    }

    /// Refuses what cannot work: no broker, a reserved property, one librdkafka does not know.
    pub fn verify(&self) -> Result<()> {
        if self.brokers.split(',').any(|broker| broker.trim().is_empty()) {
            return Err(LogError::Config {
                property: "brokers".into(),
                reason: format!("{:?} is not of the form host:port[,host:port]", self.brokers),
            });
        }
        if let Some(name) = self.properties.keys().find(|name| RESERVED.contains(&name.as_str())) {
            return Err(LogError::Config {
                property: name.clone(),
                reason: "Kelly sets it itself, its exactly-once delivery rests on it; remove it".into(),
            });
        }
        self.base().create_native_config().map(drop).map_err(refused)
    }

    pub(super) fn admin(&self) -> ClientConfig {
        let mut config = self.base();
        config.set("allow.auto.create.topics", "false");
        config
    }

    pub(super) fn producer(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("linger.ms", "3")
            .set("compression.type", "lz4")
            .set("topic.metadata.propagation.max.ms", "5000");
        self.add_to(&mut config);
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("allow.auto.create.topics", "false")
            .set("message.max.bytes", MAX_MESSAGE_BYTES.to_string())
            .set("message.timeout.ms", self.delivery_timeout.as_millis().to_string())
            // The queue's true bound is kept by the producer itself, so that an append is taken
            // whole or not at all; librdkafka's own must never be the first to be reached.
            .set("queue.buffering.max.messages", (self.queue_records.saturating_mul(2)).to_string())
            .set("queue.buffering.max.kbytes", (self.queue_bytes / 512 + 1024).to_string());
        config
    }

    /// Settings of a member of `group`.
    pub(super) fn consumer(&self, group: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            // Large fetches when there is a backlog, and never more than 100 ms behind when not.
            .set("fetch.min.bytes", "1048576")
            .set("fetch.wait.max.ms", "100")
            .set("fetch.message.max.bytes", MAX_MESSAGE_BYTES.to_string())
            .set("fetch.max.bytes", (4 * MAX_MESSAGE_BYTES).to_string())
            // The first of the two bounds that is reached stops fetching a partition.
            .set("queued.max.messages.kbytes", "65536")
            .set("queued.min.messages", "50000")
            // Once reached, fetching rests for so long; the default of a second is longer than so many records last.
            .set("fetch.queue.backoff.ms", "10")
            // A member that died is missed after this; the default of 45 s would hold its
            // partitions that long.
            .set("session.timeout.ms", "10000")
            .set("heartbeat.interval.ms", "2000")
            .set("max.poll.interval.ms", "300000");
        self.add_to(&mut config);
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("allow.auto.create.topics", "false");
        if let Some(instance) = &self.instance_id {
            config.set("group.instance.id", instance);
        }
        config
    }

    /// Settings of a client that reads a whole topic and is a member of no group.
    pub(super) fn reader(&self) -> ClientConfig {
        let mut config = self.consumer(READING_GROUP);
        config
            // A record is wanted when it is there, not when there are more of them.
            .set("fetch.min.bytes", "1")
            .set("queued.max.messages.kbytes", "16384")
            .set("queued.min.messages", "5000")
            // It joins nothing, so it needs no name among members.
            .remove("group.instance.id");
        config
    }

    /// Settings of a client that asks for a group's positions and is no member of it.
    pub(super) fn position_client(&self, group: &str) -> ClientConfig {
        let mut config = self.base();
        config.set("group.id", group).set("enable.auto.commit", "false");
        config
    }

    /// Why librdkafka made no client: but for a lack of threads it is a property, or several that
    /// contradict each other, which waiting does not fix.
    pub(super) fn not_created(&self, doing: impl Into<String>, error: KafkaError) -> LogError {
        let KafkaError::ClientCreation(words) = &error else {
            return match error {
                KafkaError::ClientConfig(..) => refused(error),
                other => failure(doing, other),
            };
        };
        if words.contains("thread") {
            return failure(doing, error);
        }
        let holds = |(name, value): (&String, &String)| !may_be_shown(name) && words.contains(value.as_str());
        let reason = if self.properties.iter().any(holds) {
            "librdkafka refuses them in words that hold the value of one, so they are not shown".into()
        } else {
            format!("librdkafka says: {}", words.trim_end())
        };
        LogError::Config { property: "kafka.properties".into(), reason }
    }

    fn base(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        self.add_to(&mut config);
        config
    }

    /// The user's properties go over our preferences (set before) and under what must hold (set after).
    fn add_to(&self, config: &mut ClientConfig) {
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "kelly")
            .set("log.connection.close", "false")
            .set("socket.keepalive.enable", "true")
            .set("reconnect.backoff.max.ms", "2000")
            .set_log_level(RDKafkaLogLevel::Info);
        for (name, value) in &self.properties {
            config.set(name, value);
        }
    }
}

/// What librdkafka says of a property, without a value that may be a secret: its own words hold it.
fn refused(error: KafkaError) -> LogError {
    match error {
        KafkaError::ClientConfig(kind, words, property, _value) => {
            let reason = match kind {
                RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN => {
                    "librdkafka knows no such property; correct its name or remove it".into()
                }
                _ if may_be_shown(&property) => format!("librdkafka says: {}", words.trim_end()),
                _ => "librdkafka does not take its value (which is not shown, it may be a secret)".into(),
            };
            LogError::Config { property, reason }
        }
        // A zero byte in a name or a value.
        KafkaError::Nul(_) => LogError::Config {
            property: "kafka.properties".into(),
            reason: "a name or a value holds a zero byte; remove it".into(),
        },
        other => LogError::Config { property: "kafka.properties".into(), reason: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> KafkaConfig {
        KafkaConfig { properties: [(name.to_owned(), value.to_owned())].into(), ..Default::default() }
    }

    #[test]
    fn refuses_what_exactly_once_rests_on() {
        for name in RESERVED {
            let error = with(name, "x").verify().unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn refuses_what_librdkafka_does_not_know() {
        let error = with("security.protocoll", "ssl").verify().unwrap_err().to_string();
        assert!(error.contains("security.protocoll"), "{error}");
        assert!(KafkaConfig { brokers: "a:1,,b:2".into(), ..Default::default() }.verify().is_err());
    }

    #[test]
    fn no_slip_shows_a_secret() {
        for name in [
            "sasl.pasword",
            "sasl.oauthbearer.method",
            "ssl.endpoint.identification.algorithm",
            "enable.ssl.certificate.verification",
            "ssl.key.pem",
            "sasl.kerberos.min.time.before.relogin",
        ] {
            assert!(!may_be_shown(name), "{name}");
            let Err(error) = with(name, "hunter2").verify() else { continue };
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(name) && !shown.contains("hunter2"), "{shown}");
        }
        let zero = with("sasl.password", "hunter2\0").verify().unwrap_err();
        assert!(!format!("{zero} {zero:?}").contains("hunter2"), "{zero:?}");
        let harmless = with("security.protocol", "sll").verify().unwrap_err().to_string();
        assert!(harmless.contains("sll"), "{harmless}");
    }

    #[test]
    fn what_no_client_can_be_made_of_is_a_wrong_setting() {
        let create = |config: &KafkaConfig| -> LogError {
            let client = config.consumer("g").create::<rdkafka::consumer::BaseConsumer>();
            config.not_created("join", client.err().unwrap())
        };
        let mut config = with("security.protocol", "SSL");
        config.properties.insert("ssl.ca.location".into(), "/nowhere/ca.pem".into());
        config.verify().unwrap();
        let error = create(&config);
        assert!(matches!(error, LogError::Config { .. }), "{error:?}");
        assert!(error.to_string().contains("ssl.ca.location"), "{error}");
        let error = create(&with("session.timeout.ms", "3000000"));
        assert!(matches!(error, LogError::Config { .. }), "{error:?}");

        let words = KafkaError::ClientCreation("no such thing: hunter2".into());
        let error = with("ssl.key.location", "hunter2").not_created("join", words).to_string();
        assert!(!error.contains("hunter2"), "{error}");
        let threads = KafkaError::ClientCreation("Failed to create thread: busy".into());
        assert!(config.not_created("join", threads).is_retryable());
    }

    #[test]
    fn passes_tls_and_sasl_through_to_every_client() {
        let mut config = with("security.protocol", "SASL_SSL");
        config.properties.insert("sasl.mechanism".into(), "SCRAM-SHA-256".into());
        config.properties.insert("session.timeout.ms".into(), "45000".into());
        config.verify().unwrap();
        for client in [config.admin(), config.producer(), config.consumer("g"), config.position_client("g")] {
            assert_eq!(client.get("security.protocol"), Some("SASL_SSL"));
        }
        assert_eq!(config.consumer("g").get("session.timeout.ms"), Some("45000"));
    }
}
