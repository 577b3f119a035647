//! A ClamAV daemon beside us, asked over its socket with `INSTREAM`.
//!
//! Protocol: clamd(8), "COMMANDS", <https://docs.clamav.net/manual/Usage/Scanning.html#clamd>.

mod address;
mod connection;

use std::{
    io::{self, Read},
    time::{Duration, Instant},
};

pub use address::{ClamdAddress, ClamdAddressError};
use connection::{Connection, Sent};
use serde::{Deserialize, Serialize};

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Oversize {
    /// A note in the coverage.
    #[default]
    Note,
    /// The object counts as unexamined.
    Unexamined,
}

/// Who asks clamd about one object: this process by its socket, or, where no socket may be opened, another one for it.
pub trait AskClamd: Send + Sync {
    /// clamd's word on `object`, which has a size that is to be asked for.
    fn ask(&self, object: &[u8]) -> ClamdAnswer;
}

/// A clamd that is asked object by object, each on a connection of its own.
#[derive(Clone, Debug)]
pub struct Clamd {
    config: ClamdConfig,
    patience: Patience,
}

/// clamd's word on one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClamdAnswer {
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
    /// Nothing is connected before the first question.
    pub fn new(config: ClamdConfig) -> Self {
        Self { config, patience: PATIENCE }
    }

    /// Sends `length` bytes of `object` and waits for the verdict: at most 2 s to connect and 130 s from there. An object that ends
    /// early has no answer.
    pub fn scan(&self, object: &mut dyn Read, length: u64) -> ClamdAnswer {
        if length > self.config.max_bytes {
            return ClamdAnswer::TooLarge;
        }
        match self.converse(|connection| connection.send_stream(object, length), self.patience.answer) {
            Ok(reply) => parse_verdict(&reply),
            Err(reason) => ClamdAnswer::Unavailable(reason),
        }
    }

    /// Whether clamd answers at all.
    ///
    /// # Errors
    /// What keeps it from answering.
    pub fn ping(&self) -> Result<(), String> {
        let reply = self.converse(|connection| connection.send(b"zPING\0"), self.patience.answer.min(PATIENCE_FOR_PING))?;
        if reply == "PONG" { Ok(()) } else { Err(format!("clamd at {} answered a ping with {reply:?}", self.config.address)) }
    }

    fn converse(&self, send: impl FnOnce(&mut Connection) -> io::Result<Sent>, answer: Duration) -> Result<String, String> {
        let address = &self.config.address;
        let connected = Connection::open(address, self.patience.connect, |accepted: Instant| accepted + answer);
        let mut connection = connected.map_err(|error| format!("clamd at {address} cannot be reached: {error}"))?;
        let sent = send(&mut connection);
        if matches!(sent, Ok(Sent::Cut)) {
            return Err("the object broke off on its way to clamd".to_owned());
        }
        let reply = connection.read_reply();
        match (sent, reply) {
            (Ok(Sent::Whole), Ok(reply)) => Ok(reply),
            // clamd answers and closes in the middle of a stream that is over its limit, so that a failed write may have an answer.
            (Ok(Sent::Interrupted | Sent::Cut) | Err(_), Ok(reply)) if is_refusal(&reply) => Ok(reply),
            (Ok(Sent::Interrupted | Sent::Cut), Ok(reply)) => {
                Err(format!("clamd at {address} answered {reply:?} before it had the object"))
            }
            (Ok(Sent::Whole | Sent::Interrupted | Sent::Cut), Err(error)) => Err(format!("clamd at {address} gave no answer: {error}")),
            (Err(error), _) => Err(format!("clamd at {address} did not take the object: {error}")),
        }
    }
}

impl AskClamd for Clamd {
    fn ask(&self, mut object: &[u8]) -> ClamdAnswer {
        let length = object.len() as u64;
        self.scan(&mut object, length)
    }
}

/// An answer that may come before clamd has the whole object.
fn is_refusal(reply: &str) -> bool {
    reply.ends_with(" ERROR")
}

fn parse_verdict(reply: &str) -> ClamdAnswer {
    if reply.ends_with("size limit exceeded. ERROR") {
        return ClamdAnswer::TooLarge;
    }
    let Some(verdict) = reply.strip_prefix("stream: ") else { return ClamdAnswer::Unavailable(format!("clamd answered {reply:?}")) };
    if verdict == "OK" {
        return ClamdAnswer::Clean;
    }
    match verdict.strip_suffix(" FOUND") {
        Some(signature) if !signature.is_empty() => ClamdAnswer::Found(signature.to_owned()),
        Some(_) | None => ClamdAnswer::Unavailable(format!("clamd answered {reply:?}")),
    }
}

#[cfg(test)]
mod tests;
