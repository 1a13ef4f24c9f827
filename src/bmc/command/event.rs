//! Event commands and platform event filtering (v2.0 chapters 29 and 30).

use crate::bmc::command::{
    ADMINISTRATOR, Context, Entry, LAN_CHANNEL, OPERATOR, Source, USER, exactly,
};
use crate::bmc::log::{EVENT_FORMAT, UNSPECIFIED, system_event};
use crate::bmc::store::pef::{BLOCK_LEN, FILTERS, POLICIES, STRINGS};
use crate::wire::code::{CompletionCode, NetFn};

#[rustfmt::skip]
pub(super) const TABLE: &[Entry] = &[
    Entry::acts(NetFn::SENSOR_EVENT, 0x00, ADMINISTRATOR, "29.1", "Set Event Receiver", set_event_receiver),
    Entry::reads(NetFn::SENSOR_EVENT, 0x01, USER, "29.2", "Get Event Receiver", get_event_receiver),
    Entry::acts(NetFn::SENSOR_EVENT, 0x02, OPERATOR, "29.3", "Platform Event", platform_event),
    Entry::reads(NetFn::SENSOR_EVENT, 0x10, USER, "30.1", "Get PEF Capabilities", get_pef_capabilities),
    Entry::acts(NetFn::SENSOR_EVENT, 0x11, ADMINISTRATOR, "30.2", "Arm PEF Postpone Timer", arm_postpone_timer),
    Entry::acts(NetFn::SENSOR_EVENT, 0x12, ADMINISTRATOR, "30.3", "Set PEF Configuration Parameters", set_pef_parameters),
    Entry::reads(NetFn::SENSOR_EVENT, 0x13, OPERATOR, "30.4", "Get PEF Configuration Parameters", get_pef_parameters),
    Entry::acts(NetFn::SENSOR_EVENT, 0x14, ADMINISTRATOR, "30.5", "Set Last Processed Event ID", set_last_processed),
    Entry::reads(NetFn::SENSOR_EVENT, 0x15, ADMINISTRATOR, "30.6", "Get Last Processed Event ID", get_last_processed),
];

/// The BMC's own address: it is the event receiver.
const BMC_ADDRESS: u8 = 0x20;
/// Software ID of remote console software, as generator (v2.0 section 5.5).
const REMOTE_CONSOLE: u8 = 0x81;
/// Version of PEF, and of its parameters.
const PEF_VERSION: u8 = 0x51;
const PARAMETERS_VERSION: u8 = 0x11;

/// Set Event Receiver (section 29.1). The BMC logs its events itself: there is nobody else that
/// they could go to.
fn set_event_receiver(_: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    match exactly(data)? {
        [BMC_ADDRESS, lun] if lun & 0b11 == 0 => Ok(Vec::new()),
        _ => Err(CompletionCode::INVALID_FIELD),
    }
}

/// Get Event Receiver (section 29.2).
fn get_event_receiver(_: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [] = exactly(data)?;
    Ok(vec![BMC_ADDRESS, 0x00])
}

/// Platform Event (section 29.3). Only over the system interface the generator is told; over the
/// LAN it is who sends. Event data may be left out from the end.
fn platform_event(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let (generator, message) = if matches!(context.source, Source::Lan(_)) {
        // The channel is in the upper half of the second byte (table 32-1).
        ([REMOTE_CONSOLE, LAN_CHANNEL << 4], data)
    } else {
        let [generator, message @ ..] = data else { return Err(CompletionCode::LENGTH_INVALID) };
        ([*generator, 0], message)
    };
    let Some((head, event_data)) = message.split_first_chunk::<4>() else {
        return Err(CompletionCode::LENGTH_INVALID);
    };
    let mut all = [UNSPECIFIED; 3];
    let given = all.get_mut(..event_data.len()).filter(|given| !given.is_empty());
    given.ok_or(CompletionCode::LENGTH_INVALID)?.copy_from_slice(event_data);
    // 03h is IPMI 1.0's.
    if !matches!(head[0], 0x03 | EVENT_FORMAT) {
        return Err(CompletionCode::INVALID_FIELD);
    }
    context.core.log_record(context.now, system_event(generator, *head, all));
    Ok(Vec::new())
}

/// Get PEF Capabilities (section 30.1): filters are kept for those who ask, and no action is done.
fn get_pef_capabilities(_: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [] = exactly(data)?;
    Ok(vec![PEF_VERSION, 0x00, u8::try_from(FILTERS).unwrap_or(0)])
}

/// Arm PEF Postpone Timer (section 30.2): answers the present value, which nothing counts down,
/// because nothing is postponed.
fn arm_postpone_timer(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    const TELL: u8 = 0xFF;
    let [value] = exactly(data)?;
    let pef = &mut context.core.store.pef;
    if value != TELL {
        pef.postpone_s = value;
    }
    Ok(vec![pef.postpone_s])
}

/// Set PEF Configuration Parameters (section 30.3).
fn set_pef_parameters(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [selector, value @ ..] = data else { return Err(CompletionCode::LENGTH_INVALID) };
    let setter = context.session.as_ref().map_or(0, |(id, _)| *id);
    let core = &mut context.core;
    let pef = &mut core.store.pef;
    let holder = pef.set_in_progress_by.filter(|id| core.open_sessions.contains_key(id));
    // Places count from 1.
    let place = |number: u8, count: usize| {
        let index = usize::from(number & 0x7F).checked_sub(1).filter(|index| *index < count);
        index.ok_or(CompletionCode::INVALID_FIELD)
    };
    match (selector & 0x7F, value) {
        (0, [state]) => match state & 3 {
            0 => pef.set_in_progress_by = None,
            // Parameters take effect as they are written, so there is nothing to commit.
            2 => {}
            1 if holder.is_none_or(|holder| holder == setter) => {
                pef.set_in_progress_by = Some(setter);
            }
            1 => return Err(CompletionCode::SET_IN_PROGRESS),
            _ => return Err(CompletionCode::INVALID_FIELD),
        },
        (1, [control]) => pef.control = control & 0x0F,
        (2, [actions]) => pef.actions = actions & 0x3F,
        (parameter @ (3 | 4), [delay_s]) => {
            pef.startup_delays_s[usize::from(parameter - 3)] = *delay_s;
        }
        (5 | 8 | 11, _) => return Err(CompletionCode::READ_ONLY),
        (6, [number, filter @ ..]) => {
            let filter = exactly(filter)?;
            pef.filters[place(*number, FILTERS)?] = filter;
        }
        (7, [number, configuration]) => {
            pef.filters[place(*number, FILTERS)?][0] = *configuration;
        }
        (9, [number, policy @ ..]) => {
            let policy = exactly(policy)?;
            pef.policies[place(*number, POLICIES)?] = policy;
        }
        (10, guid) => pef.guid = exactly(guid)?,
        (12, [number, key @ ..]) => {
            let key = exactly(key)?;
            let slot = pef.keys.get_mut(usize::from(number & 0x7F));
            *slot.ok_or(CompletionCode::INVALID_FIELD)? = key;
        }
        (13, [number, block, text @ ..]) if (1..=BLOCK_LEN).contains(&text.len()) => {
            let string = pef.strings.get_mut(usize::from(number & 0x7F));
            let string = string.ok_or(CompletionCode::INVALID_FIELD)?;
            let start = usize::from(*block).checked_sub(1).map(|block| block * BLOCK_LEN);
            let rest = start.and_then(|start| string.get_mut(start..));
            let place = rest.and_then(|rest| rest.get_mut(..text.len()));
            place.ok_or(CompletionCode::INVALID_FIELD)?.copy_from_slice(text);
        }
        (0..=4 | 6..=7 | 9 | 12..=13, _) => return Err(CompletionCode::LENGTH_INVALID),
        _ => return Err(CompletionCode::PARAMETER_NOT_SUPPORTED),
    }
    core.changed = true;
    Ok(Vec::new())
}

/// Get PEF Configuration Parameters (section 30.4).
fn get_pef_parameters(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    const REVISION_ONLY: u8 = 0x80;
    let [selector, set, block] = exactly(data)?;
    let core = &context.core;
    let pef = &core.store.pef;
    let len = |count: usize| vec![u8::try_from(count).unwrap_or(0)];
    let place = |count: usize| {
        let index = usize::from(set & 0x7F).checked_sub(1).filter(|index| *index < count);
        index.ok_or(CompletionCode::INVALID_FIELD)
    };
    let numbered = |bytes: &[u8]| [&[set & 0x7F], bytes].concat();
    let value = match selector & 0x7F {
        0 => {
            let sessions = &core.open_sessions;
            let held = pef.set_in_progress_by.is_some_and(|id| sessions.contains_key(&id));
            vec![u8::from(held)]
        }
        1 => vec![pef.control],
        2 => vec![pef.actions],
        parameter @ (3 | 4) => vec![pef.startup_delays_s[usize::from(parameter - 3)]],
        5 => len(FILTERS),
        6 => numbered(&pef.filters[place(FILTERS)?]),
        7 => numbered(&pef.filters[place(FILTERS)?][..1]),
        8 => len(POLICIES),
        9 => numbered(&pef.policies[place(POLICIES)?]),
        10 => pef.guid.to_vec(),
        11 => len(STRINGS),
        12 => {
            let key = pef.keys.get(usize::from(set & 0x7F));
            numbered(key.ok_or(CompletionCode::INVALID_FIELD)?)
        }
        13 => {
            let string = pef.strings.get(usize::from(set & 0x7F));
            let string = string.ok_or(CompletionCode::INVALID_FIELD)?;
            let text = usize::from(block).checked_sub(1);
            let text = text.and_then(|block| string.chunks(BLOCK_LEN).nth(block));
            let text = text.ok_or(CompletionCode::INVALID_FIELD)?;
            [&[set & 0x7F, block], text].concat()
        }
        _ => return Err(CompletionCode::PARAMETER_NOT_SUPPORTED),
    };
    let revision = [PARAMETERS_VERSION];
    Ok(if selector & REVISION_ONLY != 0 {
        revision.to_vec()
    } else {
        [&revision, &value[..]].concat()
    })
}

/// Set Last Processed Event ID (section 30.5).
fn set_last_processed(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    const BY_BMC: u8 = 0x01;
    let [by, id0, id1] = exactly(data)?;
    let id = u16::from_le_bytes([id0, id1]);
    let pef = &mut context.core.store.pef;
    if by & BY_BMC != 0 {
        pef.bmc_id = id;
    } else {
        pef.software_id = id;
    }
    context.core.changed = true;
    Ok(Vec::new())
}

/// Get Last Processed Event ID (section 30.6).
fn get_last_processed(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [] = exactly(data)?;
    let core = &context.core;
    let sel = &core.store.sel;
    let mut response = sel.added_s.to_le_bytes().to_vec();
    for id in [sel.newest(), core.store.pef.software_id, core.store.pef.bmc_id] {
        response.extend(id.to_le_bytes());
    }
    Ok(response)
}
