//! Whole conversations with real clients, byte for byte: what they sent, and what they were content
//! with.
//!
//! `scripts/capture-vectors` makes the files: it runs the clients against this engine with a fixed
//! seed. If a test here fails, the answers to a real client have changed: capture again only after
//! that client has been seen to be content with the new ones.

use std::path::Path;

use crate::console::Rig;
use crate::vector_engine;

fn bytes(line: &str) -> Vec<u8> {
    (0..line.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&line[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn conversations_with_real_clients_are_as_they_were() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let mut rig = Rig { bmc: vector_engine::engine(), ..Rig::new() };
        let mut answers = Vec::new().into_iter();
        for (number, line) in (1..).zip(std::fs::read_to_string(&path).unwrap().lines()) {
            match line.split_once(' ') {
                Some((">", hex)) => {
                    assert_eq!(answers.next(), None::<Vec<u8>>, "{name}:{number}: more answers");
                    answers = rig.exchange(&bytes(hex)).into_iter();
                }
                Some(("<", hex)) => {
                    assert_eq!(answers.next(), Some(bytes(hex)), "{name}:{number}");
                }
                _ => assert!(line.starts_with('#'), "{name}:{number}"),
            }
        }
        assert_eq!(answers.next(), None, "{name}: more answers");
        count += 1;
    }
    assert!(count >= 8, "only {count} conversations in tests/vectors");
}
