//! Checks, and the table of what came of them.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

struct Row {
    group: &'static str,
    name: String,
    failure: Option<String>,
    took: Duration,
}

static ROWS: Mutex<Vec<Row>> = Mutex::new(Vec::new());

thread_local! {
    static GROUP: Cell<&'static str> = const { Cell::new("") };
    static MESSAGE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps what a panic says for its check's row.
pub(crate) fn catch_messages() {
    std::panic::set_hook(Box::new(|panic| {
        MESSAGE.with_borrow_mut(|message| *message = panic.to_string());
    }));
}

/// Runs a check, and answers what it found. Whatever it says goes on: the next check is another one.
pub(crate) fn check<T>(name: &str, body: impl FnOnce() -> T) -> Option<T> {
    let start = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(body));
    let (took, group) = (start.elapsed(), GROUP.get());
    let failure = result.is_err().then(|| MESSAGE.take());
    let word = if failure.is_some() { "FAIL" } else { "pass" };
    println!("{word}  {group:<10} {name} ({:.1} s)", took.as_secs_f32());
    if let Some(failure) = &failure {
        println!("      {}", failure.trim_end().replace('\n', "\n      "));
    }
    ROWS.lock().unwrap().push(Row { group, name: name.to_owned(), failure, took });
    result.ok()
}

/// Runs a group. What it cannot go on without is a failure of its own.
pub(crate) fn group(name: &'static str, body: &mut dyn FnMut()) {
    GROUP.set(name);
    if catch_unwind(AssertUnwindSafe(body)).is_err() {
        let message = MESSAGE.take();
        check("the group comes to its end", || panic!("{message}"));
    }
}

/// The table, and whether all is well.
pub(crate) fn table(groups: &[&str]) -> (String, bool) {
    let rows = ROWS.lock().unwrap();
    let mut table = String::from("| group | check | result | s |\n|---|---|---|---|\n");
    for group in groups {
        for Row { name, failure, took, .. } in rows.iter().filter(|row| row.group == *group) {
            let word = if failure.is_some() { "FAIL" } else { "pass" };
            let _ = writeln!(table, "| {group} | {name} | {word} | {:.1} |", took.as_secs_f32());
        }
    }
    let failed = rows.iter().filter(|row| row.failure.is_some()).count();
    let _ = writeln!(table, "\n{} checks passed, {failed} failed", rows.len() - failed);
    (table, failed == 0 && !rows.is_empty())
}
