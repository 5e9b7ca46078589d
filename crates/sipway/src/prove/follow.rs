//! A file that another process writes lines to, read as it grows.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use prove::{Feed, now_micros};

/// How often it is looked at; so much later than it was written a line may be read.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Bytes read at once.
const ENOUGH: u64 = 1 << 20;

/// Where reading begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    Beginning,
    End,
}

/// Follows until it is dropped.
pub(super) struct Follower(Arc<AtomicBool>);

impl Follower {
    /// Puts each whole line into the feed. A file that is not there yet is waited for; one that was moved
    /// away is read to its end before the new one of its name is.
    pub(super) fn start(path: &Path, from: From, feed: &Feed) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (path, feed, told) = (path.to_owned(), feed.clone(), Arc::clone(&over));
        thread::spawn(move || {
            let mut reading = Reading { open: None, path };
            if from == From::End {
                reading.skip();
            }
            while !told.load(Ordering::Relaxed) {
                // What cannot be read now may be there at the next look.
                if !matches!(reading.look(&feed), Ok(More::Yes)) {
                    thread::sleep(LOOK_EVERY);
                }
            }
        });
        Self(over)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[derive(PartialEq, Eq)]
enum More {
    Yes,
    No,
}

struct Open {
    file: File,
    inode: u64,
    /// Behind the last whole line. Half a line is read again: its writer may yet cut it.
    at: u64,
}

struct Reading {
    open: Option<Open>,
    path: PathBuf,
}

impl Reading {
    fn skip(&mut self) {
        if let Ok(file) = File::open(&self.path)
            && let Ok(about) = file.metadata()
        {
            self.open = Some(Open { file, inode: about.ino(), at: about.len() });
        }
    }

    fn look(&mut self, feed: &Feed) -> io::Result<More> {
        let named = std::fs::metadata(&self.path);
        if let Some(open) = &mut self.open {
            if open.read(feed)? == More::Yes {
                return Ok(More::Yes);
            }
            if named.as_ref().is_ok_and(|named| named.ino() == open.inode) {
                return Ok(More::No);
            }
        }
        let inode = named?.ino();
        // What was written to the old one before it was moved has just been read.
        self.open = Some(Open { file: File::open(&self.path)?, inode, at: 0 });
        Ok(More::Yes)
    }
}

impl Open {
    fn read(&mut self, feed: &Feed) -> io::Result<More> {
        if self.file.metadata()?.len() <= self.at {
            return Ok(More::No);
        }
        self.file.seek(SeekFrom::Start(self.at))?;
        let mut bytes = Vec::new();
        (&self.file).take(ENOUGH).read_to_end(&mut bytes)?;
        let read_at = now_micros();
        let Some(whole) = bytes.iter().rposition(|&byte| byte == b'\n') else { return Ok(More::No) };
        feed.lines(&String::from_utf8_lossy(&bytes[..=whole]), read_at);
        self.at += whole as u64 + 1;
        Ok(More::Yes)
    }
}

/// Reads standard input to its end.
pub(super) fn standard_input(feed: &Feed) {
    let feed = feed.clone();
    thread::spawn(move || io::stdin().lines().map_while(Result::ok).for_each(|line| feed.line(&line)));
}
