//! Ranks final responses, of which the best goes upstream (RFC 3261 §16.7 step 6).

use crate::context::Invite;

/// Sorts final responses that are no 2xx: the lower, the better. A 6xx is the callee's last word; within a
/// class, what the caller can act on comes first. A 408 may answer an INVITE alone (RFC 4320 §4.2): to other
/// requests anything else that a branch has to say is better than nothing.
pub(crate) const fn rank(status: u16, invite: Invite) -> u16 {
    match status {
        408 if matches!(invite, Invite::No) => 600,
        600..=699 => 0,
        300..=399 => 100,
        401 | 407 | 415 | 420 | 484 => 200,
        // A callee's own word outweighs what we say of a branch that is gone or silent.
        408 | 430 | 480 => 260,
        400..=499 => 250,
        503 => 501,
        _ => 500,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_6xx_wins_then_the_lowest_class_then_what_can_be_acted_on() {
        let mut statuses = [503, 486, 603, 408, 302, 401, 500];
        statuses.sort_by_key(|&status| rank(status, Invite::Yes));
        assert_eq!(statuses, [603, 302, 401, 486, 408, 500, 503]);
        statuses.sort_by_key(|&status| rank(status, Invite::No));
        assert_eq!(statuses, [603, 302, 401, 486, 500, 503, 408]);
    }
}
