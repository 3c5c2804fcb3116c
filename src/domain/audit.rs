//! Actions of the audit log in words, and the hash that chains its entries.

use sha2::{Digest, Sha256};

/// All actions, each with its text for people. A test compares them with what services record.
pub const ACTIONS: [(&str, &str); 48] = [
    ("api_key.minted", "created a key"),
    ("api_key.updated", "changed a key"),
    ("api_key.rotated", "rotated a key"),
    ("api_key.revoked", "revoked a key"),
    ("api_key.deleted", "deleted a key"),
    ("api_key.restored", "restored a key"),
    ("webhook.created", "created a webhook"),
    ("webhook.updated", "changed a webhook"),
    ("webhook.activated", "resumed a webhook"),
    ("webhook.deactivated", "paused a webhook"),
    ("webhook.disabled", "disabled a webhook"),
    ("webhook.deleted", "deleted a webhook"),
    ("webhook.secret_revealed", "revealed a signing secret"),
    ("webhook.secret_rotated", "rotated a signing secret"),
    ("webhook.key_rotated", "rotated a webhook's key pair"),
    ("webhook.key_removed", "removed a webhook's key pair"),
    ("webhook.headers_revealed", "revealed a webhook's headers"),
    ("webhook.probed", "sent a test request to a webhook"),
    ("delivery.redelivered", "redelivered an event"),
    ("delivery.cancelled", "cancelled a delivery"),
    ("access_token.minted", "created an access token"),
    ("access_token.revoked", "revoked an access token"),
    ("member.added", "added a member"),
    ("member.joined", "joined the tenant"),
    ("member.role_changed", "changed a member's role"),
    ("member.removed", "removed a member"),
    ("invitation.created", "invited a member"),
    ("invitation.revoked", "revoked an invitation"),
    ("mail.failed", "failed to mail a link"),
    ("tenant.created", "created a tenant"),
    ("tenant.updated", "changed a tenant"),
    ("tenant.suspended", "suspended a tenant"),
    ("tenant.resumed", "resumed a tenant"),
    ("tenant.deleted", "deleted a tenant"),
    ("tenant.restored", "restored a tenant"),
    ("tenant.erased", "erased a tenant permanently"),
    ("tenant.entered", "entered a tenant as an operator"),
    ("plan.updated", "changed a plan"),
    ("secrets.rotated", "sealed secrets with another master key"),
    ("user.created", "created a user"),
    ("user.updated", "changed a user"),
    ("user.password_set", "set a password"),
    ("user.password_changed", "changed their password"),
    ("user.reset_link_made", "created a link to set a password"),
    ("user.signed_out", "signed out elsewhere"),
    ("user.second_factor_on", "turned on their second factor"),
    ("user.second_factor_off", "turned off a second factor"),
    ("user.recovery_codes_renewed", "created new recovery codes"),
];

/// Returns the text of an action; the action itself if only a newer version knows it.
pub fn words(action: &str) -> &str {
    ACTIONS.iter().find(|(known, _)| *known == action).map_or(action, |(_, words)| words)
}

/// Computes the SHA-256 of an entry's fields in their order. A field is written as its length in bytes, a colon and
/// its text, or as a dash if it is absent; fields are joined by commas. Different lists therefore never have the same
/// form. The database computes the same value when rows are added (`audit_hash`).
pub fn hash(fields: &[Option<&str>]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for (place, field) in fields.iter().enumerate() {
        if place != 0 {
            hasher.update(b",");
        }
        match field {
            Some(text) => hasher.update(format!("{}:{text}", text.len())),
            None => hasher.update(b"-"),
        }
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_canonical_form() {
        // printf '1:a,-,0:,3:é1' | sha256sum
        let digest = hash(&[Some("a"), None, Some(""), Some("é1")]);
        assert_eq!(hex::encode(digest), hex::encode(Sha256::digest("1:a,-,0:,3:é1".as_bytes())));
        assert_ne!(hash(&[Some("a"), Some("b")]), hash(&[Some("a,1:b")]));
        assert_ne!(hash(&[None]), hash(&[Some("-")]));
    }

    #[test]
    fn an_unknown_action_is_shown_as_it_is() {
        assert_eq!([words("api_key.minted"), words("x.y")], ["created a key", "x.y"]);
    }
}
