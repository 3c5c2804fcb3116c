//! DNS resolution that returns vetted addresses only, so that no connection can go elsewhere.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::lookups::Lookups;
use super::stopwatch;
use crate::domain::address::AddressPolicy;

/// Error for a name that resolves to an address refused by the policy.
#[derive(Debug)]
pub struct Blocked(pub String);

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Blocked {}

/// System resolver behind the address policy. One forbidden address refuses the whole name: a name with both a public
/// and a private address is an attempt to reach the private one.
#[derive(Debug, Clone)]
pub struct Guard {
    policy: Arc<AddressPolicy>,
    lookups: Lookups,
}

impl Guard {
    pub fn new(policy: Arc<AddressPolicy>, lookups: Lookups) -> Self {
        Self { policy, lookups }
    }

    pub(super) fn vetted(&self, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Blocked> {
        for address in &found {
            self.policy.vet(address.ip()).map_err(|refusal| Blocked(format!("resolves to {refusal}")))?;
        }
        Ok(found)
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let begun = Instant::now();
            let looked = guard.lookups.find(name.as_str()).await;
            let took = begun.elapsed();
            stopwatch::resolved(took, None);
            let vetted = guard.vetted(looked?)?;
            stopwatch::resolved(took, vetted.first().map(SocketAddr::ip));
            if vetted.is_empty() {
                return Err("the name has no address".into());
            }
            let addresses: Addrs = Box::new(vetted.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(networks: &[&str]) -> Guard {
        let private_networks = networks.iter().map(|net| net.parse().unwrap()).collect();
        Guard::new(Arc::new(AddressPolicy { private_networks, allow_http: false }), Lookups::default())
    }

    #[test]
    fn one_forbidden_address_refuses_the_whole_name() {
        let mixed = vec!["1.1.1.1:0".parse().unwrap(), "10.0.0.5:0".parse().unwrap()];
        let refused = guard(&[]).vetted(mixed.clone()).unwrap_err().to_string();
        assert!(refused.starts_with("resolves to 10.0.0.5, a private address; an operator can allow it"), "{refused}");
        assert_eq!(guard(&["10.0.0.0/8"]).vetted(mixed).unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_name_that_leads_to_loopback_is_refused() {
        let Err(refused) = guard(&[]).resolve("localhost".parse().unwrap()).await else {
            panic!("localhost was let through")
        };
        assert!(refused.is::<Blocked>(), "{refused}");
        assert!(guard(&["127.0.0.0/8", "::1/128"]).resolve("localhost".parse().unwrap()).await.is_ok());
    }
}
