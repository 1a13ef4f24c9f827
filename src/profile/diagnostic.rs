//! Findings about a profile, and how they are shown: what, where it came from, what to write.

use std::fmt::Write as _;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::profile::sources::{Key, Layer, Origin, Sources};
use crate::profile::variables::key_of_generic;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Nothing is started.
    Error,
    /// Told, and gone on with.
    Warning,
}

/// Whose fault an error is; decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The profile's: exit code 2.
    Input,
    /// The host's, which lacks what a right profile asks for: exit code 1.
    Host,
}

/// What a finding is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// The value of a key, wherever it was set.
    Key(Key),
    /// The name of a key that should not be there.
    Name(Key),
    /// A place in a layer.
    Origin {
        /// The layer.
        origin: Origin,
        /// Byte range in a file's text.
        span: Option<Range<usize>>,
    },
    /// Nothing that was written.
    Nowhere,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Whose fault.
    pub fault: Fault,
    /// What it is about.
    pub at: At,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl Finding {
    /// An error in the input.
    #[must_use]
    pub fn error(at: At, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            fault: Fault::Input,
            at,
            message: message.into(),
            help: None,
        }
    }

    /// A warning.
    #[must_use]
    pub fn warning(at: At, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(at, message) }
    }

    /// An error that is the host's fault.
    #[must_use]
    pub fn host(at: At, message: impl Into<String>) -> Self {
        Self { fault: Fault::Host, ..Self::error(at, message) }
    }

    /// The same with what to write instead.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Shows `findings` as text, each with the place it came from.
#[must_use]
pub fn render(findings: &[Finding], sources: &Sources, color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut out = String::new();
    for finding in findings {
        let place = Place::of(finding, sources);
        let level = match finding.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(finding.message.as_str()));
        if let Some((text, span)) = &place.snippet {
            let mark = AnnotationKind::Primary.span(span.clone());
            let snippet = Snippet::source(text.as_str());
            // Lines and columns are for files; what is one line by nature says what it is.
            group = group.element(if place.is_file {
                snippet.path(place.path.as_str()).annotation(mark)
            } else {
                snippet.line_numbering(false).annotation(mark.label(place.path.as_str()))
            });
        } else if !place.path.is_empty() {
            let mut origin = annotate_snippets::Origin::path(place.path.as_str());
            if let Some((line, column)) = place.line_column {
                origin = origin.line(line).char_column(column);
            }
            group = group.element(origin);
        }
        if let Some(help) = &finding.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        let _ = writeln!(out, "{}\n", renderer.render(&[group]));
    }
    out
}

/// Where a finding comes from, in one line: `file:line:column`, a variable, a flag.
#[must_use]
pub fn place(finding: &Finding, sources: &Sources) -> String {
    let place = Place::of(finding, sources);
    match (&place.snippet, place.line_column) {
        (_, Some((line, column))) => format!("{}:{line}:{column}", place.path),
        (Some((text, span)), None) if place.is_file => {
            let (line, column) = line_column(text, span.start);
            format!("{}:{line}:{column}", place.path)
        }
        (Some((text, _)), None) => format!("{}: {text}", place.path),
        (None, None) => place.path,
    }
}

/// Where a layer sets `key`, in one line.
#[must_use]
pub(super) fn origin_line(layer: &Layer, key: &Key) -> String {
    match &layer.origin {
        Origin::Default => "default".to_owned(),
        Origin::File { name, text } => match layer.places.value(key) {
            Some(span) => {
                let (line, column) = line_column(text, clamp(text, span).start);
                format!("{name}:{line}:{column}")
            }
            None => name.clone(),
        },
        Origin::Variable { name, .. } => format!("variable {name}"),
        // Not its text: that of a whole list holds more than this key.
        Origin::Flag { text } => {
            format!("--set {}", text.split('=').next().unwrap_or_default())
        }
    }
}

/// A finding's origin, ready to be shown.
struct Place {
    path: String,
    /// Text to show and the part of it to underline. Not there for secrets.
    snippet: Option<(String, Range<usize>)>,
    line_column: Option<(usize, usize)>,
    is_file: bool,
}

impl Place {
    fn of(finding: &Finding, sources: &Sources) -> Self {
        let nowhere =
            Self { path: String::new(), snippet: None, line_column: None, is_file: false };
        let (origin, span, secret) = match &finding.at {
            At::Key(key) => {
                let location = sources.locate(key);
                (location.origin, location.span, key.is_secret())
            }
            At::Name(key) => {
                let location = sources.locate_name(key);
                (location.origin, location.span, key.is_secret())
            }
            At::Origin { origin, span } => (origin, span.clone(), false),
            At::Nowhere => return nowhere,
        };
        match origin {
            Origin::Default => match &finding.at {
                At::Key(key) => Self { path: format!("default of `{key}`"), ..nowhere },
                _ => nowhere,
            },
            Origin::File { name, text } => {
                let path = name.clone();
                let Some(span) = span.map(|span| clamp(text, span)) else {
                    return Self { path, ..nowhere };
                };
                let line = lines_of(text, &span);
                // A line that cannot be parsed may hold a password as well.
                if secret || text[line].to_ascii_lowercase().contains("pass") {
                    let line_column = Some(line_column(text, span.start));
                    return Self { path, snippet: None, line_column, is_file: true };
                }
                Self { path, snippet: Some((text.clone(), span)), line_column: None, is_file: true }
            }
            // A variable that is not known may be a misspelt password, and that of all users holds
            // theirs.
            Origin::Variable { name, .. }
                if secret
                    || matches!(finding.at, At::Origin { .. })
                    || key_of_generic(name).is_some_and(|key| key.is_secret()) =>
            {
                Self { path: format!("environment variable {name}"), ..nowhere }
            }
            Origin::Variable { name, text } => {
                let shown = format!("{name}={text}");
                let span = name.len() + 1..shown.len();
                Self { path: "in the environment".into(), snippet: Some((shown, span)), ..nowhere }
            }
            Origin::Flag { text } => {
                let end = text.find('=').unwrap_or(text.len());
                let about = Key::typed(&text[..end]);
                // A key that is not known may be a misspelt password.
                let unknown = matches!(finding.at, At::Name(_));
                if secret || unknown || about.is_secret() || text[..end].contains("users") {
                    let name: String = text
                        .chars()
                        .take_while(|c| c.is_ascii_alphanumeric() || "._[]".contains(*c))
                        .collect();
                    return Self { path: format!("command line, --set {name}"), ..nowhere };
                }
                let shown = format!("--set {text}");
                let value = "--set ".len() + (end + 1).min(text.len());
                let span = match finding.at {
                    At::Key(_) => value..shown.len(),
                    _ => "--set ".len()..shown.len(),
                };
                Self { path: "on the command line".into(), snippet: Some((shown, span)), ..nowhere }
            }
        }
    }
}

/// `span`, within `text` and at character boundaries.
fn clamp(text: &str, span: Range<usize>) -> Range<usize> {
    let floor = |mut index: usize| {
        index = index.min(text.len());
        while !text.is_char_boundary(index) {
            index -= 1;
        }
        index
    };
    let start = floor(span.start);
    start..floor(span.end).max(start)
}

/// The whole lines that `span` touches.
fn lines_of(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = text[..span.start].rfind('\n').map_or(0, |index| index + 1);
    let end = text[span.end..].find('\n').map_or(text.len(), |index| span.end + index);
    start..end
}

/// Line and column, both from 1, of a byte offset.
fn line_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..offset];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |rest| rest.chars().count()) + 1;
    (line, column)
}
