//! What a file, and those it was rotated to, hold already of the events to come.
//!
//! The cursor is saved some time after the lines are written. So after a crash the file is ahead of it. The
//! lines behind the cursor are compared with the events as these come: a line that is there, byte for byte,
//! is not written again. Nothing is concluded from an id or a length alone, so a file of another ledger, a
//! copy or a note by hand costs no event.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use ledger::Position;
use lifecycle::{EventId, Node};

use super::rotation::numbered;
use delivery::Outgoing;
use delivery::{EVENT_BEGINS, LONGEST_LINE};

/// Rotated files that are looked at.
const MOST_FILES: u32 = 16;

/// Bytes that are looked at in all files together. A cursor saved in time is never so far behind.
const MOST_BYTES: u64 = 64 << 20;

/// What is known of an event in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventInFile {
    /// The file holds it as it is.
    Same,
    /// The file holds another one under its id.
    Other,
    /// Nothing.
    Missing,
}

/// The lines behind the cursor, oldest first.
#[derive(Debug)]
pub(super) struct ReadBack {
    sections: VecDeque<BufReader<Section>>,
    /// The line that was read last.
    line: Vec<u8>,
    node: Node,
}

/// A stretch of a file, from the beginning of a line.
#[derive(Debug)]
struct Section {
    file: File,
    at: u64,
    end: u64,
}

impl Read for Section {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(into.len());
        let count = self.file.read_at(&mut into[..left], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// Where looking back came to its end.
enum Edge {
    /// Behind a line that the cursor has passed.
    Passed(u64),
    /// At the beginning of the file.
    Beginning,
    /// At the bound.
    Bound(u64),
}

impl ReadBack {
    /// Looks for the lines behind `from` in this file, whole up to `end`, and in the files that it was
    /// rotated to. What is found in those is made durable here.
    ///
    /// # Errors
    /// This file cannot be read. A rotated one that cannot counts as none.
    pub(super) fn look(
        path: &Path,
        file: &File,
        end: u64,
        from: Position,
        node: &Node,
    ) -> io::Result<Option<Self>> {
        let (mut sections, mut bytes) = (VecDeque::new(), MOST_BYTES);
        let mut edge = edge(file, end, from, node, &mut bytes)?;
        sections.push_front(Section { file: file.try_clone()?, at: edge.offset(), end });
        for number in 1..=MOST_FILES {
            if !matches!(edge, Edge::Beginning) {
                break;
            }
            let path = numbered(path, number);
            match older(&path, from, node, &mut bytes) {
                Ok((found, section)) => {
                    edge = found;
                    sections.push_front(section);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::debug!(path = %path.display(), %error, "a rotated file cannot be read back");
                    break;
                }
            }
        }
        sections.retain(|section| section.at < section.end);
        if sections.is_empty() {
            return Ok(None);
        }
        let sections = sections.into_iter().map(BufReader::new).collect();
        Ok(Some(Self { sections, line: Vec::new(), node: node.clone() }))
    }

    /// Whether this event is there, behind the one that was found last. After one that is not, nothing is
    /// left to ask.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn find(&mut self, event: &Outgoing) -> io::Result<EventInFile> {
        let mut found = EventInFile::Missing;
        while let Some(there) = self.next_line()? {
            if there == event.position {
                if self.line.strip_suffix(b"\n") == Some(event.json.as_bytes()) {
                    return Ok(EventInFile::Same);
                }
                found = EventInFile::Other;
            }
        }
        Ok(found)
    }

    /// Reads on to the next line of ours.
    fn next_line(&mut self) -> io::Result<Option<Position>> {
        while let Some(section) = self.sections.front_mut() {
            self.line.clear();
            let read = section.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut self.line)?;
            if read == 0 {
                self.sections.pop_front();
                continue;
            }
            if let Some(there) = position(&self.line, &self.node) {
                return Ok(Some(there));
            }
        }
        Ok(None)
    }
}

impl Edge {
    /// Where the lines behind the cursor begin.
    fn offset(&self) -> u64 {
        match self {
            Self::Passed(offset) | Self::Bound(offset) => *offset,
            Self::Beginning => 0,
        }
    }
}

fn older(path: &Path, from: Position, node: &Node, bytes: &mut u64) -> io::Result<(Edge, Section)> {
    // Opening a pipe would wait for its other end.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let file = File::open(path)?;
    let end = file.metadata()?.len();
    let edge = edge(&file, end, from, node, bytes)?;
    let at = edge.offset();
    if at < end {
        file.sync_data()?;
    }
    Ok((edge, Section { file, at, end }))
}

/// Looks back from `end` for a line that the cursor has passed.
fn edge(file: &File, end: u64, from: Position, node: &Node, bytes: &mut u64) -> io::Result<Edge> {
    let (mut end, mut buffer) = (end, Vec::new());
    while end > 0 {
        let step = LONGEST_LINE.min(end).min(*bytes);
        if step == 0 {
            return Ok(Edge::Bound(end));
        }
        *bytes -= step;
        let start = end - step;
        buffer.resize(usize::try_from(step).unwrap_or(0), 0);
        file.read_exact_at(&mut buffer, start)?;
        let before_last = &buffer[..buffer.len() - 1];
        let first = match before_last.iter().position(|byte| *byte == b'\n') {
            _ if start == 0 => 0,
            Some(line_end) => line_end + 1,
            None => {
                // Part of a line that is longer than any of ours.
                end = start;
                continue;
            }
        };
        let mut rest = &buffer[first..];
        while let Some((_, before)) = rest.split_last() {
            let begin = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |line_end| line_end + 1);
            if position(&rest[begin..], node).is_some_and(|there| there <= from) {
                return Ok(Edge::Passed(start + (first + rest.len()) as u64));
            }
            rest = &rest[..begin];
        }
        end = start + first as u64;
    }
    Ok(Edge::Beginning)
}

/// Which event of this node a line is, if it is whole and one.
fn position(line: &[u8], node: &Node) -> Option<Position> {
    let id = line.strip_suffix(b"\n")?.strip_prefix(EVENT_BEGINS)?;
    let id = id.split(|byte| *byte == b'"').next()?;
    let (whose, id) = EventId::parse(str::from_utf8(id).ok()?).ok()?;
    (whose == *node).then(|| Position::new(id.incarnation, id.sequence))
}
