//! The address under which this instance is reached, for what people copy from its pages.

use actix_web::HttpRequest;
use actix_web::http::header::HOST;
use url::Url;

use super::state::State;

/// What was configured; where nothing was, what this request came to.
pub fn of(request: &HttpRequest, state: &State) -> Url {
    let host = request.headers().get(HOST).and_then(|value| value.to_str().ok());
    choose(&state.settings.public_url, state.settings.has_public_url(), host)
}

fn choose(public_url: &Url, is_configured: bool, host: Option<&str>) -> Url {
    let reached = || {
        let url = Url::parse(&format!("http://{}", host?)).ok()?;
        // Nothing but a host and a port, whatever was sent as such.
        let is_plain =
            url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        is_plain.then_some(url)
    };
    if is_configured { public_url.clone() } else { reached().unwrap_or_else(|| public_url.clone()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_tells_where_nobody_said() {
        let public_url = Url::parse("http://localhost:8000").unwrap();
        let chosen = |is_configured, host| choose(&public_url, is_configured, host).to_string();
        assert_eq!(chosen(true, Some("10.0.0.5:8000")), "http://localhost:8000/");
        assert_eq!(chosen(false, Some("10.0.0.5:8000")), "http://10.0.0.5:8000/");
        assert_eq!(chosen(false, Some("[::1]:8000")), "http://[::1]:8000/");
        for odd in [None, Some(""), Some("a b"), Some("evil.example/x"), Some("a@b"), Some("a?b"), Some("a#b")] {
            assert_eq!(chosen(false, odd), "http://localhost:8000/", "{odd:?}");
        }
    }
}
