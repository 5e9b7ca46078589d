//! One section of the document: its keys, each read with its place and held to its bounds.

use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::{At, Field, Reading};
use crate::duration::Span;
use crate::report::{Problem, ProblemKind};
use crate::size::Size;
use crate::spelling::nearest;
use crate::value::{Fault, FromToml, kind_of};

/// The keys that a kind of section knows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SectionSchema {
    /// As it is written in the file: `[ledger]`, `[[listener]]`; empty for the top of the file.
    pub(crate) header: &'static str,
    pub(crate) keys: &'static [&'static str],
}

impl SectionSchema {
    /// The name of the section; empty for the top of the file.
    pub(crate) const fn name(self) -> &'static str {
        let mut name = self.header;
        while let Some((b'[', rest)) = name.as_bytes().split_first() {
            name = name.split_at(name.len() - rest.len()).1;
        }
        while let Some((b']', rest)) = name.as_bytes().split_last() {
            name = name.split_at(rest.len()).0;
        }
        name
    }

    /// How a key is called with its section.
    pub(crate) fn path(self, key: &str) -> String {
        let section = self.name();
        if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
    }
}

/// A kind of section that stands in the file at most once, and whose keys all have defaults.
pub(crate) trait ReadSection: Default {
    /// Its header and its keys.
    const SCHEMA: SectionSchema;

    /// Reads the keys that the section has.
    fn read(reading: &mut Reading<'_>, section: &Section<'_>) -> Self;
}

/// One section of the file.
#[derive(Clone)]
pub(crate) struct Section<'a> {
    pub(crate) schema: SectionSchema,
    /// The place of its header.
    pub(crate) span: Range<usize>,
    table: &'a DeTable<'a>,
}

impl<'a> Section<'a> {
    /// Takes a table as a section and notes its unknown keys.
    pub(crate) fn new(
        reading: &mut Reading<'_>,
        schema: SectionSchema,
        table: &'a DeTable<'a>,
        span: Range<usize>,
    ) -> Self {
        for (key, _) in table.iter() {
            let name: &str = key.get_ref();
            if !schema.keys.contains(&name) {
                let place = if schema.header.is_empty() { "section or key" } else { "key" };
                let among =
                    if schema.header.is_empty() { String::new() } else { format!(" in `{}`", schema.header) };
                let help = match nearest(name, schema.keys.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("known here: {}", schema.keys.join(", ")),
                };
                let problem = Problem::new(
                    ProblemKind::UnknownKey,
                    key.span(),
                    format!("unknown {place} `{}`{among}", shortened(name)),
                );
                reading.error(problem.label("not known here").help(help));
            }
        }
        Self { schema, span, table }
    }

    /// How a key is called in a message: with its section.
    fn path(&self, key: &str) -> String {
        self.schema.path(key)
    }

    /// Whether a key is there at all.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    fn entry(&self, key: &str) -> Option<(Range<usize>, &'a DeValue<'a>)> {
        debug_assert!(self.schema.keys.contains(&key), "{key} is read but not declared");
        self.table.get(key).map(|value| (value.span(), value.get_ref()))
    }

    /// Reads a key that may be left out.
    pub(crate) fn field<T: FromToml>(&self, reading: &mut Reading<'_>, key: &str) -> Field<T> {
        let Some((span, value)) = self.entry(key) else { return Field::Absent };
        match T::from_toml(value) {
            Ok(value) => Field::Given(At { value, span }),
            Err(fault) => {
                let subject = format!("`{}`", self.path(key));
                reading.error(faulty::<T>(&subject, span, value, fault));
                Field::Faulty
            }
        }
    }

    /// Reads a key; its default stands in where it is left out or faulty.
    pub(crate) fn or<T: FromToml>(&self, reading: &mut Reading<'_>, key: &str, default: T) -> T {
        self.field(reading, key).or(default)
    }

    /// Reads a key that has no default.
    pub(crate) fn required<T: FromToml>(
        &self,
        reading: &mut Reading<'_>,
        key: &str,
        example: &str,
    ) -> Option<At<T>> {
        let field = self.field(reading, key);
        if field.is_absent() {
            self.missing(reading, key, example);
        }
        field.given()
    }

    /// Notes that a key without default was left out.
    pub(crate) fn missing(&self, reading: &mut Reading<'_>, key: &str, example: &str) {
        reading.error(
            Problem::new(
                ProblemKind::MissingKey,
                self.span.clone(),
                format!("`{}` is missing", self.path(key)),
            )
            .label(format!("this section needs `{key}`"))
            .help(format!("add `{key} = {example}`")),
        );
    }

    /// Reads a list in which nothing may stand twice and which may not be empty.
    pub(crate) fn set<T: FromToml + PartialEq>(
        &self,
        reading: &mut Reading<'_>,
        key: &str,
    ) -> Field<Vec<At<T>>> {
        let Some((span, value)) = self.entry(key) else { return Field::Absent };
        let path = self.path(key);
        let DeValue::Array(array) = value else {
            let problem = Problem::new(ProblemKind::WrongType, span, format!("`{path}` must be a list"))
                .label(format!("this is {}", kind_of(value)));
            reading.error(problem.help("write the values between brackets: [\"…\", \"…\"]"));
            return Field::Faulty;
        };
        if array.is_empty() {
            reading.error(
                Problem::new(ProblemKind::BadValue, span, format!("`{path}` is empty"))
                    .label("nothing is allowed by an empty list")
                    .help(format!("leave `{key}` out to get its default")),
            );
            return Field::Faulty;
        }
        let before = reading.errors.len();
        let mut values: Vec<At<T>> = Vec::with_capacity(array.len());
        for element in array.iter() {
            let span = element.span();
            match T::from_toml(element.get_ref()) {
                Ok(value) => match values.iter().find(|first| first.value == value) {
                    Some(first) => reading.error(
                        Problem::new(ProblemKind::Duplicate, span, format!("`{path}` says this twice"))
                            .label("again here")
                            .related(first.span.clone(), "first here")
                            .help("remove one of the two"),
                    ),
                    None => values.push(At { value, span }),
                },
                Err(fault) => {
                    let subject = format!("each of `{path}`");
                    reading.error(faulty::<T>(&subject, span, element.get_ref(), fault));
                }
            }
        }
        if reading.errors.len() > before { Field::Faulty } else { Field::Given(At { value: values, span }) }
    }

    /// Reads a duration within bounds.
    pub(crate) fn duration(
        &self,
        reading: &mut Reading<'_>,
        key: &str,
        bounds: RangeInclusive<Duration>,
    ) -> Field<Duration> {
        let bounds = Span(*bounds.start())..=Span(*bounds.end());
        match self.bounded::<Span>(reading, key, bounds) {
            Field::Given(at) => Field::Given(At { value: at.value.0, span: at.span }),
            Field::Absent => Field::Absent,
            Field::Faulty => Field::Faulty,
        }
    }

    /// Reads a limit, or the word "off" for none.
    pub(crate) fn unless_off<T>(
        &self,
        reading: &mut Reading<'_>,
        key: &str,
        read: impl FnOnce(&mut Reading<'_>) -> Field<T>,
    ) -> Field<Option<T>> {
        if let Some((span, value)) = self.entry(key)
            && value.as_str() == Some("off")
        {
            return Field::Given(At { value: None, span });
        }
        match read(reading) {
            Field::Given(at) => Field::Given(At { value: Some(at.value), span: at.span }),
            Field::Absent => Field::Absent,
            Field::Faulty => Field::Faulty,
        }
    }

    /// Reads a size in bytes within bounds.
    pub(crate) fn size(
        &self,
        reading: &mut Reading<'_>,
        key: &str,
        bounds: RangeInclusive<u64>,
    ) -> Field<u64> {
        match self.bounded::<Size>(reading, key, Size(*bounds.start())..=Size(*bounds.end())) {
            Field::Given(at) => Field::Given(At { value: at.value.0, span: at.span }),
            Field::Absent => Field::Absent,
            Field::Faulty => Field::Faulty,
        }
    }

    /// Reads a value that must lie within bounds.
    pub(crate) fn bounded<T: FromToml + PartialOrd + std::fmt::Display>(
        &self,
        reading: &mut Reading<'_>,
        key: &str,
        bounds: RangeInclusive<T>,
    ) -> Field<T> {
        match self.field::<T>(reading, key) {
            Field::Given(at) if !bounds.contains(&at.value) => {
                let (least, most) = (bounds.start(), bounds.end());
                let (label, limit) = if at.value < *least {
                    (format!("less than {least}"), least)
                } else {
                    (format!("more than {most}"), most)
                };
                reading.error(
                    Problem::new(
                        ProblemKind::OutOfRange,
                        at.span,
                        format!("`{}` must be from {least} to {most}", self.path(key)),
                    )
                    .label(label)
                    .help(format!("the nearest allowed value is {limit}")),
                );
                Field::Faulty
            }
            field => field,
        }
    }

    /// Reads a path, as seen from the configuration file.
    pub(crate) fn path_field(&self, reading: &mut Reading<'_>, key: &str) -> Field<PathBuf> {
        match self.field::<PathBuf>(reading, key) {
            Field::Given(at) => Field::Given(At { value: reading.resolve(&at.value), span: at.span }),
            other => other,
        }
    }

    /// Notes keys that are set although they have no use here.
    pub(crate) fn not_applicable(&self, reading: &mut Reading<'_>, keys: &[&str], why: &str, help: &str) {
        for key in keys {
            debug_assert!(self.schema.keys.contains(key), "{key} is not declared");
            if let Some((name, _)) = self.table.get_key_value(*key) {
                reading.error(
                    Problem::new(
                        ProblemKind::NotApplicable,
                        name.span(),
                        format!("`{}` has no use here", self.path(key)),
                    )
                    .label(why)
                    .help(help),
                );
            }
        }
    }

    /// The section of this kind, or its defaults if the file has none.
    pub(crate) fn section_or_default<T: ReadSection>(&self, reading: &mut Reading<'_>) -> T {
        let section = self.section(reading, T::SCHEMA);
        section.map_or_else(T::default, |section| T::read(reading, &section))
    }

    /// The section of this name, if the file has it.
    pub(crate) fn section(&self, reading: &mut Reading<'_>, schema: SectionSchema) -> Option<Section<'a>> {
        let name = schema.name();
        let (span, value) = self.entry(name)?;
        match value {
            DeValue::Table(table) => Some(Section::new(reading, schema, table, span)),
            DeValue::Array(_) => {
                let problem = Problem::new(
                    ProblemKind::WrongType,
                    span,
                    format!("`{}` can be there only once", schema.header),
                );
                reading.error(
                    problem
                        .label("this makes a list of sections")
                        .help(format!("write it with single brackets: {}", schema.header)),
                );
                None
            }
            other => {
                reading.error(not_a_section(schema, span, other));
                None
            }
        }
    }

    /// All sections of this name, in the order of the file.
    pub(crate) fn sections(&self, reading: &mut Reading<'_>, schema: SectionSchema) -> Vec<Section<'a>> {
        let name = schema.name();
        let Some((span, value)) = self.entry(name) else { return Vec::new() };
        match value {
            DeValue::Array(array) => array
                .iter()
                .filter_map(|element| match element.get_ref() {
                    DeValue::Table(table) => Some(Section::new(reading, schema, table, element.span())),
                    other => {
                        reading.error(not_a_section(schema, element.span(), other));
                        None
                    }
                })
                .collect(),
            DeValue::Table(table) => {
                let problem = Problem::new(
                    ProblemKind::WrongType,
                    span.clone(),
                    format!("`{}` is a list of sections", schema.header),
                );
                reading.error(
                    problem
                        .label("this makes a single section")
                        .help(format!("write it with double brackets: {}", schema.header)),
                );
                // Read on all the same: what it holds may be wrong too.
                vec![Section::new(reading, schema, table, span)]
            }
            other => {
                reading.error(not_a_section(schema, span, other));
                Vec::new()
            }
        }
    }
}

fn not_a_section(schema: SectionSchema, span: Range<usize>, found: &DeValue<'_>) -> Problem {
    Problem::new(ProblemKind::WrongType, span, format!("`{}` must be a section", schema.header))
        .label(format!("this is {}", kind_of(found)))
        .help(format!("write `{}` on a line of its own, and its keys below", schema.header))
}

fn faulty<T: FromToml>(subject: &str, span: Range<usize>, found: &DeValue<'_>, fault: Fault) -> Problem {
    let title = format!("{subject} must be {}", T::expected());
    match fault {
        Fault::Type => {
            Problem::new(ProblemKind::WrongType, span, title).label(format!("this is {}", kind_of(found)))
        }
        Fault::Value { label, help } => {
            let problem = Problem::new(ProblemKind::BadValue, span, title).label(label);
            match help {
                Some(help) => problem.help(help),
                None => problem,
            }
        }
    }
}

/// A word from the file, cut to a length that fits a line.
pub(crate) fn shortened(word: &str) -> String {
    const FITS: usize = 60;
    if word.chars().count() <= FITS {
        word.to_owned()
    } else {
        word.chars().take(FITS).chain(['…']).collect()
    }
}
