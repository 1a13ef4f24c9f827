//! The program as the first process of a container: a PID namespace.

use crate::command::{run, tool};
use crate::machine::{Machine, Setup};
use crate::processes::{self, Signal};
use crate::wait::{SOON, wait_for, wait_until};

/// The words that make a PID namespace, and those to enter one.
fn namespace() -> (Vec<&'static str>, Vec<&'static str>) {
    let mut make = vec!["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let mut enter = vec!["nsenter", "--pid"];
    if !processes::is_root() {
        make.push("--map-root-user");
        enter.extend(["--user", "--preserve-credentials"]);
    }
    (make, enter)
}

fn start(setup: Setup) -> (Machine, u32) {
    let machine = setup.wrapped_in(&namespace().0).start();
    let program = wait_for("the program in its namespace", SOON, || {
        processes::children(machine.pid()).first().copied()
    });
    (machine, program)
}

#[test]
fn as_pid_1_it_reaps_the_orphans_of_others() {
    let (machine, program) = start(Setup::bare().set("power.restore=always-on"));
    let qemu = machine.wait_on();
    assert!(qemu < 100, "not a PID of a namespace of its own: {qemu}");

    // A shell that goes away and leaves a child behind. The marker is to find it by.
    let marker = machine.setup.dir.path().join("orphan");
    let target = program.to_string();
    let script = format!("sh -c 'sleep 1000; :' {} </dev/null >/dev/null 2>&1 &", marker.display());
    run(tool(namespace().1[0])
        .args(&namespace().1[1..])
        .args(["--target", &target, "sh", "-c", &script]))
    .succeeds();
    let orphan = wait_for("the orphan", SOON, || {
        processes::with_argument(&marker.display().to_string()).first().copied()
    });
    wait_until("the program has become its parent", SOON, || {
        processes::parent(orphan) == Some(program)
    });
    let grandchild =
        wait_for("the orphan's child", SOON, || processes::children(orphan).first().copied());

    for pid in [orphan, grandchild] {
        processes::signal(pid, Signal::SIGKILL);
        wait_until("it is reaped", SOON, || !processes::exists(pid));
    }
    // Somebody else's death is nothing to the machine.
    machine.power_is("on");
    assert_eq!(machine.qemu_pid(), Some(qemu));
}

#[test]
fn as_pid_1_it_ends_on_sigterm() {
    let (mut machine, program) =
        start(Setup::bare().set("power.restore=always-on").set("power.stop_limit_s=1"));
    machine.wait_on();
    processes::signal(program, Signal::SIGTERM);
    assert_eq!(machine.wait_end(SOON).code(), Some(0), "unshare hands the exit code on");
    machine.assert_cleaned_up();
}
