//! Times as text: what recorders and tables write, in seconds; and what is regular in them.

/// Seconds of a time that is written as a date, with or without the time of the day: `2016-07-01 00:10:00`, `2016-07-01T00:10:00.5Z`,
/// `01.07.2016 00:10`, `2016/7/1`. Days first where dots part them, as where that is usual; otherwise years first.
pub(crate) fn date(text: &str) -> Option<f64> {
    let text = text.trim().trim_matches('"');
    let text = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    let (day, time) = text.split_once(['T', ' ']).map_or((text, ""), |(day, time)| (day, time.trim()));
    let separator = ['-', '/', '.'].into_iter().find(|separator| day.matches(*separator).count() == 2)?;
    let parts: Vec<i64> = day.split(separator).map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [year, month, day] = match parts[..] {
        [year, month, day] if separator != '.' && year > 31 => [year, month, day],
        [day, month, year] if separator == '.' && year > 31 => [year, month, day],
        _ => return None,
    };
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || !(0..=9999).contains(&year) {
        return None;
    }
    Some(days(year, month, day) as f64 * 86_400.0 + clock(time)?)
}

/// Days from 1970 on (Howard Hinnant's formula).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Seconds since midnight, less what stands for the zone.
fn clock(text: &str) -> Option<f64> {
    if text.is_empty() {
        return Some(0.0);
    }
    let zone = text.char_indices().skip(1).find(|(_, c)| matches!(c, '+' | '-')).map(|(at, _)| at);
    let (text, zone) = zone.map_or((text, ""), |at| text.split_at(at));
    let mut seconds = 0.0;
    let parts: Vec<f64> = text.trim().split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    if !(2..=3).contains(&parts.len()) || !parts.iter().all(|part| (0.0..=60.0).contains(part)) {
        return None;
    }
    for (part, unit) in parts.iter().zip([3600.0, 60.0, 1.0]) {
        seconds += part * unit;
    }
    if !zone.is_empty() {
        let (sign, digits) = zone.split_at(1);
        let digits: String = digits.chars().filter(char::is_ascii_digit).collect();
        let (hours, minutes) = (digits.get(..2)?, digits.get(2..4).unwrap_or("0"));
        let offset = hours.parse::<f64>().ok()? * 3600.0 + minutes.parse::<f64>().ok()? * 60.0;
        seconds -= if sign == "-" { -offset } else { offset };
    }
    Some(seconds)
}

/// Where rows lie on a regular clock.
pub(crate) struct Clock {
    /// Seconds, or whatever times are in, from one step to the next.
    pub(crate) step: f64,
    /// The step of each row.
    pub(crate) places: Vec<usize>,
    /// Steps without a row.
    pub(crate) gaps: usize,
}

/// How far a difference may be from whole steps, in steps.
const OFF: f64 = 0.02;

/// The clock that times, which rise, tick by: their commonest difference. `None` where they tick by none, such as events.
pub(crate) fn clock_of(times: &[f64]) -> Option<Clock> {
    let differences: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let mut sorted = differences.clone();
    sorted.sort_by(f64::total_cmp);
    let step = *sorted.get(sorted.len() / 2)?;
    if step.is_nan() || step <= 0.0 {
        return None;
    }
    let (mut place, mut places) = (0_usize, vec![0]);
    for difference in differences {
        let steps = difference / step;
        if !(steps.is_finite()
            && steps < 1e9
            && (steps - steps.round()).abs() <= OFF * steps.max(1.0)
            && steps.round() >= 1.0)
        {
            return None;
        }
        place += steps.round() as usize;
        places.push(place);
    }
    // A table of holes says nothing of what it is about.
    let all = place + 1;
    (all <= 4 * times.len()).then(|| Clock { step, gaps: all - times.len(), places })
}

/// `1 hour`, `10 minutes`, `0.5 seconds`.
pub(crate) fn told(seconds: f64) -> String {
    let (count, unit) = [(86_400.0, "day"), (3600.0, "hour"), (60.0, "minute")]
        .into_iter()
        .find(|(unit, _)| seconds >= *unit && (seconds / unit).fract() == 0.0)
        .map_or((seconds, "second"), |(length, unit)| (seconds / length, unit));
    format!("{count} {unit}{}", if count == 1.0 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_seconds_since_1970() {
        for (text, seconds) in [
            ("1970-01-01", 0.0),
            ("1970-01-02 00:00:01", 86_401.0),
            ("2016-07-01 00:10:00", 1_467_331_800.0),
            ("2016-07-01T00:10:00.5Z", 1_467_331_800.5),
            ("01.07.2016 00:10", 1_467_331_800.0),
            ("2016/7/1 00:10", 1_467_331_800.0),
            ("2016-07-01T02:10:00+02:00", 1_467_331_800.0),
            ("2000-02-29", 951_782_400.0),
            ("1969-12-31", -86_400.0),
        ] {
            assert_eq!(date(text), Some(seconds), "{text}");
        }
        for text in ["", "5", "3.5", "2016-13-01", "2016-07", "a-b-c", "2016-07-01 25", "1-2-3", "2016-07-01 10:99"] {
            assert_eq!(date(text), None, "{text}");
        }
    }

    #[test]
    fn a_clock_has_gaps_and_events_have_none() {
        let clock = clock_of(&[0.0, 10.0, 20.0, 50.0, 60.0]).unwrap();
        assert_eq!((clock.step, clock.gaps, &clock.places[..]), (10.0, 2, &[0, 1, 2, 5, 6][..]));
        assert!(clock_of(&[0.0, 1.0, 2.7, 3.1]).is_none());
        assert!(clock_of(&[0.0]).is_none() && clock_of(&[0.0, 0.0, 0.0]).is_none());
        assert!(clock_of(&[0.0, 1.0, 2.0, 1e6]).is_none(), "more holes than rows");
        assert_eq!(
            (told(3600.0), told(600.0), told(0.5)),
            ("1 hour".into(), "10 minutes".into(), "0.5 seconds".to_owned())
        );
    }
}
