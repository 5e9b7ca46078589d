//! Moving a full or old file away: FILE becomes FILE.1, that FILE.2, and so on; the oldest goes.
//!
//! Each step is one rename, the highest number first. A crash between two leaves a number free, and the next
//! rotation moves only what is below it: no file is ever put in the place of another but the one that is to
//! go.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use config::Rotation;

/// Whether a file of this length, begun then, is to be moved away before so many bytes are added.
pub(super) fn is_due(
    rotation: Rotation,
    length: u64,
    begun: SystemTime,
    adding: u64,
    now: SystemTime,
) -> bool {
    let full = rotation.size.is_some_and(|size| length + adding > size);
    let old = rotation.every.is_some_and(|every| now.duration_since(begun).is_ok_and(|age| age >= every));
    length > 0 && (full || old)
}

/// The renames that make room for a new file, in order.
pub(super) fn steps(path: &Path, keep: u32) -> Vec<(PathBuf, PathBuf)> {
    let free = (1..=keep).find(|number| !numbered(path, *number).exists()).unwrap_or(keep);
    let older = (1..free).rev().map(|number| (numbered(path, number), numbered(path, number + 1)));
    older.chain([(path.to_owned(), numbered(path, 1))]).collect()
}

/// The name of the file that was moved away so many rotations ago.
pub(super) fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;
    use std::time::Duration;

    #[test]
    fn by_size_or_by_age_but_never_an_empty_file() {
        let begun = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let after = |seconds| begun + Duration::from_secs(seconds);
        let keep = NonZeroU32::MIN;
        let size = Rotation { size: Some(100), every: None, keep };
        let every = Rotation { size: None, every: Some(Duration::from_secs(60)), keep };
        assert!(!is_due(size, 90, begun, 10, after(9999)));
        assert!(is_due(size, 90, begun, 11, begun));
        assert!(!is_due(size, 0, begun, 1000, begun));
        assert!(!is_due(every, 90, begun, 1000, after(59)));
        assert!(is_due(every, 90, begun, 1, after(60)));
        // A clock that was set back is no reason.
        assert!(!is_due(every, 90, begun, 1, SystemTime::UNIX_EPOCH));
    }

    /// A process that dies after any number of steps: the next rotation begins anew, and only the oldest file
    /// goes.
    #[test]
    fn a_crash_between_any_two_steps_loses_no_file() {
        const KEEP: u32 = 4;
        let folder = std::env::temp_dir().join(format!("sinks-rotation-{}", std::process::id()));
        for there in 0..=KEEP {
            for dies_after in 0..=there + 1 {
                let _ = std::fs::remove_dir_all(&folder);
                std::fs::create_dir_all(&folder).unwrap();
                let path = folder.join("events");
                std::fs::write(&path, "0").unwrap();
                for number in 1..=there {
                    std::fs::write(numbered(&path, number), number.to_string()).unwrap();
                }
                let rename = |(from, to): &(PathBuf, PathBuf)| std::fs::rename(from, to).unwrap();
                steps(&path, KEEP).iter().take(dies_after as usize).for_each(rename);
                if path.exists() {
                    steps(&path, KEEP).iter().for_each(rename);
                }
                assert!(!path.exists());
                let left =
                    (1..=KEEP + 1).filter_map(|number| std::fs::read_to_string(numbered(&path, number)).ok());
                let left: Vec<String> = left.collect();
                let expected: Vec<String> =
                    (0..=there.min(KEEP - 1)).map(|number| number.to_string()).collect();
                assert_eq!(left, expected, "{there} were there, it died after {dies_after} steps");
            }
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
