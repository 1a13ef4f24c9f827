//! The files of rows.
//!
//! ```text
//! # a comment
//! set ipmi.v15=md5                   for the profile, before the first row
//! file k_g                           a file for the machine; lines that begin with | are its text
//! |0123
//! let T = ipmitool -H 127.0.0.1      {T} stands for the rest in the command lines that follow
//!
//! $ {T} mc info                      a row; no shell reads it
//! says Device ID                     this text is in the output (stdout, then stderr)
//! has ^Device ID +: \d+$             this regular expression is found in it; ^ and $ are of a line
//! not request failed                 and this one is not
//! silent                             it says nothing
//! exit 1                             exit code, if it is not 0; `exit any` if it does not count
//! when Use ~\? type ~.               once this expression is found, these keys (with Rust's escapes)
//! retry                              again until it holds, as who waits for the power would do
//! file flags                         a file for this row
//! |Section Chassis_Boot_Flags
//! ```

use std::fs;
use std::path::Path;

use regex::{Regex, RegexBuilder};

pub(crate) struct Group {
    pub(crate) path: String,
    pub(crate) sets: Vec<String>,
    pub(crate) files: Vec<(String, String)>,
    pub(crate) rows: Vec<Row>,
}

pub(crate) struct Row {
    /// Line in the file.
    pub(crate) number: usize,
    pub(crate) line: String,
    /// `None`: any.
    pub(crate) exit: Option<i32>,
    pub(crate) says: Vec<String>,
    pub(crate) has: Vec<Regex>,
    pub(crate) not: Vec<Regex>,
    pub(crate) keys: Vec<(Regex, String)>,
    pub(crate) silent: bool,
    pub(crate) retry: bool,
    pub(crate) files: Vec<(String, String)>,
}

impl Group {
    pub(crate) fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let mut group = Self {
            path: format!("rows/{}", path.file_name().unwrap().display()),
            sets: Vec::new(),
            files: Vec::new(),
            rows: Vec::new(),
        };
        let mut lets: Vec<(String, String)> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let expand = |text: &str| {
                lets.iter().rev().fold(text.to_owned(), |text, (name, value)| {
                    text.replace(&format!("{{{name}}}"), value)
                })
            };
            if let Some(text) = line.strip_prefix('|') {
                let row = group.rows.last_mut();
                let files = row.map_or(&mut group.files, |row| &mut row.files);
                let (_, file) = files.last_mut().expect("a file comes before its text");
                file.push_str(text);
                file.push('\n');
                continue;
            }
            let line = line.trim();
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let rest = rest.trim();
            let row = group.rows.last_mut();
            match (word, row) {
                ("" | "#", _) => {}
                ("$", _) => group.rows.push(Row {
                    number,
                    line: expand(rest),
                    exit: Some(0),
                    says: Vec::new(),
                    has: Vec::new(),
                    not: Vec::new(),
                    keys: Vec::new(),
                    silent: false,
                    retry: false,
                    files: Vec::new(),
                }),
                ("let", _) => {
                    let (name, value) = rest.split_once(" = ").expect("let NAME = VALUE");
                    let value = expand(value);
                    lets.push((name.to_owned(), value));
                }
                ("set", None) => group.sets.push(rest.to_owned()),
                ("file", None) => group.files.push((rest.to_owned(), String::new())),
                ("file", Some(row)) => row.files.push((rest.to_owned(), String::new())),
                ("says", Some(row)) => row.says.push(expand(rest)),
                ("has", Some(row)) => row.has.push(expression(rest)),
                ("not", Some(row)) => row.not.push(expression(rest)),
                ("silent", Some(row)) => row.silent = true,
                ("retry", Some(row)) => row.retry = true,
                ("exit", Some(row)) => row.exit = rest.parse().ok(),
                ("when", Some(row)) => {
                    let (text, keys) = rest.split_once(" type ").expect("when TEXT type KEYS");
                    let keys = keys.replace("\\r", "\r");
                    row.keys.push((expression(text), keys));
                }
                _ => panic!("{}:{number}: what is `{line}`?", group.path),
            }
        }
        for row in &group.rows {
            let asserts = row.says.len() + row.has.len();
            assert!(
                asserts > 0 || row.silent,
                "{}:{}: nothing is expected",
                group.path,
                row.number
            );
        }
        group
    }
}

fn expression(text: &str) -> Regex {
    RegexBuilder::new(text).multi_line(true).build().unwrap()
}
