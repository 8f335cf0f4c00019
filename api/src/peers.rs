//! How many connections an address may have open, so that nobody takes all of them by opening them and saying nothing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::caller::network_of;
use crate::door::Network;

/// The bound.
#[derive(Debug, Clone)]
pub struct PeerBounds {
    /// Connections of one address, or of a /64 of IPv6. At it: the next one is closed at once.
    pub most: usize,
    /// Whose connections are not counted: this machine's own, and of proxies, behind which are many.
    pub exempt: Vec<Network>,
}

impl PeerBounds {
    /// So many for each address but those of loopback.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let loopback = ["127.0.0.0/8", "::1"];
        Self { most, exempt: loopback.iter().filter_map(|network| network.parse().ok()).collect() }
    }
}

/// The connections that are open.
#[derive(Debug)]
pub(crate) struct Peers {
    bounds: PeerBounds,
    /// Only of addresses that have some.
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection that is counted.
#[derive(Debug)]
pub(crate) struct Peer {
    peers: Arc<Peers>,
    /// `None` where it is not.
    address: Option<IpAddr>,
}

impl Peers {
    pub(crate) fn new(bounds: PeerBounds) -> Self {
        Self { bounds, open: Mutex::default() }
    }

    /// One more of this address, unless it has as many as it may.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Peer> {
        if self.bounds.exempt.iter().any(|network| network.has(address)) {
            return Some(Peer { peers: Arc::clone(self), address: None });
        }
        let address = network_of(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let own = open.get(&address).copied().unwrap_or_default();
        if own >= self.bounds.most {
            return None;
        }
        open.insert(address, own + 1);
        drop(open);
        Some(Peer { peers: Arc::clone(self), address: Some(address) })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let Some(address) = &self.address else { return };
        let mut open = self.peers.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = open.get_mut(address) {
            *own -= 1;
            if *own == 0 {
                open.remove(address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_connections_and_a_proxy_any_number() {
        let mut bounds = PeerBounds::new(2);
        bounds.exempt.push("10.1.0.0/16".parse().unwrap());
        let peers = Arc::new(Peers::new(bounds));
        let take = |address: &str| peers.take(address.parse().unwrap());
        let held = [take("192.0.2.1").unwrap(), take("::ffff:192.0.2.1").unwrap()];
        assert!(take("192.0.2.1").is_none());
        let other = take("192.0.2.2").unwrap();
        let network = [take("2001:db8::1").unwrap(), take("2001:db8::2").unwrap()];
        assert!(take("2001:db8::3").is_none() && take("2001:db8:1::3").is_some());
        let exempt = ["127.0.0.1", "127.9.9.9", "::1", "10.1.2.3"];
        let many: Vec<Peer> =
            exempt.iter().flat_map(|peer| [take(peer), take(peer), take(peer)]).flatten().collect();
        assert_eq!(many.len(), 12);
        drop((held, other, network, many));
        assert!(peers.open.lock().unwrap().is_empty(), "nobody is remembered who has none");
        assert!(take("192.0.2.1").is_some());
    }
}
