//! Searching keys by the beginnings of words.

use diesel::dsl::sql;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, Bool, Text};

use crate::schema::api_keys;
use crate::store::Scope;

/// Words of a search that count.
const MOST_WORDS: usize = 10;

type Condition = Box<dyn BoxableExpression<api_keys::table, Pg, SqlType = Bool>>;

/// Every one of the words begins a word of the key. A text without any finds nothing.
pub fn matching(scope: Scope, text: &str) -> Condition {
    let words = words(text);
    match scope {
        _ if words.is_empty() => Box::new(sql::<Bool>("FALSE")),
        Scope::Tenant(tenant) => {
            // Letters and digits alone: nothing in them could end the quotes.
            let terms: Vec<_> = words.iter().map(|word| format!("'{tenant}:{word}':*")).collect();
            let found = sql::<Bool>("api_keys.id IN (SELECT id FROM tenant_key_words WHERE words @@ ")
                .bind::<Text, _>(terms.join(" & "))
                .sql("::tsquery)");
            Box::new(found)
        }
        Scope::Instance => {
            // Across tenants each word stands behind one that is not known: slower, for operators alone.
            let patterns: Vec<_> = words.iter().map(|word| format!("(^|[^[:alnum:]]){word}")).collect();
            let text = "lower(concat_ws(' ', api_keys.name, api_keys.hint, api_keys.public_id, api_keys.owner, \
                        array_to_string(api_keys.tags, ' '), array_to_string(api_keys.scopes, ' '))) ~ ALL(";
            Box::new(sql::<Bool>(text).bind::<Array<Text>, _>(patterns).sql(")"))
        }
    }
}

/// The words of a search, as `key_words` in the database cuts them.
fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).take(MOST_WORDS).collect()
}
