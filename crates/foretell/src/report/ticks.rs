//! Round numbers for axes, and numbers as people read them.

/// Round positions within `lo..=hi`, about `count` of them, and the step between them.
pub(super) fn linear(lo: f64, hi: f64, count: usize) -> (Vec<f64>, f64) {
    let rough = (hi - lo) / count.max(1) as f64;
    if !(rough.is_finite() && rough > 0.0) {
        return (vec![lo], 1.0);
    }
    let power = 10_f64.powf(rough.log10().floor());
    let step = match rough / power {
        r if r < 1.5 => power,
        r if r < 3.5 => 2.0 * power,
        r if r < 7.5 => 5.0 * power,
        _ => 10.0 * power,
    };
    let first = (lo / step - 1e-9).ceil();
    // At most twice as many as asked for, so a step lost in rounding cannot run away.
    let ticks = (0..=2 * count).map(|i| (first + i as f64) * step);
    (ticks.take_while(|tick| *tick <= hi + step * 1e-9).collect(), step)
}

/// Powers of ten within `lo..=hi` (both positive), with 2 and 5 between them where there is room.
pub(super) fn logarithmic(lo: f64, hi: f64, count: usize) -> Vec<f64> {
    let (from, to) = (lo.log10().floor() as i32, hi.log10().ceil() as i32);
    let decades = (to - from).max(1) as usize;
    let mantissas: &[f64] = if decades * 3 <= count + 3 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let stride = decades.div_ceil(count.max(1));
    let ticks: Vec<f64> = (from..=to)
        .step_by(stride)
        .flat_map(|power| mantissas.iter().map(move |m| m * 10_f64.powi(power)))
        .filter(|tick| (lo * (1.0 - 1e-9)..=hi * (1.0 + 1e-9)).contains(tick))
        .collect();
    if ticks.len() < 2 { linear(lo, hi, count).0 } else { ticks }
}

/// A tick's label on an axis whose ticks are `step` apart and reach `largest` in magnitude.
pub(super) fn label(value: f64, step: f64, largest: f64) -> String {
    let exponent = |x: f64| (x.abs().log10() + 1e-9).floor() as i32;
    let decimals = |step: f64| (-exponent(step)).clamp(0, 6) as usize;
    if value.abs() < step * 1e-6 {
        return "0".to_owned();
    }
    let plain = if !(1e-2..1e6).contains(&largest) {
        let e = exponent(value);
        let mantissa = format!("{:.*}", decimals(step / 10_f64.powi(e)), value / 10_f64.powi(e));
        let short =
            if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { &mantissa };
        format!("{short}e{e}")
    } else if largest >= 1e4 {
        format!("{:.*}k", decimals(step / 1000.0), value / 1000.0)
    } else {
        format!("{value:.*}", decimals(step))
    };
    signed(&plain)
}

/// The unit of a positive number's last digit that is not 0, of three at most: 0.01 for 0.25.
pub(super) fn last_digit(value: f64) -> f64 {
    let first = 10_f64.powf((value.log10() + 1e-9).floor());
    let exact = |unit: &f64| ((value / unit).round() * unit - value).abs() < 1e-6 * value;
    [first, first / 10.0, first / 100.0].into_iter().find(exact).unwrap_or(first / 100.0)
}

/// A value to four significant digits.
pub(super) fn value(value: f64) -> String {
    let size = value.abs();
    let plain = if value == 0.0 {
        "0".to_owned()
    } else if !(1e-3..1e7).contains(&size) {
        format!("{value:.2e}")
    } else {
        format!("{value:.*}", (3 - size.log10().floor() as i32).clamp(0, 6) as usize)
    };
    signed(&plain)
}

/// With a minus sign in place of the hyphen.
fn signed(number: &str) -> String {
    number.replace('-', "\u{2212}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(lo: f64, hi: f64) -> Vec<String> {
        let (ticks, step) = linear(lo, hi, 5);
        ticks.iter().map(|tick| label(*tick, step, lo.abs().max(hi.abs()))).collect()
    }

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(labels(0.0, 1.0), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(-0.3, 0.31), ["−0.3", "−0.2", "−0.1", "0", "0.1", "0.2", "0.3"]);
        assert_eq!(labels(0.0, 20_000.0), ["0", "5k", "10k", "15k", "20k"]);
        assert_eq!(labels(0.0, 5e-4), ["0", "1e−4", "2e−4", "3e−4", "4e−4", "5e−4"]);
        assert_eq!(labels(0.0, 1e-3).last().map(String::as_str), Some("1e−3"));
        assert_eq!(labels(0.0, 4e6), ["0", "1e6", "2e6", "3e6", "4e6"]);
    }

    #[test]
    fn ticks_on_a_logarithmic_axis_are_named_apart() {
        let names = |lo, hi| -> Vec<String> {
            logarithmic(lo, hi, 5).into_iter().map(|tick| label(tick, last_digit(tick), tick)).collect()
        };
        assert_eq!(names(0.01, 100.0), ["0.01", "0.1", "1", "10", "100"]);
        assert_eq!(names(0.16, 0.41), ["0.2", "0.25", "0.3", "0.35", "0.4"]);
    }

    #[test]
    fn hostile_ranges_end() {
        for (lo, hi) in [(1.0, 1.0), (1e9, 1e9 + 1e-7), (f64::NAN, 1.0), (2.0, 1.0), (-1e99, 1e99)] {
            assert!(linear(lo, hi, 5).0.len() <= 11);
        }
    }

    #[test]
    fn logarithmic_ticks_are_decades_or_finer() {
        assert_eq!(logarithmic(0.01, 1000.0, 5), [0.01, 0.1, 1.0, 10.0, 100.0, 1000.0]);
        assert_eq!(logarithmic(1.0, 60.0, 5), [1.0, 2.0, 5.0, 10.0, 20.0, 50.0]);
        assert!(logarithmic(1.1, 1.4, 5).len() >= 2);
        assert!(logarithmic(1e-90, 1e90, 5).len() <= 6);
    }

    #[test]
    fn values_have_four_digits() {
        let shown = [0.0, 0.123_456, -12.345_6, 1234.56, 3e-7, 1e12].map(value);
        assert_eq!(shown, ["0", "0.1235", "−12.35", "1235", "3.00e−7", "1.00e12"]);
    }
}
