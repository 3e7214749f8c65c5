//! From a Unix cron line to lines of the `cron` crate: seconds first, weekdays by name, one line for each way
//! a day can match.

const DAYS: [&str; 8] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"];

/// One line, or two when day of month and day of week are both restricted: Unix takes either.
pub(super) fn translate(cron: &str) -> Result<Vec<String>, String> {
    let line = match cron.trim() {
        "@hourly" => "0 * * * *",
        "@daily" | "@midnight" => "0 0 * * *",
        "@weekly" => "0 0 * * 0",
        "@monthly" => "0 0 1 * *",
        "@yearly" | "@annually" => "0 0 1 1 *",
        line => line,
    };
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = fields[..] else {
        return Err(format!("it has {} fields: minute hour day-of-month month day-of-week", fields.len()));
    };
    if let Some(odd) = fields.iter().find(|field| field.contains(['?', 'L', 'W', '#']) && !names(field)) {
        return Err(format!("`{odd}` uses a sign that Unix cron doesn't have"));
    }
    let weekdays = weekdays(weekday)?;
    let with = |day: &str, weekday: &str| format!("0 {minute} {hour} {day} {month} {weekday}");
    // As in Unix, a field that begins with a star doesn't restrict the day, even with a step.
    Ok(if day.starts_with('*') || weekday.starts_with('*') {
        vec![with(day, &weekdays)]
    } else {
        vec![with(day, "*"), with("*", &weekdays)]
    })
}

fn names(field: &str) -> bool {
    field.split([',', '-']).all(|part| part.len() >= 3 && part.chars().all(char::is_alphabetic))
}

/// Weekdays as a list of names: numbers count from Sunday (0 or 7), which the crate counts as 1.
fn weekdays(field: &str) -> Result<String, String> {
    if field == "*" {
        return Ok("*".to_owned());
    }
    let mut chosen = [false; 7];
    for part in field.split(',') {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        let step: usize = match step {
            Some(step) => {
                step.parse().ok().filter(|step| *step > 0).ok_or(format!("`{part}` has a bad step"))?
            }
            None => 1,
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (0, 6),
            Some((first, last)) => (weekday(first)?, weekday(last)?),
            None => (weekday(range)?, weekday(range)?),
        };
        // `fri-sun` ends on the Sunday after, which is 7.
        let last = if last == 0 && first > 0 { 7 } else { last };
        if first > last {
            return Err(format!("`{range}` runs backward"));
        }
        (first..=last).step_by(step).for_each(|day| chosen[day % 7] = true);
    }
    let names: Vec<&str> = (0..7).filter(|&day| chosen[day]).map(|day| DAYS[day]).collect();
    Ok(names.join(","))
}

fn weekday(text: &str) -> Result<usize, String> {
    let by_name = || DAYS.iter().position(|day| day.eq_ignore_ascii_case(text));
    let number = text.parse().ok().filter(|day| *day <= 7);
    number.or_else(by_name).ok_or_else(|| format!("`{text}` is not a weekday: 0 to 7 or SUN to SAT"))
}
