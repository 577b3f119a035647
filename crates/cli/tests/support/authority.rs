//! A certificate authority of the tests, and what it and others sign.

use std::sync::{Arc, OnceLock};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// The kinds of certificate a receiver may show.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Certificate {
    Good,
    /// Good but for its dates.
    Expired,
    /// Good but for a name that nobody asked for.
    OtherName,
    /// Signed by an authority that nobody trusts.
    Untrusted,
}

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    /// The one that `FILESAFETY_CA_FILE` names.
    pub(crate) fn trusted() -> &'static Self {
        static TRUSTED: OnceLock<Authority> = OnceLock::new();
        TRUSTED.get_or_init(Self::new)
    }

    fn new() -> Self {
        let key = KeyPair::generate().expect("entropy");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("a valid certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Its own certificate.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for this machine, and its key, both in PEM.
    pub(crate) fn issue_pem(&self) -> (String, String) {
        let key = KeyPair::generate().expect("entropy");
        let certificate = leaf(Certificate::Good).signed_by(&key, &self.issuer).expect("a valid certificate");
        (certificate.pem(), key.serialize_pem())
    }
}

/// What a TLS server with such a certificate needs.
pub(crate) fn server_config(kind: Certificate) -> Arc<ServerConfig> {
    let other;
    let authority = if kind == Certificate::Untrusted {
        other = Authority::new();
        &other
    } else {
        Authority::trusted()
    };
    let key = KeyPair::generate().expect("entropy");
    let certificate = leaf(kind).signed_by(&key, &authority.issuer).expect("a valid certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("the key is of that certificate");
    Arc::new(config)
}

fn leaf(kind: Certificate) -> CertificateParams {
    let names: &[&str] = if kind == Certificate::OtherName { &["elsewhere.example"] } else { &["localhost", "127.0.0.1"] };
    let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).expect("valid names");
    if kind == Certificate::Expired {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    }
    params
}
