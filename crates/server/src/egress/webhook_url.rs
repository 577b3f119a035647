//! Where a webhook goes.

use std::{fmt, net::IpAddr};

use url::Url;

use super::address::{AddressRefused, IpNet, check, lists, literal};

/// An absolute URL that webhooks may be sent to, as far as that can be told without resolving its name.
///
/// Its query may hold a token, so `Debug` and `Display` leave it out; [`WebhookUrl::as_str`] has it.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl(Url);

/// What webhooks may reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebhookUrlPolicy {
    /// Whether `http` is spoken to addresses inside the listed networks.
    pub allow_http: bool,
    /// Networks that are not public and that webhooks may reach.
    pub allow_nets: Vec<IpNet>,
}

/// What is wrong with a webhook's URL; follows the field's name in a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookUrlError {
    #[error("has more than {} characters", WebhookUrl::MAX_CHARS)]
    TooLong,
    #[error("is not an absolute URL such as https://app.example.com/webhooks")]
    NotAbsolute,
    #[error("must start with https://")]
    NotHttps,
    #[error("must start with https://; http is for addresses inside FILESAFETY_ALLOW_NETS alone")]
    HttpOutside,
    #[error("must not hold credentials")]
    Credentials,
    #[error("must not hold a fragment")]
    Fragment,
    #[error("points to {}, which is not a public address", .0.0)]
    Refused(#[from] AddressRefused),
}

impl WebhookUrlPolicy {
    /// Judges the address that a connection would go to.
    pub(crate) fn check(&self, address: IpAddr, http: bool) -> Result<(), AddressRefused> {
        if http && !(self.allow_http && lists(&self.allow_nets, address)) {
            return Err(AddressRefused(address));
        }
        check(&self.allow_nets, address)
    }
}

impl WebhookUrl {
    /// Of the text as it was given.
    pub const MAX_CHARS: usize = 2048;

    pub fn parse(text: &str, policy: &WebhookUrlPolicy) -> Result<Self, WebhookUrlError> {
        if text.chars().count() > Self::MAX_CHARS {
            return Err(WebhookUrlError::TooLong);
        }
        let url = Url::parse(text).map_err(|_| WebhookUrlError::NotAbsolute)?;
        let http = match url.scheme() {
            "https" => false,
            "http" if policy.allow_http => true,
            "http" => return Err(WebhookUrlError::NotHttps),
            _ if url.host().is_none() => return Err(WebhookUrlError::NotAbsolute),
            _ => return Err(WebhookUrlError::NotHttps),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(WebhookUrlError::Credentials);
        }
        if url.fragment().is_some() {
            return Err(WebhookUrlError::Fragment);
        }
        // The parser mends `https:app` and `https:///app` into a URL; whoever wrote that meant something else.
        if !text.trim_start().get(url.scheme().len()..).is_some_and(|rest| rest.starts_with("://")) {
            return Err(WebhookUrlError::NotAbsolute);
        }
        if http && literal(&url).is_some_and(|address| !lists(&policy.allow_nets, address)) {
            return Err(WebhookUrlError::HttpOutside);
        }
        literal(&url).map_or(Ok(()), |address| check(&policy.allow_nets, address))?;
        url.as_str().parse::<http::Uri>().map_err(|_| WebhookUrlError::NotAbsolute)?;
        Ok(Self(url))
    }

    /// The whole URL; its query may hold a token.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The host, with the port when it is not 443: what answers and logs show, and what tells receivers apart.
    pub fn host_shown(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        match self.0.port_or_known_default() {
            None | Some(443) => host.to_owned(),
            Some(port) => format!("{host}:{port}"),
        }
    }

    /// The URL as it may be shown; `?…` stands for a query.
    pub fn without_query(&self) -> String {
        without_query(self.0.as_str())
    }
}

/// The text up to its query, which may hold a token.
pub(crate) fn without_query(url: &str) -> String {
    url.split_once('?').map_or_else(|| url.to_owned(), |(shown, _)| format!("{shown}?…"))
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.without_query())
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<WebhookUrl, WebhookUrlError> {
        WebhookUrl::parse(text, &WebhookUrlPolicy::default())
    }

    #[test]
    fn says_what_is_wrong() {
        let long = format!("https://example.com/{}", "a".repeat(2048));
        for (text, error) in [
            ("", WebhookUrlError::NotAbsolute),
            ("/hook", WebhookUrlError::NotAbsolute),
            ("app.example.com/hook", WebhookUrlError::NotAbsolute),
            ("https://", WebhookUrlError::NotAbsolute),
            ("https:example.com", WebhookUrlError::NotAbsolute),
            ("https:/example.com", WebhookUrlError::NotAbsolute),
            ("https://exa mple.com/", WebhookUrlError::NotAbsolute),
            ("mailto:me@example.com", WebhookUrlError::NotAbsolute),
            ("http://example.com/", WebhookUrlError::NotHttps),
            ("ftp://example.com/", WebhookUrlError::NotHttps),
            ("https://me@example.com/", WebhookUrlError::Credentials),
            ("https://:secret@example.com/", WebhookUrlError::Credentials),
            ("https://example.com/#top", WebhookUrlError::Fragment),
            (&long, WebhookUrlError::TooLong),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
        for host in ["127.0.0.1", "2130706433", "0177.0.0.1", "[::ffff:127.0.0.1]", "169.254.169.254", "[64:ff9b::7f00:1]"] {
            assert!(matches!(parse(&format!("https://{host}/")), Err(WebhookUrlError::Refused(_))), "{host}");
        }
        assert_eq!(parse("https://127.0.0.1/").unwrap_err().to_string(), "points to 127.0.0.1, which is not a public address");
    }

    #[test]
    fn http_is_for_listed_networks_alone() {
        let policy = WebhookUrlPolicy { allow_http: true, allow_nets: vec!["127.0.0.0/8".parse().unwrap()] };
        assert!(WebhookUrl::parse("http://127.0.0.1:3000/hook", &policy).is_ok());
        assert!(WebhookUrl::parse("http://localhost:3000/hook", &policy).is_ok(), "names are judged when they are resolved");
        assert_eq!(WebhookUrl::parse("http://8.8.8.8/", &policy), Err(WebhookUrlError::HttpOutside));
        assert_eq!(policy.check("8.8.8.8".parse().unwrap(), true), Err(AddressRefused("8.8.8.8".parse().unwrap())));
        assert_eq!(policy.check("8.8.8.8".parse().unwrap(), false), Ok(()));
    }

    #[test]
    fn shows_neither_query_nor_default_port() {
        let url = parse("https://App.Example.com:443/a/b?token=s3cret&x={1|2}").unwrap();
        assert_eq!(url.host_shown(), "app.example.com");
        assert_eq!(format!("{url} {url:?}"), "https://app.example.com/a/b?… WebhookUrl(https://app.example.com/a/b?…)");
        assert!(url.as_str().contains("token=s3cret"));
        assert_eq!(parse("https://example.com:8443/").unwrap().host_shown(), "example.com:8443");
        let policy = WebhookUrlPolicy { allow_http: true, allow_nets: vec!["127.0.0.0/8".parse().unwrap()] };
        assert_eq!(WebhookUrl::parse("http://127.0.0.1/", &policy).unwrap().host_shown(), "127.0.0.1:80");
        assert_eq!(WebhookUrl::parse("http://127.0.0.1:443/", &policy).unwrap().host_shown(), "127.0.0.1");
    }
}
