//! HTTP GET over the guarded dialer: NIP-11 documents and APIs that list relays.

use crate::{
    dialer::{Dialer, Progress},
    endpoint::{Endpoint, EndpointHost, network_of},
    error::{DialError, Stage, clip},
    headers::{Headers, MAX_HEADERS},
};
use bigbrotr_models::{Network, RelayUrl};
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
    /// The body, at most `max_bytes`, as sent: nothing is decompressed, as nothing compressed is asked for.
    pub body: Vec<u8>,
    /// The URL that answered, after redirects.
    pub final_url: String,
    /// The checked address that answered; `None` in an overlay.
    pub address: Option<SocketAddr>,
}

impl Dialer {
    /// One GET within `request_timeout`, all redirects included. At most 3 redirects are followed, only within the site (the same host, or names of
    /// one registrable domain), and each one is dialed as guardedly as the first.
    ///
    /// # Errors
    /// Every [`DialError`] but those of WebSockets.
    pub async fn http_get(&self, request: &HttpRequest) -> Result<HttpResponse, DialError> {
        let progress = Progress::default();
        progress.limit(self.inner.config.request_timeout, self.follow(request, &progress)).await
    }

    async fn follow(&self, request: &HttpRequest, progress: &Progress) -> Result<HttpResponse, DialError> {
        let mut endpoint = request.endpoint.clone();
        for _ in 0..=MAX_REDIRECTS {
            match self.exchange(&endpoint, request, progress).await? {
                Answer::Response(response) => return Ok(response),
                Answer::Redirect(location) => endpoint = redirected(&endpoint, &location)?,
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
            let body = read_body(body, request.max_bytes).await?;
            Ok(Answer::Response(HttpResponse {
                status,
                headers,
                body,
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
fn redirected(from: &Endpoint, location: &str) -> Result<Endpoint, DialError> {
    let refuse = || DialError::RedirectRefused(clip(location));
    let base = Url::parse(&from.http_url()).map_err(|_| refuse())?;
    let to = base.join(location).ok().and_then(|url| endpoint_of(&url)).ok_or_else(refuse)?;
    if to.host == from.host || matches!((site(&from.host), site(&to.host)), (Some(a), Some(b)) if a == b) {
        Ok(to)
    } else {
        Err(refuse())
    }
}

/// The registrable domain of a name that has one.
fn site(host: &EndpointHost) -> Option<&str> {
    let EndpointHost::Name(name) = host else { return None };
    psl::domain_str(name)
}

fn endpoint_of(url: &Url) -> Option<Endpoint> {
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

    #[test]
    fn redirects_stay_within_the_site() {
        let from = endpoint("http://relay.example.com/a/b");
        assert_eq!(redirected(&from, "c?d#e").unwrap().http_url(), "http://relay.example.com/a/c?d");
        assert_eq!(redirected(&from, "https://www.example.com:8443/").unwrap().port, 8443);
        assert_eq!(redirected(&from, "//example.com").unwrap().http_url(), "http://example.com/");
        for bad in [
            "https://example.org/",
            "http://notexample.com/",
            "http://169.254.169.254/latest",
            "http://[::1]/",
            "http://2852039166/",
            "http://com/",
            "ftp://relay.example.com/",
            "javascript:alert(1)",
            "http://",
        ] {
            assert!(matches!(redirected(&from, bad), Err(DialError::RedirectRefused(_))), "{bad}");
        }
        // A public suffix is not a site.
        assert!(redirected(&endpoint("http://relay.co.uk/"), "http://other.co.uk/").is_err());
        assert!(redirected(&endpoint("http://a.github.io/"), "http://b.github.io/").is_err());
        assert!(redirected(&endpoint("http://a.relay.co.uk/"), "http://b.relay.co.uk/").is_ok());
        assert!(redirected(&endpoint("http://192.0.2.1/"), "http://10.0.2.1/").is_err());
        assert!(redirected(&endpoint("http://192.0.2.1/"), "http://192.0.2.1:81/x").is_ok());
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
