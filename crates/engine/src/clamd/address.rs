//! Where clamd listens, as the settings write it.

use std::{fmt, path::PathBuf, str::FromStr};

/// Where clamd listens: `unix:/path` or `tcp:host:port`, with an IPv6 host in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClamdAddress {
    Unix(PathBuf),
    Tcp(String, u16),
}

/// The text is no address of clamd.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClamdAddressError {
    #[error("an address of clamd is unix:/path or tcp:host:port, not {0:?}")]
    Form(String),
    #[error("the socket path in {0:?} is not absolute")]
    RelativePath(String),
    #[error("{0:?} has no port of 1 to 65535 after the host")]
    Port(String),
}

impl FromStr for ClamdAddress {
    type Err = ClamdAddressError;

    fn from_str(text: &str) -> Result<Self, ClamdAddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return if path.is_absolute() { Ok(Self::Unix(path)) } else { Err(ClamdAddressError::RelativePath(text.to_owned())) };
        }
        let target = text.strip_prefix("tcp:").ok_or_else(|| ClamdAddressError::Form(text.to_owned()))?;
        let (host, port) = target.rsplit_once(':').ok_or_else(|| ClamdAddressError::Port(text.to_owned()))?;
        let host = match host.strip_prefix('[') {
            Some(bracketed) => bracketed.strip_suffix(']').unwrap_or_default(),
            None if host.contains(':') => "",
            None => host,
        };
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '/' || c == '[' || c == ']') {
            return Err(ClamdAddressError::Form(text.to_owned()));
        }
        let port = port.parse().ok().filter(|&port: &u16| port != 0).ok_or_else(|| ClamdAddressError::Port(text.to_owned()))?;
        Ok(Self::Tcp(host.to_owned(), port))
    }
}

impl fmt::Display for ClamdAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(host, port) if host.contains(':') => write!(f, "tcp:[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "tcp:{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_address() {
        for text in ["", "unix", "/run/clamd.sock", "udp:localhost:1", "tcp::3310", "tcp:::1:3310", "tcp:[::1:3310", "tcp:http://a:1"] {
            assert!(matches!(text.parse::<ClamdAddress>(), Err(ClamdAddressError::Form(_))), "{text}");
        }
        for text in ["unix:", "unix:run/clamd.sock"] {
            assert!(matches!(text.parse::<ClamdAddress>(), Err(ClamdAddressError::RelativePath(_))), "{text}");
        }
        for text in ["tcp:localhost", "tcp:localhost:", "tcp:localhost:0", "tcp:localhost:65536", "tcp:localhost:http"] {
            assert!(matches!(text.parse::<ClamdAddress>(), Err(ClamdAddressError::Port(_))), "{text}");
        }
    }

    #[test]
    fn shows_what_it_reads() {
        for text in ["unix:/run/clamav/clamd.ctl", "tcp:clamav.internal:3310", "tcp:127.0.0.1:3310", "tcp:[::1]:3310"] {
            assert_eq!(text.parse::<ClamdAddress>().map(|address| address.to_string()), Ok(text.to_owned()));
        }
    }
}
