//! What Redis says when it does not do what it is asked, and what to do then.

use redis::{ErrorKind, RedisError};

use delivery::{Failure, FailureKind};

/// Whether there is no such stream, which is no trouble: it is made by the first entry.
pub(super) fn is_no_such_key(error: &RedisError) -> bool {
    error.detail().is_some_and(|detail| detail.contains("no such key"))
}

/// All of them pass: whatever is wrong with the server or between us, the events are good.
pub(super) fn failure(what: &str, error: &RedisError) -> Failure {
    let said = error.to_string();
    let text = match mend(error.code(), &said) {
        Some(mend) => format!("{what}: {said}. {mend}"),
        None if error.kind() == ErrorKind::AuthenticationFailed => {
            format!("{what}: {said}. Set the right `user` and password, or leave them out")
        }
        None => format!("{what}: {said}"),
    };
    Failure::new(FailureKind::Transient, lifecycle::Text::<300>::new(text).as_str())
}

/// What an operator can do about an error of this code.
fn mend(code: Option<&str>, said: &str) -> Option<&'static str> {
    Some(match code? {
        "LOADING" => "It is reading its data after a start; wait",
        "READONLY" => "This is a replica: name the master in `url`",
        "MASTERDOWN" => "This replica has lost its master: name the master in `url`",
        "NOAUTH" => "It wants a password: set `password_env` or `password_file`",
        "WRONGPASS" => "Set the right `user` and password, or leave them out",
        "NOPERM" => "Allow this user XADD, XINFO, XRANGE, MULTI, EXEC and PING on the key",
        "WRONGTYPE" => "The key holds something else than a stream: set another `key`",
        "MISCONF" => "It cannot save to its disk; see its log",
        "MOVED" | "CROSSSLOT" | "CLUSTERDOWN" => "A Redis Cluster is not supported: use a server of its own",
        "OOM" => FULL,
        "EXECABORT" if said.contains("OOM") => FULL,
        _ => return None,
    })
}

const FULL: &str = "It is full: raise its `maxmemory`, or set `max_len` here to keep the stream short";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_operator_can_mend_is_said() {
        for (code, word) in
            [("LOADING", "wait"), ("OOM", "maxmemory"), ("READONLY", "master"), ("NOAUTH", "password_env")]
        {
            assert!(mend(Some(code), "").unwrap().contains(word), "{code}");
        }
        assert_eq!(mend(Some("EXECABORT"), "discarded because of: OOM command not allowed"), Some(FULL));
        assert_eq!((mend(Some("ERR"), ""), mend(None, "")), (None, None));
    }
}
