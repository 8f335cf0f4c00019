//! librdkafka's errors in the words of the port.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::error::LogError;

/// `doing` completes "could not …".
pub(super) fn failure(doing: impl Into<String>, error: KafkaError) -> LogError {
    let doing = doing.into();
    let code = error.rdkafka_error_code();
    let source = Some(Box::new(error) as Box<dyn std::error::Error + Send + Sync>);
    match code {
        Some(
            Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed,
        ) => LogError::Refused {
            doing,
            fix: "grant Kelly's principal the operation (kafka-acls.sh) or give it another one".into(),
            source,
        },
        Some(
            Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::SSL
            | Code::UnsupportedSASLMechanism,
        ) => LogError::Refused {
            doing,
            fix: "check security.protocol, sasl.* and ssl.* against the broker's listener".into(),
            source,
        },
        Some(
            Code::InvalidTopic
            | Code::InvalidPartitions
            | Code::InvalidReplicationFactor
            | Code::InvalidConfig
            | Code::InvalidRequest
            | Code::InvalidGroupId
            | Code::PolicyViolation
            | Code::UnsupportedVersion
            | Code::UnsupportedFeature,
        ) => LogError::Refused { doing, fix: "the broker does not take it, see the cause".into(), source },
        _ => LogError::Unavailable {
            doing,
            fix: "check that the brokers run and that their advertised addresses can be reached from here"
                .into(),
            source,
        },
    }
}

/// Whether librdkafka goes on by itself after this error, so that nobody above need act.
pub(super) fn heals_itself(code: Code) -> bool {
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::NetworkException
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::BrokerNotAvailable
            | Code::ReplicaNotAvailable
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::WaitingForCoordinator
            | Code::RebalanceInProgress
            | Code::IllegalGeneration
            | Code::UnknownMemberId
            | Code::MemberIdRequired
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::OffsetNotAvailable
            | Code::KafkaStorageError
            | Code::AssignmentLost
            | Code::PollExceeded
            | Code::BrokerDestroy
            | Code::Retry
            | Code::ThrottlingQuotaExceeded
    )
}
