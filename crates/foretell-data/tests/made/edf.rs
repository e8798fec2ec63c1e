//! Files of EDF and BDF, right ones and wrong ones.

/// A signal that a file of these tests holds.
#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) label: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) physical: (&'static str, &'static str),
    /// Samples in a record.
    pub(crate) samples: usize,
    /// Stored numbers.
    pub(crate) numbers: Vec<i32>,
}

/// A wave of so many stored steps at `hertz`, recorded `rate` times a second.
pub(crate) fn wave(hertz: f64, rate: usize, seconds: usize, steps: f64) -> Vec<i32> {
    let at = |i: usize| (steps * (std::f64::consts::TAU * hertz * i as f64 / rate as f64).sin()).round() as i32;
    (0..rate * seconds).map(at).collect()
}

/// One of 10 Hz that swings by 100 µV, in a unit of which the file holds ±3276.
pub(crate) fn made(label: &'static str, unit: &'static str, rate: usize, seconds: usize) -> Made {
    let physical = match unit {
        "mV" => ("-3.2768", "3.2767"),
        "nV" => ("-3276800", "3276700"),
        "V" => ("-.0032768", ".0032767"),
        _ => ("-3276.8", "3276.7"),
    };
    Made { label, unit, physical, samples: rate, numbers: wave(10.0, rate, seconds, 1000.0) }
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Form {
    pub(crate) bdf: bool,
    /// `EDF+C`, `EDF+D` or nothing.
    pub(crate) reserved: &'static str,
    /// What the head says of the number of records, if not the truth.
    pub(crate) records: Option<&'static str>,
    pub(crate) duration: Option<&'static str>,
}

/// What a field of the header says of a signal, and its length.
type Column<'a> = (&'a dyn Fn(&Made) -> String, usize);

/// EDF or BDF with records of a second, which begin at these times, and annotations in some of them.
pub(crate) fn edf(form: Form, signals: &[Made], starts: &[f64], annotations: &[(usize, &str)]) -> Vec<u8> {
    const ROOM: usize = 40;
    let count = signals.len() + usize::from(!form.reserved.is_empty());
    let field = |text: &str, length: usize| {
        let mut bytes: Vec<u8> = text.chars().map(|c| u32::from(c) as u8).collect();
        bytes.resize(length, b' ');
        bytes
    };
    let mut out = if form.bdf { b"\xFFBIOSEMI".to_vec() } else { field("0", 8) };
    let reserved = if form.bdf && form.reserved.is_empty() { "24BIT" } else { form.reserved };
    for (text, length) in [
        ("S01 F X X", 80),
        ("Startdate 01-JAN-2020 X X X", 80),
        ("01.01.20", 8),
        ("00.00.00", 8),
        (&(256 * (count + 1)).to_string(), 8),
        (reserved, 44),
        (form.records.unwrap_or(&starts.len().to_string()), 8),
        (form.duration.unwrap_or("1"), 8),
        (&count.to_string(), 4),
    ] {
        out.extend(field(text, length));
    }
    let (least, most) = if form.bdf { ("-8388608", "8388607") } else { ("-32768", "32767") };
    let annotation = Made {
        label: if form.bdf { "BDF Annotations" } else { "EDF Annotations" },
        unit: "",
        physical: ("-1", "1"),
        samples: ROOM,
        numbers: Vec::new(),
    };
    let all: Vec<&Made> = signals.iter().chain((count > signals.len()).then_some(&annotation)).collect();
    let columns: [Column<'_>; 10] = [
        (&|made| made.label.to_owned(), 16),
        (&|_| "AgAgCl".to_owned(), 80),
        (&|made| made.unit.to_owned(), 8),
        (&|made| made.physical.0.to_owned(), 8),
        (&|made| made.physical.1.to_owned(), 8),
        (&|_| least.to_owned(), 8),
        (&|_| most.to_owned(), 8),
        (&|_| String::new(), 80),
        (&|made| made.samples.to_string(), 8),
        (&|_| String::new(), 32),
    ];
    for (text, length) in columns {
        for made in &all {
            out.extend(field(&text(made), length));
        }
    }
    let width = if form.bdf { 3 } else { 2 };
    for (record, start) in starts.iter().enumerate() {
        for made in signals {
            for number in &made.numbers[record * made.samples..(record + 1) * made.samples] {
                out.extend(&number.to_le_bytes()[..width]);
            }
        }
        if count > signals.len() {
            let mut list = format!("+{start}\u{14}\u{14}\0").into_bytes();
            for (_, text) in annotations.iter().filter(|(at, _)| *at == record) {
                list.extend(text.bytes());
                list.push(0);
            }
            list.resize(ROOM * width, 0);
            out.extend(list);
        }
    }
    out
}

pub(crate) fn seconds(count: usize) -> Vec<f64> {
    (0..count).map(|i| i as f64).collect()
}
