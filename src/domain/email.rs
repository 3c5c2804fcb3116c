//! E-mail addresses of people: one bare address, in lower case, with its domain in ASCII.

use lettre::Address;
use url::Host;

use super::error::Rejection;

/// Longest address in bytes (RFC 5321 section 4.5.3.1).
const LONGEST: usize = 254;
/// Longest domain in bytes.
const LONGEST_DOMAIN: usize = 253;
/// Longest label of a domain in bytes.
const LONGEST_LABEL: usize = 63;

/// Parses a bare address, without display name, quotes, comments or address literal. The domain becomes ASCII (IDNA).
pub fn address(text: &str) -> Result<Address, Rejection> {
    let refused = || Rejection::new("email", "must be one e-mail address, as in ada@example.com");
    let (local, domain) = text.trim().rsplit_once('@').ok_or_else(refused)?;
    if !local.is_ascii() {
        // Mail servers without SMTPUTF8 (RFC 6531) would refuse such an address.
        return Err(Rejection::new("email", "must have only unaccented letters, digits and signs before the @"));
    }
    let domain = ascii_domain(domain).filter(|_| !local.contains('"')).ok_or_else(refused)?;
    let address = Address::new(local, domain).map_err(|_| refused())?;
    if AsRef::<str>::as_ref(&address).len() <= LONGEST { Ok(address) } else { Err(refused()) }
}

/// Returns the address as accounts and invitations store it.
pub fn parse(text: &str) -> Result<String, Rejection> {
    address(text).map(|address| address.to_string().to_ascii_lowercase())
}

/// Returns the text to look up an account by. Accounts made under earlier rules keep addresses that `parse` refuses.
pub fn lookup(text: &str) -> String {
    // Postgres text can't contain NUL.
    parse(text).unwrap_or_else(|_| text.trim().to_lowercase().replace('\0', "\u{fffd}"))
}

/// Returns the text to search addresses by: an address, or the labels of a domain, in the ASCII form that is stored.
pub fn search(text: &str) -> String {
    let text = lookup(text);
    if text.is_ascii() {
        return text;
    }
    let found = match text.rsplit_once('@') {
        Some((local, domain)) => ascii_domain(domain).map(|domain| format!("{local}@{domain}")),
        None => ascii_domain(&text),
    };
    found.unwrap_or(text)
}

/// Returns the ASCII form of a domain; `None` for IP addresses and for names that no mail server can have.
fn ascii_domain(domain: &str) -> Option<String> {
    // The host parser would decode percent signs.
    if domain.contains('%') {
        return None;
    }
    let Host::Domain(ascii) = Host::parse(domain).ok()? else { return None };
    let is_label = |label: &str| {
        (1..=LONGEST_LABEL).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (ascii.len() <= LONGEST_DOMAIN && ascii.split('.').all(is_label)).then_some(ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_spelling() {
        let ada = "ada@xn--bcher-kva.example";
        for text in [
            "ada@b\u{fc}cher.example",
            " Ada@BU\u{308}CHER.example\n",
            "ADA@xn--Bcher-kva.EXAMPLE",
            "ada@b\u{fc}cher\u{3002}example",
        ] {
            assert_eq!(parse(text).as_deref(), Ok(ada), "{text}");
        }
        let longest = format!("{}@x.example", "a".repeat(64));
        for fine in ["ada@example.com", "a.b+c_d@x.example", "o'hara@intranet", &longest] {
            assert_eq!(parse(fine).as_deref(), Ok(fine));
        }
    }

    #[test]
    fn anything_but_one_bare_address_is_refused() {
        let local = ["", "a..b", ".a", "a.", "<ada", "Ada <ada", "\"ada\"", "ada(c)", "a,b", "a b", "a\r\nb", "a\0"];
        let local =
            local.into_iter().chain(["@a,@b:ada", "a@b", "m\u{fc}ller", "ad\u{200b}a", "ada;", "mailto:ada", "a\\b"]);
        let domains = ["", "x.", ".x", "x..y", "x.example>", "x.example(c)", "x.example,b@x.example", "x y", "x\r\ny"];
        let domains =
            domains.into_iter().chain(["[127.0.0.1]", "127.0.0.1", "[::1]", "x.1", "x_y.example", "-x.example"]);
        let domains =
            domains.chain(["x-.example", "x%2eexample", "xn--a", "x\0.example", "x.example/", "x.example:25"]);
        let long = [
            "a".repeat(65) + "@x.example",
            format!("a@{}.example", "x".repeat(64)),
            format!("a@{}x", "abcdefghi.".repeat(26)),
        ];
        let wrong =
            local.map(|local| format!("{local}@x.example")).chain(domains.map(|domain| format!("ada@{domain}")));
        for wrong in wrong.chain(long).chain(["ada".to_owned(), "ada\u{ff20}x.example".to_owned()]) {
            assert!(parse(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_older_account_is_looked_up_as_it_was_stored() {
        assert_eq!(lookup(" <Ada@b.example> "), "<ada@b.example>");
        assert_eq!(lookup("Ada@B\u{dc}CHER.example"), "ada@xn--bcher-kva.example");
    }

    #[test]
    fn a_search_uses_the_stored_form_of_a_domain() {
        for (typed, stored) in [
            ("Zed@bücher.example", "zed@xn--bcher-kva.example"),
            ("bücher", "xn--bcher-kva"),
            ("zed@bücher", "zed@xn--bcher-kva"),
            ("Ada", "ada"),
            ("Zoë Ångström", "zoë ångström"),
        ] {
            assert_eq!(search(typed), stored, "{typed}");
        }
    }
}
