//! The interface that the BMC serves on: follows what the kernel tells of it.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use crate::host::lan;
use crate::host::netlink::Watch;
use crate::plan::LanIdentity;
use crate::profile::check::Bind;
use crate::runtime::bmc;

/// How long more of the same may follow before it is looked at: an address comes with a route or two.
const SETTLES: Duration = Duration::from_millis(100);

/// Tells the engine when the interface is not as `known` any more.
pub(super) async fn run(
    bind: Bind,
    mut watch: Watch,
    mut known: LanIdentity,
    bmc: mpsc::Sender<bmc::Input>,
) {
    while watch.changed(&known).await {
        let end = Instant::now() + SETTLES;
        while let Ok(true) = timeout_at(end, watch.changed(&known)).await {}
        let mut identity = lan::identity(&bind);
        // The kernel forgets neighbours that nobody talks to; they are still who they were.
        if identity.gateway == known.gateway && identity.gateway_mac == [0; 6] {
            identity.gateway_mac = known.gateway_mac;
        }
        if identity == known {
            continue;
        }
        known = identity.clone();
        if bmc.send(bmc::Input::Lan(identity)).await.is_err() {
            return;
        }
    }
    warn!("the kernel's network tells nothing any more: the BMC's addresses are not followed");
}
