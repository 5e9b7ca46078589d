//! What an error of PostgreSQL means for the events that were given to it, and what mends it.

use tokio_postgres::Error;

use delivery::{Failure, FailureKind, causes};

/// The failure, with the server's words, its SQLSTATE and the mend where one is known.
pub(super) fn failure(doing: &str, error: &Error) -> Failure {
    let Some(told) = error.as_db_error() else {
        return Failure::new(FailureKind::Transient, format!("cannot {doing}: {}", causes(error)));
    };
    let code = told.code().code();
    let mut text = format!("cannot {doing}: {} (SQLSTATE {code})", told.message());
    if let Some(mend) = mend(code) {
        text = format!("{text}. {mend}");
    }
    let text = lifecycle::Text::<400>::new(text).as_str().to_owned();
    Failure::new(nature(code), text)
}

/// By its class (PostgreSQL, appendix A): data that cannot be stored (22) or breaks a rule (23) is the
/// event's fault, and so are limits (54). Everything else lies with the server or those who run it, and may
/// be mended.
fn nature(code: &str) -> FailureKind {
    match code.get(..2) {
        Some("22" | "23" | "54") => FailureKind::Refused,
        _ => FailureKind::Transient,
    }
}

fn mend(code: &str) -> Option<&'static str> {
    Some(match code {
        "28P01" | "28000" => "Check `url`, the password and the server's pg_hba.conf",
        "3D000" => "Create the database, or correct `url`",
        "42501" => "`sipway schema` prints what an administrator runs once, and the rights that are needed",
        "42P01" | "42703" | "42P10" | "3F000" => {
            "The schema is not as it should be: `sipway schema` prints what it must hold"
        }
        "25006" => "The server is read-only: let `url` lead to the primary",
        "53300" => "The server has no connection left: raise max_connections or free some",
        "53100" => "The server's disk is full",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_event_is_to_blame_for_refuses_it() {
        for code in ["22P05", "22P02", "22021", "23505", "54000"] {
            assert_eq!(nature(code), FailureKind::Refused, "{code}");
        }
        for code in [
            "40001", "40P01", "57P01", "57P03", "53300", "28P01", "42501", "08006", "25006", "57014",
            "55P03", "",
        ] {
            assert_eq!(nature(code), FailureKind::Transient, "{code}");
        }
    }
}
