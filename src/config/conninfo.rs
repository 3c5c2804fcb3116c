//! Connection strings, parsed like libpq does, printed without secrets, and refused if the two could disagree.

use std::fmt;

use zeroize::Zeroizing;

/// Parameters whose values are printed.
const SHOWN: [&str; 41] = [
    "application_name",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "dbname",
    "fallback_application_name",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "max_protocol_version",
    "min_protocol_version",
    "passfile",
    "port",
    "replication",
    "require_auth",
    "requirepeer",
    "requiressl",
    "service",
    "ssl",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcert",
    "sslcertmode",
    "sslcompression",
    "sslcrl",
    "sslcrldir",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslrootcert",
    "sslsni",
    "target_session_attrs",
    "tcp_user_timeout",
];

/// Parameters whose values are, or can contain, secrets.
const MASKED: [&str; 12] = [
    "authtype",
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_issuer",
    "oauth_scope",
    "options",
    "password",
    "scram_client_key",
    "scram_server_key",
    "servicefile",
    "sslkeylogfile",
    "sslpassword",
];

const MASK: &str = "…";
const FORM: &str =
    "must begin with postgres://, as in postgres://user:password@localhost/gatepost, or be libpq's keyword=value pairs";
const ENCODE: &str = "has characters that libpq reads otherwise than meant: percent-encode those of the password, as in %40 for @, %2F for /, %25 for %";
const QUOTE: &str = "is not libpq's keyword=value pairs: put a value with spaces or quotes into single quotes, as in password='it\\'s long'";
const ODD: &str = "has a value that looks like a part of another connection string: separate pairs with spaces, percent-encode a password, and give host, user and dbname each its own value";
const UNKNOWN: &str = "has a parameter that libpq does not have: look for a misspelled name, or a character of the password that is not encoded";

/// Connection string of a Postgres. It prints without secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    text: Zeroizing<String>,
    shown: String,
}

impl DatabaseUrl {
    /// Parses a connection string.
    ///
    /// # Errors
    /// Says what is accepted. The error repeats nothing of the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let rest = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"));
        let shown = match rest {
            Some(rest) => format!("postgres://{}", masked_uri(rest)?),
            None => masked_pairs(text)?,
        };
        Ok(Self { text: Zeroizing::new(text.to_owned()), shown })
    }

    /// Returns the original text, for libpq.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({})", self.shown)
    }
}

/// Masks the part behind the scheme: `user:password@host:port,host:port/dbname?name=value&name=value`.
fn masked_uri(text: &str) -> Result<String, String> {
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(ENCODE.to_owned());
    }
    // libpq takes the first of the two. An @ behind a / belongs to a password whose unencoded / ends it early.
    let (credentials, rest) = match text.find(['@', '/']).and_then(|at| text.split_at_checked(at)) {
        Some((credentials, rest)) => rest.strip_prefix('@').map_or((None, text), |rest| (Some(credentials), rest)),
        None => (None, text),
    };
    let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
    let (hosts, database) = place.split_once('/').map_or((place, None), |(hosts, database)| (hosts, Some(database)));
    let is_query_stray = credentials.is_none() && !hosts.is_empty() && query.is_some_and(|query| query.contains('@'));
    if place.contains('@') || is_query_stray || !hosts.split(',').all(is_host) {
        return Err(ENCODE.to_owned());
    }
    let mut shown = String::new();
    if let Some(credentials) = credentials {
        let (user, password) = credentials.split_once(':').map_or((credentials, None), |(user, it)| (user, Some(it)));
        shown.push_str(printable("user", &decoded(user)?, user)?);
        if let Some(password) = password {
            decoded(password)?;
            shown.push_str(&format!(":{MASK}"));
        }
        shown.push('@');
    }
    shown.push_str(hosts);
    if let Some(database) = database {
        shown.push_str(&format!("/{}", printable("dbname", &decoded(database)?, database)?));
    }
    if let Some(query) = query {
        let pairs = query.split('&').map(masked_parameter).collect::<Result<Vec<_>, String>>()?;
        shown.push_str(&format!("?{}", pairs.join("&")));
    }
    Ok(shown)
}

/// Returns true for a name, an address, an IPv6 address in brackets or a directory, each with or without a port.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, port)) => (host, port),
            None => return false,
        },
        None => text.find(':').and_then(|at| text.split_at_checked(at)).unwrap_or((text, "")),
    };
    let is_port =
        port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.chars().all(|c| c.is_ascii_digit()));
    is_port && decoded(host).is_ok_and(|host| !host.contains('@') || host.starts_with('@'))
}

fn masked_parameter(text: &str) -> Result<String, String> {
    let (name, value) = text.split_once('=').ok_or(ENCODE)?;
    let name = decoded(name)?;
    if value.contains('=') {
        return Err(ENCODE.to_owned());
    }
    Ok(format!("{name}={}", printable(&name, &decoded(value)?, value)?))
}

/// Returns the printable form of a parameter's value: its text, or a mask.
fn printable<'a>(name: &str, value: &str, text: &'a str) -> Result<&'a str, String> {
    let is_port = |port: &str| port.chars().all(|c| c.is_ascii_digit());
    if name == "port" && !value.split(',').all(is_port) {
        return Err(ENCODE.to_owned());
    }
    // Error messages of the server and of libpq repeat these values, so they must hold no secret. A database name can
    // itself be a connection string.
    let is_foreign = |signs: &[char]| value.contains(signs) && !value.starts_with(['/', '@']);
    let is_odd = match name {
        "host" | "hostaddr" => {
            is_foreign(&['=', ';', '@', '/']) || (value.contains(':') && !value.split(',').all(is_ip))
        }
        "user" => value.contains([';', ':', '/']),
        name if SHOWN.contains(&name) => is_foreign(&['=', ';', '@']) || value.contains("://"),
        _ => false,
    };
    if is_odd {
        return Err(ODD.to_owned());
    }
    match name {
        "user" => Ok(text),
        _ if MASKED.contains(&name) => Ok(MASK),
        _ if SHOWN.contains(&name) => Ok(text),
        _ => Err(UNKNOWN.to_owned()),
    }
}

fn is_ip(text: &str) -> bool {
    text.split('%').next().is_some_and(|text| text.is_empty() || text.parse::<std::net::IpAddr>().is_ok())
}

/// Returns true for characters that libpq treats as space between pairs (`isspace` in the C locale). A no-break space
/// is not one.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

/// Decodes percent-encoding such as `%40`. Bytes that are not UTF-8 print as replacement characters.
fn decoded(text: &str) -> Result<String, String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).ok_or(ENCODE)?;
        let byte = hex::decode(digits).ok().and_then(|byte| byte.first().copied()).filter(|byte| *byte != 0);
        bytes.push(byte.ok_or(ENCODE)?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Masks `name=value name='a value'` pairs, in which a backslash escapes the next character.
fn masked_pairs(text: &str) -> Result<String, String> {
    if !text.contains('=') || text.contains('\0') {
        return Err(FORM.to_owned());
    }
    let mut rest = text.trim_start_matches(is_space);
    let mut shown = Vec::new();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or(QUOTE)?;
        let name = name.trim_end_matches(is_space);
        if name.is_empty() || name.contains(is_space) {
            return Err(QUOTE.to_owned());
        }
        let (value, after) = pair_value(after.trim_start_matches(is_space))?;
        let quoted = format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"));
        let is_plain = !value.is_empty() && !value.contains(|c: char| is_space(c) || c == '\'' || c == '\\');
        let text = if is_plain { value.as_str() } else { quoted.as_str() };
        shown.push(format!("{name}={}", printable(name, &value, text)?));
        rest = after.trim_start_matches(is_space);
    }
    Ok(shown.join(" "))
}

/// Splits off the value at the start of the text. Returns the value and the rest.
fn pair_value(text: &str) -> Result<(String, &str), String> {
    let quoted = text.strip_prefix('\'');
    let mut value = String::new();
    let mut chars = quoted.unwrap_or(text).chars();
    loop {
        let before = chars.as_str();
        match chars.next() {
            Some('\\') => value.extend(chars.next()),
            Some('\'') if quoted.is_some() => return Ok((value, chars.as_str())),
            Some(c) if quoted.is_none() && is_space(c) => return Ok((value, before)),
            Some(c) => value.push(c),
            None if quoted.is_some() => return Err(QUOTE.to_owned()),
            None => return Ok((value, "")),
        }
    }
}

/// Returns true for a URL with an `@` behind its host: most likely an unencoded character in the password, where other
/// parsers end it.
pub fn has_stray_at(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find(['/', '?', '#']).and_then(|at| rest.split_at_checked(at)).is_some_and(|(_, behind)| behind.contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let url = DatabaseUrl::parse(text).unwrap_or_else(|refusal| panic!("{text}: {refusal}"));
        assert_eq!(format!("{url:?}"), format!("DatabaseUrl({url})"));
        url.to_string()
    }

    #[test]
    fn a_url_is_printed_without_its_secrets() {
        for (text, expected) in [
            ("postgres://u:hunter2@/db?host=/sock", "postgres://u:…@/db?host=/sock"),
            ("postgresql://u:hunter2@h1:5432,h2:5433/db", "postgres://u:…@h1:5432,h2:5433/db"),
            ("postgres://u:hunter2@[::1]:5432/db", "postgres://u:…@[::1]:5432/db"),
            ("postgres://u:hun%74er2@h", "postgres://u:…@h"),
            ("postgres://u:hunter2?#:x@h/db", "postgres://u:…@h/db"),
            ("postgres://u:hunter2%40%2F@h/db?sslmode=require", "postgres://u:…@h/db?sslmode=require"),
            ("postgres://u:1?user=hunter2@h/db", "postgres://u:…@h/db"),
            ("postgres://h/db?user=u&password=hunter2", "postgres://h/db?user=u&password=…"),
            ("postgres://h/db?%70assword=hunter2", "postgres://h/db?password=…"),
            ("postgres://h/db?sslpassword=hunter2&sslkey=/k", "postgres://h/db?sslpassword=…&sslkey=/k"),
            ("postgres://h/db?oauth_client_secret=hunter2", "postgres://h/db?oauth_client_secret=…"),
            ("postgres://h/db?options=-ca.b%3Dhunter2", "postgres://h/db?options=…"),
            ("postgres://u:hunter2@h/db?user=a@b&host=@abstract", "postgres://u:…@h/db?user=a@b&host=@abstract"),
            ("postgres://", "postgres://"),
            (" postgres://u:hunter2@h/db\n", "postgres://u:…@h/db"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn pairs_are_printed_without_their_secrets() {
        for (text, expected) in [
            ("host=db password=hunter2 user=ada", "host=db password=… user=ada"),
            ("host = db  password = 'hunter2 hunter3'  user='a b'", "host=db password=… user='a b'"),
            (r"password=hunter2\ hunter3 host=/s", "password=… host=/s"),
            (r"password='it\'s hunter2' port=5432", "password=… port=5432"),
            ("password='hunter2'host=x", "password=… host=x"),
            ("passfile=/p sslpassword=hunter2", "passfile=/p sslpassword=…"),
            ("password='a://hunter2' host=x", "password=… host=x"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn ambiguous_connection_strings_are_refused_and_not_repeated() {
        for text in [
            "postgres://u:hunter2@x@h/db",
            "postgres://u:hunter2/x@h/db",
            "postgres://u:1/hunter2@h/db",
            "postgres://u:hunter2%@h/db",
            "postgres://u:hunter2%zz@h/db",
            "postgres://u:hunter2%00@h/db",
            "postgres://u:hunter2 x@h/db",
            "postgres://h:hunter2/db",
            "postgres://[::1:hunter2/db",
            "postgres://h/db?hunter2",
            "postgres://h/db?hunter2=x",
            "postgres://h/db?password=x=hunter2",
            "postgres://h/db?port=hunter2",
            "postgres:u:hunter2@h/db",
            "POSTGRES://u:hunter2@h/db",
            "mysql://u:hunter2@h/db",
            "host=h password=x hunter2",
            "host=h password=x hunter2=y",
            "host=h password='hunter2",
            "host=h port=hunter2",
            "postgres:///?dbname=postgres%3A%2F%2Fu:hunter2%40h",
            "postgres://u@h/postgres%3A%2F%2Fu:hunter2%40h",
            "postgres://u%3Ahunter2@h/db",
            "dbname='password=hunter2 host=x'",
            "host=postgres://u:hunter2@h/db",
            "host=u:hunter2@h",
            "host=127.0.0.1;port=5432;user=u;password=hunter2",
            "host=127.0.0.1,password:hunter2",
            "user=u:hunter2 host=h",
            "dbname=x;password:hunter2",
            "postgres://h/db?application_name=x;password:hunter2",
            "service=password=hunter2",
            "hunter2",
            "",
        ] {
            let refusal = DatabaseUrl::parse(text).expect_err(text);
            assert!(!refusal.contains("hunter2"), "{text}: {refusal}");
        }
    }
}
