//! `sipway bans`: the addresses that a running server has banned, and the users that it has hindered.

use std::time::Duration;

use crate::{
    admin_place::{Admin, encoded},
    command::{Bans, BansOrder},
    flows::span,
    outcome::Outcome,
    speech::say,
};

pub(crate) fn run(bans: &Bans) -> Outcome {
    let done = match &bans.order {
        BansOrder::List { place } => place.find().and_then(|admin| list(&admin)),
        BansOrder::Users { place } => place.find().and_then(|admin| users(&admin)),
        BansOrder::Lift { place, address } => place.find().and_then(|admin| lift(&admin, address)),
    };
    done.err().unwrap_or(Outcome::Done)
}

fn list(admin: &Admin) -> Result<(), Outcome> {
    let bans = admin.ask("GET", "/api/bans")?;
    let bans = bans.as_array().map(Vec::as_slice).unwrap_or_default();
    if bans.is_empty() {
        say!("nobody is banned");
        return Ok(());
    }
    say!("{:<40}  {:<10}  {:<11}  {:>8}  TURNED AWAY", "ADDRESS", "COMES BY", "FOR", "STILL");
    for ban in bans {
        let text = |key: &str| ban[key].as_str().unwrap_or("-").to_owned();
        let left = span(Duration::from_secs(ban["seconds_left"].as_u64().unwrap_or_default()));
        let (address, by, offence) = (text("address"), text("by"), text("offence"));
        say!("{address:<40}  {by:<10}  {offence:<11}  {left:>8}  {}", ban["turned_away"]);
    }
    Ok(())
}

fn users(admin: &Admin) -> Result<(), Outcome> {
    let hindered = admin.ask("GET", "/api/hindered")?;
    let hindered = hindered.as_array().map(Vec::as_slice).unwrap_or_default();
    if hindered.is_empty() {
        say!("no user took more than it may within the last hour");
        return Ok(());
    }
    say!("{:<12}  {:>9}  {:>8}  USER", "LIMIT", "TIMES", "LAST");
    for user in hindered {
        let text = |key: &str| user[key].as_str().unwrap_or("-").to_owned();
        let ago = span(Duration::from_secs(user["seconds_ago"].as_u64().unwrap_or_default()));
        // Unauthenticated clients choose names.
        let name = text("user").escape_debug().to_string();
        say!("{:<12}  {:>9}  {ago:>8}  {name}", text("limit"), user["times"]);
    }
    Ok(())
}

fn lift(admin: &Admin, address: &str) -> Result<(), Outcome> {
    let lifted = admin.ask("DELETE", &format!("/api/bans/{}", encoded(address)))?;
    for ban in lifted.as_array().map(Vec::as_slice).unwrap_or_default() {
        let text = |key: &str| ban[key].as_str().unwrap_or("-");
        say!("{} may come again ({}s)", text("address"), text("by"));
    }
    Ok(())
}
