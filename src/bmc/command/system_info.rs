//! System Info Parameters (v2.0 sections 22.14a and 22.14b).

use crate::bmc::command::{ADMINISTRATOR, Context, Entry, USER, exactly};
use crate::bmc::store::system_info::{BLOCK_LEN, BLOCKS};
use crate::wire::code::{CompletionCode, NetFn};

#[rustfmt::skip]
pub(super) const TABLE: &[Entry] = &[
    Entry::acts(NetFn::APP, 0x58, ADMINISTRATOR, "22.14a", "Set System Info Parameters", set),
    Entry::reads(NetFn::APP, 0x59, USER, "22.14b", "Get System Info Parameters", get),
];

const REVISION: u8 = 0x11;
const SET_IN_PROGRESS: u8 = 0;
/// Version of the system's firmware: what guests report of it.
const FIRMWARE_VERSION: u8 = 1;
/// System name, primary operating system name, present operating system name, its version, URL of
/// the BMC, URL of the base operating system.
const TEXTS: std::ops::RangeInclusive<u8> = FIRMWARE_VERSION..=7;
/// Encoding of a text, in its first byte.
const ENCODING_ASCII: u8 = 0;

/// Set System Info Parameters (section 22.14a).
fn set(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [parameter, value @ ..] = data else { return Err(CompletionCode::LENGTH_INVALID) };
    match (*parameter, value) {
        (SET_IN_PROGRESS, [state]) => match state & 0x03 {
            // What is set has effect at once, so there is nothing to commit.
            0..=2 => Ok(Vec::new()),
            _ => Err(CompletionCode::INVALID_FIELD),
        },
        (SET_IN_PROGRESS, _) => Err(CompletionCode::LENGTH_INVALID),
        (parameter, [index, block @ ..]) if TEXTS.contains(&parameter) => {
            if block.is_empty() || block.len() > BLOCK_LEN {
                return Err(CompletionCode::LENGTH_INVALID);
            }
            if *index >= BLOCKS {
                return Err(CompletionCode::OUT_OF_RANGE);
            }
            context.core.store.system_info.set_block(parameter, *index, block);
            context.core.changed = true;
            Ok(Vec::new())
        }
        (parameter, _) if TEXTS.contains(&parameter) => Err(CompletionCode::LENGTH_INVALID),
        _ => Err(CompletionCode::PARAMETER_NOT_SUPPORTED),
    }
}

/// Get System Info Parameters (section 22.14b).
fn get(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [revision_only, parameter, set, _block] = exactly(data)?;
    if parameter != SET_IN_PROGRESS && !TEXTS.contains(&parameter) {
        return Err(CompletionCode::PARAMETER_NOT_SUPPORTED);
    }
    let mut response = vec![REVISION];
    if revision_only & 0x80 != 0 {
        return Ok(response);
    }
    if parameter == SET_IN_PROGRESS {
        response.push(0x00);
        return Ok(response);
    }
    if set >= BLOCKS {
        return Err(CompletionCode::OUT_OF_RANGE);
    }
    response.push(set);
    let block = context.core.store.system_info.block(parameter, set);
    // Nothing was set: an empty text.
    response.extend(block.unwrap_or([ENCODING_ASCII; BLOCK_LEN]));
    Ok(response)
}
