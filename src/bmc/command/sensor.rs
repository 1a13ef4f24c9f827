//! Sensor device commands (v2.0 chapter 35).

use crate::bmc::analog::Analog;
use crate::bmc::command::{Context, Entry, OPERATOR, USER, exactly};
use crate::bmc::sensors::{Kind, Sensor};
use crate::bmc::store::Settings;
use crate::bmc::store::sensors::Enables;
use crate::machine::Power;
use crate::plan::Scale;
use crate::wire::code::{CompletionCode, NetFn};

#[rustfmt::skip]
pub(super) const TABLE: &[Entry] = &[
    Entry::reads(NetFn::SENSOR_EVENT, 0x23, USER, "35.5", "Get Sensor Reading Factors", get_reading_factors),
    Entry::acts(NetFn::SENSOR_EVENT, 0x24, OPERATOR, "35.6", "Set Sensor Hysteresis", set_hysteresis),
    Entry::reads(NetFn::SENSOR_EVENT, 0x25, USER, "35.7", "Get Sensor Hysteresis", get_hysteresis),
    Entry::acts(NetFn::SENSOR_EVENT, 0x26, OPERATOR, "35.8", "Set Sensor Thresholds", set_thresholds),
    Entry::reads(NetFn::SENSOR_EVENT, 0x27, USER, "35.9", "Get Sensor Thresholds", get_thresholds),
    Entry::acts(NetFn::SENSOR_EVENT, 0x28, OPERATOR, "35.10", "Set Sensor Event Enable", set_event_enable),
    Entry::reads(NetFn::SENSOR_EVENT, 0x29, USER, "35.11", "Get Sensor Event Enable", get_event_enable),
    Entry::acts(NetFn::SENSOR_EVENT, 0x2A, OPERATOR, "35.12", "Re-arm Sensor Events", rearm_events),
    Entry::reads(NetFn::SENSOR_EVENT, 0x2B, USER, "35.13", "Get Sensor Event Status", get_event_status),
    Entry::reads(NetFn::SENSOR_EVENT, 0x2D, USER, "35.14", "Get Sensor Reading", get_reading),
    Entry::acts(NetFn::SENSOR_EVENT, 0x2E, OPERATOR, "35.15", "Set Sensor Type", set_type),
    Entry::reads(NetFn::SENSOR_EVENT, 0x2F, USER, "35.16", "Get Sensor Type", get_type),
];

/// Flags of Get Sensor Reading and others.
const EVENTS_ENABLED: u8 = 0x80;
const SCANNING_ENABLED: u8 = 0x40;
const UNAVAILABLE: u8 = 0x20;
/// Bits 12 to 15 are no event, and read as one in Get Sensor Reading's last byte.
const RESERVED_STATES: u8 = 0x80;
const RESERVED_COMPARISONS: u8 = 0xC0;

/// The sensor, if it can be read, and what clients have changed of it.
fn readable<'a>(
    context: &'a Context<'_>,
    number: u8,
) -> Result<(&'a Sensor, Settings), CompletionCode> {
    let sensor = context.core.sensors.get(number).ok_or(CompletionCode::NOT_PRESENT)?;
    if matches!(sensor.kind, Kind::Events) {
        return Err(CompletionCode::ILLEGAL_FOR_SENSOR);
    }
    let settings = context.core.store.sensors.get(&number).copied();
    Ok((sensor, settings.unwrap_or_default()))
}

/// The same of a sensor that reads as a number.
fn analog<'a>(
    context: &'a Context<'_>,
    number: u8,
) -> Result<(&'a Analog, Settings), CompletionCode> {
    let (sensor, settings) = readable(context, number)?;
    Ok((sensor.analog().ok_or(CompletionCode::ILLEGAL_FOR_SENSOR)?, settings))
}

fn is_on(context: &Context<'_>) -> bool {
    context.core.machine.power == Power::On
}

/// Keeps what a client has changed, and looks whether it makes an event.
fn keep(context: &mut Context<'_>, number: u8, settings: Settings) {
    context.core.store.sensors.insert(number, settings);
    if let Some(analog) = context.core.sensors.get(number).and_then(Sensor::analog) {
        let mark = analog.mark();
        context.core.store.sensor_marks.insert(number, mark);
    }
    context.core.changed = true;
    context.core.check_thresholds(context.now, Some(number));
}

fn flags(enables: Enables) -> u8 {
    let events = if enables.events { EVENTS_ENABLED } else { 0 };
    events | if enables.scanning { SCANNING_ENABLED } else { 0 }
}

/// Get Sensor Reading Factors (section 35.5): the same for all readings.
fn get_reading_factors(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [number, reading] = exactly(data)?;
    let (analog, _) = analog(context, number)?;
    let Scale { m, exponent } = analog.plan.scale;
    Ok(vec![reading, m, 0, 0, 0, 0, exponent.to_le_bytes()[0] << 4])
}

/// Set Sensor Hysteresis (section 35.6).
fn set_hysteresis(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [number, _mask, positive, negative] = exactly(data)?;
    let (analog, mut settings) = analog(context, number)?;
    if analog.supported == 0 {
        return Err(CompletionCode::ILLEGAL_FOR_SENSOR);
    }
    settings.hysteresis = Some([positive, negative]);
    keep(context, number, settings);
    Ok(Vec::new())
}

/// Get Sensor Hysteresis (section 35.7).
fn get_hysteresis(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [number, _mask] = exactly(data)?;
    let (analog, settings) = analog(context, number)?;
    if analog.supported == 0 {
        return Err(CompletionCode::ILLEGAL_FOR_SENSOR);
    }
    Ok(settings.hysteresis_of(analog).to_vec())
}

/// Set Sensor Thresholds (section 35.8).
fn set_thresholds(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [number, mask, values @ ..] = exactly::<8>(data)?;
    let (analog, mut settings) = analog(context, number)?;
    if analog.supported == 0 {
        return Err(CompletionCode::ILLEGAL_FOR_SENSOR);
    }
    if mask & !analog.supported != 0 {
        return Err(CompletionCode::INVALID_FIELD);
    }
    let mut thresholds = settings.thresholds_of(analog);
    for (index, (threshold, value)) in thresholds.iter_mut().zip(values).enumerate() {
        if mask & 1 << index != 0 {
            *threshold = value;
        }
    }
    settings.thresholds = Some(thresholds);
    keep(context, number, settings);
    Ok(Vec::new())
}

/// Get Sensor Thresholds (section 35.9).
fn get_thresholds(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [number] = exactly(data)?;
    let (analog, settings) = analog(context, number)?;
    Ok([analog.supported].into_iter().chain(settings.thresholds_of(analog)).collect())
}

/// The masks that end the requests of Set Sensor Event Enable and Re-arm Sensor Events, each byte
/// of which may be left out from the end.
fn masks(bytes: &[u8]) -> Result<[u16; 2], CompletionCode> {
    let mut all = [0; 4];
    all.get_mut(..bytes.len()).ok_or(CompletionCode::LENGTH_INVALID)?.copy_from_slice(bytes);
    let [a0, a1, d0, d1] = all;
    Ok([u16::from_le_bytes([a0, a1]), u16::from_le_bytes([d0, d1])])
}

/// Set Sensor Event Enable (section 35.10).
fn set_event_enable(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [number, action, bytes @ ..] = data else { return Err(CompletionCode::LENGTH_INVALID) };
    let [assertions, deassertions] = masks(bytes)?;
    let (sensor, mut settings) = readable(context, *number)?;
    let mut enables = settings.enables_of(sensor);
    let [can_assert, can_deassert] = sensor.events();
    enables.events = action & EVENTS_ENABLED != 0;
    enables.scanning = action & SCANNING_ENABLED != 0;
    match action >> 4 & 0b11 {
        0b00 => {}
        0b01 => {
            enables.assertions |= assertions & can_assert;
            enables.deassertions |= deassertions & can_deassert;
        }
        0b10 => {
            enables.assertions &= !assertions;
            enables.deassertions &= !deassertions;
        }
        _ => return Err(CompletionCode::INVALID_FIELD),
    }
    settings.enables = Some(enables);
    keep(context, *number, settings);
    Ok(Vec::new())
}

/// Get Sensor Event Enable (section 35.11).
fn get_event_enable(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [number] = exactly(data)?;
    let (sensor, settings) = readable(context, number)?;
    let enables = settings.enables_of(sensor);
    let masks = [enables.assertions, enables.deassertions];
    Ok([flags(enables)].into_iter().chain(masks.into_iter().flat_map(u16::to_le_bytes)).collect())
}

/// Re-arm Sensor Events (section 35.12): what still holds makes an event again.
fn rearm_events(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    const SELECTED: u8 = 0x80;
    let [number, which, bytes @ ..] = data else { return Err(CompletionCode::LENGTH_INVALID) };
    let [assertions, _deassertions] = masks(bytes)?;
    readable(context, *number)?;
    let rearmed = if which & SELECTED != 0 { assertions } else { u16::MAX };
    if let Some(asserted) = context.core.sensors.asserted.get_mut(number) {
        *asserted &= !rearmed;
    }
    context.core.check_thresholds(context.now, Some(*number));
    Ok(Vec::new())
}

/// Get Sensor Event Status (section 35.13).
fn get_event_status(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [number] = exactly(data)?;
    let on = is_on(context);
    let (sensor, settings) = readable(context, number)?;
    let sensors = &context.core.sensors;
    let (available, states) = match sensor.analog() {
        Some(_) => {
            let asserted = sensors.asserted.get(&number).copied();
            (sensors.read(sensor, on).is_some(), asserted.unwrap_or(0))
        }
        None => (true, sensors.states(number, on)),
    };
    let unavailable = if available { 0 } else { UNAVAILABLE };
    let [low, high] = states.to_le_bytes();
    Ok(vec![flags(settings.enables_of(sensor)) | unavailable, low, high, 0, 0])
}

/// Get Sensor Reading (section 35.14).
fn get_reading(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [number] = exactly(data)?;
    let on = is_on(context);
    let (sensor, settings) = readable(context, number)?;
    let enables = settings.enables_of(sensor);
    let Some(analog) = sensor.analog() else {
        let [low, high] = context.core.sensors.states(number, on).to_le_bytes();
        return Ok(vec![0, flags(enables), low, RESERVED_STATES | high]);
    };
    let reading = context.core.sensors.read(sensor, on).filter(|_| enables.scanning);
    let Some(reading) = reading else {
        return Ok(vec![0, flags(enables) | UNAVAILABLE, RESERVED_COMPARISONS]);
    };
    let beyond = analog.beyond(reading, settings.thresholds_of(analog));
    Ok(vec![reading, flags(enables), RESERVED_COMPARISONS | beyond])
}

/// Set Sensor Type (section 35.15): all have theirs.
fn set_type(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [number, sensor_type, event_type] = exactly(data)?;
    let sensor = context.core.sensors.get(number).ok_or(CompletionCode::NOT_PRESENT)?;
    if (sensor_type, event_type & 0x7F) == (sensor.sensor_type, sensor.event_type) {
        Ok(Vec::new())
    } else {
        Err(CompletionCode::ILLEGAL_FOR_SENSOR)
    }
}

/// Get Sensor Type (section 35.16).
fn get_type(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [number] = exactly(data)?;
    let sensor = context.core.sensors.get(number).ok_or(CompletionCode::NOT_PRESENT)?;
    Ok(vec![sensor.sensor_type, sensor.event_type])
}
