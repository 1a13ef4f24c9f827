//! The UEFI variable store.

use std::io;
use std::path::{Path, PathBuf};

use crate::host::dirs;
use crate::plan::qemu::Nvram;

/// A firmware volume's header: where its signature and its length are (UEFI Platform Initialization
/// Specification, volume 3, section 3.2.1).
const SIGNATURE: (usize, &[u8]) = (40, b"_FVH");
const HEADER_LEN_AT: usize = 48;

/// The header of the variable store that follows: GUID, size, format, state, reserved (EDK II,
/// `MdeModulePkg/Include/Guid/VariableFormat.h`). The format is "formatted", the state "healthy".
const STORE_HEADER_LEN: usize = 28;
const STORE_SIZE: usize = 16;
/// `gEfiAuthenticatedVariableGuid`, as it is in memory.
const AUTHENTICATED: [u8; 16] = [
    0x78, 0x2C, 0xF3, 0xAA, 0x7B, 0x94, 0x9A, 0x43, 0xA1, 0x80, 0x2E, 0x14, 0x4E, 0xC3, 0x77, 0x92,
];
/// First bytes of a variable, and of the room after the last one.
const VARIABLE: u16 = 0x55AA;
const FREE: u16 = 0xFFFF;

/// Makes the store from its template unless there is one. One that QEMU or the firmware could not use
/// is set aside: answers where to.
///
/// # Errors
/// The kernel's, with the path.
pub fn prepare(nvram: &Nvram) -> io::Result<Option<PathBuf>> {
    let damaged = nvram.path.exists() && !is_like(&nvram.path, &nvram.template)?;
    let aside = damaged.then(|| dirs::set_aside(&nvram.path)).transpose()?;
    dirs::copy_if_missing(&nvram.template, &nvram.path)?;
    Ok(aside)
}

/// Whether the store has the template's size, and is a whole one of its kind if the template is one.
fn is_like(path: &Path, template: &Path) -> io::Result<bool> {
    if fs_err::metadata(path)?.len() != fs_err::metadata(template)?.len() {
        return Ok(false);
    }
    let (bytes, template) = (fs_err::read(path)?, fs_err::read(template)?);
    let Some(wanted) = variable_store(&template) else { return Ok(true) };
    let header = |store: &[u8]| store.get(..STORE_HEADER_LEN).map(<[u8]>::to_vec);
    Ok(variable_store(&bytes)
        .is_some_and(|store| header(store) == header(wanted) && is_whole(store)))
}

/// The variable store in a firmware volume with a header that adds up.
fn variable_store(volume: &[u8]) -> Option<&[u8]> {
    let (at, signature) = SIGNATURE;
    let signed = volume.get(at..)?.starts_with(signature);
    let (header, store) = volume.split_at_checked(u16_at(volume, HEADER_LEN_AT)?.into())?;
    let words = header.chunks_exact(2).map(|word| u16::from_le_bytes([word[0], word[1]]));
    let adds_up = words.fold(0, u16::wrapping_add) == 0;
    let size = usize::try_from(u32_at(store, STORE_SIZE)?).ok()?;
    store.get(..size).filter(|_| signed && adds_up)
}

/// Whether variables follow each other up to the free room, or the end. Of a kind of store that is
/// not known here, nothing is said.
fn is_whole(store: &[u8]) -> bool {
    if !store.starts_with(&AUTHENTICATED) {
        return true;
    }
    let mut at = STORE_HEADER_LEN;
    while let Some(start) = u16_at(store, at) {
        match start {
            FREE => return true,
            VARIABLE => {}
            _ => return false,
        }
        let Some(next) = after_variable(store, at) else { return false };
        at = next;
    }
    at <= store.len()
}

/// Where the variable after the one at `at` begins: 60 bytes, name and data, in steps of four bytes.
fn after_variable(store: &[u8], at: usize) -> Option<usize> {
    const HEADER_LEN: usize = 60;
    const STATE: usize = 2;
    const ATTRIBUTES: usize = 4;
    const SIZES: [usize; 2] = [36, 40];
    let values = [ATTRIBUTES, SIZES[0], SIZES[1]].map(|field| u32_at(store, at + field));
    let [Some(attributes), Some(name), Some(data)] = values else { return None };
    // The firmware was interrupted as it began to write it, and takes both for empty.
    let begun =
        store.get(at + STATE) == Some(&0xFF) || [attributes, name, data].contains(&u32::MAX);
    let (name, data) = if begun { (0, 0) } else { (name, data) };
    let end = at
        .checked_add(HEADER_LEN)?
        .checked_add(name.try_into().ok()?)?
        .checked_add(data.try_into().ok()?)?;
    Some(end.next_multiple_of(4)).filter(|_| end <= store.len())
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of the firmware volume's header in OVMF's templates.
    const VOLUME_HEADER_LEN: usize = 72;
    const FIRST: usize = VOLUME_HEADER_LEN + STORE_HEADER_LEN;

    /// As OVMF's template is, but smaller.
    fn volume() -> Vec<u8> {
        let mut volume = vec![0xFF; 4096];
        volume[..VOLUME_HEADER_LEN].fill(0);
        volume[40..44].copy_from_slice(SIGNATURE.1);
        volume[48] = 72;
        let words = volume[..VOLUME_HEADER_LEN].chunks(2);
        let sum = words.fold(0_u16, |sum, w| sum.wrapping_add(u16::from_le_bytes([w[0], w[1]])));
        volume[50..52].copy_from_slice(&sum.wrapping_neg().to_le_bytes());
        let store = &mut volume[VOLUME_HEADER_LEN..FIRST];
        store.fill(0);
        store[..16].copy_from_slice(&AUTHENTICATED);
        store[16..20].copy_from_slice(&2048_u32.to_le_bytes());
        store[20..22].copy_from_slice(&[0x5A, 0xFE]);
        volume
    }

    /// A variable with a name of 6 and data of 3 bytes.
    fn with_variable(mut volume: Vec<u8>) -> Vec<u8> {
        let variable = &mut volume[FIRST..FIRST + 69];
        variable.fill(1);
        variable[..3].copy_from_slice(&[0xAA, 0x55, 0x3F]);
        variable[36..40].copy_from_slice(&6_u32.to_le_bytes());
        variable[40..44].copy_from_slice(&3_u32.to_le_bytes());
        volume
    }

    #[test]
    fn a_store_that_the_firmware_could_not_use_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let real = fs_err::read("/usr/share/OVMF/OVMF_VARS_4M.fd");
        for volume in [Some(volume()), real.ok()].into_iter().flatten() {
            let template = dir.path().join("template.fd");
            let path = dir.path().join("vars.fd");
            let _ = fs_err::remove_file(&path);
            fs_err::write(&template, &volume).unwrap();
            let nvram = Nvram { template, path: path.clone() };
            assert_eq!(prepare(&nvram).unwrap(), None, "a new one");
            let used = with_variable(volume.clone());
            let changed = |at: usize, bytes: &[u8]| {
                let mut changed = used.clone();
                changed[at..at + bytes.len()].copy_from_slice(bytes);
                changed
            };
            let begun = changed(FIRST + 2, &[0xFF; 67]);
            for good in [&used, &begun] {
                fs_err::write(&path, good).unwrap();
                assert_eq!(prepare(&nvram).unwrap(), None);
                assert_eq!(&fs_err::read(&path).unwrap(), good, "kept");
            }
            for damaged in [
                vec![],
                used[..3000].to_vec(),
                vec![0; volume.len()],
                // The volume's attributes, its length beyond the file, the store's state, a size, what
                // follows the variable.
                changed(44, &[0x55]),
                changed(48, &[0xFF, 0xFF]),
                changed(VOLUME_HEADER_LEN, &[0]),
                changed(VOLUME_HEADER_LEN + 21, &[0]),
                changed(FIRST + 40, &[0xFF, 0xFF, 0xFF, 0x7F]),
                changed(FIRST + 72, &[7; 8]),
            ] {
                fs_err::write(&path, &damaged).unwrap();
                let aside = prepare(&nvram).unwrap().unwrap();
                assert_eq!(fs_err::read(aside).unwrap(), damaged);
                assert_eq!(fs_err::read(&path).unwrap(), volume);
            }
        }
    }
}
