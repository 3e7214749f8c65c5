//! Redis behind TLS: who is trusted, and what is said when somebody isn't.

use std::path::PathBuf;

use tidemill_core::Fault;
use tidemill_online::{Error, Online, OnlineOptions};
use tidemill_testkit::redis::{Server, Tls};

use crate::{entry, read, view};

async fn works(options: &OnlineOptions) {
    let online = Online::connect(options).unwrap();
    assert_eq!(online.put(&view(), &[entry("JFK", [1, 0, 0], Some(1))]).await.unwrap(), 1);
    assert!(read(&online, &view(), &["JFK"]).await[0].is_some());
    online.drop_version("load", 3).await.unwrap();
}

async fn refused(options: &OnlineOptions) -> String {
    match Online::connect(options).unwrap().ping().await {
        Err(error @ Error::Mismatch { .. }) => Fault::from_error(&error).message,
        other => panic!("{other:?}"),
    }
}

fn trusting(url: String, ca_file: PathBuf) -> OnlineOptions {
    OnlineOptions { ca_file: Some(ca_file), ..OnlineOptions::new(url, "tls") }
}

#[tokio::test]
async fn a_server_is_trusted_by_its_authority_alone() {
    let server = Server::start().unwrap();
    let (tls, other) =
        (Tls::before(&server, false).await.unwrap(), Tls::before(&server, false).await.unwrap());
    works(&trusting(tls.url(), tls.ca_file())).await;
    for options in [OnlineOptions::new(tls.url(), "tls"), trusting(tls.url(), other.ca_file())] {
        let told = refused(&options).await;
        assert!(told.contains("its certificate is not trusted; TIDEMILL_REDIS__CA_FILE"), "{told}");
    }
    let elsewhere = trusting(tls.url().replace("localhost", "127.0.0.1"), tls.ca_file());
    let told = refused(&elsewhere).await;
    assert!(told.contains("the URL must name the host as the certificate does"), "{told}");
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_takes_ours() {
    let server = Server::start().unwrap();
    let tls = Tls::before(&server, true).await.unwrap();
    let mut options = trusting(tls.url(), tls.ca_file());
    let told = refused(&options).await;
    assert!(told.contains("TIDEMILL_REDIS__CERT_FILE"), "{told}");
    let (certificate, key) = tls.client_files();
    (options.cert_file, options.key_file) = (Some(certificate), Some(key));
    works(&options).await;
}

#[tokio::test]
async fn a_url_without_tls_is_told_that_the_port_has_it() {
    let server = Server::start().unwrap();
    let tls = Tls::before(&server, false).await.unwrap();
    let told = refused(&OnlineOptions::new(tls.url().replace("rediss", "redis"), "tls")).await;
    assert!(told.contains("must begin with `rediss`"), "{told}");
}
