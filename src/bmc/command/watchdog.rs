//! Watchdog commands (v2.0 chapter 27).

use crate::bmc::command::{Context, Entry, OPERATOR, USER, exactly};
use crate::bmc::store::watchdog::{DO_NOT_LOG, MESSAGING, NMI, NO_INTERRUPT, USE};
use crate::wire::code::{CompletionCode, NetFn};

#[rustfmt::skip]
pub(super) const TABLE: &[Entry] = &[
    Entry::reads(NetFn::APP, 0x22, OPERATOR, "27.5", "Reset Watchdog Timer", reset),
    Entry::acts(NetFn::APP, 0x24, OPERATOR, "27.6", "Set Watchdog Timer", set),
    Entry::reads(NetFn::APP, 0x25, USER, "27.7", "Get Watchdog Timer", get),
];

/// Timer use: do not stop the timer.
const DO_NOT_STOP: u8 = 0x40;

/// Reset Watchdog Timer (section 27.5).
fn reset(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    const NOT_SET: CompletionCode = CompletionCode(0x80);
    let [] = exactly(data)?;
    let watchdog = &mut context.core.store.watchdog;
    if !watchdog.is_set {
        return Err(NOT_SET);
    }
    // Only Set Watchdog Timer stops it then.
    if watchdog.is_past_pre_timeout() {
        return Err(CompletionCode::NOT_IN_PRESENT_STATE);
    }
    watchdog.start(context.now);
    Ok(Vec::new())
}

/// Set Watchdog Timer (section 27.6).
fn set(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [timer_use, actions, pre_timeout_s, clear, low, high] = exactly(data)?;
    // Nothing can raise an SMI in the machine, and a refusal is how software finds that out
    // (section 27.4.1).
    let interrupts = matches!(actions >> 4, NO_INTERRUPT | NMI | MESSAGING);
    let legal = (1..=5).contains(&(timer_use & USE)) && actions & 0x07 <= 3 && interrupts;
    let initial_100ms = u16::from_le_bytes([low, high]);
    // A pre-timeout that comes before the start is none (section 27.6, byte 3).
    let before_start = u16::from(pre_timeout_s) * 10 > initial_100ms;
    if !legal || actions & 0x70 != 0 && before_start {
        return Err(CompletionCode::INVALID_FIELD);
    }
    let watchdog = &mut context.core.store.watchdog;
    watchdog.settings = [timer_use & (DO_NOT_LOG | USE), actions & 0x77, pre_timeout_s, 0];
    watchdog.expired &= !clear;
    watchdog.initial_100ms = initial_100ms;
    watchdog.is_set = true;
    let runs_on = timer_use & DO_NOT_STOP != 0 && watchdog.deadline.is_some();
    watchdog.stop();
    watchdog.pre_timeout_interrupt = false;
    if runs_on {
        watchdog.start(context.now);
    }
    Ok(Vec::new())
}

/// Get Watchdog Timer (section 27.7).
fn get(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [] = exactly(data)?;
    let watchdog = &context.core.store.watchdog;
    let [timer_use, actions, pre_timeout_s, _] = watchdog.settings;
    let runs = if watchdog.deadline.is_some() { DO_NOT_STOP } else { 0 };
    let mut response = vec![timer_use | runs, actions, pre_timeout_s, watchdog.expired];
    response.extend(watchdog.initial_100ms.to_le_bytes());
    response.extend(watchdog.present_100ms(context.now).to_le_bytes());
    Ok(response)
}
