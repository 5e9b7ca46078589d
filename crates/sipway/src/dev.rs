//! `sipway dev`: everything on this machine, without configuration.

use std::{env, net::SocketAddr, path::PathBuf};

use config::{Config, DevPorts, Listener, LogFormat};

use crate::{
    command::Dev,
    logs,
    outcome::Outcome,
    serve::{self, OutputMode},
    speech::complain,
};

pub(crate) fn run(dev: Dev) -> Outcome {
    logs::start_at(&dev.log, LogFormat::Text);
    let exposed = exposed(&dev);
    if !exposed.is_empty() && !dev.expose {
        let lines = exposed
            .iter()
            .map(|(flag, address, opened)| format!("other machines reach {flag} {address}: {opened}"));
        return Outcome::failed(format!(
            "{}\n`dev` asks nobody for a password. If that is wanted, add --expose; for anything else write a configuration: sipway init",
            lines.collect::<Vec<_>>().join("\n")
        ));
    }
    for (flag, address, opened) in exposed {
        complain!("warning: {flag} {address} is open to other machines, without any password: {opened}");
    }
    let mut config = Config::dev(DevPorts::default());
    config.admin = None;
    // What the usual hard limit of descriptors carries; nobody wants a warning about more on a laptop.
    config.limits.max_flows = 15_000;
    for listener in &mut config.listeners {
        let bind = match listener.transport {
            config::Transport::Ws(_) => dev.ws,
            config::Transport::Wss(..) => dev.wss,
            config::Transport::Udp => dev.udp,
            config::Transport::Tcp | config::Transport::Tls(_) => dev.tcp,
        };
        *listener = Listener::new(listener.name.clone(), listener.transport.clone(), bind);
    }
    config.ledger.directory = match dev.ledger.map_or_else(ledger_directory, Ok) {
        Ok(directory) => directory,
        Err(why) => return Outcome::failed(why),
    };
    serve::serve(config, if dev.json { OutputMode::Json } else { OutputMode::People }, None)
}

/// What every client that reaches a listener of `dev` can do.
const OPENED: &str = "everybody there can register any name, get the calls of that name and call others";

/// The same, where pages are served.
const OPENED_WITH_API: &str = "everybody there can register any name, get the calls of that name and call others, and use the admin API: see who is \
    connected, read all events, close connections";

/// The listeners that other machines reach, with their flags, and what is open there.
fn exposed(dev: &Dev) -> Vec<(&'static str, SocketAddr, &'static str)> {
    let all = [
        ("--ws", dev.ws, OPENED_WITH_API),
        ("--wss", dev.wss, OPENED_WITH_API),
        ("--udp", dev.udp, OPENED),
        ("--tcp", dev.tcp, OPENED),
    ];
    all.into_iter().filter(|(_, address, _)| !address.ip().to_canonical().is_loopback()).collect()
}

/// Where `sipway dev` keeps its ledger unless told otherwise.
pub(crate) fn ledger_directory() -> Result<PathBuf, &'static str> {
    let state = env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let state = state
        .or_else(home)
        .ok_or("there is no home directory to keep the ledger in; choose one with --ledger")?;
    Ok(state.join("sipway/dev"))
}
