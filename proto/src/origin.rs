//! Whether a request was meant for this server: a page in the user's browser can send requests to every server that the
//! user's machine reaches, and a name of the page's choice can be made to resolve to it.
//!
//! So a server answers under its own names only (`Host`, or `:authority`), and to pages that it served itself only
//! (`Origin`). Programs send no `Origin`, and the name that they connect to.

use std::net::IpAddr;

use tonic::codegen::http::{
    Request,
    header::{HOST, HeaderValue, ORIGIN},
    uri::Authority,
};

use crate::Reason;

/// The names under which a server answers: `localhost`, addresses of loopback, and what is declared.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    declared: Vec<String>,
    any_address: bool,
}

impl Hosts {
    /// With the names of a list separated by commas, for a server that is reached through a proxy or a tunnel.
    pub fn declared(names: &str) -> Self {
        let names = names.split(',').map(|name| name.trim().to_lowercase()).filter(|name| !name.is_empty());
        Self { declared: names.collect(), any_address: false }
    }

    /// The same for a server that listens on more than loopback: its addresses can't be listed, and no page can choose
    /// the address that a browser connects to and its `Host` at once.
    #[must_use]
    pub fn any_address(self) -> Self {
        Self { any_address: true, ..self }
    }

    /// Why the request is not answered; `None` where it was meant for this server.
    pub fn refuse<B>(&self, request: &Request<B>) -> Option<Reason> {
        let named = request.headers().get(HOST);
        let host = match named.map_or_else(|| request.uri().authority().cloned(), authority) {
            Some(host) if self.ours(&host) => host,
            Some(host) => {
                return Some(refused(&format!("was sent to `{host}`, which is not a name of this server")));
            }
            None => return Some(refused("names no host")),
        };
        let origin = request.headers().get(ORIGIN)?;
        let page = origin.to_str().unwrap_or_default();
        let same = page.split_once("://").is_some_and(|(_, page)| page.eq_ignore_ascii_case(host.as_str()));
        (!same).then(|| refused(&format!("comes from a page of `{page}`, which this server did not serve")))
    }

    fn ours(&self, host: &Authority) -> bool {
        let name = host.host().trim_end_matches('.').to_lowercase();
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        name == "localhost"
            || address.is_ok_and(|address| self.any_address || address.is_loopback())
            || self.declared.contains(&name)
    }
}

fn authority(header: &HeaderValue) -> Option<Authority> {
    header.to_str().ok()?.parse().ok()
}

fn refused(why: &str) -> Reason {
    Reason {
        code: "TM0186".to_owned(),
        message: format!("the request {why}"),
        detail: None,
        hint: Some("connect to 127.0.0.1 or localhost, or declare the name: TIDEMILL_SERVER__HOSTS, TIDEMILL_SERVE__HOSTS".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(hosts: &Hosts, uri: &str, headers: &[(&str, &str)]) -> bool {
        let request = headers
            .iter()
            .fold(Request::builder().uri(uri), |request, (name, value)| request.header(*name, *value));
        hosts.refuse(&request.body(()).unwrap()).is_none()
    }

    #[test]
    fn a_server_answers_under_its_own_names_to_programs_and_its_own_pages() {
        let ours = Hosts::declared("Tunnel.example, ");
        for host in [
            "localhost",
            "LOCALHOST:7433",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:7433",
            "localhost.:80",
            "tunnel.example",
        ] {
            assert!(answered(&ours, "/v1/runs", &[("host", host)]), "{host}");
            assert!(
                answered(&ours, "/v1/runs", &[("host", host), ("origin", &format!("http://{host}"))]),
                "{host}"
            );
        }
        assert!(answered(&ours, "http://127.0.0.1:7433/tidemill.features.v1.FeatureService/Get", &[]));
        for host in
            ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.5:7433", "a b", ""]
        {
            assert!(!answered(&ours, "/v1/runs", &[("host", host)]), "{host}");
        }
        assert!(!answered(&ours, "/v1/runs", &[]));
        for origin in [
            "http://evil.example",
            "null",
            "http://localhost:3000",
            "http://127.0.0.1",
            "http://user@localhost",
        ] {
            assert!(!answered(&ours, "/v1/runs", &[("host", "localhost"), ("origin", origin)]), "{origin}");
        }
        assert!(answered(&Hosts::default().any_address(), "/", &[("host", "10.0.0.5:7436")]));
        assert!(!answered(&Hosts::default().any_address(), "/", &[("host", "evil.example")]));
    }
}
