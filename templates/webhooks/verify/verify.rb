require "base64"
require "openssl"

# Takes the raw body: call it before you parse the body. Header names are in lower case.
def verify(secret, headers, body)
  at = headers.fetch("webhook-timestamp")
  raise "too old" if (Time.now.to_i - Integer(at)).abs > 300

  # A secret without the prefix whsec_ is used as it is.
  key = secret.start_with?("whsec_") ? Base64.strict_decode64(secret.delete_prefix("whsec_")) : secret
  signed = "#{headers.fetch("webhook-id")}.#{at}.#{body}"
  expected = "v1," + Base64.strict_encode64(OpenSSL::HMAC.digest("SHA256", key, signed))
  # During a rotation there are several signatures.
  given = headers.fetch("webhook-signature").split
  raise "wrong signature" unless given.any? { |one| OpenSSL.secure_compare(one, expected) }
end
