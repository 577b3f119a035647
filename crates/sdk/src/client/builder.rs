//! How a client is set up.

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderValue, Uri, uri::Scheme};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use super::{Client, Inner, channel::Connector, exchange::Exchange, retry::RetryPolicy};

/// The service closes a connection on which nothing was asked for ten seconds; one of this age is not used again.
const IDLE_AT_MOST: Duration = Duration::from_secs(5);

/// Sets a [`Client`] up.
///
/// ```
/// use std::time::Duration;
/// use filesafety::{Client, client::RetryPolicy};
///
/// # fn main() -> Result<(), filesafety::client::ConfigError> {
/// let client = Client::builder("https://files.example.com", "fs_live_K2vV8mG1cQ3nXw5TzR7yBa")
///     .verdict_within(Duration::from_secs(60))
///     .retry(RetryPolicy::default().tries(6))
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a client comes of `build`"]
pub struct ClientBuilder {
    url: String,
    key: String,
    ca_pem: Vec<u8>,
    connect_within: Duration,
    answer_within: Duration,
    verdict_within: Duration,
    retry: RetryPolicy,
}

/// Why there is no client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The address is not one of a service.
    #[error("the service's address must be http or https, a host and perhaps a port and a path, such as http://127.0.0.1:8080: {0}")]
    Url(String),
    /// The API key cannot be sent.
    #[error("the API key is empty or holds characters that no key has")]
    Key,
    /// The extra roots cannot be read.
    #[error("the extra certificates are not what they should be: {0}")]
    Roots(String),
}

impl ClientBuilder {
    pub(super) fn new(url: impl Into<String>, key: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            key: key.into(),
            ca_pem: Vec::new(),
            connect_within: Duration::from_secs(10),
            answer_within: Duration::from_secs(60),
            verdict_within: Duration::from_secs(300),
            retry: RetryPolicy::default(),
        }
    }

    /// Certificates in PEM form to trust besides those of the Mozilla programme: say, of your own authority.
    pub fn trust(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.ca_pem.extend_from_slice(pem.as_ref());
        self.ca_pem.push(b'\n');
        self
    }

    /// How long a connection may take to come about; 10 s by default.
    pub fn connect_within(self, limit: Duration) -> Self {
        Self { connect_within: limit, ..self }
    }

    /// How long an answer may take to be there whole, from the last byte that the service took; also how long an upload may stand
    /// still. 60 s by default: the service itself waits 25 s for a verdict.
    pub fn answer_within(self, limit: Duration) -> Self {
        Self { answer_within: limit, ..self }
    }

    /// How long [`Client::scan`] asks for the verdict of a scan that takes longer than one answer; 5 min by default.
    pub fn verdict_within(self, limit: Duration) -> Self {
        Self { verdict_within: limit, ..self }
    }

    /// How often a call that failed is made once more.
    pub fn retry(self, policy: RetryPolicy) -> Self {
        Self { retry: policy, ..self }
    }

    /// The client. Nothing is sent yet.
    pub fn build(self) -> Result<Client, ConfigError> {
        let base = base(&self.url)?;
        let mut key = HeaderValue::try_from(&self.key).ok().filter(|key| !key.is_empty()).ok_or(ConfigError::Key)?;
        key.set_sensitive(true);
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(self.connect_within));
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls(&self.ca_pem)?).https_or_http().enable_http1().wrap_connector(Connector(tcp));
        let http =
            legacy::Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE_AT_MOST).build(connector);
        let exchange = Exchange { http, retry: self.retry, answer_within: self.answer_within };
        Ok(Client(Arc::new(Inner { base, key, exchange, verdict_within: self.verdict_within })))
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").field("url", &self.url).field("key", &"[redacted]").finish_non_exhaustive()
    }
}

/// The address without a slash at its end.
fn base(url: &str) -> Result<String, ConfigError> {
    let refuse = || ConfigError::Url(format!("{:?}", url.chars().take(100).collect::<String>()));
    let uri: Uri = url.trim_end_matches('/').parse().map_err(|_| refuse())?;
    let is_http = [Some(&Scheme::HTTP), Some(&Scheme::HTTPS)].contains(&uri.scheme());
    let has_host = uri.host().is_some_and(|host| !host.is_empty());
    let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    if !is_http || !has_host || has_user || uri.query().is_some() || url.contains('#') {
        return Err(if has_user { ConfigError::Url("it holds credentials".to_owned()) } else { refuse() });
    }
    Ok(uri.to_string().trim_end_matches('/').to_owned())
}

fn tls(ca_pem: &[u8]) -> Result<ClientConfig, ConfigError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let before = roots.len();
    for certificate in CertificateDer::pem_slice_iter(ca_pem) {
        let certificate = certificate.map_err(|error| ConfigError::Roots(error.to_string()))?;
        roots.add(certificate).map_err(|error| ConfigError::Roots(error.to_string()))?;
    }
    if !ca_pem.is_empty() && roots.len() == before {
        return Err(ConfigError::Roots("there is no certificate in PEM form".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("ring offers what the default versions need");
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_address() {
        for url in ["", "127.0.0.1:8080", "ftp://a", "http://", "http:///v1", "/v1", "https://a/?b=c", "https://a/#b", "http://[::1"] {
            assert!(matches!(Client::new(url, "fs_live_x"), Err(ConfigError::Url(_))), "{url}");
        }
        let error = Client::new("https://user:secret@a", "fs_live_x").unwrap_err();
        assert!(!error.to_string().contains("secret"));
    }

    #[test]
    fn takes_addresses_with_ports_and_paths() {
        for (url, expected) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("https://files.example.com/", "https://files.example.com"),
            ("https://example.com/filesafety//", "https://example.com/filesafety"),
            ("http://[::1]:80", "http://[::1]:80"),
        ] {
            assert_eq!(base(url).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn refuses_keys_that_cannot_be_sent_and_shows_none() {
        for key in ["", "fs_live_\n", "fs_live_\u{0}"] {
            assert_eq!(Client::new("http://a", key).unwrap_err(), ConfigError::Key);
        }
        let builder = Client::builder("http://a", "fs_live_hidden");
        assert!(!format!("{builder:?}").contains("hidden"));
        assert!(!format!("{:?}", builder.build()).contains("hidden"));
    }

    #[test]
    fn refuses_roots_that_are_none() {
        for pem in ["", "# nothing", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(matches!(Client::builder("https://a", "k").trust(pem).build(), Err(ConfigError::Roots(_))), "{pem}");
        }
    }
}
