//! Downloads for `url` scans.

use std::{
    fmt,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Incoming};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use rustls::RootCertStore;
use url::Url;

use super::{
    USER_AGENT,
    address::{AddressPolicy, AddressRefused, IpNet, check, literal},
    connect::{ConnectError, Connector, Reach},
    names::Names,
    send::find,
    tls::client_config,
    webhook_url::without_query,
};

/// Redirects followed.
const MAX_REDIRECTS: usize = 5;

/// Downloads files; clones are the same.
#[derive(Clone)]
pub(super) struct Fetcher {
    client: Client<Connector, Empty<Bytes>>,
    policy: AddressPolicy,
}

/// An absolute http or https URL, as far as it can be judged without resolving its name. `Debug` and `Display` leave out the query.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct FetchUrl(Url);

/// What is wrong with a URL to fetch; follows the field's name in a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchUrlError {
    #[error("has more than {} characters", FetchUrl::MAX_CHARS)]
    TooLong,
    #[error("is not an absolute URL such as https://files.example.com/a.zip")]
    NotAbsolute,
    #[error("must start with http:// or https://")]
    OtherScheme,
    #[error("must not hold credentials")]
    Credentials,
    #[error("points to {}, which is not a public address", .0.0)]
    Refused(#[from] AddressRefused),
}

/// Why there is no file, or no more of it; the texts are sentences for a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Trying again may succeed.
    #[error("{0}")]
    Failed(String),
    /// Not a place to fetch from.
    #[error("{0}")]
    Refused(String),
    #[error("the file at the URL is larger than what is taken")]
    TooLarge,
}

/// A file that was downloaded whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The last part of the path that was fetched in the end, decoded.
    pub name: Option<String>,
    pub size: u64,
}

/// Refuses a URL that can be told unfit before it is resolved; the error follows the field's name in a sentence.
pub(crate) fn check_fetch_url(text: &str, allow_nets: &[IpNet]) -> Result<(), FetchUrlError> {
    FetchUrl::parse(text, allow_nets).map(|_| ())
}

impl Fetcher {
    pub(super) fn new(policy: AddressPolicy, roots: RootCertStore, names: Names) -> Self {
        let connector = Connector::new(Reach::Fetch(policy.clone()), client_config(roots, false), names);
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_max_idle_per_host(0)
            .http1_max_buf_size(64 * 1024)
            .http1_max_headers(100)
            .build(connector);
        Self { client, policy }
    }

    pub(super) async fn fetch(
        &self,
        url: &str,
        limit: u64,
        timeout: Duration,
        take: &mut (impl FnMut(&[u8]) -> bool + Send),
    ) -> Result<Fetched, FetchError> {
        let deadline = Instant::now() + timeout;
        let url = FetchUrl::parse(url, &self.policy.allow_nets).map_err(|error| match error {
            FetchUrlError::Refused(_) => FetchError::Refused(format!("the URL {error}")),
            FetchUrlError::TooLong | FetchUrlError::NotAbsolute | FetchUrlError::OtherScheme | FetchUrlError::Credentials => {
                FetchError::Failed(format!("the URL {error}"))
            }
        })?;
        let (url, response) = self.open(url, deadline).await?;
        let size = download(&url, response, limit, deadline, take).await?;
        Ok(Fetched { name: url.file_name(), size })
    }

    /// Follows redirects to the answer that is none.
    async fn open(&self, mut url: FetchUrl, deadline: Instant) -> Result<(FetchUrl, Response<Incoming>), FetchError> {
        for _ in 0..=MAX_REDIRECTS {
            let response = self.get(&url, deadline).await?;
            match redirect(&response) {
                Some(location) => url = self.follow(&url, location)?,
                None => return Ok((url, response)),
            }
        }
        Err(FetchError::Failed(format!("the URL redirects more than {MAX_REDIRECTS} times, at last from {url}")))
    }

    async fn get(&self, url: &FetchUrl, deadline: Instant) -> Result<Response<Incoming>, FetchError> {
        let request = Request::get(url.0.as_str())
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::ACCEPT, "*/*")
            .header(header::ACCEPT_ENCODING, "identity")
            .body(Empty::new())
            .map_err(|_| FetchError::Failed(format!("{url} cannot be requested")))?;
        let answer = tokio::time::timeout_at(deadline.into(), self.client.request(request)).await;
        answer.map_err(|_| FetchError::Failed(format!("{url} did not answer in time")))?.map_err(|error| describe(url, &error))
    }

    fn follow(&self, from: &FetchUrl, location: &str) -> Result<FetchUrl, FetchError> {
        let refuse = |problem: &dyn fmt::Display| FetchError::Refused(format!("{from} redirects to a URL that {problem}"));
        let target = from.0.join(location).map_err(|_| FetchError::Failed(format!("{from} redirects to what is no URL")))?;
        if from.0.scheme() == "https" && target.scheme() == "http" {
            return Err(refuse(&"is not https"));
        }
        FetchUrl::new(target, &self.policy.allow_nets).map_err(|error| refuse(&error))
    }
}

fn redirect(response: &Response<Incoming>) -> Option<&str> {
    match response.status() {
        StatusCode::MOVED_PERMANENTLY
        | StatusCode::FOUND
        | StatusCode::SEE_OTHER
        | StatusCode::TEMPORARY_REDIRECT
        | StatusCode::PERMANENT_REDIRECT => response.headers().get(header::LOCATION)?.to_str().ok(),
        _ => None,
    }
}

fn describe(url: &FetchUrl, error: &hyper_util::client::legacy::Error) -> FetchError {
    match find::<ConnectError>(error) {
        Some(ConnectError::Refused(refused)) => FetchError::Refused(format!("{url} cannot be fetched: {refused}")),
        Some(connect) => FetchError::Failed(format!("{url} cannot be fetched: {connect}")),
        None => FetchError::Failed(format!("{url} gave no usable answer")),
    }
}

/// Hands over the body of an answer that is a file, and tells its length. A body that ends before its declared length is an error.
async fn download(
    url: &FetchUrl,
    response: Response<Incoming>,
    limit: u64,
    deadline: Instant,
    take: &mut (impl FnMut(&[u8]) -> bool + Send),
) -> Result<u64, FetchError> {
    // Not 206, which is a part of a file that nobody asked for, nor 204, which is none.
    if !matches!(response.status(), StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION) {
        return Err(FetchError::Failed(format!("{url} answered {}", response.status())));
    }
    if let Some(coding) = foreign_coding(response.headers()) {
        // Bytes in a coding that no engine undoes would pass for a file in which nothing is found.
        return Err(FetchError::Failed(format!("{url} answered in the content coding {coding:?}, which was not asked for")));
    }
    let mut body = response.into_body();
    if body.size_hint().lower() > limit {
        return Err(FetchError::TooLarge);
    }
    let mut size = 0u64;
    loop {
        let frame = tokio::time::timeout_at(deadline.into(), body.frame()).await;
        let frame = frame.map_err(|_| FetchError::Failed(format!("{url} took too long to download")))?;
        let Some(frame) = frame else { return Ok(size) };
        let frame = frame.map_err(|_| FetchError::Failed(format!("the download of {url} broke off after {size} bytes")))?;
        let Ok(data) = frame.into_data() else { continue };
        size = size.saturating_add(data.len() as u64);
        if size > limit || !take(&data) {
            return Err(FetchError::TooLarge);
        }
    }
}

fn foreign_coding(headers: &HeaderMap) -> Option<String> {
    let codings = headers.get_all(header::CONTENT_ENCODING).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    codings
        .map(|value| value.trim().chars().take(40).collect::<String>())
        .find(|value| !value.is_empty() && !value.eq_ignore_ascii_case("identity"))
}

impl FetchUrl {
    /// Of the text as it was given.
    const MAX_CHARS: usize = 2048;

    fn parse(text: &str, allow_nets: &[IpNet]) -> Result<Self, FetchUrlError> {
        if text.chars().count() > Self::MAX_CHARS {
            return Err(FetchUrlError::TooLong);
        }
        Self::new(Url::parse(text).map_err(|_| FetchUrlError::NotAbsolute)?, allow_nets)
    }

    fn new(mut url: Url, allow_nets: &[IpNet]) -> Result<Self, FetchUrlError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(FetchUrlError::OtherScheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(FetchUrlError::Credentials);
        }
        literal(&url).map_or(Ok(()), |address| check(allow_nets, address))?;
        url.set_fragment(None);
        url.as_str().parse::<http::Uri>().map_err(|_| FetchUrlError::NotAbsolute)?;
        Ok(Self(url))
    }

    /// The last part of the path, decoded; `None` when that is empty.
    fn file_name(&self) -> Option<String> {
        let last = self.0.path_segments()?.next_back()?;
        let name = percent_encoding::percent_decode_str(last).decode_utf8_lossy().into_owned();
        if name.is_empty() { None } else { Some(name) }
    }
}

impl fmt::Display for FetchUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_query(self.0.as_str()))
    }
}

impl fmt::Debug for FetchUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FetchUrl({self})")
    }
}
