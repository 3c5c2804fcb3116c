//! Code samples for a key: calls in three languages, verification by a backend, and gateway configurations.

use url::Url;

use crate::domain::Result;
use crate::model::ApiKey;
use crate::web::forward_auth::recipes::Site;
use crate::web::shell::Shell;
use crate::web::view::Snippet;

/// Placeholder for a secret that is not shown.
pub const PLACEHOLDER: &str = "$GATEPOST_API_SECRET";

/// Returns sample calls with the secret, for the only page that shows it, or with [`PLACEHOLDER`].
pub fn calls(base: &str, secret: &str) -> Vec<Snippet> {
    let read = |how: &str| if secret == PLACEHOLDER { how.to_owned() } else { format!("\"{secret}\"") };
    let (js, python) = (read("process.env.GATEPOST_API_SECRET"), read("os.environ[\"GATEPOST_API_SECRET\"]"));
    vec![
        Snippet::new("curl", format!("curl {base}/api/data \\\n  -H \"X-API-Key: {secret}\"")),
        Snippet::new(
            "JavaScript",
            format!(
                "const answer = await fetch(\"{base}/api/data\", {{\n  headers: {{ \"X-API-Key\": {js} }},\n}});\n\
                 console.log(answer.status, await answer.json());"
            ),
        ),
        Snippet::new(
            "Python",
            format!(
                "import os, urllib.request\n\nrequest = urllib.request.Request(\n    \"{base}/api/data\",\n    \
                 headers={{\"X-API-Key\": {python}}},\n)\nprint(urllib.request.urlopen(request).read().decode())"
            ),
        ),
        Snippet::new("Verify", verify(base, secret)),
    ]
}

/// Returns gateway configurations that admit this key. They require its tenant and, as an example, one of its scopes.
pub fn gateways(base: &Url, shell: &Shell, key: &ApiKey) -> Result<Vec<Snippet>> {
    let scope = key.scopes.iter().find(|scope| !scope.ends_with('*'));
    let site = Site::example(base.clone(), &shell.tenant.slug, scope.cloned().into_iter().collect());
    Ok(site.all()?.into_iter().map(|(name, text)| Snippet::new(name, text)).collect())
}

fn verify(base: &str, secret: &str) -> String {
    format!(
        "curl {base}/api/keys/verification \\\n  -H \"Authorization: Bearer $GATEPOST_TOKEN\" \\\n  \
         -H \"Content-Type: application/json\" \\\n  -d '{{\"key\": \"{secret}\"}}'"
    )
}
