//! What SQLite counts for a question.

use jiff::Timestamp;

use super::Sqlite;
use super::{counting, figures, room};
use crate::store::StoreError;
use crate::store::question::{Question, Tally};

impl Sqlite {
    /// The figures of a question, by its key; those of one key add up.
    pub(in crate::store) fn tallies(
        &self,
        question: &Question,
        mut each: impl FnMut(&str, Tally),
    ) -> Result<(), StoreError> {
        self.try_tallies(question, &mut each).map_err(|error| self.unavailable(error))
    }

    fn try_tallies(&self, question: &Question, each: &mut impl FnMut(&str, Tally)) -> rusqlite::Result<()> {
        let from = question.from.map_or(i64::MIN, Timestamp::as_millisecond);
        let to = question.to.map_or(i64::MAX, Timestamp::as_millisecond);
        // All of it from one state of the file.
        let transaction = self.connection.unchecked_transaction()?;
        let counted_from =
            if counting::has_figures(&transaction)? { room::gone_before(&transaction)? } else { i64::MAX };
        figures::tallies(&transaction, question.by, from..to, counted_from, each)
    }
}
