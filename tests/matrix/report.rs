//! The table "group: passed/total".

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Mutex;

use crate::GROUPS;
use crate::machine::root;
use crate::peer::Peer;

/// Words at the start of a row in the notes, where no other line has them.
const PASS: &str = "pass";
const FAIL: &str = "FAIL";

static DONE: Mutex<BTreeMap<String, (usize, usize)>> = Mutex::new(BTreeMap::new());

fn folder(peer: Peer) -> PathBuf {
    root().join("target/matrix").join(peer.name())
}

/// Notes a group's results: whether a row passed, and all about it. After the last group the table is
/// shown.
pub(crate) fn add(peer: Peer, group: &str, results: &[(bool, String)]) {
    let rows: String = results
        .iter()
        .map(|(passed, text)| format!("{} {text}", if *passed { PASS } else { FAIL }))
        .collect();
    fs::create_dir_all(folder(peer)).unwrap();
    fs::write(folder(peer).join(group), rows).unwrap();
    let passed = results.iter().filter(|(passed, _)| *passed).count();
    let mut done = DONE.lock().unwrap();
    done.insert(group.to_owned(), (passed, results.len()));
    let text = if done.len() == GROUPS.len() {
        format!("\n{}", table(peer, &done))
    } else {
        format!("{group}: {passed}/{}\n", results.len())
    };
    // Not by eprint, which the test harness keeps to itself.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn table(peer: Peer, done: &BTreeMap<String, (usize, usize)>) -> String {
    let mut columns = vec![(peer.name(), done.clone())];
    if peer != Peer::QemuBmc {
        columns.insert(0, (Peer::QemuBmc.name(), noted(Peer::QemuBmc)));
    }
    let mut out = String::from("| group |");
    columns.iter().for_each(|(name, _)| out += &format!(" {name} |"));
    out += "\n|---|";
    columns.iter().for_each(|_| out += "---|");
    out += "\n";
    let mut sums = vec![(0, 0); columns.len()];
    for group in done.keys() {
        let _ = write!(out, "| {group} |");
        for ((_, column), sum) in columns.iter().zip(&mut sums) {
            let (passed, total) = column.get(group).copied().unwrap_or_default();
            *sum = (sum.0 + passed, sum.1 + total);
            let _ = write!(out, " {passed}/{total} |");
        }
        out += "\n";
    }
    out += "| all |";
    sums.iter().for_each(|(passed, total)| out += &format!(" {passed}/{total} |"));
    out + "\n"
}

/// Results of an earlier run.
fn noted(peer: Peer) -> BTreeMap<String, (usize, usize)> {
    let read = |group: &&str| {
        let rows = fs::read_to_string(folder(peer).join(group)).ok()?;
        let count = |word| rows.lines().filter(|line| line.starts_with(word)).count();
        Some(((*group).to_owned(), (count(PASS), count(PASS) + count(FAIL))))
    };
    GROUPS.iter().filter_map(read).collect()
}
