//! HTTP GET over the guarded dialer: NIP-11 documents and APIs that list relays.

use crate::{
    dialer::{Dialed, Dialer, Progress, network},
    endpoint::{Endpoint, EndpointHost, network_of},
    error::{DialError, Stage, clip},
    headers::{Headers, MAX_HEADERS},
    inflate::inflate,
};
use bigbrotr_models::{AddressPolicy, Network, RelayUrl};
use http_body_util::{BodyExt, Empty};
use hyper::{
    Request,
    body::{Body, Bytes},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use std::{error::Error, io, net::SocketAddr};
use url::{Host, Url};

/// Redirects followed.
const MAX_REDIRECTS: usize = 3;
/// Bytes of a response head.
const MAX_HEAD: usize = 32 * 1024;

/// A GET request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    endpoint: Endpoint,
    accept: String,
    max_bytes: usize,
}

impl HttpRequest {
    /// A request to the place of a relay: `ws` → `http`, `wss` → `https`, same host, port and path. `accept` is the `Accept` header
    /// (`application/nostr+json` for NIP-11), `max_bytes` the largest body taken.
    pub fn relay(url: &RelayUrl, accept: &str, max_bytes: usize) -> Self {
        Self { endpoint: Endpoint::from(url), accept: accept.into(), max_bytes }
    }

    /// A request for an absolute `http` or `https` URL. User information and fragment are dropped.
    ///
    /// # Errors
    /// `Http` for anything else.
    pub fn url(url: &str, accept: &str, max_bytes: usize) -> Result<Self, DialError> {
        let endpoint = Url::parse(url).ok().and_then(|url| endpoint_of(&url));
        let endpoint = endpoint.ok_or_else(|| DialError::Http(format!("no http or https URL: {}", clip(url))))?;
        Ok(Self { endpoint, accept: accept.into(), max_bytes })
    }

    #[cfg(test)]
    pub(crate) fn endpoint(endpoint: Endpoint, max_bytes: usize) -> Self {
        Self { endpoint, accept: "*/*".into(), max_bytes }
    }
}

/// The answer, whatever its status; redirects that could not be followed are errors instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpResponse {
    /// Status code.
    pub status: u16,
    /// Headers.
    pub headers: Headers,
    /// The body, at most `max_bytes`. Nothing compressed is asked for; where it is sent all the same, this is what it unpacks to.
    pub body: Vec<u8>,
    /// The `Content-Encoding`, in lower case, that could not be undone; `None`: the body is what was meant.
    pub encoding: Option<String>,
    /// The URL that answered, after redirects.
    pub final_url: String,
    /// The checked address that answered; `None` in an overlay.
    pub address: Option<SocketAddr>,
}

impl Dialer {
    /// One GET within `request_timeout`, all redirects included. At most 3 redirects are followed, only within the site (the same host, or
    /// names of one registrable domain), to the same port or the scheme's own and never from `https` to `http`; each one is dialed as
    /// guardedly as the first.
    ///
    /// # Errors
    /// Every [`DialError`] but those of WebSockets.
    pub async fn http_get(&self, request: &HttpRequest) -> Result<HttpResponse, DialError> {
        let limit = self.inner.config.request_timeout_in(network(&request.endpoint));
        self.follow(request, &Progress::new(limit)).await
    }

    async fn follow(&self, request: &HttpRequest, progress: &Progress) -> Result<HttpResponse, DialError> {
        let mut endpoint = request.endpoint.clone();
        for _ in 0..=MAX_REDIRECTS {
            match self.exchange(&endpoint, request, progress).await? {
                Answer::Response(response) => return Ok(response),
                Answer::Redirect(location) => {
                    endpoint = redirected(&endpoint, &location, self.inner.config.address_policy)?;
                }
            }
        }
        Err(DialError::TooManyRedirects(MAX_REDIRECTS))
    }

    async fn exchange(
        &self,
        endpoint: &Endpoint,
        request: &HttpRequest,
        progress: &Progress,
    ) -> Result<Answer, DialError> {
        let message = Request::get(endpoint.path.as_str())
            .header("Host", endpoint.authority())
            .header("User-Agent", self.inner.config.user_agent.as_str())
            .header("Accept", request.accept.as_str())
            .header("Accept-Encoding", "identity")
            .header("Connection", "close")
            .body(Empty::<Bytes>::new())
            .map_err(|_| DialError::Http("the URL cannot be put into a request".into()))?;

        let dialed = self.dial(endpoint, progress).await?;
        progress.enter(Stage::Http);
        progress.limit(talk(dialed, message, endpoint, request.max_bytes)).await
    }
}

/// Sends the request and reads the answer. The caller limits the time.
async fn talk(
    dialed: Dialed,
    message: Request<Empty<Bytes>>,
    endpoint: &Endpoint,
    max_bytes: usize,
) -> Result<Answer, DialError> {
    let _permit = dialed.permit;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .handshake(TokioIo::new(dialed.stream))
        .await
        .map_err(|e| failure(&e))?;
    let work = async {
        let response = sender.send_request(message).await.map_err(|e| failure(&e))?;
        let (head, body) = response.into_parts();
        let headers = Headers::from(&head.headers);
        let status = head.status.as_u16();
        if matches!(status, 301 | 302 | 303 | 307 | 308)
            && let Some(location) = headers.get("location")
        {
            return Ok(Answer::Redirect(location.to_owned()));
        }
        let body = read_body(body, max_bytes).await?;
        let (body, encoding) = inflate(body, headers.get("content-encoding"), max_bytes)?;
        Ok(Answer::Response(HttpResponse {
            status,
            headers,
            body,
            encoding,
            final_url: endpoint.http_url(),
            address: dialed.address,
        }))
    };
    // The connection is driven here and not by a task of its own, so that nothing outlives the deadline.
    let (mut connection, mut work) = (std::pin::pin!(connection), std::pin::pin!(work));
    tokio::select! {
        biased;
        answer = &mut work => answer,
        _ = &mut connection => work.await,
    }
}

enum Answer {
    Response(HttpResponse),
    Redirect(String),
}

async fn read_body(mut body: hyper::body::Incoming, limit: usize) -> Result<Vec<u8>, DialError> {
    let promised = body.size_hint().exact();
    if let Some(size) = promised
        && size > limit as u64
    {
        return Err(DialError::Oversize { limit, size: Some(size) });
    }
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|e| failure(&e))?.into_data() else { continue };
        if data.len() > limit - bytes.len() {
            return Err(DialError::Oversize { limit, size: promised });
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

fn failure(error: &hyper::Error) -> DialError {
    if error.is_incomplete_message() || error.is_canceled() {
        return DialError::Disconnected;
    }
    match error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
        Some(source) if !error.is_parse() && source.kind() != io::ErrorKind::InvalidInput => DialError::io(source),
        _ => DialError::Http(clip(&error.to_string())),
    }
}

/// Where a redirect leads, if it stays within the site.
pub(crate) fn redirected(from: &Endpoint, location: &str, policy: AddressPolicy) -> Result<Endpoint, DialError> {
    let refuse = || DialError::RedirectRefused(clip(location));
    let base = Url::parse(&from.http_url()).map_err(|_| refuse())?;
    let url = base.join(location).map_err(|_| refuse())?;
    let to = endpoint_of(&url).ok_or_else(refuse)?;
    let is_plain = url.username().is_empty() && url.password().is_none();
    let is_downgrade = from.tls && !to.tls;
    let port_is_usual = to.port == from.port || to.port == if to.tls { 443 } else { 80 };
    // In a private network a host is often many servers, told apart by their ports.
    let port_is_fine = port_is_usual || policy.allow_private && to.host == from.host;
    if is_plain && !is_downgrade && port_is_fine && is_same_site(from, &to) { Ok(to) } else { Err(refuse()) }
}

fn is_same_site(from: &Endpoint, to: &Endpoint) -> bool {
    if to.host == from.host {
        return true;
    }
    // The suffixes of overlays are in no list, and their names are keys.
    let is_clearnet = network(from) == Network::Clearnet && network(to) == Network::Clearnet;
    is_clearnet && matches!((site(&from.host), site(&to.host)), (Some(a), Some(b)) if a == b)
}

/// The registrable domain of a name that has one.
fn site(host: &EndpointHost) -> Option<&str> {
    match host {
        EndpointHost::Name(name) => psl::domain_str(name),
        EndpointHost::Ip(_) => None,
    }
}

pub(crate) fn endpoint_of(url: &Url) -> Option<Endpoint> {
    let tls = match url.scheme() {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    let host = match url.host()? {
        Host::Ipv4(ip) => EndpointHost::Ip(ip.into()),
        Host::Ipv6(ip) => EndpointHost::Ip(ip.into()),
        Host::Domain(name) => EndpointHost::Name(name.trim_end_matches('.').to_ascii_lowercase()),
    };
    let network = match &host {
        EndpointHost::Name(name) if name.is_empty() => return None,
        EndpointHost::Name(name) => network_of(name),
        EndpointHost::Ip(_) => Network::Clearnet,
    };
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    Some(Endpoint { tls, host, port: url.port_or_known_default()?, path, network })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn endpoint(url: &str) -> Endpoint {
        endpoint_of(&Url::parse(url).unwrap()).unwrap()
    }

    fn redirected(from: &Endpoint, location: &str) -> Result<Endpoint, DialError> {
        super::redirected(from, location, AddressPolicy::default())
    }

    #[test]
    fn redirects_stay_within_the_site() {
        let from = endpoint("http://relay.example.com/a/b");
        for (location, expected) in [
            ("c?d#e", "http://relay.example.com/a/c?d"),
            ("//example.com", "http://example.com/"),
            ("https://www.example.com/", "https://www.example.com/"),
            ("HTTPS://RELAY.EXAMPLE.COM./x", "https://relay.example.com/x"),
        ] {
            assert_eq!(redirected(&from, location).unwrap().http_url(), expected);
        }
        for bad in [
            "https://example.org/",
            "http://notexample.com/",
            "http://relay.example.com.evil.net/",
            "http://169.254.169.254/latest",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://2852039166/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://127.1/",
            "http://localhost/",
            "http://com/",
            "http://relay.example.com:8080/",
            "http://relay.example.com:25/",
            "https://relay.example.com:80443/",
            "http://user@relay.example.com/",
            "http://user:pass@relay.example.com/",
            "http://relay.example.com@127.0.0.1/",
            "http://relay.example.com%2f@127.0.0.1/",
            "http://127.0.0.1%23.example.com/",
            "http:\\\\127.0.0.1/",
            "\\\\127.0.0.1\\x",
            "///127.0.0.1/",
            "http://2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion/",
            "http://relay.example.com.onion/",
            "ftp://relay.example.com/",
            "file:///etc/passwd",
            "gopher://relay.example.com/",
            "data:text/plain,x",
            "javascript:alert(1)",
            "http://",
        ] {
            assert!(matches!(redirected(&from, bad), Err(DialError::RedirectRefused(_))), "{bad}");
        }
        // A public suffix is not a site.
        assert!(redirected(&endpoint("http://relay.co.uk/"), "http://other.co.uk/").is_err());
        assert!(redirected(&endpoint("http://a.relay.co.uk/"), "http://b.relay.co.uk/").is_ok());
    }

    #[test]
    fn a_site_is_what_somebody_registered() {
        for (from, to, same) in [
            ("http://a.example.co.uk/", "http://b.example.co.uk/", true),
            ("http://a.co.uk/", "http://b.co.uk/", false),
            ("http://me.github.io/", "http://you.github.io/", false),
            ("http://192.0.2.1/", "http://10.0.2.1/", false),
            ("http://192.0.2.1/", "http://192.0.2.1/x", true),
            ("http://a.b32.i2p/", "http://b.b32.i2p/", false),
            ("http://a.onion/", "http://x.a.onion/", false),
            ("http://a.onion/", "http://a.onion/x", true),
            ("http://a.onion/", "http://example.com/", false),
        ] {
            assert_eq!(redirected(&endpoint(from), to).is_ok(), same, "{from} {to}");
        }
    }

    #[test]
    fn a_redirect_neither_lowers_the_guard_nor_changes_the_port() {
        let tls = endpoint("https://relay.example.com/");
        assert!(redirected(&tls, "http://relay.example.com/").is_err());
        assert!(redirected(&tls, "//relay.example.com:443/x").is_ok());
        let odd = endpoint("http://relay.example.com:7777/");
        assert!(redirected(&odd, "https://relay.example.com/").is_ok());
        assert!(redirected(&odd, "http://www.example.com:7777/").is_ok());
        assert!(redirected(&odd, "http://relay.example.com:7778/").is_err());
        let private = AddressPolicy { allow_private: true };
        assert!(super::redirected(&odd, "http://relay.example.com:7778/", private).is_ok());
        assert!(super::redirected(&odd, "http://www.example.com:7778/", private).is_err());
    }

    #[test]
    fn only_http_urls_are_requested() {
        for bad in ["ws://relay.example", "file:///etc/passwd", "relay.example", ""] {
            assert_eq!(HttpRequest::url(bad, "*/*", 1).unwrap_err().class(), "http", "{bad}");
        }
        let request = HttpRequest::url("https://u:p@API.example./x?y=1#z", "*/*", 1).unwrap();
        assert_eq!(request.endpoint.http_url(), "https://api.example/x?y=1");
    }
}
