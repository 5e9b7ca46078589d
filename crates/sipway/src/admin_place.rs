//! Which running server a command asks, over its admin API.

use std::{env, net::IpAddr, path::PathBuf};

use clap::Args;
use config::{AdminToken, Config, Machine};
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::{net::TcpStream, runtime::Runtime};

use crate::outcome::Outcome;

/// Where `sipway dev` serves the admin API unless told otherwise.
const DEV: &str = "127.0.0.1:8080";

/// The variable with the token for `--admin`.
const TOKEN: &str = "SIPWAY_ADMIN_TOKEN";

/// Bytes of an answer that are read at most.
const MOST: usize = 64 << 20;

/// Where the admin API is.
#[derive(Debug, Args)]
pub(crate) struct AdminPlace {
    /// The admin API's address, such as http://127.0.0.1:8090 [default: that of `sipway dev`]. If it asks for
    /// a token, it is taken from the environment variable SIPWAY_ADMIN_TOKEN
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    admin: Option<String>,
    /// The configuration file that names its address in [admin]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The admin API of one server.
pub(crate) struct Admin {
    /// Host and port.
    authority: String,
    token: Option<AdminToken>,
    runtime: Runtime,
}

impl AdminPlace {
    /// At this URL, or where this configuration says; by default where `sipway dev` is.
    pub(crate) fn at(admin: Option<String>, config: Option<PathBuf>) -> Self {
        Self { admin, config }
    }

    /// Finds out where to ask; asks nothing yet.
    pub(crate) fn find(&self) -> Result<Admin, Outcome> {
        let (authority, token) = match (&self.admin, &self.config) {
            (Some(url), _) => (authority(url)?, token_of_environment()?),
            (None, Some(file)) => {
                let config = Config::load(file, &Machine).map_err(Outcome::Misconfigured)?;
                let place = file.display();
                let Some(admin) = config.admin else {
                    return Err(Outcome::failed(format!(
                        "{place} has no [admin] section, so its server cannot be asked: add one and restart the server"
                    )));
                };
                if admin.bind.port() == 0 {
                    return Err(Outcome::failed(format!(
                        "{place} lets the admin API take a free port: give the address that the server's log names with --admin"
                    )));
                }
                let mut address = admin.bind;
                if address.ip().is_unspecified() {
                    let localhost = match address.ip() {
                        IpAddr::V4(_) => IpAddr::from([127, 0, 0, 1]),
                        IpAddr::V6(_) => IpAddr::from(std::net::Ipv6Addr::LOCALHOST),
                    };
                    address.set_ip(localhost);
                }
                (address.to_string(), admin.token)
            }
            (None, None) => (DEV.to_owned(), token_of_environment()?),
        };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Outcome::failed)?;
        Ok(Admin { authority, token, runtime })
    }
}

/// Host and port of a URL.
fn authority(url: &str) -> Result<String, Outcome> {
    let wrong = || Outcome::failed(format!("--admin {url}: give an address such as http://127.0.0.1:8090"));
    if url.starts_with("https://") {
        return Err(Outcome::failed(format!(
            "--admin {url}: the admin API speaks plain HTTP; reach it on its own machine, or through a tunnel"
        )));
    }
    let rest = url.strip_prefix("http://").unwrap_or(url);
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.is_empty() || authority.contains(['/', '?', '#', '@', ' ']) {
        return Err(wrong());
    }
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Ok(if has_port { authority.to_owned() } else { format!("{authority}:80") })
}

fn token_of_environment() -> Result<Option<AdminToken>, Outcome> {
    let Ok(text) = env::var(TOKEN) else { return Ok(None) };
    let token = AdminToken::new(&text);
    token.map(Some).ok_or_else(|| {
        Outcome::failed(format!("{TOKEN} holds no admin token: at least 16 characters, all of them visible"))
    })
}

impl Admin {
    /// Asks once, and gives what the server answered; nothing for an empty answer.
    pub(crate) fn ask(&self, method: &str, path: &str) -> Result<Value, Outcome> {
        self.runtime.block_on(self.exchange(method, path))
    }

    async fn exchange(&self, method: &str, path: &str) -> Result<Value, Outcome> {
        let place = format!("http://{}", self.authority);
        let stream = TcpStream::connect(&self.authority).await.map_err(|error| {
            Outcome::failed(format!(
                "nothing answers at {place} ({error}): is the server running? Another is named with --admin, or --config FILE"
            ))
        })?;
        let broken =
            |error: hyper::Error| Outcome::failed(format!("{place} broke the connection off: {error}"));
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, &self.authority);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.expose()));
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(Outcome::failed)?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = http_body_util::Limited::new(response.into_body(), MOST).collect().await;
        let body = body.map_err(|error| Outcome::failed(format!("{place} broke its answer off: {error}")))?;
        let body = body.to_bytes();
        let answer = serde_json::from_slice(&body).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(answer);
        }
        Err(match answer["error"].as_str() {
            Some(error) => Outcome::failed(error),
            None => Outcome::failed(format!("{place} answers {status}: is this Sipway's admin API?")),
        })
    }
}

/// What stands for itself in a URL is all else (RFC 3986 §2.3).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A value as it may stand in a URL.
pub(crate) fn encoded(value: &str) -> String {
    utf8_percent_encode(value, ESCAPED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (url, wanted) in [
            ("http://127.0.0.1:8090", Some("127.0.0.1:8090")),
            ("http://edge1/", Some("edge1:80")),
            ("[::1]:8090", Some("[::1]:8090")),
            ("https://edge1", None),
            ("http://edge1/api", None),
            ("", None),
        ] {
            assert_eq!(authority(url).ok().as_deref(), wanted, "{url}");
        }
    }

    #[test]
    fn values_in_urls() {
        assert_eq!(encoded("a b@é"), "a%20b%40%C3%A9");
    }
}
