//! TCP ports on loopback, each claimed by one process of this machine at a time.
//!
//! A port that nothing listens on right now is not free: its server may be starting, or be started again. So whoever
//! wants one claims its number first, by the name of a socket that the kernel gives to one process alone and takes back
//! when that ends, however it does.

use std::{
    io,
    net::{Ipv4Addr, TcpListener},
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener},
    },
};

/// Numbers that are tried before the machine counts as having no free port.
const TRIES_MAX: usize = 1000;

/// A claimed port; given back when dropped. It says nothing of who listens: see [`listens`](crate::listens).
#[derive(Debug)]
pub struct Port {
    number: u16,
    _claim: UnixListener,
}

impl Port {
    /// The port `number`, unless another process has claimed it or listens on it.
    pub fn claim(number: u16) -> Option<Self> {
        let name = SocketAddr::from_abstract_name(format!("tidemill-port-{number}")).ok()?;
        let claim = UnixListener::bind_addr(&name).ok()?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        Some(Self { number, _claim: claim })
    }

    /// Any port that is free.
    ///
    /// # Errors
    /// When the machine has none.
    pub fn any() -> io::Result<Self> {
        for _ in 0..TRIES_MAX {
            let number = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            if let Some(port) = Self::claim(number) {
                return Ok(port);
            }
        }
        Err(io::Error::other("every port is taken"))
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_belongs_to_one_claim_at_a_time_also_before_anybody_listens() {
        let port = Port::any().unwrap();
        assert!(Port::claim(port.number()).is_none());
        let number = port.number();
        drop(port);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, number)).unwrap();
        assert!(Port::claim(number).is_none(), "somebody listens");
        drop(listener);
        assert!(Port::claim(number).is_some());
    }
}
