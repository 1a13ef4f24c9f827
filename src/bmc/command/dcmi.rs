//! DCMI (Data Center Manageability Interface specification v1.5): group DCh of the group extension.

use crate::bmc::command::{Context, Entry, LAN_CHANNEL, OPERATOR, USER};
use crate::bmc::sensors::{AIR_INLET, PROCESSOR, SYSTEM_BOARD};
use crate::wire::code::{CompletionCode, NetFn};

const GROUP: NetFn = NetFn::GROUP_EXTENSION;

#[rustfmt::skip]
pub(super) const TABLE: &[Entry] = &[
    Entry::reads(GROUP, 0x01, USER, "DCMI 6.1.1", "Get DCMI Capabilities Info", get_capabilities),
    Entry::reads(GROUP, 0x02, USER, "DCMI 6.6.1", "Get Power Reading", get_power_reading),
    Entry::reads(GROUP, 0x03, USER, "DCMI 6.6.2", "Get Power Limit", get_power_limit),
    Entry::reads(GROUP, 0x06, USER, "DCMI 6.4.2", "Get Asset Tag", get_asset_tag),
    Entry::reads(GROUP, 0x07, OPERATOR, "DCMI 6.5.2", "Get DCMI Sensor Info", get_sensor_info),
    Entry::acts(GROUP, 0x08, OPERATOR, "DCMI 6.4.3", "Set Asset Tag", set_asset_tag),
    Entry::reads(GROUP, 0x09, USER, "DCMI 6.4.6.1", "Get Management Controller Identifier String", get_identifier),
    Entry::acts(GROUP, 0x0A, OPERATOR, "DCMI 6.4.6.2", "Set Management Controller Identifier String", set_identifier),
    Entry::reads(GROUP, 0x13, USER, "DCMI 6.1.3", "Get DCMI Configuration Parameters", get_configuration),
];

/// Group extension identification, first byte of every request and response.
const DCMI: u8 = 0xDC;
/// Specification conformance 1.5, parameter revision 2.
const CONFORMANCE: [u8; 3] = [0x01, 0x05, 0x02];
/// Longest text, and most bytes of it in one request.
const TEXT_MAX: usize = 63;
const CHUNK_MAX: usize = 16;

/// The request without its group. Other groups are not served, so their commands are unknown.
fn dcmi(data: &[u8]) -> Result<&[u8], CompletionCode> {
    match data {
        [DCMI, rest @ ..] => Ok(rest),
        [] => Err(CompletionCode::LENGTH_INVALID),
        _ => Err(CompletionCode::INVALID_COMMAND),
    }
}

fn exactly<const N: usize>(data: &[u8]) -> Result<[u8; N], CompletionCode> {
    super::exactly(dcmi(data)?)
}

/// Get DCMI Capabilities Info (section 6.1.1).
fn get_capabilities(_: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    /// There is no such channel.
    const NONE: u8 = 0xFF;
    let [parameter] = exactly(data)?;
    let mut response = vec![DCMI];
    response.extend(CONFORMANCE);
    match parameter {
        // Supported: power management; primary LAN out of band, Serial-over-LAN.
        1 => response.extend([0x00, 0x01, 0x18]),
        // SEL with roll-over, 1024 entries; sampling of temperatures.
        2 => response.extend([0x00, 0x84, 0x00, 0x00, 0x01]),
        // The power meter is at the BMC.
        3 => response.extend([0x20, 0x00]),
        4 => response.extend([LAN_CHANNEL, NONE, NONE]),
        // One rolling average, over one second.
        5 => response.extend([0x01, 0x01]),
        _ => return Err(CompletionCode::INVALID_FIELD),
    }
    Ok(response)
}

/// Get Power Reading (section 6.6.1). Nobody measures, and the answer says so.
fn get_power_reading(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    const NOT_ACTIVE: u8 = 0x00;
    let [mode, _attributes, _reserved] = exactly(data)?;
    if mode != 1 && mode != 2 {
        return Err(CompletionCode::INVALID_FIELD);
    }
    let unix_s = u32::try_from(context.core.clock.unix_s(context.now)).unwrap_or(u32::MAX);
    let mut response = vec![DCMI];
    // Present, least, most and average power in watts.
    response.extend([0; 8]);
    response.extend(unix_s.to_le_bytes());
    response.extend(1000_u32.to_le_bytes());
    response.push(NOT_ACTIVE);
    Ok(response)
}

/// Get Power Limit (section 6.6.2): none is set.
fn get_power_limit(_: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    const NO_LIMIT: CompletionCode = CompletionCode(0x80);
    let [_, _] = exactly(data)?;
    Err(NO_LIMIT)
}

/// Part of a text: its whole length, and the bytes asked for.
fn part(text: &[u8], offset: u8, count: u8) -> Result<Vec<u8>, CompletionCode> {
    let (offset, count) = (usize::from(offset), usize::from(count));
    if count > CHUNK_MAX {
        return Err(CompletionCode::INVALID_FIELD);
    }
    let rest = text.get(offset..).ok_or(CompletionCode::OUT_OF_RANGE)?;
    let mut response = vec![DCMI, u8::try_from(text.len()).unwrap_or(u8::MAX)];
    response.extend(rest.iter().take(count));
    Ok(response)
}

/// A text with a part of it replaced, which ends there.
fn with_part(mut text: Vec<u8>, data: &[u8], max: usize) -> Result<Vec<u8>, CompletionCode> {
    let [offset, count, bytes @ ..] = dcmi(data)? else {
        return Err(CompletionCode::LENGTH_INVALID);
    };
    let (offset, count) = (usize::from(*offset), usize::from(*count));
    if bytes.len() != count {
        return Err(CompletionCode::LENGTH_INVALID);
    }
    if count > CHUNK_MAX {
        return Err(CompletionCode::INVALID_FIELD);
    }
    if offset > text.len() || offset + count > max {
        return Err(CompletionCode::OUT_OF_RANGE);
    }
    text.truncate(offset);
    text.extend(bytes);
    Ok(text)
}

fn asset_tag(context: &Context<'_>) -> Vec<u8> {
    let set = context.core.store.dcmi.asset_tag.clone();
    set.or_else(|| context.core.asset_tag.clone().map(String::into_bytes)).unwrap_or_default()
}

fn identifier(context: &Context<'_>) -> Vec<u8> {
    let set = context.core.store.dcmi.identifier.clone();
    set.unwrap_or_else(|| context.core.name.clone().into_bytes())
}

/// Get Asset Tag (section 6.4.2).
fn get_asset_tag(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [offset, count] = exactly(data)?;
    part(&asset_tag(context), offset, count)
}

/// Set Asset Tag (section 6.4.3).
fn set_asset_tag(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let text = with_part(asset_tag(context), data, TEXT_MAX)?;
    let response = vec![DCMI, u8::try_from(text.len()).unwrap_or(u8::MAX)];
    context.core.store.dcmi.asset_tag = Some(text);
    context.core.changed = true;
    Ok(response)
}

/// Get Management Controller Identifier String (section 6.4.6.1); it ends with a zero.
fn get_identifier(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [offset, count] = exactly(data)?;
    let mut text = identifier(context);
    text.push(0);
    part(&text, offset, count)
}

/// Set Management Controller Identifier String (section 6.4.6.2).
fn set_identifier(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let mut text = with_part(identifier(context), data, TEXT_MAX + 1)?;
    let response = vec![DCMI, u8::try_from(text.len()).unwrap_or(u8::MAX)];
    if let Some(end) = text.iter().position(|byte| *byte == 0) {
        text.truncate(end);
    }
    context.core.store.dcmi.identifier = Some(text);
    context.core.changed = true;
    Ok(response)
}

/// Get DCMI Sensor Info (section 6.5.2): temperatures at the inlet, of processors, of the board.
fn get_sensor_info(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    /// Sensor type "temperature".
    const TEMPERATURE: u8 = 0x01;
    /// Most record IDs in one response.
    const IDS_MAX: usize = 8;
    /// All instances.
    const ALL: u8 = 0;
    let [sensor_type, entity, instance, start] = exactly(data)?;
    // DCMI has entity IDs of its own for what IPMI names, too.
    let entity = match entity {
        0x40 => AIR_INLET,
        0x41 => PROCESSOR,
        0x42 => SYSTEM_BOARD,
        AIR_INLET | PROCESSOR | SYSTEM_BOARD => entity,
        _ => return Err(CompletionCode::INVALID_FIELD),
    };
    if sensor_type != TEMPERATURE {
        return Err(CompletionCode::INVALID_FIELD);
    }
    let sensors = &context.core.sensors;
    let of_entity: Vec<_> = sensors
        .iter_with_ids()
        .filter(|(_, sensor)| sensor.sensor_type == TEMPERATURE && sensor.entity[0] == entity)
        .collect();
    let ids: Vec<u16> = of_entity
        .iter()
        .filter(|(_, sensor)| match instance {
            ALL => sensor.entity[1] >= start,
            _ => sensor.entity[1] == instance,
        })
        .map(|(id, _)| *id)
        .take(IDS_MAX)
        .collect();
    let count = |len| u8::try_from(len).unwrap_or(u8::MAX);
    let mut response = vec![DCMI, count(of_entity.len()), count(ids.len())];
    response.extend(ids.iter().flat_map(|id| id.to_le_bytes()));
    Ok(response)
}

/// Get DCMI Configuration Parameters (section 6.1.3): no DHCP client, the specification's times.
fn get_configuration(_: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [parameter, _set] = exactly(data)?;
    let mut response = vec![DCMI];
    response.extend(CONFORMANCE);
    match parameter {
        // Activate DHCP; discovery; DHCP timing 1 in seconds.
        1 | 2 => response.push(0x00),
        3 => response.push(4),
        // DHCP timing 2 and 3 in seconds.
        4 => response.extend(120_u16.to_le_bytes()),
        5 => response.extend(64_u16.to_le_bytes()),
        _ => return Err(CompletionCode::INVALID_FIELD),
    }
    Ok(response)
}
