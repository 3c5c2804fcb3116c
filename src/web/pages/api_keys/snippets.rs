//! Examples for a key: calls in three languages, and configurations of the usual proxies.

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

/// Forward-auth for this tenant: the proxy asks Gatepost before it lets a request through.
pub fn proxies(base: &str, tenant: &str) -> Vec<Snippet> {
    vec![
        Snippet::new("nginx", nginx(base, tenant)),
        Snippet::new(
            "Caddy",
            format!(
                "forward_auth {base} {{\n    uri /auth?tenant={tenant}\n    \
                 copy_headers X-Gatepost-Key-Id X-Gatepost-Tenant X-Gatepost-Scopes\n}}"
            ),
        ),
        Snippet::new(
            "Traefik",
            format!(
                "http:\n  middlewares:\n    gatepost:\n      forwardAuth:\n        address: \"{base}/auth?tenant={tenant}\"\n        \
                 authResponseHeaders: [X-Gatepost-Key-Id, X-Gatepost-Tenant, X-Gatepost-Scopes]"
            ),
        ),
    ]
}

fn nginx(base: &str, tenant: &str) -> String {
    format!(
        "location / {{\n    auth_request /gatepost;\n    auth_request_set $gatepost_status $upstream_http_x_auth_status;\n    \
         auth_request_set $gatepost_key $upstream_http_x_gatepost_key_id;\n    proxy_set_header X-Gatepost-Key-Id $gatepost_key;\n    \
         error_page 403 = @gatepost_refused;\n    proxy_pass http://your-api;\n}}\n\n\
         location = /gatepost {{\n    internal;\n    proxy_pass {base}/auth?nginx=1&tenant={tenant};\n    \
         proxy_pass_request_body off;\n    proxy_set_header Content-Length \"\";\n    \
         proxy_set_header X-Original-URI $request_uri;\n    proxy_set_header X-Original-Method $request_method;\n    \
         proxy_set_header X-Forwarded-For $remote_addr;\n}}\n\n\
         location @gatepost_refused {{\n    if ($gatepost_status = 429) {{ return 429; }}\n    return 403;\n}}"
    )
}
