//! The pages that people write: what they link to exists, and so does what they quote.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::*;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below the folder whose name ends so, relative to the repository.
fn files(folder: &str, end: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().into_string().unwrap());
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&path, end));
        } else if path.ends_with(end) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn pages() -> Vec<String> {
    let mut pages = vec!["README.md".to_owned()];
    for folder in ["docs", "containerlab", "deploy"] {
        pages.extend(files(folder, ".md"));
    }
    pages
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A page's lines outside of blocks of code.
fn prose(text: &str) -> Vec<&str> {
    let mut fence = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fence = !fence;
        } else if !fence && !line.starts_with("    ") {
            lines.push(line);
        }
    }
    assert!(!fence, "a block of code is not closed");
    lines
}

/// The parts of a text in backticks, and the text without them.
fn code_spans(text: &str) -> (Vec<&str>, String) {
    let parts: Vec<&str> = text.split('`').collect();
    let spans = parts.iter().skip(1).step_by(2).copied().collect();
    (spans, parts.into_iter().step_by(2).collect())
}

/// Where the links and images of a page go.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text).join("\n");
    let (_, text) = code_spans(&prose);
    let targets = text.split("](").skip(1);
    targets.map(|rest| rest.split_once(')').expect("a link without an end").0.to_owned()).collect()
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).into_iter().filter_map(|line| {
        let heading = line.trim_start_matches('#');
        (heading.len() < line.len()).then(|| heading.strip_prefix(' ')).flatten()
    });
    let slug = |heading: &str| {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    headings.map(slug).collect()
}

/// A path as a page names it, relative to the repository.
fn resolve(page: &str, target: &str) -> PathBuf {
    let mut path = Path::new(page).parent().unwrap().to_owned();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => assert!(path.pop(), "{page}: {target} leaves the repository"),
            part => path.push(part),
        }
    }
    path
}

#[test]
fn links_lead_somewhere() {
    let mut seen = 0;
    for page in pages() {
        let text = read(&page);
        for link in links(&text) {
            seen += 1;
            if let Some((scheme, rest)) = link.split_once("://") {
                let plain = |c: char| c.is_ascii_graphic() && !"<>\"{}|\\^`".contains(c);
                assert!(
                    scheme == "https" && rest.contains('.') && rest.chars().all(plain),
                    "{page}: {link}"
                );
                continue;
            }
            let (target, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match target {
                "" => PathBuf::from(&page),
                target => resolve(&page, target),
            };
            assert!(root().join(&target).exists(), "{page}: {link}");
            if !anchor.is_empty() {
                let there = anchors(&read(target.to_str().unwrap()));
                assert!(there.contains(anchor), "{page}: {link}: only {there:?}");
            }
        }
    }
    assert!(seen > 0);
}

#[test]
fn the_book_has_every_page() {
    let contents = "docs/README.md";
    let linked: Vec<PathBuf> =
        links(&read(contents)).iter().map(|link| resolve(contents, link)).collect();
    for page in files("docs", ".md").iter().filter(|page| *page != contents) {
        assert!(linked.iter().any(|linked| linked == Path::new(page)), "{contents} lacks {page}");
    }
}

#[test]
fn the_readme_names_every_variable() {
    let readme = read("README.md");
    for name in VARIABLES.iter().map(|variable| variable.name).chain([PROFILE_VARIABLE]) {
        assert!(readme.contains(&format!("`{name}`")), "README.md lacks {name}");
    }
}

/// The rows of a page's tables: the cells of each.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let cells = |line| -> Option<Vec<&str>> {
        let line: &str = str::strip_prefix(line, "| ")?.strip_suffix(" |")?;
        Some(line.split(" | ").collect())
    };
    prose(text).into_iter().filter_map(cells)
}

#[test]
fn the_tests_that_show_security_are_there() {
    let text = read("docs/security.md");
    let mut sources = String::new();
    for path in files("tests", ".rs").into_iter().chain(files("src", ".rs")) {
        sources.push_str(&read(&path));
    }
    let mut seen = 0;
    for row in rows(&text).filter(|row| row.len() == 3) {
        let (spans, _) = code_spans(row[2]);
        for name in spans.into_iter().filter(|span| span.contains('_')) {
            seen += 1;
            assert!(sources.contains(&format!("fn {name}(")), "docs/security.md: no test {name}");
        }
    }
    assert!(seen > 0);
}

/// Messages in tables whose first column is called so.
#[test]
fn the_messages_that_are_explained_are_printed() {
    let text = read("docs/troubleshooting.md");
    let mut printed = String::new();
    for path in files("src", ".rs").into_iter().chain(files("tests/cases", ".err")) {
        // A text that goes over several lines ends each with a backslash.
        let words = read(&path).replace("\\\n", " ");
        printed.extend(words.split_whitespace().flat_map(|word| [word, " "]));
    }
    let mut ours = false;
    let mut seen = 0;
    for row in rows(&text) {
        match row[0] {
            first if first.starts_with("message") => ours = true,
            first if first.starts_with("what is") => ours = false,
            first if ours => {
                for message in code_spans(first).0 {
                    seen += 1;
                    assert!(printed.contains(message), "docs/troubleshooting.md: `{message}`");
                }
            }
            _ => {}
        }
    }
    assert!(seen > 0);
}
