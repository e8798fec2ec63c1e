//! Names of electrodes and where they lie: the 10–20 system, its 10–10 extension and the half steps of 10–5, on a sphere.
//!
//! The equator runs through Fpz, T7, Oz and T8, in steps of 18° from one row to the next; the midline goes over Cz, in steps of 22.5°.
//! The electrodes of a row divide the circle through its two ends and its middle evenly (Oostenveld and Praamstra, 2001).

use std::f64::consts::PI;

/// Rows from the front, with the half steps between them: their names for electrodes inside of the equator, and on and below it.
const ROWS: [(&str, &str, f64); 17] = [
    ("Fp", "Fp", 0.0),
    ("AFp", "AFp", 0.5),
    ("AF", "AF", 1.0),
    ("AFF", "AFF", 1.5),
    ("F", "F", 2.0),
    ("FFC", "FFT", 2.5),
    ("FC", "FT", 3.0),
    ("FCC", "FTT", 3.5),
    ("C", "T", 4.0),
    ("CCP", "TTP", 4.5),
    ("CP", "TP", 5.0),
    ("CPP", "TPP", 5.5),
    ("P", "P", 6.0),
    ("PPO", "PPO", 6.5),
    ("PO", "PO", 7.0),
    ("POO", "POO", 7.5),
    ("O", "O", 8.0),
];

/// The older names of four places.
const OLD: [(&str, &str); 4] = [("T3", "T7"), ("T4", "T8"), ("T5", "P7"), ("T6", "P8")];

/// What stands behind an electrode's name where it is measured against a common reference, in capitals.
const REFERENCES: [&str; 20] = [
    "REF", "LE", "RE", "AR", "AV", "AVG", "AVE", "CAR", "LER", "A1", "A2", "A1A2", "A1+A2", "M1", "M2", "M1M2",
    "M1+M2", "LINKED", "COM", "GND",
];

/// What the label of a signal names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// One electrode of the system, by its present name.
    Electrode(String),
    /// The difference of two electrodes: it lies at no single place.
    Pair,
    /// Something else: eyes, heart, breath, a trigger, an electrode of another system.
    Other,
}

/// What a recorder's label names: `EEG Fp1-REF`, `FP1`, `Fp1.` and `EEG FP1` are Fp1, `T3` is T7, `Fp1-F7` is a pair.
pub(crate) fn named(label: &str) -> Named {
    let mut label = label.trim();
    for prefix in ["EEG", "POL"] {
        let rest = label.get(prefix.len()..).filter(|_| label[..prefix.len()].eq_ignore_ascii_case(prefix));
        if let Some(rest) = rest.filter(|rest| rest.starts_with([' ', '-', '_', ':'])) {
            label = rest.trim_start_matches([' ', '-', '_', ':']);
            break;
        }
    }
    let (first, second) = match label.split_once('-') {
        Some((first, second)) => (first, Some(second)),
        None => (label, None),
    };
    let bare = |text: &str| text.trim_matches([' ', '.']).to_owned();
    let Some(name) = spelled(&bare(first)) else { return Named::Other };
    match second.map(|second| bare(second).to_ascii_uppercase()) {
        None => Named::Electrode(name),
        Some(second) if second.is_empty() || REFERENCES.contains(&second.trim_matches(['(', ')'])) => {
            Named::Electrode(name)
        }
        // A number tells two recordings of one name apart, as some programs write it.
        Some(_) => Named::Pair,
    }
}

/// The electrode that a recorder's label names, as the 10–10 system spells it: `EEG T3-REF` is `T7`; `None` where it names none, or two.
pub fn electrode(label: &str) -> Option<String> {
    match named(label) {
        Named::Electrode(name) => Some(name),
        Named::Pair | Named::Other => None,
    }
}

/// Where an electrode of the 10–10 system lies on a head of radius 1: x to the right ear, y to the nose, z up.
pub fn place(name: &str) -> Option<[f32; 3]> {
    let (_, at) = parsed(name)?;
    Some(at.map(|x| x as f32))
}

/// A name as the system spells it, from any capitals.
fn spelled(name: &str) -> Option<String> {
    let upper = name.to_ascii_uppercase();
    let name = OLD.iter().find(|(old, _)| *old == upper).map_or(name, |(_, new)| new);
    Some(parsed(name)?.0)
}

fn parsed(name: &str) -> Option<(String, [f64; 3])> {
    if !name.is_ascii() {
        return None;
    }
    let upper = name.to_ascii_uppercase();
    let at = upper.find(|c: char| c.is_ascii_digit());
    let (letters, number) = match at {
        Some(at) => (&upper[..at], &upper[at..]),
        None => (upper.strip_suffix('Z')?, "Z"),
    };
    let half = number.len() > 1 && number.ends_with('H');
    let digits = if half { &number[..number.len() - 1] } else { number };
    let number: u32 = if digits == "Z" { 0 } else { digits.parse().ok().filter(|n| (1..=10).contains(n))? };
    // Steps from the midline: 1 and 2 are one, 9 and 10 five.
    let steps = f64::from(number.div_ceil(2)) - if half { 0.5 } else { 0.0 };
    let (row, spelling, column) = match letters {
        // Below Fpz and Oz.
        "N" | "I" if number <= 2 && !half => {
            let row = if letters == "N" { 0.0 } else { 8.0 };
            let azimuth = if number == 0 { if row == 0.0 { 0.0 } else { PI } } else { (row + 1.0) * PI / 10.0 };
            let suffix = if number == 0 { "z".to_owned() } else { number.to_string() };
            return Some((format!("{letters}{suffix}"), mirrored(number, below(azimuth, 1.0))));
        }
        _ => ROWS.iter().find_map(|(inside, outside, row)| {
            // At the front and the back one step leads from the midline to the equator.
            let ends = *row == 0.0 || *row == 8.0;
            let column = match steps {
                steps if !ends => steps / 4.0,
                0.0 => 0.0,
                0.5 => 0.5,
                1.0 => 1.0,
                5.0 => 1.25,
                _ => return None,
            };
            let spelling = if column > 0.76 { outside } else { inside };
            (letters == spelling.to_ascii_uppercase()).then_some((*row, *spelling, column))
        })?,
    };
    let azimuth = (row + 1.0) * PI / 10.0;
    let at = if column > 1.0 { below(azimuth, (column - 1.0) * 4.0) } else { within(row, azimuth, column) };
    let suffix = match (number, half) {
        (0, _) => "z".to_owned(),
        (number, false) => number.to_string(),
        (number, true) => format!("{number}h"),
    };
    Some((format!("{spelling}{suffix}"), mirrored(number, at)))
}

/// Even numbers lie on the right.
fn mirrored(number: u32, [x, y, z]: [f64; 3]) -> [f64; 3] {
    if number > 0 && number.is_multiple_of(2) { [-x, y, z] } else { [x, y, z] }
}

/// So many steps of 22.5° below the equator, on the left.
fn below(azimuth: f64, steps: f64) -> [f64; 3] {
    let down = steps * PI / 8.0;
    [-azimuth.sin() * down.cos(), azimuth.cos() * down.cos(), -down.sin()]
}

/// On the circle through a row's ends and its middle, at this share of the way from the middle to the left end.
fn within(row: f64, azimuth: f64, share: f64) -> [f64; 3] {
    let (half, depth) = (azimuth.sin(), azimuth.cos());
    let angle = (4.0 - row) * PI / 8.0;
    let (up_y, up_z) = (angle.sin() - depth, angle.cos());
    let high = up_y.hypot(up_z);
    let radius = (half * half + high * high) / (2.0 * high);
    let centre = high - radius;
    let turned = share * half.atan2(-centre);
    let along = (centre + radius * turned.cos()) / high;
    [-radius * turned.sin(), depth + along * up_y, along * up_z]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_recorders_name_electrodes() {
        let cases = [
            ("EEG Fp1-REF", "Fp1"),
            ("EEG FP2-LE", "Fp2"),
            ("Fc5.", "FC5"),
            ("Cz..", "Cz"),
            ("T3", "T7"),
            ("EEG T6-Ref", "P8"),
            ("c3", "C3"),
            ("POL O1", "O1"),
            ("Fp1-A2", "Fp1"),
            ("Pz-M1", "Pz"),
            ("EEG F3-(A1+A2)", "F3"),
            ("AFZ", "AFz"),
            ("iz", "Iz"),
            ("ftt9H", "FTT9h"),
            ("TP10", "TP10"),
        ];
        for (label, name) in cases {
            assert_eq!(named(label), Named::Electrode(name.to_owned()), "{label}");
        }
        for label in ["Fp1-F7", "EEG Fpz-Cz", "C3-P3"] {
            assert_eq!(named(label), Named::Pair, "{label}");
        }
        for label in ["Status", "EOG", "ECG", "EMG1", "T1", "C7", "T5h2", "E12", "A1", "", "EEG", "Fp3", "µV", "EEG µ1"]
        {
            assert_eq!(named(label), Named::Other, "{label}");
        }
    }

    #[test]
    fn places_lie_on_the_sphere_where_the_system_has_them() {
        let near = |name: &str, wanted: [f32; 3]| {
            let at = place(name).unwrap_or_else(|| panic!("{name}"));
            assert!(at.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-5), "{name}: {at:?}");
        };
        near("Cz", [0.0, 0.0, 1.0]);
        near("Fpz", [0.0, 1.0, 0.0]);
        near("Oz", [0.0, -1.0, 0.0]);
        near("T7", [-1.0, 0.0, 0.0]);
        near("T8", [1.0, 0.0, 0.0]);
        // Half way from the top to the ears and to the front.
        let half = std::f32::consts::FRAC_1_SQRT_2;
        near("C3", [-half, 0.0, half]);
        near("Fz", [0.0, half, half]);
        near("O1", [-(18.0_f32.to_radians().sin()), -(18.0_f32.to_radians().cos()), 0.0]);
        for name in ["F3", "FC5", "P7", "PO4", "AF8", "TP9", "CP1", "Iz", "Nz", "FTT9h", "TPP8h", "PO9"] {
            let at = place(name).unwrap_or_else(|| panic!("{name}"));
            assert!((at.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5, "{name}: {at:?}");
        }
        let [left, right] = ["F3", "F4"].map(|name| place(name).unwrap());
        assert_eq!([-left[0], left[1], left[2]], right);
    }

    /// Measured heads are no spheres: the same order and much the same directions as in the template of a real head (in metres, from
    /// the list of channels that Signal-JEPA was trained on; its origin lies below and before the middle).
    #[test]
    fn directions_are_those_of_a_head() {
        let head: [(&str, [f32; 3]); 8] = [
            ("Fp1", [-0.029_436_7, 0.083_917_1, -0.006_99]),
            ("F3", [-0.050_243_8, 0.053_111_2, 0.042_192]),
            ("FC5", [-0.077_214_9, 0.018_643_3, 0.024_46]),
            ("C4", [0.067_117_9, -0.010_900_3, 0.063_58]),
            ("CP1", [-0.035_513_1, -0.047_291_9, 0.091_315]),
            ("P8", [0.073_055_7, -0.073_068_3, -0.002_54]),
            ("PO3", [-0.036_511_4, -0.100_852_9, 0.037_167]),
            ("O2", [0.029_842_6, -0.112_156, 0.008_8]),
        ];
        for (name, at) in head {
            // From the middle of the head to the electrode.
            let at = [at[0], at[1] + 0.015, at[2]];
            let length = at.iter().map(|x| x * x).sum::<f32>().sqrt();
            let cosine: f32 = at.iter().zip(place(name).unwrap()).map(|(a, b)| a / length * b).sum();
            assert!(cosine > 20.0_f32.to_radians().cos(), "{name}: {} degrees", cosine.acos().to_degrees());
        }
    }
}
