//! SOL configuration (v2.0 sections 26.2 and 26.3).

use crate::bmc::command::channel::lan;
use crate::bmc::command::lan::set_in_progress;
use crate::bmc::command::{ADMINISTRATOR, After, Context, Entry, LAN_CHANNEL, USER, exactly};
use crate::wire::code::{CompletionCode, NetFn};

#[rustfmt::skip]
pub(super) const TABLE: &[Entry] = &[
    Entry::acts(NetFn::TRANSPORT, 0x21, ADMINISTRATOR, "26.2", "Set SOL Configuration Parameters", set),
    Entry::reads(NetFn::TRANSPORT, 0x22, USER, "26.3", "Get SOL Configuration Parameters", get),
];

const PARAMETER_VERSION: u8 = 0x11;

/// Set SOL Configuration Parameters (section 26.2).
pub(super) fn set(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [number, parameter, value @ ..] = data else {
        return Err(CompletionCode::LENGTH_INVALID);
    };
    lan(context, *number)?;
    let setter = context.session.as_ref().map_or(0, |(id, _)| *id);
    let core = &mut *context.core;
    let before = core.store.sol.clone();
    let sol = &mut core.store.sol;
    match *parameter {
        0 => {
            let [state] = exactly(value)?;
            set_in_progress(&core.open_sessions, &mut sol.set_in_progress_by, setter, state)?;
        }
        1 => {
            let [enable] = exactly(value)?;
            sol.enabled = enable & 1 != 0;
            if !sol.enabled {
                context.after = After::EndSol;
            }
        }
        2 => {
            let [bits] = exactly(value)?;
            if !(2..=4).contains(&(bits & 0x0F)) {
                return Err(CompletionCode::INVALID_FIELD);
            }
            sol.force_encryption = bits & 0x80 != 0;
            sol.force_authentication = bits & 0x40 != 0;
            sol.privilege = bits & 0x0F;
        }
        3 => {
            let [interval, threshold] = exactly(value)?;
            if interval == 0 {
                return Err(CompletionCode::INVALID_FIELD);
            }
            sol.accumulate_interval_5ms = interval;
            sol.send_threshold = threshold;
        }
        4 => {
            let [count, interval] = exactly(value)?;
            sol.retry_count = count & 0x07;
            sol.retry_interval_10ms = interval;
        }
        5 => sol.bit_rate = bit_rate(value)?,
        6 => sol.volatile_bit_rate = Some(bit_rate(value)?),
        // The same again is no harm, and what FreeIPMI writes.
        parameter => {
            let same = read(context, parameter)? == value;
            return if same { Ok(Vec::new()) } else { Err(CompletionCode::READ_ONLY) };
        }
    }
    core.sol.tune(core.store.sol.tuning());
    core.changed |= core.store.sol.is_saved_differently(&before);
    Ok(Vec::new())
}

fn bit_rate(value: &[u8]) -> Result<u8, CompletionCode> {
    let [rate] = exactly(value)?;
    match rate & 0x0F {
        // As the serial channel has it, or 9.6 to 115.2 kbit/s.
        rate @ (0 | 6..=0x0A) => Ok(rate),
        _ => Err(CompletionCode::INVALID_FIELD),
    }
}

/// Get SOL Configuration Parameters (section 26.3).
pub(super) fn get(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [number, parameter, _set, _block] = exactly(data)?;
    lan(context, number)?;
    let value = read(context, parameter)?;
    let mut response = vec![PARAMETER_VERSION];
    if number & 0x80 == 0 {
        response.extend(value);
    }
    Ok(response)
}

fn read(context: &Context<'_>, parameter: u8) -> Result<Vec<u8>, CompletionCode> {
    let core = &context.core;
    let sol = &core.store.sol;
    Ok(match parameter {
        0 => {
            let held =
                sol.set_in_progress_by.is_some_and(|id| core.open_sessions.contains_key(&id));
            vec![u8::from(held)]
        }
        1 => vec![u8::from(sol.enabled)],
        2 => {
            let force =
                u8::from(sol.force_encryption) << 7 | u8::from(sol.force_authentication) << 6;
            vec![force | sol.privilege]
        }
        3 => vec![sol.accumulate_interval_5ms, sol.send_threshold],
        4 => vec![sol.retry_count, sol.retry_interval_10ms],
        5 => vec![sol.bit_rate],
        6 => vec![sol.volatile_bit_rate.unwrap_or(sol.bit_rate)],
        7 => vec![LAN_CHANNEL],
        8 => core.advertised_port.to_le_bytes().to_vec(),
        _ => return Err(CompletionCode::PARAMETER_NOT_SUPPORTED),
    })
}
