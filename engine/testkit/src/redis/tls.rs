//! TLS in front of a server: that of the wheel is built without.
//!
//! What the client sees is what a server with TLS shows it: the handshake, certificates, and after them the server's own
//! bytes.

use std::{fs, net::Ipv4Addr, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::aws_lc_rs::default_provider,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
        server::WebPkiClientVerifier,
    },
};

use crate::{redis::Server, servers};

/// A listener on `localhost` that ends TLS; gone when dropped.
#[derive(Debug)]
pub struct Tls {
    url: String,
    folder: PathBuf,
    listener: JoinHandle<()>,
}

impl Tls {
    /// Listens for a server. `asks`: whether a client has to show a certificate.
    pub async fn before(server: &Server, asks: bool) -> anyhow::Result<Self> {
        let folder = servers::folder("tls")?;
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let (key, ours) = (KeyPair::generate()?, KeyPair::generate()?);
        let certificate = CertificateParams::new(["localhost".to_owned()])?.signed_by(&key, &authority)?;
        let client = CertificateParams::new(["client".to_owned()])?.signed_by(&ours, &authority)?;
        for (name, text) in
            [("ca.pem", authority.pem()), ("client.pem", client.pem()), ("client.key", ours.serialize_pem())]
        {
            fs::write(folder.join(name), text)?;
        }
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = if asks {
            let mut trusted = RootCertStore::empty();
            trusted.add(authority.der().clone())?;
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(trusted), provider).build()?;
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = builder.with_single_cert(vec![certificate.der().clone()], key)?;

        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let plain = server.url();
        let (user, address) = plain.rsplit_once('@').context("a server asks for a password")?;
        let user = user.trim_start_matches("redis://");
        let url = format!("rediss://{user}@localhost:{}", listener.local_addr()?.port());
        let listener =
            tokio::spawn(listen(listener, TlsAcceptor::from(Arc::new(config)), address.to_owned()));
        Ok(Self { url, folder, listener })
    }

    /// Its address, `rediss://…@localhost:PORT`.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Whom to trust for its certificate.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// A certificate that it takes, and its private key.
    pub fn client_files(&self) -> (PathBuf, PathBuf) {
        (self.folder.join("client.pem"), self.folder.join("client.key"))
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn listen(listener: TcpListener, acceptor: TlsAcceptor, server: String) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, server) = (acceptor.clone(), server.clone());
        tokio::spawn(async move {
            // Who doesn't trust us hangs up; that is what tests look at.
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            if let Ok(mut server) = TcpStream::connect(server).await {
                let _ = copy_bidirectional(&mut stream, &mut server).await;
            }
        });
    }
}
