//! Ready-to-use gateway configurations for pages, documentation and tests.

use askama::Template;
use url::{Host, Url};

use super::answer::IDENTITY;
use crate::domain::{Error, Result};

/// Values that a configuration is made for.
#[derive(Debug, Clone)]
pub struct Site {
    /// URL at which the gateway reaches this instance.
    pub gatepost: Url,
    /// Slug of the tenant whose keys are accepted.
    pub tenant: String,
    /// Scopes that a key must have.
    pub scopes: Vec<String>,
    /// Host name of the API, as clients call it.
    pub host: String,
    /// Port that the gateway listens on; for nginx also an address and port.
    pub listen: String,
    /// Address and port at which the gateway reaches the API.
    pub api: String,
}

impl Site {
    /// Returns a site with placeholders for the values that only the reader knows.
    pub fn example(gatepost: Url, tenant: impl Into<String>, scopes: Vec<String>) -> Self {
        let (host, listen, api) = ("api.example.com".into(), "80".into(), "127.0.0.1:3000".into());
        Self { gatepost, tenant: tenant.into(), scopes, host, listen, api }
    }

    /// Returns all configurations with the gateways' names.
    pub fn all(&self) -> Result<[(&'static str, String); 4]> {
        Ok([("nginx", self.nginx()?), ("Traefik", self.traefik()?), ("Caddy", self.caddy()?), ("Envoy", self.envoy()?)])
    }

    /// Returns a configuration for nginx's `auth_request`.
    pub fn nginx(&self) -> Result<String> {
        print(&Nginx {
            authority: format!("{}:{}", self.name(), self.port()),
            scheme: self.gatepost.scheme(),
            is_https: self.is_https(),
            name: self.name(),
            query: format!("nginx=1&{}", self.query()),
            listen: &self.listen,
            host: &self.host,
            api: &self.api,
        })
    }

    /// Returns a configuration for Traefik's `forwardAuth`.
    pub fn traefik(&self) -> Result<String> {
        let question = format!("?{}", self.query());
        print(&Traefik { base: self.base(), question, identity: IDENTITY, host: &self.host, api: &self.api })
    }

    /// Returns a configuration for Caddy's `forward_auth`.
    pub fn caddy(&self) -> Result<String> {
        let authority = format!("{}:{}", self.name(), self.port());
        print(&Caddy {
            site: if self.listen == "80" { self.host.clone() } else { format!("http://{}", self.listen) },
            upstream: if self.is_https() { self.base() } else { authority },
            is_https: self.is_https(),
            query: self.query(),
            identity: IDENTITY.join(" "),
            api: &self.api,
        })
    }

    /// Returns a configuration for Envoy's `ext_authz` over HTTP.
    pub fn envoy(&self) -> Result<String> {
        let (api_address, api_port) = self.api.rsplit_once(':').unwrap_or((self.api.as_str(), "80"));
        let mut requirements = vec![("X-Gatepost-Require-Tenant", self.tenant.clone())];
        if !self.scopes.is_empty() {
            requirements.push(("X-Gatepost-Require-Scopes", self.scopes.join(",")));
        }
        print(&Envoy {
            base: self.base(),
            address: self.name().trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: self.port(),
            is_https: self.is_https(),
            name: self.name(),
            requirements,
            listen: &self.listen,
            api_address,
            api_port,
        })
    }

    /// Returns the requirements as a query. Slugs and scopes contain no character that needs escaping.
    fn query(&self) -> String {
        let scopes = if self.scopes.is_empty() { String::new() } else { format!("&scopes={}", self.scopes.join(",")) };
        format!("tenant={}{scopes}", self.tenant)
    }

    fn base(&self) -> String {
        self.gatepost.as_str().trim_end_matches('/').to_owned()
    }

    /// Returns the host of this instance, with brackets around an IPv6 address.
    fn name(&self) -> String {
        self.gatepost.host().map(|host: Host<&str>| host.to_string()).unwrap_or_default()
    }

    fn port(&self) -> u16 {
        self.gatepost.port_or_known_default().unwrap_or(80)
    }

    fn is_https(&self) -> bool {
        self.gatepost.scheme() == "https"
    }
}

fn print(recipe: &impl Template) -> Result<String> {
    Ok(recipe.render().map_err(Error::bug)?.trim_end().to_owned())
}

#[derive(Template)]
#[template(path = "forward_auth/nginx.conf", escape = "none")]
struct Nginx<'a> {
    authority: String,
    scheme: &'a str,
    is_https: bool,
    name: String,
    query: String,
    listen: &'a str,
    host: &'a str,
    api: &'a str,
}

#[derive(Template)]
#[template(path = "forward_auth/traefik.yaml", escape = "none")]
struct Traefik<'a> {
    base: String,
    question: String,
    identity: [&'static str; 5],
    host: &'a str,
    api: &'a str,
}

#[derive(Template)]
#[template(path = "forward_auth/Caddyfile", escape = "none")]
struct Caddy<'a> {
    site: String,
    upstream: String,
    is_https: bool,
    query: String,
    identity: String,
    api: &'a str,
}

#[derive(Template)]
#[template(path = "forward_auth/envoy.yaml", escape = "none")]
struct Envoy<'a> {
    base: String,
    address: String,
    port: u16,
    is_https: bool,
    name: String,
    requirements: Vec<(&'static str, String)>,
    listen: &'a str,
    api_address: &'a str,
    api_port: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(gatepost: &str) -> Site {
        Site::example(Url::parse(gatepost).unwrap(), "acme", vec!["orders:read".into(), "stock:*".into()])
    }

    #[test]
    fn every_gateway_sends_the_tenant_and_the_scopes() {
        let query = "tenant=acme&scopes=orders:read,stock:*";
        let [nginx, traefik, caddy, envoy] = site("http://127.0.0.1:8000").all().unwrap().map(|(_, text)| text);
        assert!(nginx.contains("server 127.0.0.1:8000;") && !nginx.contains("ssl"), "{nginx}");
        assert!(nginx.contains(&format!("proxy_pass http://gatepost/auth?nginx=1&{query};")), "{nginx}");
        assert!(traefik.contains(&format!("address: \"http://127.0.0.1:8000/auth?{query}\"")), "{traefik}");
        assert!(caddy.contains("forward_auth 127.0.0.1:8000 {") && caddy.contains(&format!("uri /auth?{query}\n")));
        assert!(envoy.contains("{ key: X-Gatepost-Require-Scopes, value: \"orders:read,stock:*\" }"), "{envoy}");
        assert!(envoy.contains("{ key: X-Gatepost-Require-Tenant, value: \"acme\" }") && !envoy.contains("tls"));
        for text in [&nginx, &traefik, &caddy] {
            assert!(IDENTITY.iter().all(|header| text.contains(header)), "{text}");
        }
    }

    #[test]
    fn https_is_verified_and_names_the_instance() {
        let [nginx, traefik, caddy, envoy] = site("https://keys.example.com").all().unwrap().map(|(_, text)| text);
        assert!(nginx.contains("server keys.example.com:443;") && nginx.contains("proxy_ssl_verify on;"), "{nginx}");
        assert!(nginx.contains("proxy_pass https://gatepost/auth?") && nginx.contains("Host keys.example.com;"));
        assert!(traefik.contains("\"https://keys.example.com/auth?"), "{traefik}");
        assert!(caddy.contains("forward_auth https://keys.example.com {") && caddy.contains("{upstream_hostport}"));
        assert!(envoy.contains("sni: keys.example.com") && envoy.contains("port_value: 443"), "{envoy}");
    }

    #[test]
    fn an_ipv6_address_and_no_scopes_are_supported() {
        let site = Site::example(Url::parse("http://[::1]:8000").unwrap(), "acme", Vec::new());
        assert!(site.nginx().unwrap().contains("server [::1]:8000;"));
        assert!(site.nginx().unwrap().contains("/auth?nginx=1&tenant=acme;"));
        assert!(site.envoy().unwrap().contains("address: \"::1\", port_value: 8000"));
        assert!(!site.envoy().unwrap().contains("Require-Scopes"));
    }
}
