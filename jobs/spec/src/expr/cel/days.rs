//! `run.date - days(7)` counts days of a calendar, which may have 23 or 25 hours.
//!
//! CEL's own lengths of time know no calendar, so a sum or difference with `days(…)` becomes a call of a function that
//! does. Alone, `days(7)` stays a length of seven times 24 hours.

use cel::{
    ExecutionError, IdedExpr, Value,
    common::ast::{CallExpr, EntryExpr, Expr, operators},
};
use chrono::{DateTime, FixedOffset, TimeDelta};
use tidemill_core::Calendar;

/// What a sum becomes; no name that an expression can have.
pub(super) const LATER: &str = "@days_later";
/// What a difference becomes.
pub(super) const EARLIER: &str = "@days_earlier";

/// Makes every sum and difference of a moment and days a call of [`LATER`] or [`EARLIER`].
pub(super) fn count_in_calendar(expr: &mut IdedExpr) {
    if let Expr::Call(call) = &expr.expr
        && let Some(call) = shift(call)
    {
        expr.expr = Expr::Call(call);
    }
    match &mut expr.expr {
        Expr::Call(call) => {
            call.target.iter_mut().for_each(|target| count_in_calendar(target));
            call.args.iter_mut().for_each(count_in_calendar);
        }
        Expr::Select(select) => count_in_calendar(&mut select.operand),
        Expr::List(list) => list.elements.iter_mut().for_each(count_in_calendar),
        Expr::Map(map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    count_in_calendar(&mut entry.key);
                    count_in_calendar(&mut entry.value);
                }
            }
        }
        Expr::Comprehension(each) => {
            let parts = [&mut each.iter_range, &mut each.accu_init, &mut each.loop_cond];
            parts.into_iter().chain([&mut each.loop_step, &mut each.result]).for_each(count_in_calendar);
        }
        _ => {}
    }
}

/// `moment ± days` and `days + moment` as a call; `None` for what is neither.
fn shift(call: &CallExpr) -> Option<CallExpr> {
    let [left, right] = call.args.as_slice() else { return None };
    let (name, moment, count) = match (call.func_name.as_str(), count(left), count(right)) {
        (operators::ADD, None, Some(count)) => (LATER, left, count),
        (operators::ADD, Some(count), None) => (LATER, right, count),
        (operators::SUBSTRACT, None, Some(count)) => (EARLIER, left, count),
        _ => return None,
    };
    let args = vec![moment.clone(), count];
    Some(CallExpr { func_name: name.to_owned(), target: None, args })
}

/// How many days `days(n)` is, or a sum or difference of such.
fn count(expr: &IdedExpr) -> Option<IdedExpr> {
    let Expr::Call(call) = &expr.expr else { return None };
    let args = match (call.func_name.as_str(), call.args.as_slice()) {
        ("days", [count]) => return Some(count.clone()),
        (operators::ADD | operators::SUBSTRACT, [left, right]) => vec![count(left)?, count(right)?],
        _ => return None,
    };
    Some(IdedExpr { id: expr.id, expr: Expr::Call(CallExpr { args, ..call.clone() }) })
}

/// `moment` some days later, or earlier where `sign` is -1, at the same local time. To a length of time they add up
/// as 24 hours each.
pub(super) fn shifted(
    calendar: Calendar,
    sign: i64,
    moment: &Value,
    days: &Value,
) -> Result<Value, ExecutionError> {
    let failed = |message: &str| ExecutionError::function_error("days", message);
    let days = whole(days)?.checked_mul(sign).ok_or_else(|| failed(BEYOND))?;
    match moment {
        Value::Timestamp(moment) => {
            let later = calendar.plus_days(moment.to_utc(), days).ok_or_else(|| failed(BEYOND))?;
            Ok(Value::Timestamp(zoned(calendar, later)))
        }
        Value::Duration(length) => {
            let sum = TimeDelta::try_days(days).and_then(|days| length.checked_add(&days));
            sum.map(Value::Duration).ok_or_else(|| failed(BEYOND))
        }
        _ => Err(failed("days are added to a moment such as `run.date`, or to a length of time")),
    }
}

const BEYOND: &str = "that many days lead beyond the years 1 to 9999";

/// A whole number.
pub(super) fn whole(count: &Value) -> Result<i64, ExecutionError> {
    let whole = match count {
        Value::Int(days) => Some(*days),
        Value::UInt(days) => i64::try_from(*days).ok(),
        _ => None,
    };
    whole.ok_or_else(|| ExecutionError::function_error("days", "expected a whole number of days"))
}

/// An instant as the calendar's clocks show it, so that `run.date.getDate()` is its day.
pub(super) fn zoned(calendar: Calendar, time: tidemill_core::Time) -> DateTime<FixedOffset> {
    time.with_timezone(&calendar.timezone()).fixed_offset()
}
