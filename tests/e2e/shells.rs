//! Completion, in the shells that people type into.

use std::process::Command;

use crate::command::{run, search_path, tool};
use crate::terminal::Terminal;

/// The program's folder, and then the others.
fn path() -> String {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_qemu-bmc"));
    format!("PATH={}:{}", program.parent().unwrap().display(), search_path())
}

/// Begins words and lets the shell complete them; the program has to understand the result.
fn complete_in(shell: &[&str], prepare: &str) {
    let mut command = tool("env");
    command.args(["TERM=xterm", &path()]).args(shell);
    let mut terminal = Terminal::open(&command);
    // The quotes keep what is typed from being taken for the prompt.
    terminal.type_line(&format!("{prepare}; PS1=\"rea\"\"dy> \""));
    terminal.expect("ready> ");
    terminal.press("qemu-bmc pl\t--form\targ\t--help\r");
    terminal.expect("Print what `run` would do, and do nothing");
    terminal.expect("ready> ");
    terminal.press("qemu-bmc ctl pow\tcyc\t--help\r");
    terminal.expect("Switch power");
}

#[test]
fn bash_completes() {
    complete_in(&["bash", "--norc", "--noprofile", "-i"], "source <(qemu-bmc completions bash)");
}

#[test]
fn zsh_completes() {
    let prepare = "autoload -U compinit; compinit -u -D; source <(qemu-bmc completions zsh)";
    complete_in(&["zsh", "-f", "-i"], prepare);
}

#[test]
fn fish_completes() {
    let home = tempfile::tempdir().unwrap();
    let script = "qemu-bmc completions fish | source; complete -C 'qemu-bmc pl'";
    let mut command: Command = tool("env");
    command.arg(path()).arg(format!("HOME={}", home.path().display()));
    run(command.args(["fish", "--no-config", "-c", script])).succeeds().says("plan\tPrint what");
}
