//! Examples for a key: calls in three languages, and its verification by a backend.

use crate::web::view::Snippet;

/// What the secret is called where it isn't shown.
pub const PLACEHOLDER: &str = "$GATEPOST_API_SECRET";

/// Calls with the secret in clear, for the one page that shows it, or with [`PLACEHOLDER`].
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

fn verify(base: &str, secret: &str) -> String {
    format!(
        "curl {base}/api/keys/verification \\\n  -H \"Authorization: Bearer $GATEPOST_TOKEN\" \\\n  \
         -H \"Content-Type: application/json\" \\\n  -d '{{\"key\": \"{secret}\"}}'"
    )
}
