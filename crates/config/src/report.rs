//! Mistakes in a configuration: what they are, where they stand, how they are drawn.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// At most this many problems are drawn; the rest is counted.
const DRAWN: usize = 50;

/// What is wrong with a place in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProblemKind {
    /// The configuration file itself cannot be read, or is not UTF-8.
    Unreadable,
    /// Not TOML.
    Syntax,
    /// A key or section that does not exist.
    UnknownKey,
    /// A key that has no default was left out.
    MissingKey,
    /// A key that exists, but has no use beside the other values of its section.
    NotApplicable,
    /// A string where a number is needed, and the like.
    WrongType,
    /// The right type, but not a value that makes sense.
    BadValue,
    /// A number, size or duration outside its bounds.
    OutOfRange,
    /// A name or address that is taken already.
    Duplicate,
    /// Two values that cannot both hold.
    Conflict,
    /// A file that the configuration refers to is missing, unreadable or holds something else.
    BadFile,
    /// A secret's environment variable is not set or holds something else.
    BadVariable,
    /// Allowed, but seldom what is wanted (warnings only).
    Risky,
}

/// One problem, with the place and the mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub(crate) kind: ProblemKind,
    pub(crate) span: Range<usize>,
    pub(crate) title: String,
    pub(crate) label: String,
    pub(crate) related: Option<(Range<usize>, String)>,
    pub(crate) help: Option<String>,
    line: usize,
    column: usize,
}

impl Problem {
    pub(crate) fn new(kind: ProblemKind, span: Range<usize>, title: impl Into<String>) -> Self {
        Self {
            kind,
            span,
            title: title.into(),
            label: String::new(),
            related: None,
            help: None,
            line: 0,
            column: 0,
        }
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn related(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        self.related = Some((span, label.into()));
        self
    }

    /// What sort of problem it is.
    #[must_use]
    pub fn kind(&self) -> ProblemKind {
        self.kind
    }

    /// The place, as byte offsets into the text.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Line of the place, from 1; 0 for [`ProblemKind::Unreadable`], which has no text.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// Column of the place in characters, from 1; 0 for [`ProblemKind::Unreadable`].
    #[must_use]
    pub fn column(&self) -> usize {
        self.column
    }

    /// The problem in one sentence.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// What would mend it, where that is known.
    #[must_use]
    pub fn mend(&self) -> Option<&str> {
        self.help.as_deref()
    }
}

/// How a report is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Style {
    /// Text alone: for files, logs and tests.
    #[default]
    Plain,
    /// With ANSI colours: for a terminal.
    Coloured,
}

/// Problems of one text, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Report {
    file: PathBuf,
    text: String,
    problems: Vec<Problem>,
}

impl Report {
    fn new(file: &Path, text: &str, mut problems: Vec<Problem>) -> Self {
        for problem in &mut problems {
            problem.span = within(text, &problem.span);
            if let Some((span, _)) = &mut problem.related {
                *span = within(text, span);
            }
        }
        problems.sort_by_key(|problem| (problem.span.start, problem.span.end));
        // One walk over the text gives every line and column: problems are in order.
        let (mut line, mut column, mut at) = (1, 1, 0);
        for problem in problems.iter_mut().filter(|problem| problem.kind != ProblemKind::Unreadable) {
            for character in text.get(at..problem.span.start).unwrap_or_default().chars() {
                (line, column) = if character == '\n' { (line + 1, 1) } else { (line, column + 1) };
            }
            at = problem.span.start;
            (problem.line, problem.column) = (line, column);
        }
        Self { file: file.to_owned(), text: text.to_owned(), problems }
    }

    fn render(&self, level: &Level<'static>, style: Style) -> String {
        let renderer = match style {
            Style::Plain => Renderer::plain(),
            Style::Coloured => Renderer::styled(),
        };
        let file = self.file.to_string_lossy();
        let mut drawn: Vec<String> = self
            .problems
            .iter()
            .take(DRAWN)
            .map(|problem| {
                let mut groups = Vec::with_capacity(1);
                let title = level.clone().primary_title(printable(&problem.title));
                let mut group = if problem.kind == ProblemKind::Unreadable {
                    Group::with_title(title)
                } else {
                    let mut annotation = AnnotationKind::Primary.span(problem.span.clone());
                    if !problem.label.is_empty() {
                        annotation = annotation.label(printable(&problem.label));
                    }
                    let mut snippet =
                        Snippet::source(self.text.as_str()).path(file.as_ref()).annotation(annotation);
                    if let Some((span, label)) = &problem.related {
                        snippet = snippet
                            .annotation(AnnotationKind::Context.span(span.clone()).label(printable(label)));
                    }
                    title.element(snippet)
                };
                if let Some(help) = &problem.help {
                    group = group.element(Level::HELP.message(printable(help)));
                }
                groups.push(group);
                renderer.render(&groups)
            })
            .collect();
        if let Some(more) = self.problems.len().checked_sub(DRAWN).filter(|more| *more > 0) {
            drawn.push(format!("and {more} more"));
        }
        drawn.join("\n\n")
    }
}

/// The span, moved so that it lies inside the text and on character boundaries.
fn within(text: &str, span: &Range<usize>) -> Range<usize> {
    let mut start = span.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = span.end.clamp(start, text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    start..end
}

/// Text with control characters written out: values are quoted from the file, and must not steer the
/// terminal.
fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut shown, character| {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
        shown
    })
}

/// Everything that is wrong with a configuration: never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errors(Report);

impl Errors {
    pub(crate) fn new(file: &Path, text: &str, problems: Vec<Problem>) -> Self {
        debug_assert!(!problems.is_empty());
        Self(Report::new(file, text, problems))
    }

    /// The problems, in the order of the file.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.0.problems
    }

    /// Every error drawn with its line, a caret under the place, and the mend.
    #[must_use]
    pub fn render(&self, style: Style) -> String {
        self.0.render(&Level::ERROR, style)
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Style::Plain))
    }
}

impl std::error::Error for Errors {}

/// What is allowed in a configuration but seldom wanted: may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warnings(Report);

impl Warnings {
    pub(crate) fn new(file: &Path, text: &str, problems: Vec<Problem>) -> Self {
        // A text without warnings need not be kept.
        let text = if problems.is_empty() { "" } else { text };
        Self(Report::new(file, text, problems))
    }

    /// The warnings, in the order of the file.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.0.problems
    }

    /// Every warning drawn with its line and a caret under the place; empty if there is none.
    #[must_use]
    pub fn render(&self, style: Style) -> String {
        self.0.render(&Level::WARNING, style)
    }
}

impl fmt::Display for Warnings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Style::Plain))
    }
}
