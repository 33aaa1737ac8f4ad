//! What somebody does to a network by hand.

use super::FakeNetwork;

impl FakeNetwork {
    /// Somebody removes the bridges of ours; the VLANs that were made for them stay.
    pub fn lose_bridges(&self) {
        let mut state = self.state();
        let own = std::mem::take(&mut state.bridges).into_values().filter_map(|b| b.own);
        let vlans = own.filter_map(|own| own.uplink?.vlan).map(|vlan| vlan.device);
        state.vlans.extend(vlans);
    }

    /// Somebody removes the host's routes to VEs.
    pub fn lose_routes(&self) {
        self.state().links.values_mut().for_each(|l| l.addresses.clear());
    }

    /// Somebody removes the queues that limits are held by.
    pub fn lose_queues(&self) {
        self.state().shapes.clear();
    }
}
