//! Whom outgoing TLS trusts.

use std::{fs, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

/// Why the extra roots cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    #[error("cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    #[error("holds no certificate in PEM form")]
    Empty,
    #[error("holds something that is no certificate: {0}")]
    Malformed(String),
}

/// The roots of the Mozilla programme and those of the PEM file, which has at least one.
pub(super) fn trusted_roots(ca_file: Option<&Path>) -> Result<RootCertStore, RootsError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = ca_file {
        add_pem(&mut roots, &fs::read(path)?)?;
    }
    Ok(roots)
}

fn add_pem(roots: &mut RootCertStore, pem: &[u8]) -> Result<(), RootsError> {
    let before = roots.len();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| RootsError::Malformed(error.to_string()))?;
        roots.add(certificate).map_err(|error| RootsError::Malformed(error.to_string()))?;
    }
    if roots.len() == before { Err(RootsError::Empty) } else { Ok(()) }
}

/// TLS 1.2 and 1.3, HTTP/2 preferred where `http2` says so.
pub(super) fn client_config(roots: RootCertStore, http2: bool) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("ring offers what the default versions need");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = if http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
    Arc::new(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_files_without_roots() {
        let mut roots = RootCertStore::empty();
        assert!(matches!(add_pem(&mut roots, b""), Err(RootsError::Empty)));
        assert!(matches!(add_pem(&mut roots, b"# no certificate\n"), Err(RootsError::Empty)));
        let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(add_pem(&mut roots, broken), Err(RootsError::Malformed(_))));
        assert!(matches!(trusted_roots(Some(Path::new("/nonexistent/ca.pem"))), Err(RootsError::Unreadable(_))));
    }
}
