//! Addresses of pools.

use std::{fmt, str::FromStr};

/// Where a pool is: `stratum+tcp://host:port`, or `stratum+ssl://host:port` for TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolUrl {
    /// Name or address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether TLS is spoken.
    pub tls: bool,
}

impl FromStr for PoolUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("{text:?} is no address of a pool; write it as stratum+tcp://host:3333, or stratum+ssl:// for TLS")
        };
        let (tls, place) = match text.split_once("://") {
            None => (false, text),
            Some(("stratum+tcp" | "stratum" | "tcp", place)) => (false, place),
            Some(("stratum+ssl" | "stratum+tls" | "ssl" | "tls" | "stratums", place)) => (true, place),
            Some(_) => return Err(wrong()),
        };
        let (host, port) = place.trim_end_matches('/').rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
        let host = match host.strip_prefix('[') {
            Some(inside) => inside.strip_suffix(']').ok_or_else(wrong)?,
            None if host.contains(':') => return Err(wrong()),
            None => host,
        };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:%".contains(&byte);
        if host.is_empty() || !host.bytes().all(is_plain) {
            return Err(wrong());
        }
        Ok(Self { host: host.to_owned(), port, tls })
    }
}

impl fmt::Display for PoolUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, tls } = self;
        let scheme = if *tls { "stratum+ssl" } else { "stratum+tcp" };
        if host.contains(':') { write!(f, "{scheme}://[{host}]:{port}") } else { write!(f, "{scheme}://{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_all_their_forms() {
        let read = |text: &str| text.parse::<PoolUrl>().expect(text).to_string();
        assert_eq!(read("stratum+tcp://pool.example:3333"), "stratum+tcp://pool.example:3333");
        assert_eq!(read("pool.example:3333/"), "stratum+tcp://pool.example:3333");
        assert_eq!(read("ssl://10.0.0.7:1"), "stratum+ssl://10.0.0.7:1");
        assert_eq!(read("stratum+tls://[::1]:65535"), "stratum+ssl://[::1]:65535");
        for wrong in ["", "pool", "pool:0", "pool:70000", "http://pool:1", "a b:1", "::1:3", "[::1:3", "u@pool:1"] {
            assert!(wrong.parse::<PoolUrl>().expect_err(wrong).contains("stratum+tcp://"), "{wrong}");
        }
    }
}
