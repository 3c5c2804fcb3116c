//! Text search that ignores spelling variants: the database functions `search_fold` and `search_words` fold both the
//! stored text and the search text.

use diesel::dsl::sql;
use diesel::expression::{SqlLiteral, UncheckedBind};
use diesel::helper_types::AsExprOf;
use diesel::prelude::*;
use diesel::sql_types::{Array, Bool, Text};

use crate::domain::Result;
use crate::domain::text::is_invisible;

/// Type of the condition that [`contain`] returns.
pub type Contains = SqlLiteral<Bool, UncheckedBind<SqlLiteral<Bool>, AsExprOf<String, Text>>>;

/// Condition for rows whose columns contain this text, ignoring case and accents. `columns` is SQL, separated by
/// commas.
pub fn contain(columns: &'static str, text: &str) -> Contains {
    // Folding can leave nothing of a text, such as a lone accent. Such a text is searched as it was typed.
    let folded = format!(
        "0 < strpos(search_fold(concat_ws(chr(10), {columns})),
            (SELECT coalesce(nullif(search_fold(given), ''), given) FROM (VALUES ("
    );
    sql::<Bool>(&folded).bind::<Text, _>(text.to_owned()).sql(")) AS search (given)))")
}

/// Returns the words to search for, folded; none if the text has nothing visible. Punctuation counts only if the text
/// has nothing else.
pub fn words(conn: &mut PgConnection, text: &str) -> Result<Vec<String>> {
    #[derive(QueryableByName)]
    struct Folded {
        #[diesel(sql_type = Array<Text>)]
        words: Vec<String>,
    }
    let query = diesel::sql_query("SELECT search_words($1) AS words").bind::<Text, _>(text);
    let words = query.get_result::<Folded>(conn)?.words;
    let (signs, letters): (Vec<_>, Vec<_>) = words.into_iter().partition(|word| word.starts_with('='));
    let signs = || signs.into_iter().filter(|sign| sign != "=").collect::<Vec<_>>();
    let words = if letters.is_empty() { signs() } else { letters };
    // A text whose folding is empty, such as a lone accent, must find nothing rather than everything.
    let is_lost = words.is_empty() && text.chars().any(|c| !c.is_whitespace() && !is_invisible(c));
    Ok(if is_lost { vec![format!("={}", text.trim())] } else { words })
}
