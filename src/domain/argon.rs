//! Argon2id with OWASP's parameters, in memory that goes back to the system after each hash.

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};

use super::error::{Error, Result};

/// Length of a salt in bytes, as the PHC string format recommends.
const SALT_BYTES: usize = 16;

/// Fewest blocks of 1 KiB to allocate. Above 32 MiB, glibc always takes memory from the system and gives it back at
/// once (mallopt(3), `M_MMAP_THRESHOLD`). Pages that are not written to take no memory. On the heap, blocks of 19 MiB
/// would leave holes that the next ones do not fit into. The heap would grow to many times as much.
const ROOM: usize = 33 * 1024;

/// Hashes a secret to a PHC string with a random salt, keyed with a pepper unless that is empty. Takes tens of
/// milliseconds.
pub fn hash(secret: &[u8], pepper: &[u8]) -> Result<String> {
    // 19 MiB, two passes, one lane.
    let params = Params::DEFAULT;
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).map_err(|error| Error::bug(error.to_string()))?;
    let output = output(secret, pepper, &salt, &params)?;
    let phc = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params).map_err(Error::bug)?,
        salt: Some(Salt::new(&salt).map_err(Error::bug)?),
        hash: Some(output),
    };
    Ok(phc.to_string())
}

/// True if the secret belongs to the PHC string, compared in constant time. Takes tens of milliseconds.
pub fn verify(phc: &str, secret: &[u8], pepper: &[u8]) -> bool {
    let Ok(phc) = PasswordHash::new(phc) else { return false };
    let is_ours = phc.algorithm == Algorithm::Argon2id.ident() && phc.version == Some(Version::V0x13.into());
    let (Some(salt), Some(expected), Ok(params), true) = (&phc.salt, &phc.hash, Params::try_from(&phc), is_ours) else {
        return false;
    };
    // `==` on `Output` compares in constant time.
    output(secret, pepper, salt, &params).is_ok_and(|output| output == *expected)
}

/// Computes the raw hash.
fn output(secret: &[u8], pepper: &[u8], salt: &[u8], params: &Params) -> Result<Output> {
    let argon2 = Argon2::new_with_secret(pepper, Algorithm::Argon2id, Version::V0x13, params.clone());
    let argon2 = argon2.map_err(Error::bug)?;
    let mut buffer = [0; Output::MAX_LENGTH];
    let length = params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
    let out = buffer.get_mut(..length).ok_or_else(|| Error::bug("the output is too long"))?;
    let mut blocks = Vec::with_capacity(params.block_count().max(ROOM));
    blocks.resize(params.block_count(), Block::default());
    argon2.hash_password_into_with_memory(secret, salt, out, blocks.as_mut_slice()).map_err(Error::bug)?;
    Output::new(out).map_err(Error::bug)
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::{PasswordHasher, PasswordVerifier};

    use super::*;

    #[test]
    fn hashes_verify_with_the_argon2_crate_and_the_other_way_round() {
        let plain = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT);
        let peppered =
            Argon2::new_with_secret(b"pepper", Algorithm::Argon2id, Version::V0x13, Params::DEFAULT).unwrap();
        for (argon2, pepper) in [(&plain, &b""[..]), (&peppered, b"pepper")] {
            let ours = hash(b"secret", pepper).unwrap();
            argon2.verify_password(b"secret", &PasswordHash::new(&ours).unwrap()).unwrap();
            let theirs = argon2.hash_password(b"secret").unwrap().to_string();
            assert!(verify(&theirs, b"secret", pepper) && verify(&ours, b"secret", pepper));
            assert!(!verify(&theirs, b"secreT", pepper) && !verify(&theirs, b"secret", b"another"));
        }
        // A hash of fewer blocks than ours.
        let small = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8, 1, 1, None).unwrap());
        assert!(verify(&small.hash_password(b"secret").unwrap().to_string(), b"secret", b""));
        assert!(!verify("", b"", b"") && !verify("$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAA", b"", b""));
    }
}
