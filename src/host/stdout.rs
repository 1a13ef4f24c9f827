//! Standard output.

use std::io::{self, Write};

/// Writes to standard output, and waits for whoever reads it.
///
/// # Errors
/// The kernel's.
pub fn write(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}
