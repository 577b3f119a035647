//! Everything that leaves: webhooks and the fetches of `url` scans. No other module opens a connection to the outside.
//!
//! - [`Egress::send`] makes one attempt to deliver; it never follows a redirect and reads little of the answer.
//! - [`Egress::fetch`] downloads; it follows a few redirects, each judged like the first URL.
//! - [`AddressPolicy`] decides which addresses either may reach, at the moment of connecting.

mod address;
mod connect;
mod custom_header;
mod fetch;
mod names;
mod retry_after;
mod send;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tls;
mod webhook_url;

use std::{path::PathBuf, time::Duration};

pub use address::{AddressPolicy, AddressRefused, IpNet, IpNetError, is_public};
pub use custom_header::{CustomHeaderError, custom_header};
pub(crate) use fetch::check_fetch_url;
pub use fetch::{FetchError, FetchUrlError, Fetched};
pub use send::{Outcome, SendError, SendErrorKind, WebhookRequest};
pub use tls::RootsError;
pub(crate) use webhook_url::without_query;
pub use webhook_url::{WebhookUrl, WebhookUrlError, WebhookUrlPolicy};

use crate::config::Config;
use fetch::Fetcher;
use names::Names;
use send::WebhookSender;

/// What every outgoing request says of its sender.
pub(crate) const USER_AGENT: &str = concat!("FileSafety/", env!("CARGO_PKG_VERSION_MAJOR"), ".", env!("CARGO_PKG_VERSION_MINOR"));

/// The way out; clones share their connections.
#[derive(Clone)]
pub struct Egress {
    webhooks: WebhookSender,
    fetcher: Fetcher,
}

/// Why nothing could be trusted.
#[derive(Debug, thiserror::Error)]
#[error("FILESAFETY_CA_FILE {} {source}", path.display())]
pub struct EgressError {
    path: PathBuf,
    source: RootsError,
}

impl Egress {
    pub fn new(config: &Config) -> Result<Self, EgressError> {
        let roots = tls::trusted_roots(config.ca_file.as_deref());
        let roots = roots.map_err(|source| EgressError { path: config.ca_file.clone().unwrap_or_default(), source })?;
        let webhooks = WebhookUrlPolicy { allow_http: config.webhooks.allow_http, allow_nets: config.webhooks.allow_nets.clone() };
        Ok(Self::with(webhooks, AddressPolicy::new(config.fetch.allow_nets.clone()), roots))
    }

    pub(crate) fn with(webhooks: WebhookUrlPolicy, fetches: AddressPolicy, roots: rustls::RootCertStore) -> Self {
        let names = Names::system();
        Self { webhooks: WebhookSender::new(webhooks, roots.clone(), names.clone()), fetcher: Fetcher::new(fetches, roots, names) }
    }

    /// Makes one attempt to deliver a webhook. Redirects are answers like others.
    pub async fn send(&self, request: WebhookRequest<'_>) -> Outcome {
        self.webhooks.send(request).await
    }

    /// Downloads a file of at most `limit` bytes within `timeout`, redirects included, and hands `take` its bytes as they come.
    /// Once `take` answers false the download ends with [`FetchError::TooLarge`].
    pub async fn fetch(
        &self,
        url: &str,
        limit: u64,
        timeout: Duration,
        take: &mut (impl FnMut(&[u8]) -> bool + Send),
    ) -> Result<Fetched, FetchError> {
        self.fetcher.fetch(url, limit, timeout, take).await
    }
}
