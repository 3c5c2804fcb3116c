//! JSON members that are null beside another name of the same field. Typed clients send every field that they know, so
//! `null` beside the other name counts as absent.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Members of an object in their order, with the exact text of each value.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = fields.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// Returns the names of members that are null, in this object and in objects of its arrays. A name that an object holds
/// twice is left out, since that stays an error.
pub fn null_names(object: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let Ok(Members(members)) = serde_json::from_str(object) else { return names };
    for (name, value) in &members {
        if value.get() == "null" && members.iter().filter(|(other, _)| other == name).count() == 1 {
            names.insert(name.clone());
        }
        for item in items(value) {
            names.extend(null_names(item.get()));
        }
    }
    names
}

/// Returns the object's text without the members of this name that are null. Other values keep their exact text.
pub fn without_null(object: &str, name: &str) -> Option<String> {
    let Members(members) = serde_json::from_str(object).ok()?;
    let mut kept = Vec::new();
    for (own, value) in members {
        if own == name && value.get() == "null" {
            continue;
        }
        let items = items(&value);
        let value = if items.is_empty() {
            value.get().to_owned()
        } else {
            let items =
                items.iter().map(|item| without_null(item.get(), name).unwrap_or_else(|| item.get().to_owned()));
            format!("[{}]", items.collect::<Vec<_>>().join(","))
        };
        kept.push(format!("{}:{value}", serde_json::to_string(&own).ok()?));
    }
    Some(format!("{{{}}}", kept.join(",")))
}

/// Returns the items of an array whose first item is an object.
fn items(value: &RawValue) -> Vec<&RawValue> {
    let is_of_objects = value.get().strip_prefix('[').is_some_and(|rest| rest.trim_start().starts_with('{'));
    if is_of_objects { serde_json::from_str(value.get()).unwrap_or_default() } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_members_are_found_and_removed_and_the_rest_keeps_its_text() {
        let body = r#"{"b": 1.0, "a": null, "list": [{"a": null, "c": 1e3}, 7], "x": {"a": null}}"#;
        assert_eq!(null_names(body), BTreeSet::from(["a".to_owned()]));
        let left = without_null(body, "a").unwrap();
        assert_eq!(left, r#"{"b":1.0,"list":[{"c":1e3},7],"x":{"a": null}}"#);
    }

    #[test]
    fn a_name_that_occurs_twice_stays() {
        assert!(null_names(r#"{"a": null, "a": 1}"#).is_empty());
    }
}
