//! Where a webhook may lead, and which secrets a notifier may name.
//!
//! Who declares a notifier decides where a worker connects to, from inside its network and with its secrets at hand. So
//! the operator decides what that may be: secrets are the variables `TIDEMILL_SECRETS__NAME` and nothing else of the
//! environment, and an address is public, or in `TIDEMILL_WEBHOOKS__ALLOW`. Link-local addresses, where clouds tell
//! machines their credentials, are never asked.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use reqwest::Url;
use serde::Deserialize;
use tidemill_spec::Notifier;

use crate::Error;

/// `TIDEMILL_WEBHOOKS__ALLOW`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookOptions {
    /// Hosts, addresses and networks (`10.0.0.0/8`) that webhooks may lead to beside public addresses, separated by
    /// commas.
    pub allow: String,
}

/// `TIDEMILL_SECRETS__NAME`: values by name, in lower case. Never shown.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Secrets(BTreeMap<String, String>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Secrets {
    /// Of names and values.
    pub fn new(secrets: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(secrets.into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect())
    }
}

/// What the operator allows notifiers.
#[derive(Clone, Debug, Default)]
pub struct Webhooks {
    secrets: Secrets,
    hosts: Vec<String>,
    networks: Vec<(IpAddr, u8)>,
}

impl Webhooks {
    /// What the options say.
    ///
    /// # Errors
    /// A network that is none.
    pub fn new(options: &WebhookOptions, secrets: Secrets) -> Result<Self, String> {
        let mut webhooks = Self { secrets, ..Self::default() };
        for entry in options.allow.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            if let Some((address, length)) = entry.split_once('/') {
                let network = address.parse().ok().zip(length.parse().ok());
                let network = network.filter(|(address, length)| *length <= bits(*address).1);
                webhooks.networks.push(network.ok_or_else(|| format!("`{entry}` is not a network"))?);
            } else if let Ok(address) = entry.trim_matches(['[', ']']).parse() {
                webhooks.networks.push((address, bits(address).1));
            } else {
                webhooks.hosts.push(entry.to_lowercase());
            }
        }
        Ok(webhooks)
    }

    /// The address of a notifier: what is written, or the secret that stands for it.
    pub(crate) fn address(&self, notifier: &Notifier) -> Result<Url, Error> {
        let text = match notifier.secret() {
            Some(name) => {
                self.secrets.0.get(&name.to_lowercase()).ok_or_else(|| Error::Secret(name.to_owned()))?
            }
            None => &notifier.webhook_url,
        };
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.filter(|_| !text.contains("${{"));
        url.ok_or_else(|| Error::Address(format!("the address of notifier `{}` is not a URL", notifier.name)))
    }

    /// The sockets that a URL leads to and may lead to. What is checked is what is connected to: the name isn't resolved
    /// a second time.
    pub(crate) async fn sockets(&self, url: &Url) -> Result<Vec<SocketAddr>, Error> {
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = url.port_or_known_default().unwrap_or(80);
        let found = tokio::net::lookup_host((host.as_str(), port)).await;
        let found = found.map_err(|_| Error::Delivery("webhook: its host is not known".to_owned()))?;
        let named = self.hosts.contains(&host.to_lowercase());
        let allowed: Vec<_> = found.filter(|socket| self.allows(socket.ip(), named)).collect();
        if allowed.is_empty() {
            // The address may be a secret.
            return Err(Error::Address("the webhook leads to an address that is not allowed".to_owned()));
        }
        Ok(allowed)
    }

    fn allows(&self, address: IpAddr, named: bool) -> bool {
        let address = address.to_canonical();
        let listed = || self.networks.iter().any(|network| contains(*network, address));
        !is_never_asked(address) && (named || is_public(address) || listed())
    }
}

/// Link-local, nobody's, everybody's, and where clouds outside of link-local tell machines their credentials.
fn is_never_asked(address: IpAddr) -> bool {
    const METADATA: [IpAddr; 4] = [
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
        IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
        IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
        IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    ];
    let local = match address {
        IpAddr::V4(four) => four.is_link_local() || four.is_broadcast() || four.octets()[0] == 0,
        IpAddr::V6(six) => six.is_unicast_link_local(),
    };
    local || address.is_unspecified() || address.is_multicast() || METADATA.contains(&address)
}

/// Routed on the internet (IANA's registries of special-purpose addresses, 2025).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => {
            let [a, b, c, _] = four.octets();
            let special = four.is_private()
                || four.is_loopback()
                || four.is_documentation()
                || (a == 100 && b & 0xc0 == 64)
                || (a == 192 && b == 0 && c == 0)
                || (a == 198 && b & 0xfe == 18)
                || a >= 240;
            !special
        }
        IpAddr::V6(six) => {
            let [a, b, ..] = six.segments();
            // Tunnels lead to an address of version 4 that was not looked at.
            let tunnel = a == 0x2002 || (a == 0x2001 && b == 0);
            a & 0xe000 == 0x2000 && !tunnel && !(a == 0x2001 && b == 0xdb8)
        }
    }
}

fn contains((network, length): (IpAddr, u8), address: IpAddr) -> bool {
    let ((network, all), (address, of)) = (bits(network), bits(address));
    let shift = u32::from(all - length.min(all));
    all == of && network.checked_shr(shift).unwrap_or(0) == address.checked_shr(shift).unwrap_or(0)
}

/// The address as a number, and its length in bits.
fn bits(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(four) => (u128::from(four.to_bits()), 32),
        IpAddr::V6(six) => (six.to_bits(), 128),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhooks(allow: &str) -> Webhooks {
        let secrets = Secrets::new([("OPS".to_owned(), "https://ops.example/hook".to_owned())]);
        Webhooks::new(&WebhookOptions { allow: allow.to_owned() }, secrets).unwrap()
    }

    fn notifier(url: &str) -> Notifier {
        let body = serde_json::json!({ "name": "ops", "meta": {}, "webhook_url": url });
        serde_json::from_value(body).unwrap()
    }

    #[test]
    fn a_notifier_reads_the_secrets_that_are_declared_and_no_other_variable() {
        let address = |url: &str| {
            webhooks("").address(&notifier(url)).map(String::from).map_err(|error| error.to_string())
        };
        assert_eq!(address("${{ secrets.OPS }}").unwrap(), "https://ops.example/hook");
        assert_eq!(address("http://plain/x").unwrap(), "http://plain/x");
        assert_eq!(address("${{ secrets.PATH }}").unwrap_err(), "secret `PATH` is not set");
        // A secret is a whole address: beside an address of somebody's choice it would be sent there.
        for leak in [
            "https://evil.example/${{ secrets.OPS }}",
            "${{ secrets.OPS }}${{ secrets.PATH }}",
            "file:///etc",
        ] {
            assert!(address(leak).is_err(), "{leak}");
        }
        assert!(!format!("{:?}", webhooks("")).contains("ops.example"), "never shown");
    }

    #[test]
    fn public_addresses_are_allowed_others_where_listed_and_those_of_clouds_never() {
        let allows = |list: &str, address: &str| webhooks(list).allows(address.parse().unwrap(), false);
        for public in ["1.1.1.1", "172.15.0.1", "2606:4700::1111"] {
            assert!(allows("", public), "{public}");
        }
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.1",
            "172.16.0.1",
            "100.64.0.1",
            "::1",
            "fc00::1",
            "::ffff:10.0.0.1",
            "2002:a00::",
        ] {
            assert!(!allows("", inside), "{inside}");
        }
        assert!(allows("127.0.0.0/8, ::1", "127.0.0.1") && allows("127.0.0.0/8, ::1", "::1"));
        assert!(allows("10.0.0.0/8", "::ffff:10.9.9.9") && !allows("10.0.0.0/8", "172.20.0.1"));
        for never in [
            "169.254.169.254",
            "fe80::1",
            "::ffff:169.254.169.254",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "fd00:ec2::254",
            "100.100.100.200",
        ] {
            assert!(!allows("0.0.0.0/0, ::/0", never), "{never}");
            assert!(!webhooks("").allows(never.parse().unwrap(), true), "{never}");
        }
        assert!(
            Webhooks::new(&WebhookOptions { allow: "10.0.0.0/33".to_owned() }, Secrets::default()).is_err()
        );
    }

    #[tokio::test]
    async fn what_is_checked_is_what_is_connected_to() {
        let to = async |allow: &str, url: &str| webhooks(allow).sockets(&url.parse().unwrap()).await;
        assert_eq!(to("127.0.0.0/8", "http://127.0.0.1:9/").await.unwrap(), ["127.0.0.1:9".parse().unwrap()]);
        assert!(matches!(to("", "http://127.0.0.1:9/").await, Err(Error::Address(_))));
        // Other spellings of the same address.
        for spelt in
            ["http://2130706433/", "http://0x7f.1/", "http://[::ffff:127.0.0.1]/", "http://localhost/"]
        {
            assert!(matches!(to("", spelt).await, Err(Error::Address(_))), "{spelt}");
        }
        assert!(!to("localhost", "http://localhost:9/").await.unwrap().is_empty());
    }
}
