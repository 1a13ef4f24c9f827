//! FRU inventory commands (v2.0 chapter 34). One device: the machine.

use crate::bmc::command::{Context, Entry, OPERATOR, USER, exactly};
use crate::bmc::store::fru::SIZE;
use crate::wire::code::{CompletionCode, NetFn};

#[rustfmt::skip]
pub(super) const TABLE: &[Entry] = &[
    Entry::reads(NetFn::STORAGE, 0x10, USER, "34.1", "Get FRU Inventory Area Info", get_area_info),
    Entry::reads(NetFn::STORAGE, 0x11, USER, "34.2", "Read FRU Data", read),
    Entry::acts(NetFn::STORAGE, 0x12, OPERATOR, "34.3", "Write FRU Data", write),
];

/// Most bytes of one answer: what the shortest length field of a transport allows.
const MAX_READ: usize = 224;

fn device(id: u8) -> Result<(), CompletionCode> {
    if id == 0 { Ok(()) } else { Err(CompletionCode::NOT_PRESENT) }
}

/// Get FRU Inventory Area Info (section 34.1): accessed by bytes.
fn get_area_info(_: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [id] = exactly(data)?;
    device(id)?;
    let [low, high] = u16::try_from(SIZE).unwrap_or(u16::MAX).to_le_bytes();
    Ok(vec![low, high, 0x00])
}

/// Read FRU Data (section 34.2): as much as there is of what was asked for.
fn read(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [id, o0, o1, count] = exactly(data)?;
    device(id)?;
    let image = context.core.store.fru.image();
    let rest = image.get(usize::from(u16::from_le_bytes([o0, o1]))..);
    let rest = rest.filter(|rest| !rest.is_empty()).ok_or(CompletionCode::OUT_OF_RANGE)?;
    if count == 0 {
        return Err(CompletionCode::INVALID_FIELD);
    }
    let bytes = &rest[..usize::from(count).min(MAX_READ).min(rest.len())];
    let mut response = vec![u8::try_from(bytes.len()).unwrap_or(0)];
    response.extend(bytes);
    Ok(response)
}

/// Write FRU Data (section 34.3).
fn write(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let Some(([id, o0, o1], bytes @ [_, ..])) = data.split_first_chunk() else {
        return Err(CompletionCode::LENGTH_INVALID);
    };
    device(*id)?;
    let offset = usize::from(u16::from_le_bytes([*o0, *o1]));
    let fru = &mut context.core.store.fru;
    fru.write(offset, bytes).ok_or(CompletionCode::OUT_OF_RANGE)?;
    context.core.changed = true;
    Ok(vec![u8::try_from(bytes.len()).unwrap_or(u8::MAX)])
}
