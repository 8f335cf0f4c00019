//! The harness's own promises.

use std::path::Path;

use kelly_harness::KafkaBroker;

/// Killed and started again on the same port; nothing is left when it is dropped.
#[test]
fn a_broker_comes_back_and_goes_for_good() {
    let broker = KafkaBroker::start().unwrap();
    let first = broker.pid().unwrap();
    broker.kill().unwrap();
    assert_eq!(broker.pid(), None);
    assert!(!Path::new(&format!("/proc/{first}")).exists());
    broker.restart().unwrap();
    let second = broker.pid().unwrap();
    assert!(std::net::TcpStream::connect(broker.bootstrap()).is_ok());
    drop(broker);
    assert!(!Path::new(&format!("/proc/{second}")).exists());
}
