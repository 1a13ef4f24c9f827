//! LAN configuration and statistics (v2.0 chapter 23).
//!
//! Addresses are those of the interface that the BMC serves on, which belongs to the container: they
//! can be read, and written only as what they are, unless the profile says that the BMC may be told to
//! say something else.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use tracing::{info, warn};

use crate::bmc::Core;
use crate::bmc::command::channel::lan;
use crate::bmc::command::{ADMINISTRATOR, Context, Entry, OPERATOR, USER, exactly};
use crate::bmc::lan::NOT_TO_BE_HAD;
use crate::bmc::session::Info;
use crate::bmc::store::lan::DESTINATIONS;
use crate::wire::code::{CompletionCode, NetFn, Privilege};

#[rustfmt::skip]
pub(super) const TABLE: &[Entry] = &[
    Entry::acts(NetFn::TRANSPORT, 0x01, ADMINISTRATOR, "23.1", "Set LAN Configuration Parameters", set).secret_if(is_community),
    Entry::reads(NetFn::TRANSPORT, 0x02, OPERATOR, "23.2", "Get LAN Configuration Parameters", get),
    Entry::acts(NetFn::TRANSPORT, 0x03, ADMINISTRATOR, "23.3", "Suspend BMC ARPs", suspend_arps),
    Entry::acts(NetFn::TRANSPORT, 0x04, USER, "23.4", "Get IP/UDP/RMCP Statistics", get_statistics),
];

/// The community string is a password of sorts.
fn is_community(data: &[u8]) -> bool {
    data.get(1) == Some(&16)
}

const PARAMETER_VERSION: u8 = 0x11;
/// ARP requests are answered, by the kernel, and no gratuitous ones are sent.
const ARP_ANSWERED: u8 = 0x02;

/// Counters since the start, or since they were cleared.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::bmc) struct Statistics {
    /// Datagrams received.
    pub(in crate::bmc) received: u64,
    /// Those of them that were sound.
    pub(in crate::bmc) valid: u64,
    /// Datagrams sent.
    pub(in crate::bmc) sent: u64,
}

/// Writes parameter 0 of LAN or SOL configuration. It belongs to a session, and goes with it.
pub(super) fn set_in_progress(
    open_sessions: &BTreeMap<u32, Info>,
    holder: &mut Option<u32>,
    setter: u32,
    state: u8,
) -> Result<(), CompletionCode> {
    let living = holder.filter(|id| open_sessions.contains_key(id));
    match state & 0b11 {
        0 => *holder = None,
        1 if living.is_none_or(|living| living == setter) => *holder = Some(setter),
        1 => return Err(CompletionCode::SET_IN_PROGRESS),
        // Parameters take effect as they are written, so there is nothing to commit.
        2 => {}
        _ => return Err(CompletionCode::INVALID_FIELD),
    }
    Ok(())
}

/// Set LAN Configuration Parameters (section 23.1).
pub(super) fn set(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [number, parameter, value @ ..] = data else {
        return Err(CompletionCode::LENGTH_INVALID);
    };
    lan(context, *number)?;
    let setter = context.session.as_ref().map_or(0, |(id, _)| *id);
    let core = &mut *context.core;
    let supported = core.supported_auth_types();
    let suites = &core.suites;
    let store = &mut core.store.lan;
    let before = store.clone();
    match *parameter {
        0 => {
            let [state] = exactly(value)?;
            set_in_progress(&core.open_sessions, &mut store.set_in_progress_by, setter, state)?;
        }
        2 => {
            let enables: [u8; 5] = exactly(value)?;
            if enables.iter().any(|types| types & !supported != 0) {
                return Err(NOT_TO_BE_HAD);
            }
            store.auth_enables = Some(enables);
        }
        3..=6 | 12..=15 if core.lan.settable => return set_address(context, *parameter, value),
        7 => store.ipv4_header = exactly(value)?,
        16 => store.community = exactly(value)?,
        18 => {
            let [selector, kind @ ..] = exactly::<4>(value)?;
            destination(store.destination_mut(selector & 0x0F))?.kind = kind;
        }
        19 => {
            // The IPv6 form, which is longer, is for alerts that are not sent here.
            let [selector, address @ ..] = exactly::<13>(value)?;
            if address[0] >> 4 != 0 {
                return Err(CompletionCode::INVALID_FIELD);
            }
            destination(store.destination_mut(selector & 0x0F))?.address = address;
        }
        20 => {
            let tag = u16::from_le_bytes(exactly(value)?);
            // It would not be reachable where it is any more.
            if tag & 0x8000 != 0 {
                return Err(CompletionCode::READ_ONLY);
            }
            store.vlan_id = tag & 0x0FFF;
        }
        21 => {
            let [priority] = exactly(value)?;
            store.vlan_priority = priority & 0x07;
        }
        24 => {
            let [_, pairs @ ..] = exactly::<9>(value)?;
            let table: [u8; 16] = std::array::from_fn(|suite| {
                let pair = pairs[suite / 2];
                if suite % 2 == 0 { pair & 0x0F } else { pair >> 4 }
            });
            if table.iter().any(|level| *level > Privilege::ADMINISTRATOR.0) {
                return Err(NOT_TO_BE_HAD);
            }
            store.set_cipher_table(suites, table);
            let limits = suites.iter().filter_map(|suite| store.cipher_limit(*suite));
            if limits.max() != Some(Privilege::ADMINISTRATOR) {
                *store = before;
                warn!("refused: no cipher suite would be left to administrators");
                return Err(CompletionCode::NOT_IN_PRESENT_STATE);
            }
        }
        25 => {
            let [selector, vlan @ ..] = exactly::<4>(value)?;
            destination(store.destination_mut(selector & 0x0F))?.vlan = vlan;
        }
        52 => [store.ipv6_traffic_class] = exactly(value)?,
        53 => [store.ipv6_hop_limit] = exactly(value)?,
        54 => store.ipv6_flow_label = exactly(value)?,
        parameter => {
            let selector = value.first().copied().unwrap_or(0);
            let same = read(core, parameter, selector)? == value;
            return if same { Ok(Vec::new()) } else { Err(CompletionCode::READ_ONLY) };
        }
    }
    core.changed |= *parameter != 0 && core.store.lan != before;
    Ok(Vec::new())
}

fn set_address(
    context: &mut Context<'_>,
    parameter: u8,
    value: &[u8],
) -> Result<Vec<u8>, CompletionCode> {
    if let Some(what) = context.core.set_address(parameter, value)? {
        let note = format!("{what} by {}", context.origin());
        info!("{note}");
        context.core.log_reconfigured(context.now, &note);
    }
    Ok(Vec::new())
}

fn destination<T>(found: Option<T>) -> Result<T, CompletionCode> {
    found.ok_or(CompletionCode::OUT_OF_RANGE)
}

/// Get LAN Configuration Parameters (section 23.2).
pub(super) fn get(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [number, parameter, selector, _block] = exactly(data)?;
    lan(context, number)?;
    let value = read(context.core, parameter, selector)?;
    let mut response = vec![PARAMETER_VERSION];
    if number & 0x80 == 0 {
        response.extend(value);
    }
    Ok(response)
}

/// A parameter's value.
fn read(core: &Core, parameter: u8, selector: u8) -> Result<Vec<u8>, CompletionCode> {
    let store = &core.store.lan;
    let alert = || destination(store.destination(selector & 0x0F));
    Ok(match parameter {
        0 => {
            let held =
                store.set_in_progress_by.is_some_and(|id| core.open_sessions.contains_key(&id));
            vec![u8::from(held)]
        }
        1 => vec![core.supported_auth_types()],
        2 => core.enabled_auth_types().to_vec(),
        3..=6 | 12..=15 => core.address(parameter).unwrap_or_default(),
        7 => store.ipv4_header.to_vec(),
        8 => core.advertised_port.to_le_bytes().to_vec(),
        10 => vec![ARP_ANSWERED],
        // No gratuitous ARP.
        11 => vec![0],
        16 => store.community.to_vec(),
        17 => vec![DESTINATIONS],
        18 => [&[selector & 0x0F][..], &alert()?.kind].concat(),
        19 => [&[selector & 0x0F][..], &alert()?.address].concat(),
        20 => store.vlan_id.to_le_bytes().to_vec(),
        21 => vec![store.vlan_priority],
        22 => vec![u8::try_from(core.suites.len().min(16)).unwrap_or(16)],
        23 => {
            let mut suites = core.suites.clone();
            suites.sort_unstable();
            [0].into_iter().chain(suites.into_iter().take(16)).collect()
        }
        24 => {
            let table = store.cipher_table(&core.suites);
            let pairs = table.chunks(2).map(|pair| pair[0] | pair[1] << 4);
            [0].into_iter().chain(pairs).collect()
        }
        25 => [&[selector & 0x0F][..], &alert()?.vlan].concat(),
        // No bad-password threshold: whoever could count attempts up could keep everybody out. What
        // `lockout` has is for the place that they come from only.
        26 => vec![0; 6],
        _ => return read_ipv6(core, parameter, selector),
    })
}

/// A parameter of IPv6.
fn read_ipv6(core: &Core, parameter: u8, selector: u8) -> Result<Vec<u8>, CompletionCode> {
    /// Both at the same time: as a capability, and as what is switched on.
    const BOTH: u8 = 0x02;
    let (addresses, store) = (&core.lan.identity.ipv6, &core.store.lan);
    Ok(match parameter {
        50 => vec![BOTH],
        51 => vec![if addresses.is_empty() { 0 } else { BOTH }],
        52 => vec![store.ipv6_traffic_class],
        53 => vec![store.ipv6_hop_limit],
        54 => store.ipv6_flow_label.to_vec(),
        // Static and dynamic addresses; neither DHCPv6 nor SLAAC is the BMC's.
        55 => vec![u8::try_from(addresses.len().max(1)).unwrap_or(u8::MAX), 0, 0],
        56 => {
            let none = (Ipv6Addr::UNSPECIFIED, 0);
            let (enabled, (address, prefix)) = match addresses.get(usize::from(selector)) {
                Some(found) => (0x80, *found),
                None if selector == 0 => (0x00, none),
                None => return Err(CompletionCode::OUT_OF_RANGE),
            };
            // Status: active, or disabled.
            let status = u8::from(enabled == 0);
            [&[selector, enabled][..], &address.octets(), &[prefix, status]].concat()
        }
        57 => vec![0],
        58 | 59 => return Err(CompletionCode::OUT_OF_RANGE),
        _ => return Err(CompletionCode::PARAMETER_NOT_SUPPORTED),
    })
}

/// Suspend BMC ARPs (section 23.3). The kernel goes on answering, and the response says so.
pub(super) fn suspend_arps(
    context: &mut Context<'_>,
    data: &[u8],
) -> Result<Vec<u8>, CompletionCode> {
    let [number, _suspend] = exactly(data)?;
    lan(context, number)?;
    Ok(vec![ARP_ANSWERED])
}

/// Get IP/UDP/RMCP Statistics (section 23.4). Of IP, what the socket has seen.
pub(super) fn get_statistics(
    context: &mut Context<'_>,
    data: &[u8],
) -> Result<Vec<u8>, CompletionCode> {
    let [number, clear] = exactly(data)?;
    lan(context, number)?;
    let statistics = &mut context.core.statistics;
    let Statistics { received, valid, sent } = *statistics;
    if clear & 1 != 0 {
        *statistics = Statistics::default();
    }
    // Packets received; header and address errors, fragments; packets sent; UDP packets received;
    // valid RMCP packets; proxy packets received and dropped. The counters stay at their end.
    let counters = [received, 0, 0, 0, sent, received, valid, 0, 0];
    let counters = counters.map(|count| u16::try_from(count).unwrap_or(u16::MAX));
    Ok(counters.into_iter().flat_map(u16::to_le_bytes).collect())
}
