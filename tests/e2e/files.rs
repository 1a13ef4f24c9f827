//! The files of a running machine.

use std::fs;

use crate::command::run;
use crate::machine::Setup;

#[test]
fn the_man_page_names_each_file_in_the_run_directory() {
    let machine = Setup::bare().start();
    machine.power("on");
    machine.wait_on();
    let page = run(&mut machine.setup.program("man")).succeeds().stdout;
    let named = page.lines().filter_map(|line| line.strip_prefix("\\fI/var/run/qemu/"));
    let mut named: Vec<&str> = named.map(|name| name.trim_end_matches("\\fR")).collect();
    named.sort_unstable();
    let there = fs::read_dir(&machine.run_dir).unwrap();
    let mut there: Vec<String> =
        there.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();

    there.sort_unstable();
    assert_eq!(named, there);
}
