//! The gate that every request goes through: whose host, whose origin, whose session; and the headers of every answer.

use crate::{
    PageError, Site,
    session::{same, secret},
    texts::{Language, Texts},
};
use axum::{
    Router,
    extract::{FromRequestParts, Query, Request, State},
    http::{
        HeaderMap, HeaderValue, Method, StatusCode,
        header::{self, HeaderName},
        request::Parts,
    },
    middleware::{self, Next},
    response::{IntoResponse as _, Redirect, Response},
};
use serde::Deserialize;
use std::{net::IpAddr, sync::Arc, time::Duration};

/// No script, style, picture or address but the server's own; no page of others shows ours in a frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
    form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
/// Headers of every answer.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];
/// Longest time that a request may take; streams of news are answered at once.
const LONGEST: Duration = Duration::from_mins(2);

/// Who asks, and how they like it.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The texts of their language.
    pub texts: &'static Texts,
    /// `light`, `dark`, or empty for what the system says.
    pub theme: &'static str,
    /// The path, for the menu and the links that change language and theme.
    pub path: String,
    /// The token of their forms; `None` for a visitor who is not the owner.
    pub csrf: Option<String>,
    /// Whether the pages of this machine's own things are served at all.
    pub own: bool,
}

impl<S: Send + Sync> FromRequestParts<S> for Visit {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        parts.extensions.get::<Self>().cloned().ok_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// A visit of the owner; others are told how to become it.
pub struct Owner(pub Visit);

impl<S: Send + Sync> FromRequestParts<S> for Owner {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let visit = Visit::from_request_parts(parts, state).await.map_err(|_| PageError::Internal)?;
        if visit.csrf.is_some() && visit.own { Ok(Self(visit)) } else { Err(PageError::NotOwner(visit)) }
    }
}

impl Owner {
    /// Holds that a form came with the token of the owner's session.
    pub fn check(&self, token: &str) -> Result<(), PageError> {
        match &self.0.csrf {
            Some(csrf) if same(csrf, token) => Ok(()),
            _ => Err(PageError::Forbidden("the form is too old; open the page again and send it once more")),
        }
    }
}

/// Puts a router behind the gate.
pub fn guard(router: Router, site: Arc<Site>) -> Router {
    router.layer(middleware::from_fn_with_state(site, pass))
}

async fn pass(State(site): State<Arc<Site>>, mut request: Request, next: Next) -> Response {
    if let Err(refusal) = check(&site, &request) {
        return with_headers(refusal.into_response());
    }
    let (visit, cookies) = visit(&site, &request);
    request.extensions_mut().insert(visit.clone());
    let busy = (StatusCode::REQUEST_TIMEOUT, "the request took too long").into_response();
    let mut answer = tokio::time::timeout(LONGEST, next.run(request)).await.unwrap_or(busy);
    if let Some(error) = answer.extensions_mut().remove::<PageError>() {
        answer = error.page(&visit);
    }
    for cookie in cookies {
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            answer.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
    with_headers(answer)
}

fn with_headers(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    for (name, value) in HEADERS {
        // A download brings a stricter policy of its own.
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    answer
}

/// Holds that the request means this server, and that a change comes from a page of it.
fn check(site: &Site, request: &Request) -> Result<(), (StatusCode, &'static str)> {
    let headers = request.headers();
    let host = single(headers, &header::HOST);
    if !host.is_some_and(|host| is_ours(site, host)) {
        let what = "this name is not one of the server's: a page elsewhere may be trying to use it; \
            add the name to pages.allowed_hosts if it is yours";
        return Err((StatusCode::MISDIRECTED_REQUEST, what));
    }
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(());
    }
    if *request.method() != Method::POST {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "only GET and POST"));
    }
    let site = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    let from_us = single(headers, &header::ORIGIN)
        .and_then(|origin| origin.split_once("://"))
        .is_some_and(|(_, origin)| Some(origin) == host);
    if from_us && site.is_none_or(|site| site == "same-origin") {
        Ok(())
    } else {
        Err((StatusCode::FORBIDDEN, "a page of another origin may not change anything here"))
    }
}

/// Returns a header's value if there is exactly one.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

fn is_ours(site: &Site, host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let plain = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || plain.parse::<IpAddr>().is_ok()
        || site.config.allowed_hosts.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(name))
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(';')).find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then_some(value)
    })
}

/// Whether a request brings the owner's key, as no page elsewhere can make a browser do.
fn bears(headers: &HeaderMap, key: &str) -> bool {
    let brought = single(headers, &header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
    brought.is_some_and(|brought| same(brought, key))
}

const YEAR: &str = "; Path=/; SameSite=Strict; Max-Age=31536000";

#[derive(Default, Deserialize)]
struct Likes {
    lang: Option<String>,
    theme: Option<String>,
}

/// Finds out who asks. Returns cookies to set as well: what they chose.
fn visit(site: &Site, request: &Request) -> (Visit, Vec<String>) {
    let headers = request.headers();
    let likes = Query::<Likes>::try_from_uri(request.uri()).map(|query| query.0).unwrap_or_default();
    let mut cookies = Vec::new();
    let language = likes.lang.as_deref().and_then(Language::of).inspect(|language| {
        cookies.push(format!("lang={}{YEAR}", language.code()));
    });
    let language = language
        .or_else(|| cookie(headers, "lang").and_then(Language::of))
        .or_else(|| headers.get(header::ACCEPT_LANGUAGE).and_then(|value| Language::accepted(value.to_str().ok()?)));
    let theme = likes.theme.as_deref().and_then(theme).inspect(|theme| cookies.push(format!("theme={theme}{YEAR}")));
    let theme = theme.or_else(|| cookie(headers, "theme").and_then(self::theme)).unwrap_or_default();
    let csrf = cookie(headers, "session").and_then(|cookie| site.sessions.csrf(cookie));
    // The owner's programs bring the key itself. They only read: no form has the token that they get.
    let csrf = csrf.or_else(|| bears(headers, &site.config.key).then(secret));
    let path = request.uri().path().to_owned();
    (Visit { texts: Texts::of(language.unwrap_or_default()), theme, path, csrf, own: site.config.own }, cookies)
}

fn theme(name: &str) -> Option<&'static str> {
    ["light", "dark", ""].into_iter().find(|known| *known == if name == "auto" { "" } else { name })
}

/// Where the owner's link leads.
#[derive(Deserialize)]
pub(crate) struct Key {
    key: String,
    #[serde(default)]
    to: String,
}

/// `GET /open?key=…`: begins the owner's session.
pub(crate) async fn open(State(site): State<Arc<Site>>, Query(key): Query<Key>) -> Result<Response, PageError> {
    if !site.config.own || !same(&key.key, &site.config.key) {
        return Err(PageError::Forbidden("the link is of another run; `bmm dashboard` prints the present one"));
    }
    let session = site.sessions.begin();
    // Only paths of this site, so that the link cannot lead elsewhere.
    let plain =
        key.to.starts_with('/') && key.to.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_".contains(&byte));
    let to = if plain && !key.to.starts_with("//") { key.to.as_str() } else { "/" };
    let mut answer = Redirect::to(to).into_response();
    let cookie = format!("session={session}; Path=/; HttpOnly; SameSite=Strict");
    answer.headers_mut().append(header::SET_COOKIE, HeaderValue::from_str(&cookie).map_err(|_| PageError::Internal)?);
    Ok(answer)
}

/// A form that holds nothing but the token.
#[derive(Deserialize)]
pub(crate) struct Token {
    csrf: String,
}

/// `POST /leave`: ends the owner's session.
pub(crate) async fn leave(
    State(site): State<Arc<Site>>,
    owner: Owner,
    headers: HeaderMap,
    axum::Form(form): axum::Form<Token>,
) -> Result<Redirect, PageError> {
    owner.check(&form.csrf)?;
    if let Some(session) = cookie(&headers, "session") {
        site.sessions.end(session);
    }
    Ok(Redirect::to("/"))
}
