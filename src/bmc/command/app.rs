//! Application commands (v2.0 chapters 20 and 22).

use crate::bmc::DEVICE_SUPPORT;
use crate::bmc::command::channel::lan;
use crate::bmc::command::{Access, Context, Entry, LAN_CHANNEL, USER, exactly};
use crate::bmc::crypto::SUITES;
use crate::wire::code::{CompletionCode, NetFn};

#[rustfmt::skip]
pub(super) const TABLE: &[Entry] = &[
    Entry::reads(NetFn::APP, 0x01, USER, "20.1", "Get Device ID", get_device_id),
    Entry::reads(NetFn::APP, 0x37, Access::Anyone, "22.14", "Get System GUID", get_system_guid),
    Entry::reads(NetFn::APP, 0x54, Access::Anyone, "22.15", "Get Channel Cipher Suites", get_channel_cipher_suites),
];

/// Most bytes of cipher suite records in one response (section 22.15).
const RECORDS_PER_RESPONSE: usize = 16;

/// Get Device ID (section 20.1).
pub(super) fn get_device_id(_: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [] = exactly(data)?;
    let major: u8 = env!("CARGO_PKG_VERSION_MAJOR").parse().unwrap_or(0x7F);
    let minor: u8 = env!("CARGO_PKG_VERSION_MINOR").parse().unwrap_or(0);
    // The second number is binary-coded decimal.
    let minor = ((minor / 10 % 10) << 4) | (minor % 10);
    // Device 20h, revision 1; IPMI 2.0. No IANA enterprise number is ours, and
    // those of others make clients take their special paths: 0, "unspecified".
    Ok(vec![0x20, 0x01, major & 0x7F, minor, 0x02, DEVICE_SUPPORT, 0, 0, 0, 0x01, 0x00, 0, 0, 0, 0])
}

/// Get System GUID (section 22.14).
pub(super) fn get_system_guid(
    context: &mut Context<'_>,
    data: &[u8],
) -> Result<Vec<u8>, CompletionCode> {
    let [] = exactly(data)?;
    Ok(context.core.guid.to_vec())
}

/// Get Channel Cipher Suites (section 22.15).
pub(super) fn get_channel_cipher_suites(
    context: &mut Context<'_>,
    data: &[u8],
) -> Result<Vec<u8>, CompletionCode> {
    let [channel, payload_type, selector] = exactly(data)?;
    lan(context, channel)?;
    if payload_type & 0x3F > 1 {
        return Err(CompletionCode::INVALID_FIELD);
    }
    let offered = || SUITES.iter().filter(|suite| context.core.suites.contains(&suite.id));
    // Tags of the record format (section 22.15.1): integrity 40h, confidentiality 80h.
    let records: Vec<u8> = if selector & 0x80 != 0 {
        offered()
            .flat_map(|suite| {
                let integrity = 0x40 | suite.integrity.0;
                [0xC0, suite.id, suite.authentication.0, integrity, 0x80 | suite.confidentiality.0]
            })
            .collect()
    } else {
        let mut algorithms: Vec<u8> = offered()
            .flat_map(|suite| {
                let confidentiality = 0x80 | suite.confidentiality.0;
                [suite.authentication.0, 0x40 | suite.integrity.0, confidentiality]
            })
            .collect();
        algorithms.sort_unstable();
        algorithms.dedup();
        algorithms
    };
    let start = usize::from(selector & 0x3F) * RECORDS_PER_RESPONSE;
    let block = records.iter().skip(start).take(RECORDS_PER_RESPONSE);
    Ok([LAN_CHANNEL].iter().chain(block).copied().collect())
}
