//! Walking a TOML document: every key is read with its place, every mistake is noted, and the walk goes on.
//!
//! Deserialisers stop at the first mistake. Here a section is read key by key, a faulty value is noted and
//! stands in as its default for the rest of the walk, so that one run finds everything.

use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::environment::{Environment, reason};
use crate::report::{Problem, ProblemKind};

mod section;

pub(crate) use section::{ReadSection, Section, SectionSchema, shortened};

/// A value and the place in the text that it was read from.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) span: Range<usize>,
}

/// The keys of several lists as one, which must be as long as they are together.
pub(crate) const fn joined<const LENGTH: usize>(lists: &[&[&'static str]]) -> [&'static str; LENGTH] {
    let mut all = [""; LENGTH];
    let (mut list, mut at) = (0, 0);
    while list < lists.len() {
        let mut key = 0;
        while key < lists[list].len() {
            all[at] = lists[list][key];
            (key, at) = (key + 1, at + 1);
        }
        list += 1;
    }
    assert!(at == LENGTH, "a list is missing");
    all
}

/// What a key was found to hold.
#[derive(Debug, Clone)]
pub(crate) enum Field<T> {
    /// The key is not there.
    Absent,
    /// The key is there, its value is not usable, and that has been noted.
    Faulty,
    /// The key is there with this value.
    Given(At<T>),
}

impl<T> Field<T> {
    pub(crate) fn given(self) -> Option<At<T>> {
        match self {
            Self::Given(at) => Some(at),
            Self::Absent | Self::Faulty => None,
        }
    }

    pub(crate) fn or(self, default: T) -> T {
        self.given().map_or(default, |at| at.value)
    }

    /// The value for comparing with other keys: a faulty one must not start a quarrel of its own, so
    /// `peaceful` stands in.
    pub(crate) fn compared(&self, default: T, peaceful: T) -> T
    where
        T: Copy,
    {
        match self {
            Self::Absent => default,
            Self::Faulty => peaceful,
            Self::Given(at) => at.value,
        }
    }

    /// Where the value stands, if there is a usable one.
    pub(crate) fn place(&self) -> Option<Range<usize>> {
        match self {
            Self::Given(at) => Some(at.span.clone()),
            Self::Absent | Self::Faulty => None,
        }
    }

    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

/// One pass over one text: what it may look at, and what it has found.
pub(crate) struct Reading<'a> {
    pub(crate) environment: &'a dyn Environment,
    /// Where the text came from.
    pub(crate) file: PathBuf,
    pub(crate) errors: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
}

impl<'a> Reading<'a> {
    /// A pass over a text that came from `file`; relative paths in it start where the file lies.
    pub(crate) fn new(file: &Path, environment: &'a dyn Environment) -> Self {
        Self { environment, file: file.to_owned(), errors: Vec::new(), warnings: Vec::new() }
    }

    pub(crate) fn error(&mut self, problem: Problem) {
        self.errors.push(problem);
    }

    pub(crate) fn warning(&mut self, problem: Problem) {
        self.warnings.push(problem);
    }

    /// The path as seen from the configuration file.
    pub(crate) fn resolve(&self, path: &Path) -> PathBuf {
        self.file.with_file_name("").join(path)
    }

    /// The content of a file that a key refers to; what keeps it from being read is noted at the key.
    pub(crate) fn file(&mut self, what: &str, path: &At<PathBuf>) -> Option<Vec<u8>> {
        match self.environment.read_file(&path.value) {
            Ok(content) => Some(content),
            Err(error) => {
                let problem = Problem::new(
                    ProblemKind::BadFile,
                    path.span.clone(),
                    format!("cannot read {what} `{}`", path.value.display()),
                )
                .label(reason(&error));
                self.error(match error.kind() {
                    std::io::ErrorKind::NotFound => {
                        problem.help("a relative path starts at the directory of the configuration file")
                    }
                    _ => problem,
                });
                None
            }
        }
    }

    /// The same for a file that is to stay secret; says if it is not.
    pub(crate) fn secret_file(&mut self, what: &str, path: &At<PathBuf>) -> Option<Vec<u8>> {
        self.expect_secret(what, path);
        self.file(what, path)
    }

    /// Says if everybody on the machine may read a file that is to stay secret.
    pub(crate) fn expect_secret(&mut self, what: &str, path: &At<PathBuf>) {
        if self.environment.everybody_reads(&path.value) {
            let file = path.value.display();
            self.warning(
                Problem::new(
                    ProblemKind::Risky,
                    path.span.clone(),
                    format!("everybody on this machine may read {what} `{file}`"),
                )
                .label("it is to stay secret")
                .help(format!("chmod o-rwx {file}, and give it to the user or the group of the server")),
            );
        }
    }

    /// The value of an environment variable that a key names; what is wrong with it is noted at the key.
    /// `file_key` is the key that can name a file instead.
    pub(crate) fn variable(&mut self, name: &At<String>, file_key: Option<&str>) -> Option<String> {
        let wrong = match self.environment.variable(&name.value) {
            Ok(value) => return Some(value),
            Err(std::env::VarError::NotPresent) => "is not set",
            Err(std::env::VarError::NotUnicode(_)) => "is not UTF-8",
        };
        let mut help = "set it where the server is started".to_owned();
        if let Some(file_key) = file_key {
            help = format!("{help}, or name a file with `{file_key}`");
        }
        self.error(
            Problem::new(
                ProblemKind::BadVariable,
                name.span.clone(),
                format!("environment variable `{}` {wrong}", name.value),
            )
            .label(wrong)
            .help(help),
        );
        None
    }
}
