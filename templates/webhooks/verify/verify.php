<?php
// Takes the raw body (php://input): call it before you parse the body. Header names are in lower case.
function verify(string $secret, array $headers, string $body): void {
    $at = $headers['webhook-timestamp'];
    if (abs(time() - (int) $at) > 300) throw new RuntimeException('too old');
    // A secret without the prefix whsec_ is used as it is.
    $key = str_starts_with($secret, 'whsec_') ? base64_decode(substr($secret, 6)) : $secret;
    $digest = hash_hmac('sha256', "{$headers['webhook-id']}.$at.$body", $key, true);
    $expected = 'v1,' . base64_encode($digest);
    // During a rotation there are several signatures.
    foreach (explode(' ', $headers['webhook-signature']) as $one) {
        if (hash_equals($expected, $one)) return;
    }
    throw new RuntimeException('wrong signature');
}
