//! Posting an event to a program on this machine, as the service would.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use filesafety::{SigningSecret, sign};
use filesafety_server::config::Resolved;
use hyper::StatusCode;
use tokio::time::Instant;
use url::Url;

use super::{place, print::Taken, sse::Message};
use crate::{client::Client, commands::store, terminal::escaped};

/// As webhooks wait.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Between two attempts.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// As the service calls itself.
const USER_AGENT: &str = concat!("FileSafety/", env!("CARGO_PKG_VERSION_MAJOR"), ".", env!("CARGO_PKG_VERSION_MINOR"));

/// Where events go, and what they are signed with.
pub(super) struct Forwarder {
    target: Client,
    secret: SigningSecret,
}

impl Forwarder {
    pub(super) fn new(url: &str, settings: &Resolved, folder: &Path) -> Result<Self> {
        let target: Url = url
            .parse()
            .with_context(|| format!("--forward-to is {:?}; give a URL such as http://localhost:3000/webhooks", escaped(url)))?;
        if !matches!(target.scheme(), "http" | "https") || target.host_str().is_none() {
            bail!("--forward-to is {:?}; give an http or https URL such as http://localhost:3000/webhooks", escaped(url));
        }
        Ok(Self { target: Client::without_key(target, settings), secret: place::secret(folder)? })
    }

    pub(super) fn url(&self) -> &str {
        self.target.url().as_str()
    }

    pub(super) fn secret(&self) -> &SigningSecret {
        &self.secret
    }

    /// Posts the event until it is taken with a 2xx, however long that takes. `failing` hears of each new reason why it is not.
    pub(super) async fn forward(&self, message: &Message, mut failing: impl FnMut(&str) -> Result<()>) -> Result<Taken> {
        let (mut pause, mut told) = (PAUSE_MIN, String::new());
        for attempts in 1.. {
            let started = Instant::now();
            let reason = match self.post(message).await {
                Ok(status) if status.is_success() => return Ok(Taken { status, within: started.elapsed(), attempts }),
                Ok(status) => format!("answered {status}"),
                Err(error) => escaped(&format!("{error:#}")),
            };
            if reason != told {
                failing(&format!("not taken, {reason}; trying again until it is"))?;
                told = reason;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        bail!("no attempt is left")
    }

    async fn post(&self, message: &Message) -> Result<StatusCode> {
        let id = message.id.as_deref().unwrap_or_default();
        let seconds = store::now().as_millis().div_euclid(1000);
        let signature = sign::sign(std::slice::from_ref(&self.secret), id, seconds, message.data.as_bytes());
        let timestamp = seconds.to_string();
        let headers = [
            ("user-agent", USER_AGENT),
            ("content-type", "application/json"),
            (sign::ID_HEADER, id),
            (sign::TIMESTAMP_HEADER, &timestamp),
            (sign::SIGNATURE_HEADER, &signature),
        ];
        self.target.post(&headers, Bytes::from(message.data.clone()), ANSWER_WITHIN).await
    }
}
