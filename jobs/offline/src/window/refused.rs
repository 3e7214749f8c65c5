//! Source rows that a windowed feature can't be computed from. They do not count in it; here they are told, once, when
//! they are new.

use arrow::array::AsArray as _;
use tidemill_rows::source_schema;

use super::Windowed;
use crate::{
    CommitRange, Error, Lake, Refused, Table, View,
    compute::refused::{ROWS_WORDED, fails, reason},
    sql::{self, fill},
};

pub(super) async fn uncounted(
    lake: &Lake,
    view: &View,
    commits: CommitRange,
) -> Result<Option<Refused>, Error> {
    let windows: Vec<Windowed> = Windowed::all(view).into_iter().filter(Windowed::has_sql).collect();
    if windows.is_empty() {
        return Ok(None);
    }
    let source = view.source()?;
    let scan = lake.scan(&Table::source(&source.name), commits).await?;
    let tried = windows.iter().map(|windowed| fails(&windowed.name, &windowed.value()));
    let find = fill(
        include_str!("../../queries/window/uncounted.sql"),
        &[
            ("rows", &scan.rows(&source_schema(source), "true")),
            ("tried", &tried.collect::<Vec<_>>().join(", ")),
            ("present", &sql::present(&view.keys())),
        ],
    );
    let values = windows.iter().map(Windowed::value).collect::<Vec<_>>().join(", ");
    let limit = lake.duck.rows_limit();
    let doing = format!("computing view {}", view.name());
    let found = lake.duck.run_declared(doing.clone(), move |session| {
        session.in_time(&doing, limit, || session.execute(&find))?;
        let rows = session.query("SELECT * EXCLUDE (_names) FROM uncounted ORDER BY rowid")?;
        let names = session.query("SELECT _names FROM uncounted ORDER BY rowid")?;
        let names = names["_names"].as_string::<i32>();
        let reason = |row: usize| {
            let one = || session.query(&format!("SELECT {values} FROM uncounted WHERE rowid = {row}"));
            let failed = (row < ROWS_WORDED).then(|| session.in_time(&doing, limit, one).err()).flatten();
            reason(names.value(row), failed)
        };
        let reasons = (0..rows.num_rows()).map(reason).collect();
        Ok(Refused { rows, reasons })
    });
    Ok(Some(found.await?).filter(|refused| !refused.reasons.is_empty()))
}
