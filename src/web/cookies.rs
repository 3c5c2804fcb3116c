//! Names of this instance's cookies, and removal of all other cookies from requests.

use actix_web::http::header::{COOKIE, HeaderMap, HeaderValue};

/// Number of characters of the instance id in a cookie's name.
const MARK: usize = 8;

/// Cookie names that are unique to this instance. Browsers send a host's cookies to all of its ports, so two instances
/// on one host would otherwise collide.
#[derive(Debug)]
/// Name of the session cookie.
pub struct CookieNames {
    /// Name of the device cookie (`web::device`).
    pub session: String,
    pub device: String,
}

impl CookieNames {
    /// Returns the names, made from the instance id.
    pub fn new(instance_id: &str, is_https: bool) -> Self {
        // `__Host-` makes browsers restrict the cookie to this host, to https and to the path `/`.
        let prefix = if is_https { "__Host-" } else { "" };
        let mark = instance_id.get(..MARK).unwrap_or(instance_id);
        Self { session: format!("{prefix}gatepost-{mark}"), device: format!("{prefix}gatepost-device-{mark}") }
    }

    /// Removes cookies of other applications from a request. A single byte of theirs that is not UTF-8 would otherwise
    /// hide all cookies from the framework.
    pub fn keep_own(&self, headers: &mut HeaderMap) {
        if !headers.contains_key(COOKIE) {
            return;
        }
        let pairs = headers.get_all(COOKIE).flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
        let own: Vec<_> = pairs.map(<[u8]>::trim_ascii).filter(|pair| self.is_own(pair)).collect();
        let kept = HeaderValue::from_bytes(&own.join(&b"; "[..]));
        headers.remove(COOKIE);
        if let Ok(kept) = kept
            && !kept.is_empty()
        {
            headers.insert(COOKIE, kept);
        }
    }

    fn is_own(&self, pair: &[u8]) -> bool {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
        pair.is_ascii() && [&self.session, &self.device].iter().any(|own| own.as_bytes() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(lines: &[&[u8]]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line).unwrap());
        }
        CookieNames::new("0123456789abcdef", false).keep_own(&mut headers);
        assert!(headers.get_all(COOKIE).count() < 2);
        headers.get(COOKIE).map(|line| line.to_str().unwrap().to_owned())
    }

    #[test]
    fn cookies_of_other_applications_are_removed() {
        for other in [&b"a=\xe9"[..], b"\xff", b"=", b"", b"a=%zz", b"a=\"b c", b"gatepost=1", b"gatepost-01234568=1"] {
            assert_eq!(kept(&[other]), None);
            let line = [other, b"; gatepost-01234567=x%3D ;gatepost-device-01234567=y; ", other].concat();
            let own = Some("gatepost-01234567=x%3D; gatepost-device-01234567=y".to_owned());
            assert_eq!(kept(&[&line]), own);
            assert_eq!(kept(&[other, b"gatepost-01234567=x%3D", other, b"gatepost-device-01234567=y"]), own);
        }
    }

    #[test]
    fn https_prefixes_each_name() {
        let names = CookieNames::new("0123456789abcdef", true);
        assert_eq!(names.session, "__Host-gatepost-01234567");
        assert_eq!(names.device, "__Host-gatepost-device-01234567");
    }
}
