//! Which addresses a role may listen on while there is no authentication.

use std::net::SocketAddr;

use crate::Fault;

/// Other machines would reach the role, and nobody is asked who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} can be reached from other machines, and authentication is not supported yet")]
pub struct Exposed(pub SocketAddr);

impl Exposed {
    /// What a person is told.
    pub fn fault(&self) -> Fault {
        Fault::coded(165, self.to_string())
            .hint("listen on 127.0.0.1, or start it with --insecure if the network keeps others out")
    }
}

/// Loopback is taken; another address only where `insecure` was asked for.
///
/// # Errors
/// [`Exposed`].
pub fn check_bind(address: SocketAddr, insecure: bool) -> Result<(), Exposed> {
    if insecure || address.ip().to_canonical().is_loopback() { Ok(()) } else { Err(Exposed(address)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_taken_unless_told_otherwise() {
        let check = |address: &str, insecure| check_bind(address.parse().unwrap(), insecure).is_ok();
        for address in ["127.0.0.1:1", "127.8.8.8:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(check(address, false), "{address}");
        }
        for address in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[::ffff:10.0.0.1]:1"] {
            assert!(!check(address, false) && check(address, true), "{address}");
        }
    }
}
