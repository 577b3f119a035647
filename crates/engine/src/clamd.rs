//! A ClamAV daemon beside us, asked over its socket with `INSTREAM`.
//!
//! Protocol: clamd(8), "COMMANDS", <https://docs.clamav.net/manual/Usage/Scanning.html#clamd>.

mod address;
mod connection;

use std::time::{Duration, Instant};

pub use address::{ClamdAddress, ClamdAddressError};
use connection::{Connection, Sent};

/// How to ask clamd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClamdConfig {
    pub address: ClamdAddress,
    /// Larger objects are not sent, in bytes. clamd has a limit of its own, `StreamMaxLength`.
    pub max_bytes: u64,
    /// What becomes of an object that clamd did not see for its size.
    pub oversize: Oversize,
}

/// What becomes of an object that clamd did not see for its size. Our own engines saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Oversize {
    /// A note in the coverage.
    #[default]
    Note,
    /// The object counts as unexamined.
    Unexamined,
}

/// A clamd that is asked object by object, each on a connection of its own.
#[derive(Clone, Debug)]
pub(crate) struct Clamd {
    config: ClamdConfig,
    patience: Patience,
}

/// clamd's word on one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Clean,
    /// The signature, as clamd names it.
    Found(String),
    /// Over our maximum or over clamd's: not examined by it.
    TooLarge,
    /// No verdict, and why; a retry may cure it.
    Unavailable(String),
}

/// How long clamd may take.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// For one address to accept.
    connect: Duration,
    /// From then on for everything.
    answer: Duration,
}

/// A little over the 120 s that clamd gives a scan by default (`MaxScanTime`).
const PATIENCE: Patience = Patience { connect: Duration::from_secs(2), answer: Duration::from_secs(130) };
const PATIENCE_FOR_PING: Duration = Duration::from_secs(5);

impl Clamd {
    pub(crate) fn new(config: ClamdConfig) -> Self {
        Self { config, patience: PATIENCE }
    }

    /// Sends the object and waits for the verdict: at most 2 s to connect and 130 s from there.
    pub(crate) fn scan(&self, object: &[u8]) -> Answer {
        let too_large = u64::try_from(object.len()).map_or(true, |bytes| bytes > self.config.max_bytes);
        if too_large {
            return Answer::TooLarge;
        }
        match self.ask(|connection| connection.send_stream(object), self.patience.answer) {
            Ok(reply) => parse_verdict(&reply),
            Err(reason) => Answer::Unavailable(reason),
        }
    }

    /// Whether clamd answers at all.
    pub(crate) fn ping(&self) -> Result<(), String> {
        let reply = self.ask(|connection| connection.send(b"zPING\0"), self.patience.answer.min(PATIENCE_FOR_PING))?;
        if reply == "PONG" { Ok(()) } else { Err(format!("clamd at {} answered a ping with {reply:?}", self.config.address)) }
    }

    fn ask(&self, send: impl FnOnce(&mut Connection) -> std::io::Result<Sent>, answer: Duration) -> Result<String, String> {
        let address = &self.config.address;
        let connected = Connection::open(address, self.patience.connect, |accepted: Instant| accepted + answer);
        let mut connection = connected.map_err(|error| format!("clamd at {address} cannot be reached: {error}"))?;
        let sent = send(&mut connection);
        let reply = connection.read_reply();
        match (sent, reply) {
            (Ok(Sent::Whole), Ok(reply)) => Ok(reply),
            // clamd answers and closes in the middle of a stream that is over its limit, so that a failed write may have an answer.
            (Ok(Sent::Interrupted) | Err(_), Ok(reply)) if is_refusal(&reply) => Ok(reply),
            (Ok(Sent::Interrupted), Ok(reply)) => Err(format!("clamd at {address} answered {reply:?} before it had the object")),
            (Ok(Sent::Whole | Sent::Interrupted), Err(error)) => Err(format!("clamd at {address} gave no answer: {error}")),
            (Err(error), _) => Err(format!("clamd at {address} did not take the object: {error}")),
        }
    }
}

/// An answer that may come before clamd has the whole object.
fn is_refusal(reply: &str) -> bool {
    reply.ends_with(" ERROR")
}

fn parse_verdict(reply: &str) -> Answer {
    if reply.ends_with("size limit exceeded. ERROR") {
        return Answer::TooLarge;
    }
    let Some(verdict) = reply.strip_prefix("stream: ") else { return Answer::Unavailable(format!("clamd answered {reply:?}")) };
    if verdict == "OK" {
        return Answer::Clean;
    }
    match verdict.strip_suffix(" FOUND") {
        Some(signature) if !signature.is_empty() => Answer::Found(signature.to_owned()),
        Some(_) | None => Answer::Unavailable(format!("clamd answered {reply:?}")),
    }
}

#[cfg(test)]
mod tests;
