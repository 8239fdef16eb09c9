//! Who may talk to the server from a browser: the checks of `Host` and `Origin`.
//!
//! A node that listens on loopback alone is still reachable by every page its user opens. Two rules keep strangers' pages out:
//! the `Host` header must be `localhost`, an IP address or a configured name (a page that rebinds its own name to this machine
//! cannot choose that header), and only allowed origins get the answers' CORS headers or a WebSocket, which browsers open
//! across origins without asking. Pages served by this machine itself are allowed.

use crate::config::ApiConfig;
use http_body_util::Full;
use hyper::{Request, Response, body::Bytes};
use soketto::handshake::http::is_upgrade_request;
use std::net::IpAddr;

/// An answer of the server, whole.
pub(crate) type HttpResponse = Response<Full<Bytes>>;

/// The operator's lists, normalised.
#[derive(Debug)]
pub(crate) struct Gate {
    hosts: Vec<String>,
    origins: Vec<String>,
}

/// What to do with a request.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Answer it, for this origin if it came from an allowed page.
    Serve(Option<String>),
    /// Answer at once with this.
    Done(HttpResponse),
}

impl Gate {
    pub(crate) fn new(config: &ApiConfig) -> Self {
        let lower = |list: &[String]| list.iter().map(|s| s.trim_end_matches('/').to_ascii_lowercase()).collect();
        Self { hosts: lower(&config.allowed_hosts), origins: lower(&config.allowed_origins) }
    }

    /// Decides by the request's head alone.
    pub(crate) fn check<B>(&self, request: &Request<B>) -> Verdict {
        let header = |name: &str| request.headers().get(name).map(|v| v.to_str().unwrap_or("?"));
        let target = request.uri().host();
        if let Some(host) = header("host").into_iter().chain(target).find(|host| !self.host_allowed(host)) {
            let words = format!(
                "The host name {host:?} is not served here. Use localhost or an IP address, or add the name to `allowed_hosts`.\n"
            );
            return Verdict::Done(plain(403, words));
        }
        let origin = header("origin");
        let allowed = origin.filter(|origin| self.origin_allowed(origin)).map(str::to_owned);
        if origin.is_some() && allowed.is_none() && is_upgrade_request(request) {
            let words = "Pages of this origin may not open a WebSocket here. Add the origin to `allowed_origins`.\n";
            return Verdict::Done(plain(403, words.to_owned()));
        }
        if request.method().as_str() == "OPTIONS" {
            return Verdict::Done(preflight(allowed.as_deref()));
        }
        Verdict::Serve(allowed)
    }

    /// Whether a request to this host is served.
    pub(crate) fn host_allowed(&self, host: &str) -> bool {
        let any = self.hosts.iter().any(|allowed| allowed == "*");
        let Some(name) = name_of(host) else { return any };
        let known = name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok();
        any || known || self.hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
    }

    /// Whether pages of this origin may read answers.
    pub(crate) fn origin_allowed(&self, origin: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        let local = ["http://", "https://"].iter().filter_map(|scheme| origin.strip_prefix(scheme)).any(|host| {
            name_of(host).is_some_and(|name| {
                name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            })
        });
        local || self.origins.iter().any(|allowed| allowed == "*" || *allowed == origin)
    }
}

/// Lets a page of `origin` read the answer.
pub(crate) fn allow_origin(response: &mut HttpResponse, origin: &str) {
    let Ok(value) = origin.parse() else { return };
    response.headers_mut().insert("access-control-allow-origin", value);
    response.headers_mut().insert("vary", "origin".parse().expect("plain ASCII"));
}

/// Answers a browser that asks whether a page may send a request.
fn preflight(origin: Option<&str>) -> HttpResponse {
    let mut response = plain(204, String::new());
    if let Some(origin) = origin {
        allow_origin(&mut response, origin);
        for (name, value) in [
            ("access-control-allow-methods", "POST"),
            ("access-control-allow-headers", "content-type"),
            ("access-control-allow-private-network", "true"),
            ("access-control-max-age", "600"),
        ] {
            response.headers_mut().insert(name, value.parse().expect("plain ASCII"));
        }
    }
    response
}

/// Makes an answer of plain words.
pub(crate) fn plain(status: u16, words: impl Into<Bytes>) -> HttpResponse {
    let builder = Response::builder().status(status).header("content-type", "text/plain; charset=utf-8");
    builder.body(Full::new(words.into())).expect("a known status and header")
}

/// Takes the name out of `localhost:8545` and the address out of `[::1]:8545`; `None` for what is neither.
fn name_of(authority: &str) -> Option<&str> {
    let (name, rest) = match authority.strip_prefix('[') {
        Some(inside) => inside.split_once(']')?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let port = rest.strip_prefix(':').unwrap_or(rest);
    let plain = port.bytes().all(|b| b.is_ascii_digit()) && (rest.is_empty() || rest.starts_with(':'));
    (plain && !name.is_empty()).then(|| name.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(hosts: &[&str], origins: &[&str]) -> Gate {
        let list = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect();
        Gate::new(&ApiConfig { allowed_hosts: list(hosts), allowed_origins: list(origins), ..ApiConfig::default() })
    }

    #[test]
    fn serves_localhost_addresses_and_configured_names() {
        let gate = gate(&["Node.Example.org"], &[]);
        for host in [
            "localhost",
            "LOCALHOST:8545",
            "localhost.:1",
            "127.0.0.1:8545",
            "10.0.0.7",
            "[::1]:8545",
            "[::1]",
            "node.example.org:80",
        ] {
            assert!(gate.host_allowed(host), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "evil.example:8545",
            "127.0.0.1.evil.example",
            "",
            "?",
            "[::1].evil:80",
            "a:b:c",
        ] {
            assert!(!gate.host_allowed(host), "{host}");
        }
    }

    #[test]
    fn serves_pages_of_this_machine_and_configured_origins() {
        let gate = gate(&[], &["https://explorer.example.org/"]);
        for origin in
            ["http://localhost:3000", "http://127.0.0.1:5173", "https://[::1]:1", "https://explorer.example.org"]
        {
            assert!(gate.origin_allowed(origin), "{origin}");
        }
        for origin in [
            "null",
            "https://evil.example",
            "http://10.0.0.7",
            "http://localhost.evil.example",
            "file://",
            "ftp://localhost",
        ] {
            assert!(!gate.origin_allowed(origin), "{origin}");
        }
    }

    #[test]
    fn a_star_opens_either_list() {
        let gate = gate(&["*"], &["*"]);
        assert!(gate.host_allowed("any.example") && gate.origin_allowed("https://any.example"));
    }
}
