//! Arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    qemu_bmc::cli::main()
}
