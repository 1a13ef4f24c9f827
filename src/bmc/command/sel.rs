//! System Event Log commands (v2.0 chapter 31).

use crate::bmc::command::sdr::part_of;
use crate::bmc::command::{ADMINISTRATOR, Context, Entry, OPERATOR, USER, exactly};
use crate::bmc::log::{SYSTEM_EVENT_RECORD, SensorEvent};
use crate::bmc::sensors;
use crate::bmc::store::sel::{CAPACITY, ENTRY_LEN, Partial};
use crate::bmc::story::codes;
use crate::wire::code::{CompletionCode, NetFn};

#[rustfmt::skip]
pub(super) const TABLE: &[Entry] = &[
    Entry::reads(NetFn::STORAGE, 0x40, USER, "31.2", "Get SEL Info", get_info),
    Entry::reads(NetFn::STORAGE, 0x41, USER, "31.3", "Get SEL Allocation Info", get_allocation_info),
    Entry::reads(NetFn::STORAGE, 0x42, USER, "31.4", "Reserve SEL", reserve),
    Entry::reads(NetFn::STORAGE, 0x43, USER, "31.5", "Get SEL Entry", get_entry),
    Entry::acts(NetFn::STORAGE, 0x44, OPERATOR, "31.6", "Add SEL Entry", add_entry),
    Entry::acts(NetFn::STORAGE, 0x45, OPERATOR, "31.7", "Partial Add SEL Entry", partial_add_entry),
    Entry::acts(NetFn::STORAGE, 0x46, OPERATOR, "31.8", "Delete SEL Entry", delete_entry),
    Entry::acts(NetFn::STORAGE, 0x47, OPERATOR, "31.9", "Clear SEL", clear),
    Entry::reads(NetFn::STORAGE, 0x48, USER, "31.10", "Get SEL Time", get_time),
    Entry::acts(NetFn::STORAGE, 0x49, OPERATOR, "31.11", "Set SEL Time", set_time),
    Entry::reads(NetFn::STORAGE, 0x4A, USER, "31.12", "Get Auxiliary Log Status", get_auxiliary_log_status),
    Entry::acts(NetFn::STORAGE, 0x4B, ADMINISTRATOR, "31.13", "Set Auxiliary Log Status", set_auxiliary_log_status),
    Entry::reads(NetFn::STORAGE, 0x5C, USER, "31.11a", "Get SEL Time UTC Offset", get_utc_offset),
    Entry::acts(NetFn::STORAGE, 0x5D, OPERATOR, "31.11b", "Set SEL Time UTC Offset", set_utc_offset),
];

/// IPMI 1.5 and 2.0, as every version field of SEL and SDR has it.
pub(super) const VERSION: u8 = 0x51;
/// Delete, Partial Add, Reserve, Get Allocation Info are there.
const OPERATIONS: u8 = 0x0F;
const OVERFLOW: u8 = 0x80;
/// Offsets of sensor types 10h and 12h (v2.0 table 42-3).
const LOG_CLEARED: u8 = 2;
const CLOCK_SYNCH: u8 = 5;
/// UTC offset "unspecified", and the farthest there is, in minutes.
const UTC_UNSPECIFIED: i16 = 0x07FF;
const UTC_FARTHEST: i16 = 1440;

fn u16_of(len: usize) -> u16 {
    u16::try_from(len).unwrap_or(u16::MAX)
}

/// Get SEL Info (section 31.2).
fn get_info(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [] = exactly(data)?;
    let sel = &context.core.store.sel;
    let free = u16_of((CAPACITY - sel.len().min(CAPACITY)) * ENTRY_LEN);
    let mut response = vec![VERSION];
    response.extend(u16_of(sel.len()).to_le_bytes());
    response.extend(free.to_le_bytes());
    response.extend(sel.added_s.to_le_bytes());
    response.extend(sel.erased_s.to_le_bytes());
    response.push(OPERATIONS | if sel.overflow { OVERFLOW } else { 0 });
    Ok(response)
}

/// Get SEL Allocation Info (section 31.3): a unit is an entry.
fn get_allocation_info(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [] = exactly(data)?;
    let free = u16_of(CAPACITY - context.core.store.sel.len().min(CAPACITY));
    Ok(allocation(u16_of(CAPACITY), u16_of(ENTRY_LEN), free, 1))
}

/// The response of both Get … Allocation Info commands. `longest`: record, in units.
pub(super) fn allocation(units: u16, unit_len: u16, free: u16, longest: u8) -> Vec<u8> {
    let words = [units, unit_len, free, free];
    words.into_iter().flat_map(u16::to_le_bytes).chain([longest]).collect()
}

/// Reserve SEL (section 31.4).
fn reserve(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [] = exactly(data)?;
    Ok(context.core.store.sel.reservation.make().to_le_bytes().to_vec())
}

/// Get SEL Entry (section 31.5).
fn get_entry(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [r0, r1, id0, id1, offset, count] = exactly(data)?;
    let reservation = u16::from_le_bytes([r0, r1]);
    let sel = &context.core.store.sel;
    if (reservation != 0 || offset != 0) && !sel.reservation.is(reservation) {
        return Err(CompletionCode::RESERVATION_CANCELED);
    }
    let id = u16::from_le_bytes([id0, id1]);
    let (entry, next) = sel.get(id).ok_or(CompletionCode::NOT_PRESENT)?;
    let mut response = next.to_le_bytes().to_vec();
    response.extend(part_of(entry, offset, count)?);
    Ok(response)
}

/// Add SEL Entry (section 31.6).
fn add_entry(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let entry = known(exactly(data)?)?;
    Ok(context.core.log_record(context.now, entry).to_le_bytes().to_vec())
}

/// Refuses record types that there are none of (table 32-1).
fn known(entry: [u8; ENTRY_LEN]) -> Result<[u8; ENTRY_LEN], CompletionCode> {
    const UNSUPPORTED_TYPE: CompletionCode = CompletionCode(0x80);
    match entry[2] {
        SYSTEM_EVENT_RECORD | 0xC0.. => Ok(entry),
        _ => Err(UNSUPPORTED_TYPE),
    }
}

/// Partial Add SEL Entry (section 31.7).
fn partial_add_entry(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let sel = &mut context.core.store.sel;
    let Some(([r0, r1, id0, id1, offset, progress], bytes)) = data.split_first_chunk() else {
        return Err(CompletionCode::LENGTH_INVALID);
    };
    if !sel.reservation.is(u16::from_le_bytes([*r0, *r1])) {
        return Err(CompletionCode::RESERVATION_CANCELED);
    }
    let id = u16::from_le_bytes([*id0, *id1]);
    if id == 0 {
        sel.partial = Partial { id: sel.free_id(), bytes: Vec::new() };
    }
    sel.partial.append(id, *offset, bytes, ENTRY_LEN)?;
    let id = sel.partial.id;
    match progress & 0x0F {
        0 => return Ok(id.to_le_bytes().to_vec()),
        1 => {}
        _ => return Err(CompletionCode::INVALID_FIELD),
    }
    let whole = std::mem::take(&mut sel.partial).bytes;
    let entry = known(exactly(&whole)?)?;
    Ok(context.core.log_record(context.now, entry).to_le_bytes().to_vec())
}

impl Partial {
    /// Adds what has arrived. `id`: of the record, 0 for its first part.
    pub(super) fn append(
        &mut self,
        id: u16,
        offset: u8,
        bytes: &[u8],
        limit: usize,
    ) -> Result<(), CompletionCode> {
        if id != 0 && id != self.id {
            return Err(CompletionCode::NOT_PRESENT);
        }
        // Without gaps, and not back.
        if usize::from(offset) != self.bytes.len() {
            return Err(CompletionCode::OUT_OF_RANGE);
        }
        if bytes.is_empty() || self.bytes.len() + bytes.len() > limit {
            return Err(CompletionCode::LENGTH_INVALID);
        }
        self.bytes.extend(bytes);
        Ok(())
    }
}

/// Delete SEL Entry (section 31.8).
fn delete_entry(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [r0, r1, id0, id1] = exactly(data)?;
    let time_s = context.core.sel_time_s(context.now);
    let sel = &mut context.core.store.sel;
    if !sel.reservation.is(u16::from_le_bytes([r0, r1])) {
        return Err(CompletionCode::RESERVATION_CANCELED);
    }
    let id = sel.delete(u16::from_le_bytes([id0, id1]), time_s);
    let id = id.ok_or(CompletionCode::NOT_PRESENT)?;
    context.core.changed = true;
    Ok(id.to_le_bytes().to_vec())
}

/// Clear SEL (section 31.9): done at once.
fn clear(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let initiates = erases(data)?;
    let origin = context.origin();
    let core = &mut context.core;
    if initiates {
        if !core.store.sel.reservation.is(u16::from_le_bytes([data[0], data[1]])) {
            return Err(CompletionCode::RESERVATION_CANCELED);
        }
        core.store.sel.clear(core.sel_time_s(context.now));
        core.changed = true;
        let cleared = SensorEvent::asserted(sensors::SEL, LOG_CLEARED).by(Some(codes(&origin)));
        core.log_noted(context.now, cleared, &format!("cleared by {origin}"));
    }
    Ok(vec![ERASURE_COMPLETED])
}

/// Erasure progress.
pub(super) const ERASURE_COMPLETED: u8 = 0x01;

/// Whether a request of Clear SEL or Clear SDR Repository begins the erasure; else it asks how far
/// it is, which the reservation that the erasure has cancelled is good enough for.
pub(super) fn erases(data: &[u8]) -> Result<bool, CompletionCode> {
    match exactly(data)? {
        [_, _, b'C', b'L', b'R', 0xAA] => Ok(true),
        [_, _, b'C', b'L', b'R', 0x00] => Ok(false),
        _ => Err(CompletionCode::INVALID_FIELD),
    }
}

/// Get SEL Time (section 31.10), and Get SDR Repository Time (section 33.17): one clock.
pub(super) fn get_time(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [] = exactly(data)?;
    Ok(context.core.sel_time_s(context.now).to_le_bytes().to_vec())
}

/// Set SEL Time (section 31.11), and Set SDR Repository Time (section 33.18).
pub(super) fn set_time(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let wanted_s = u32::from_le_bytes(exactly(data)?);
    if wanted_s == u32::MAX {
        return Err(CompletionCode::INVALID_FIELD);
    }
    let core = &mut context.core;
    // A pair of events, in the old time and in the new: what lies between can be put right.
    let event = SensorEvent::asserted(sensors::SYSTEM_EVENT, CLOCK_SYNCH);
    core.log_event(context.now, event.with_data(0xC0, 0x00, 0xFF));
    let host_s = i64::try_from(core.clock.unix_s(context.now)).unwrap_or(i64::MAX);
    core.store.sel.time_offset_s = i64::from(wanted_s).saturating_sub(host_s);
    core.changed = true;
    core.log_event(context.now, event.with_data(0xC0, 0x80, 0xFF));
    Ok(Vec::new())
}

/// Get Auxiliary Log Status (section 31.12): there are no such logs.
fn get_auxiliary_log_status(_: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [log] = exactly(data)?;
    Err(no_log(log))
}

/// Set Auxiliary Log Status (section 31.13).
fn set_auxiliary_log_status(_: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    match data {
        // Time stamp and number of entries, or what the manufacturer wants.
        [0, _, _, _, _, _, _, _, _] | [1 | 2, _, _, _, _, ..] => Err(no_log(data[0])),
        [log, ..] if *log > 2 => Err(CompletionCode::INVALID_FIELD),
        _ => Err(CompletionCode::LENGTH_INVALID),
    }
}

fn no_log(log: u8) -> CompletionCode {
    if log & 0x0F <= 2 { CompletionCode::NOT_PRESENT } else { CompletionCode::INVALID_FIELD }
}

/// Get SEL Time UTC Offset (section 31.11a).
fn get_utc_offset(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [] = exactly(data)?;
    Ok(context.core.store.sel.utc_offset_min.to_le_bytes().to_vec())
}

/// Set SEL Time UTC Offset (section 31.11b).
fn set_utc_offset(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let offset_min = i16::from_le_bytes(exactly(data)?);
    if !(-UTC_FARTHEST..=UTC_FARTHEST).contains(&offset_min) && offset_min != UTC_UNSPECIFIED {
        return Err(CompletionCode::INVALID_FIELD);
    }
    context.core.store.sel.utc_offset_min = offset_min;
    context.core.changed = true;
    Ok(Vec::new())
}
