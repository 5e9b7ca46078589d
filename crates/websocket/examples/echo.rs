//! A small echo server on this crate, for conformance suites: the same opcode and payload back, nothing
//! unsolicited.
//!
//! `cargo run --release -p websocket --example echo -- --listen 127.0.0.1:9001 --max-message 16777216 --max-fragments 65537`

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use websocket::handshake::{Outcome, Policy, SubProtocol, examine};
use websocket::{Connection, Event, Limits, Phase, Role, encode};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut listen = "127.0.0.1:9001".to_owned();
    // The Autobahn suite's longest message comes in 65,536 pieces and an empty last one.
    let mut limits = Limits { max_message: 16 << 20, max_frame: 16 << 20, max_fragments: 65_537 };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{argument} needs a value"))?;
        match argument.as_str() {
            "--listen" => listen = value,
            "--max-message" => {
                limits.max_message = value.parse()?;
                limits.max_frame = limits.max_message;
            }
            "--max-fragments" => limits.max_fragments = value.parse()?,
            _ => return Err(format!("unknown argument {argument}").into()),
        }
    }
    let listener = TcpListener::bind(&listen).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            // A peer that goes away in the middle is no concern of an echo server.
            let _ = serve(stream, limits).await;
        });
    }
}

/// From the first byte of the request to the end of the TCP connection.
async fn serve(mut stream: TcpStream, limits: Limits) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let policy = Policy { sub_protocol: SubProtocol::Any, ..Policy::default() };
    let mut head = Vec::new();
    let mut out = Vec::new();
    let head_len = loop {
        match examine(&head, &policy) {
            Outcome::Incomplete => {}
            Outcome::Accept(accepted) => {
                accepted.write_response(&mut out, &[]);
                break accepted.request.head_len;
            }
            Outcome::Refuse(refused) => {
                refused.refusal.write_response(&mut out);
                return finish(stream, &out).await;
            }
            Outcome::NotUpgrade(_) => {
                out.extend_from_slice(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
                return finish(stream, &out).await;
            }
        }
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    };

    let mut connection = Connection::new(Role::Server, limits);
    echo(&mut connection, &mut head[head_len..], &mut out);
    let mut scratch = vec![0; 64 * 1024];
    loop {
        if !out.is_empty() {
            stream.write_all(&out).await?;
            out.clear();
        }
        if connection.phase() == Phase::Done {
            return finish(stream, &[]).await;
        }
        let count = stream.read(&mut scratch).await?;
        if count == 0 {
            return Ok(());
        }
        echo(&mut connection, &mut scratch[..count], &mut out);
    }
}

/// Answers everything in `input`.
fn echo(connection: &mut Connection, input: &mut [u8], out: &mut Vec<u8>) {
    let mut at = 0;
    while at < input.len() {
        match connection.receive(&mut input[at..]) {
            Ok(received) => {
                at += received.consumed;
                match received.event {
                    Some(Event::Message(message)) => encode::message(message.kind, &message.data, out),
                    Some(Event::Ping(payload)) => encode::pong(&payload, out),
                    Some(Event::Close(_)) => {
                        let _ = connection.answer_close(out);
                    }
                    Some(Event::Pong(_)) | None => {}
                }
            }
            Err(error) => {
                let _ = connection.close(error.close_code(), error.reason(), out);
                return;
            }
        }
    }
}

/// Writes the last bytes and ends our half; then reads the peer's rest away, so that no reset overtakes what
/// was written.
async fn finish(mut stream: TcpStream, last: &[u8]) -> io::Result<()> {
    stream.write_all(last).await?;
    stream.shutdown().await?;
    let mut rest = [0; 4096];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}
