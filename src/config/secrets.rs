//! Pepper and master key: parsed, refused if they are placeholders, or generated once into files of mode 0600.

use std::fmt;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use zeroize::Zeroizing;

use crate::domain::digest::Pepper;

/// Accepts base64 with or without padding, since people lose the `=` when they copy.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Words of examples and templates, which do not occur in 32 random bytes.
const PLACEHOLDERS: [&str; 9] =
    ["changeme", "change-me", "change_me", "placeholder", "secret", "example", "default", "password", "pepper"];

/// Key that seals secrets at rest. It is never printed.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

impl MasterKey {
    /// Parses base64 of exactly 32 bytes.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bytes = Zeroizing::new(BASE64.decode(text.trim()).map_err(|_| "must be base64 of 32 random bytes")?);
        let key: [u8; 32] = bytes.as_slice().try_into().map_err(|_| "must be base64 of exactly 32 random bytes")?;
        must_look_random(&key)?;
        Ok(Self(Zeroizing::new(key)))
    }

    pub fn bytes(&self) -> [u8; 32] {
        *self.0
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

/// Parses retired master keys: base64, separated by commas.
pub fn old_master_keys(text: &str) -> Result<Vec<MasterKey>, String> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    items.map(MasterKey::parse).collect()
}

/// Parses the current pepper: the bytes of the text as written, named by their fingerprint.
pub fn pepper(text: &str) -> Result<Pepper, String> {
    let bytes = text.trim().as_bytes();
    if bytes.len() < 32 {
        return Err(format!("must be at least 32 bytes of random text, this is {}", bytes.len()));
    }
    must_look_random(bytes)?;
    Pepper::from_bytes(bytes.to_vec()).map_err(|rejection| rejection.detail)
}

/// Parses retired peppers: `id:base64`, separated by commas.
pub fn old_peppers(text: &str) -> Result<Vec<Pepper>, String> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    // Name a bad entry by its position: a pepper may be written where the id belongs.
    let place =
        |index: usize, says: &str| format!("must be id:base64, separated by commas: number {} {says}", index + 1);
    items
        .enumerate()
        .map(|(index, item)| {
            let (id, encoded) = item.split_once(':').ok_or_else(|| place(index, "has no colon"))?;
            let bytes = BASE64.decode(encoded).map_err(|_| place(index, "is not base64 behind its colon"))?;
            Pepper::new(id, bytes).map_err(|rejection| place(index, &rejection.detail))
        })
        .collect()
}

/// Refuses text that is obviously not random.
fn must_look_random(bytes: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    if let Some(word) = PLACEHOLDERS.iter().find(|word| text.contains(**word)) {
        return Err(format!("is a placeholder (it contains \"{word}\"): use the output of `openssl rand -base64 32`"));
    }
    let distinct = bytes.iter().collect::<std::collections::BTreeSet<_>>().len();
    let repeats = (1..=bytes.len() / 2).any(|period| bytes.iter().zip(bytes.iter().skip(period)).all(|(a, b)| a == b));
    let climbs = bytes.iter().zip(bytes.iter().skip(1)).all(|(a, b)| a.abs_diff(*b) <= 1);
    if distinct < 8 || repeats || climbs {
        return Err("is not random: use the output of `openssl rand -base64 32`".to_owned());
    }
    Ok(())
}

/// Reads a secret that an earlier start generated. `None` if there is no file.
pub fn read(path: &Path) -> Result<Option<Zeroizing<String>>, String> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{} can't be read: {error}", path.display())),
    };
    if metadata.mode() & 0o077 != 0 {
        let shown = path.display();
        return Err(format!(
            "{shown} can be read by other users: run `chmod 600 {shown}`, and think about who has seen it"
        ));
    }
    let text = fs::read_to_string(path).map_err(|error| format!("{} can't be read: {error}", path.display()))?;
    Ok(Some(Zeroizing::new(text)))
}

/// Reads a secret, or generates one: 32 random bytes as base64, in a file that only its owner can read.
pub fn read_or_make(path: &Path) -> Result<Zeroizing<String>, String> {
    if let Some(text) = read(path)? {
        return Ok(text);
    }
    make(path).map_err(|error| format!("{} can't be written: {error}", path.display()))?;
    read(path)?.ok_or_else(|| format!("{} has vanished", path.display()))
}

/// Returns 32 random bytes as base64.
pub fn fresh() -> std::io::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new([0u8; 32]);
    getrandom::fill(bytes.as_mut_slice()).map_err(std::io::Error::other)?;
    Ok(Zeroizing::new(STANDARD.encode(bytes.as_slice())))
}

/// Writes a new secret to a temporary file and links it into place. So no process reads half a secret, and of two
/// first starts one wins.
fn make(path: &Path) -> std::io::Result<()> {
    let secret = fresh()?;
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(secret.as_bytes())?;
    file.sync_all()?;
    // A hard link fails if the file exists, where a rename would overwrite it.
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_that_are_not_random_are_refused() {
        let long = [
            "changeme-changeme-changeme-changeme!",
            "this-is-only-a-PLACEHOLDER-for-you-to-fill",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "0123456789abcdef0123456789abcdef",
            "abcdefghijklmnopqrstuvwxyz{|}~~~~~~~~",
        ];
        for text in long {
            assert!(pepper(text).is_err(), "{text}");
        }
        assert!(pepper("8sKd02mmq").unwrap_err().contains("32 bytes"));
        assert!(pepper("V8mYx2vQe0cT5oJrL1sZ7bNwKf4hGa9dUiRpXtEy3Wk").is_ok());
        assert!(MasterKey::parse(&STANDARD.encode([0u8; 32])).is_err());
        assert!(MasterKey::parse("c2hvcnQ=").is_err());
    }

    #[test]
    fn retired_master_keys_follow_the_same_rules() {
        let key = "mZ0o4l5T1u7qf3uHkz0cDJr2nKpV8yYgWbQxS6tEaLU";
        assert_eq!(old_master_keys(&format!(" {key} ,")).unwrap().len(), 1);
        assert!(old_master_keys(&format!("{key},c2hvcnQ=")).is_err());
    }

    #[test]
    fn a_master_key_is_never_printed() {
        let key = MasterKey::parse("mZ0o4l5T1u7qf3uHkz0cDJr2nKpV8yYgWbQxS6tEaLU").unwrap();
        assert_eq!(format!("{key:?}"), "MasterKey(…)");
    }

    #[test]
    fn a_secret_is_made_once_and_refused_if_other_users_can_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets/pepper");
        let made = read_or_make(&path).unwrap();
        assert_eq!(read_or_make(&path).unwrap(), made);
        assert!(pepper(&made).is_ok() && MasterKey::parse(&made).is_ok());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(read_or_make(&path).unwrap_err().contains("chmod 600"));
    }

    #[test]
    fn retired_peppers_carry_their_ids() {
        let old = old_peppers("a1:mZ0o4l5T1u7qf3uHkz0cDJr2nKpV8yYgWbQxS6tEaLU=, ").unwrap();
        assert_eq!((old.len(), old[0].id.as_str()), (1, "a1"));
        assert!(old_peppers("nothing").is_err() && old_peppers("a:c2hvcnQ=").is_err());
        let turned_round = old_peppers("mZ0o4l5T1u7qf3uHkz0cDJr2nKpV8yYgWbQxS6tEaLU=:a 1").unwrap_err();
        assert!(!turned_round.contains("mZ0o"), "{turned_round}");
    }
}
