//! What makes a shell complete this program's words.

use clap::Command;
use clap_complete::Shell;

/// The script for `shell`.
pub(super) fn script(mut command: Command, shell: Shell) -> String {
    let mut script = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, &name, &mut script);
    let script = String::from_utf8(script).expect("a script is text");
    // For bash, clap_complete writes a dash of the program's name in two ways that do not fit, so
    // nothing behind the first word would be completed (issue 6421 of clap).
    script.replace(&name.replace('-', "__subcmd__"), &name.replace('-', "__"))
}
