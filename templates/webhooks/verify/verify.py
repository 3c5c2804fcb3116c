import base64, hashlib, hmac, time

def verify(secret: str, headers: dict, body: bytes) -> None:
    """The raw body, before anything parses it; header names in lower case."""
    at = headers["webhook-timestamp"]
    if abs(time.time() - int(at)) > 300:
        raise ValueError("too old")
    signed = f'{headers["webhook-id"]}.{at}.'.encode() + body
    # A secret without the prefix whsec_ is used as it is.
    key = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    expected = "v1," + base64.b64encode(digest).decode()
    # During a rotation there are several signatures.
    given = headers["webhook-signature"].split()
    if not any(hmac.compare_digest(expected, one) for one in given):
        raise ValueError("wrong signature")
