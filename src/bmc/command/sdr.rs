//! SDR repository commands (v2.0 chapter 33), and the device SDR commands (sections 35.2 to 35.4),
//! which read the same records.

use crate::bmc::Core;
use crate::bmc::command::sel::{
    ERASURE_COMPLETED, VERSION, allocation, erases, get_time, set_time,
};
use crate::bmc::command::{Context, Entry, OPERATOR, USER, exactly};
use crate::bmc::store::sdr::{CAPACITY, MAX_RECORD_LEN};
use crate::bmc::store::sel::Partial;
use crate::wire::code::{CompletionCode, NetFn};

#[rustfmt::skip]
pub(super) const TABLE: &[Entry] = &[
    Entry::reads(NetFn::STORAGE, 0x20, USER, "33.9", "Get SDR Repository Info", get_info),
    Entry::reads(NetFn::STORAGE, 0x21, USER, "33.10", "Get SDR Repository Allocation Info", get_allocation_info),
    Entry::reads(NetFn::STORAGE, 0x22, USER, "33.11", "Reserve SDR Repository", reserve),
    Entry::reads(NetFn::STORAGE, 0x23, USER, "33.12", "Get SDR", get_sdr),
    Entry::acts(NetFn::STORAGE, 0x24, OPERATOR, "33.13", "Add SDR", add),
    Entry::acts(NetFn::STORAGE, 0x25, OPERATOR, "33.14", "Partial Add SDR", partial_add),
    Entry::acts(NetFn::STORAGE, 0x26, OPERATOR, "33.15", "Delete SDR", delete),
    Entry::acts(NetFn::STORAGE, 0x27, OPERATOR, "33.16", "Clear SDR Repository", clear),
    Entry::reads(NetFn::STORAGE, 0x28, USER, "33.17", "Get SDR Repository Time", get_time),
    Entry::acts(NetFn::STORAGE, 0x29, OPERATOR, "33.18", "Set SDR Repository Time", set_time),
    Entry::acts(NetFn::STORAGE, 0x2A, OPERATOR, "33.19", "Enter SDR Repository Update Mode", update_mode),
    Entry::acts(NetFn::STORAGE, 0x2B, OPERATOR, "33.20", "Exit SDR Repository Update Mode", update_mode),
    Entry::acts(NetFn::STORAGE, 0x2C, OPERATOR, "33.21", "Run Initialization Agent", run_initialization_agent),
    Entry::reads(NetFn::SENSOR_EVENT, 0x20, USER, "35.2", "Get Device SDR Info", get_device_info),
    Entry::reads(NetFn::SENSOR_EVENT, 0x21, USER, "35.3", "Get Device SDR", get_sdr),
    Entry::reads(NetFn::SENSOR_EVENT, 0x22, USER, "35.4", "Reserve Device SDR Repository", reserve),
];

/// "To the end".
const ALL: u8 = 0xFF;
/// Modal and non-modal updates; Delete, Partial Add, Reserve, Get Allocation Info are there.
const OPERATIONS: u8 = 0x6F;
/// Bytes of an allocation unit.
const UNIT_LEN: u16 = 16;
/// Units of the longest record.
const LONGEST: u8 = 4;
/// Header of a record: ID, version, type, length of what follows.
const HEADER_LEN: usize = 5;

/// `count` bytes of a record from `offset` on.
pub(super) fn part_of(record: &[u8], offset: u8, count: u8) -> Result<&[u8], CompletionCode> {
    let rest = record.get(usize::from(offset)..).filter(|rest| !rest.is_empty());
    let rest = rest.ok_or(CompletionCode::OUT_OF_RANGE)?;
    match count {
        ALL => Ok(rest),
        0 => Err(CompletionCode::INVALID_FIELD),
        _ => rest.get(..usize::from(count)).ok_or(CompletionCode::CANNOT_RETURN_BYTES),
    }
}

impl Core {
    /// All records, the BMC's own first.
    fn sdrs(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.sensors.records.iter().chain(&self.store.sdr.added)
    }

    /// The ID of the next record.
    fn free_sdr_id(&self) -> u16 {
        self.sdrs().map(|record| id_of(record)).max().unwrap_or(0) + 1
    }

    /// Adds a client's record under an ID of its own, which it answers.
    fn add_sdr(&mut self, mut record: Vec<u8>, time_s: u32) -> Result<Vec<u8>, CompletionCode> {
        let body_len = record.len().checked_sub(HEADER_LEN);
        let body_len = body_len.filter(|len| *len > 0 && record.len() <= MAX_RECORD_LEN);
        if body_len.is_none_or(|len| len != usize::from(record[4])) {
            return Err(CompletionCode::LENGTH_INVALID);
        }
        // Who fills the repository with what was read from it wants to have it once.
        let mut all = self.sensors.records.iter().chain(&self.store.sdr.added);
        if let Some(same) = all.find(|other| other[2..] == record[2..]) {
            return Ok(id_of(same).to_le_bytes().to_vec());
        }
        if self.store.sdr.added.len() >= CAPACITY {
            return Err(CompletionCode::OUT_OF_SPACE);
        }
        let id = self.free_sdr_id().to_le_bytes();
        record[..2].copy_from_slice(&id);
        let sdr = &mut self.store.sdr;
        sdr.added.push(record);
        sdr.added_s = time_s;
        sdr.reservation.cancel();
        self.changed = true;
        Ok(id.to_vec())
    }
}

fn id_of(record: &[u8]) -> u16 {
    record.first_chunk().map_or(0, |id| u16::from_le_bytes(*id))
}

fn count(len: usize) -> u16 {
    u16::try_from(len).unwrap_or(u16::MAX)
}

fn free_units(core: &Core) -> u16 {
    count(CAPACITY - core.store.sdr.added.len().min(CAPACITY)) * u16::from(LONGEST)
}

/// Get SDR Repository Info (section 33.9).
fn get_info(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [] = exactly(data)?;
    let core = &context.core;
    let mut response = vec![VERSION];
    response.extend(count(core.sdrs().count()).to_le_bytes());
    response.extend((free_units(core) * UNIT_LEN).to_le_bytes());
    response.extend(core.store.sdr.added_s.to_le_bytes());
    response.extend(core.store.sdr.erased_s.to_le_bytes());
    response.push(OPERATIONS);
    Ok(response)
}

/// Get SDR Repository Allocation Info (section 33.10).
fn get_allocation_info(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [] = exactly(data)?;
    let free = free_units(context.core);
    let used = count(context.core.sdrs().count()) * u16::from(LONGEST);
    Ok(allocation(used + free, UNIT_LEN, free, LONGEST))
}

/// Get Device SDR Info (section 35.2).
fn get_device_info(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [what] = match data {
        [] => [0],
        _ => exactly(data)?,
    };
    let number = match what {
        0 => context.core.sensors.iter().count(),
        1 => context.core.sdrs().count(),
        _ => return Err(CompletionCode::INVALID_FIELD),
    };
    // A static population, all of it on LUN 0.
    Ok(vec![u8::try_from(number).unwrap_or(u8::MAX), 0x01])
}

/// Reserve SDR Repository (section 33.11).
fn reserve(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [] = exactly(data)?;
    Ok(context.core.store.sdr.reservation.make().to_le_bytes().to_vec())
}

/// Get SDR (section 33.12).
fn get_sdr(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [r0, r1, id0, id1, offset, bytes] = exactly(data)?;
    let reservation = u16::from_le_bytes([r0, r1]);
    let core = &context.core;
    if (reservation != 0 || offset != 0) && !core.store.sdr.reservation.is(reservation) {
        return Err(CompletionCode::RESERVATION_CANCELED);
    }
    let mut records = core.sdrs();
    let record = match u16::from_le_bytes([id0, id1]) {
        0 => records.next(),
        0xFFFF => records.by_ref().last(),
        id => records.find(|record| id_of(record) == id),
    };
    let record = record.ok_or(CompletionCode::NOT_PRESENT)?;
    let next = records.next().map_or(0xFFFF, |next| id_of(next));
    let mut response = next.to_le_bytes().to_vec();
    response.extend(part_of(record, offset, bytes)?);
    Ok(response)
}

/// Add SDR (section 33.13).
fn add(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let time_s = context.core.sel_time_s(context.now);
    context.core.add_sdr(data.to_vec(), time_s)
}

/// Partial Add SDR (section 33.14).
fn partial_add(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    const LENGTH_MISMATCH: CompletionCode = CompletionCode(0x80);
    let time_s = context.core.sel_time_s(context.now);
    let Some(([r0, r1, id0, id1, offset, progress], bytes)) = data.split_first_chunk() else {
        return Err(CompletionCode::LENGTH_INVALID);
    };
    if !context.core.store.sdr.reservation.is(u16::from_le_bytes([*r0, *r1])) {
        return Err(CompletionCode::RESERVATION_CANCELED);
    }
    let id = u16::from_le_bytes([*id0, *id1]);
    if id == 0 {
        let id = context.core.free_sdr_id();
        context.core.store.sdr.partial = Partial { id, bytes: Vec::new() };
    }
    let partial = &mut context.core.store.sdr.partial;
    partial.append(id, *offset, bytes, MAX_RECORD_LEN)?;
    match progress & 0x0F {
        0 => Ok(partial.id.to_le_bytes().to_vec()),
        1 => {
            let whole = std::mem::take(partial).bytes;
            context.core.add_sdr(whole, time_s).map_err(|code| match code {
                CompletionCode::LENGTH_INVALID => LENGTH_MISMATCH,
                _ => code,
            })
        }
        _ => Err(CompletionCode::INVALID_FIELD),
    }
}

/// Delete SDR (section 33.15). The BMC's own records describe what is there, and stay.
fn delete(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [r0, r1, id0, id1] = exactly(data)?;
    let time_s = context.core.sel_time_s(context.now);
    let core = &mut context.core;
    if !core.store.sdr.reservation.is(u16::from_le_bytes([r0, r1])) {
        return Err(CompletionCode::RESERVATION_CANCELED);
    }
    let id = u16::from_le_bytes([id0, id1]);
    if core.sensors.records.iter().any(|record| id_of(record) == id) {
        return Err(CompletionCode::NOT_IN_PRESENT_STATE);
    }
    let sdr = &mut core.store.sdr;
    let place = sdr.added.iter().position(|record| id_of(record) == id);
    sdr.added.remove(place.ok_or(CompletionCode::NOT_PRESENT)?);
    sdr.erased_s = time_s;
    sdr.reservation.cancel();
    core.changed = true;
    Ok(id.to_le_bytes().to_vec())
}

/// Clear SDR Repository (section 33.16): the records that clients have added.
fn clear(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let initiates = erases(data)?;
    let time_s = context.core.sel_time_s(context.now);
    let sdr = &mut context.core.store.sdr;
    if initiates {
        if !sdr.reservation.is(u16::from_le_bytes([data[0], data[1]])) {
            return Err(CompletionCode::RESERVATION_CANCELED);
        }
        sdr.added.clear();
        sdr.partial = Partial::default();
        sdr.erased_s = time_s;
        sdr.reservation.cancel();
        context.core.changed = true;
    }
    Ok(vec![ERASURE_COMPLETED])
}

/// Enter and Exit SDR Repository Update Mode (sections 33.19 and 33.20): nothing depends on it.
fn update_mode(_: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [] = exactly(data)?;
    Ok(Vec::new())
}

/// Run Initialization Agent (section 33.21): sensors are initialised when the BMC starts.
fn run_initialization_agent(_: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [_run_or_status] = exactly(data)?;
    Ok(vec![0x01])
}
