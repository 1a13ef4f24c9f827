//! The UEFI variable store.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::host::dirs;
use crate::plan::qemu::Nvram;

/// Bytes of a firmware volume's header up to its signature, `_FVH` (UEFI Platform Initialization
/// Specification, volume 3, section 3.2.1).
const HEADER_LEN: usize = 44;
const SIGNATURE: &[u8] = b"_FVH";

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

/// Whether the store has the template's size, and is a firmware volume if the template is one.
fn is_like(path: &Path, template: &Path) -> io::Result<bool> {
    let (store, template) = (head(path)?, head(template)?);
    let signed = |head: &[u8]| head.ends_with(SIGNATURE);
    Ok(store.0 == template.0 && (signed(&store.1) || !signed(&template.1)))
}

/// Size, and the first bytes.
fn head(path: &Path) -> io::Result<(u64, Vec<u8>)> {
    let mut file = fs_err::File::open(path)?;
    let mut head = Vec::new();
    (&mut file).take(HEADER_LEN as u64).read_to_end(&mut head)?;
    Ok((file.metadata()?.len(), head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_of_another_size_or_without_a_header_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let template = dir.path().join("template.fd");
        let path = dir.path().join("vars.fd");
        let mut volume = vec![0xFF; 4096];
        volume[40..44].copy_from_slice(SIGNATURE);
        fs_err::write(&template, &volume).unwrap();
        let nvram = Nvram { template, path: path.clone() };
        assert_eq!(prepare(&nvram).unwrap(), None, "a new one");
        let mut used = volume.clone();
        used[2000..].fill(7);
        fs_err::write(&path, &used).unwrap();
        assert_eq!(prepare(&nvram).unwrap(), None);
        assert_eq!(fs_err::read(&path).unwrap(), used, "kept");
        for damaged in [&used[..0], &used[..3000], &vec![0; 4096]] {
            fs_err::write(&path, damaged).unwrap();
            let aside = prepare(&nvram).unwrap().unwrap();
            assert_eq!(fs_err::read(aside).unwrap(), *damaged);
            assert_eq!(fs_err::read(&path).unwrap(), volume);
        }
    }
}
