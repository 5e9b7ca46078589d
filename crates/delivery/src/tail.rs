//! The end of a file that a crash may have left in the middle of a line.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// How every event of ours begins, up to its id.
pub const EVENT_BEGINS: &[u8] = br#"{"specversion":"1.0","id":""#;

/// How every event of ours begins, and every dead letter.
const OURS: [&[u8]; 2] = [EVENT_BEGINS, br#"{"sink":""#];

/// A line of ours is never longer.
pub const LONGEST_LINE: u64 = 1 << 20;

/// Makes the file of this length end at the end of a line; gives its length then. A torn line of ours is cut:
/// its event is delivered again. Anything else is not ours to cut, and gets a line end.
pub fn mend_end(mut file: &File, length: u64) -> io::Result<u64> {
    let start = length.saturating_sub(LONGEST_LINE);
    let mut last = [0];
    if length == 0 || (file.read_exact_at(&mut last, length - 1).is_ok() && last == *b"\n") {
        return Ok(length);
    }
    let mut tail = vec![0; usize::try_from(length - start).unwrap_or(0)];
    file.read_exact_at(&mut tail, start)?;
    let line = match tail.iter().rposition(|byte| *byte == b'\n') {
        Some(end) => Some(end + 1),
        None if start == 0 => Some(0),
        None => None,
    };
    let ours = line.filter(|line| {
        let torn = &tail[*line..];
        let begins = |ours: &&[u8]| torn.iter().zip(ours.iter()).all(|(one, other)| one == other);
        // A loss of power may leave zeros where data was to come.
        OURS.iter().any(begins) || torn.iter().all(|byte| *byte == 0)
    });
    match ours {
        Some(line) => {
            let length = start + line as u64;
            file.set_len(length)?;
            Ok(length)
        }
        None => {
            file.write_all(b"\n")?;
            Ok(length + 1)
        }
    }
}

/// Makes a file of this length, that another process wrote to, end at the end of a line; gives its length
/// then. Nothing is cut.
pub fn end_line(mut file: &File, length: u64) -> io::Result<u64> {
    let mut last = [b'\n'];
    if length > 0 {
        file.read_exact_at(&mut last, length - 1)?;
    }
    if last == *b"\n" {
        return Ok(length);
    }
    file.write_all(b"\n")?;
    Ok(length + 1)
}

/// Makes the name of a new file durable: syncs the folder that it is in.
///
/// # Errors
/// The folder cannot be opened or synced.
pub fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn mended(content: &[u8]) -> Vec<u8> {
        let path = std::env::temp_dir().join(format!(
            "sinks-tail-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        std::fs::write(&path, content).unwrap();
        let file = File::options().append(true).read(true).open(&path).unwrap();
        let length = mend_end(&file, content.len() as u64).unwrap();
        let mut left = Vec::new();
        File::open(&path).unwrap().read_to_end(&mut left).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(left.len() as u64, length);
        left
    }

    #[test]
    fn a_torn_line_of_ours_is_cut_wherever_it_was_torn() {
        let whole = b"{\"specversion\":\"1.0\",\"id\":\"e.1.1\"}\n";
        let next = br#"{"specversion":"1.0","id":"e.1.2","source":"x"}"#;
        for torn in 0..=next.len() {
            let content = [whole, &next[..torn]].concat();
            assert_eq!(mended(&content), whole);
            assert_eq!(mended(&next[..torn]), b"");
        }
        assert_eq!(mended(&[whole.as_slice(), &[0; 40]].concat()), whole);
    }

    #[test]
    fn what_is_not_ours_is_kept() {
        assert_eq!(mended(b"precious"), b"precious\n");
        assert_eq!(mended(b"{\"other\":1}"), b"{\"other\":1}\n");
        let long = vec![b'{'; (LONGEST_LINE + 5) as usize];
        assert_eq!(mended(&long).len(), long.len() + 1);
    }
}
