//! Later life of a key: rotation with an overlap, deletion that can be undone, and acts on many keys at once.

use chrono::{DateTime, TimeDelta, Utc};

use super::super::ApiKeyId;
use super::super::error::{Error, FieldErrors, Rejection, Result};
use super::KeyPrefix;
use super::ask::{MOST_TAGS, list, tag};

/// Time for which a deleted key can be restored. After it the row is deleted for good.
pub const RESTORABLE_FOR: TimeDelta = TimeDelta::days(30);

/// Time for which a rotated key stays valid beside its successor: up to 30 days, one day by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overlap(i64);

impl Overlap {
    /// Default overlap: one day.
    pub const DEFAULT_SECONDS: i64 = 86_400;
    /// Longest overlap: 30 days.
    pub const LONGEST_SECONDS: i64 = 2_592_000;

    /// Checks an overlap in seconds.
    pub fn parse(seconds: Option<i64>) -> Result<Self> {
        let seconds = seconds.unwrap_or(Self::DEFAULT_SECONDS);
        if (0..=Self::LONGEST_SECONDS).contains(&seconds) {
            return Ok(Self(seconds));
        }
        let says = format!("must be from 0 to {}, which is 30 days", Self::LONGEST_SECONDS);
        Err(Error::field("overlap_seconds", Rejection::new("range", says)))
    }

    /// Returns the overlap in seconds.
    pub fn seconds(self) -> i64 {
        self.0
    }

    /// Returns the end of an overlap that begins now.
    pub fn end(self, now: DateTime<Utc>) -> DateTime<Utc> {
        now + TimeDelta::seconds(self.0)
    }
}

/// Returns the prefix of a secret from its start: `sk` for `sk_3kTq` and `sk_test_3kTq`. `None` for another form.
pub fn prefix_of(beginning: &str) -> Option<KeyPrefix> {
    let (stem, _) = beginning.rsplit_once('_')?;
    KeyPrefix::parse(stem.strip_suffix("_test").unwrap_or(stem)).ok()
}

/// Keys for one bulk act: 1 to 1,000, each once, in the order in which they were named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection(Vec<ApiKeyId>);

impl Selection {
    /// Maximum number of keys of one act.
    pub const MOST: usize = 1_000;

    /// Checks a list of ids, and drops repeated ones.
    pub fn parse(ids: &[i64]) -> Result<Self> {
        if ids.is_empty() || Self::MOST < ids.len() {
            let says = format!("must name 1 to {} keys", Self::MOST);
            return Err(Error::field("ids", Rejection::new("range", says)));
        }
        let mut unique = Vec::with_capacity(ids.len());
        let mut seen = std::collections::HashSet::new();
        unique.extend(ids.iter().copied().filter(|id| seen.insert(*id)).map(ApiKeyId));
        Ok(Self(unique))
    }

    /// Returns the ids.
    pub fn ids(&self) -> &[ApiKeyId] {
        &self.0
    }
}

/// Change of tags on many keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagChange {
    /// Tags to add.
    pub add: Vec<String>,
    /// Tags to remove.
    pub remove: Vec<String>,
}

impl TagChange {
    /// Checks both lists: they must name at least one tag, and none twice.
    pub fn parse(add: &[String], remove: &[String]) -> Result<Self> {
        let mut errors = FieldErrors::default();
        let change = Self {
            add: list(&mut errors, "add", add, MOST_TAGS, tag),
            remove: list(&mut errors, "remove", remove, MOST_TAGS, tag),
        };
        if errors.is_empty() && change.add.is_empty() && change.remove.is_empty() {
            errors.add(
                "add",
                Rejection::new("required", "names no tag, and remove does not either: name at least one tag"),
            );
        }
        if change.add.iter().any(|tag| change.remove.contains(tag)) {
            errors.add("remove", Rejection::new("conflict", "must not name a tag that add also names"));
        }
        if errors.is_empty() { Ok(change) } else { Err(errors.into()) }
    }

    /// Returns the tags after the change; `None` if nothing changes, or if there would be too many.
    pub fn apply(&self, tags: &[String]) -> Option<Vec<String>> {
        let mut after: Vec<String> = tags.iter().filter(|tag| !self.remove.contains(tag)).cloned().collect();
        for tag in &self.add {
            if !after.contains(tag) {
                after.push(tag.clone());
            }
        }
        (after != tags && after.len() <= MOST_TAGS).then_some(after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlap_lasts_from_no_time_to_thirty_days() {
        assert_eq!(Overlap::parse(None).unwrap().seconds(), 86_400);
        assert!(Overlap::parse(Some(0)).is_ok() && Overlap::parse(Some(2_592_000)).is_ok());
        assert!(Overlap::parse(Some(-1)).is_err() && Overlap::parse(Some(2_592_001)).is_err());
    }

    #[test]
    fn a_prefix_is_read_from_the_start_of_a_secret() {
        let of = |text| prefix_of(text).map(|prefix| prefix.as_str().to_owned());
        assert_eq!(of("sk_3kTq").as_deref(), Some("sk"));
        assert_eq!(of("sk_test_3kTq").as_deref(), Some("sk"));
        assert_eq!(of("acme_live_0000").as_deref(), Some("acme_live"));
        assert_eq!((of("Foreign"), of("pk_1234"), of("")), (None, None, None));
    }

    #[test]
    fn a_selection_names_each_key_once() {
        assert_eq!(Selection::parse(&[3, 1, 3, 2, 1]).unwrap().ids(), [ApiKeyId(3), ApiKeyId(1), ApiKeyId(2)]);
        assert!(Selection::parse(&[]).is_err() && Selection::parse(&vec![1; 1_001]).is_err());
    }

    #[test]
    fn tags_are_added_and_removed_and_never_too_many() {
        let texts = |tags: &[&str]| tags.iter().map(ToString::to_string).collect::<Vec<_>>();
        let change = TagChange::parse(&texts(&["eu", " new "]), &texts(&["old"])).unwrap();
        assert_eq!(change.apply(&texts(&["old", "eu"])), Some(texts(&["eu", "new"])));
        assert_eq!(change.apply(&texts(&["eu", "new"])), None);
        let full: Vec<_> = (0..MOST_TAGS).map(|number| number.to_string()).collect();
        assert_eq!(change.apply(&full), None);
        assert!(TagChange::parse(&[], &[]).is_err());
        assert!(TagChange::parse(&texts(&["x"]), &texts(&["x"])).is_err());
        assert!(TagChange::parse(&texts(&[""]), &[]).is_err());
    }
}
