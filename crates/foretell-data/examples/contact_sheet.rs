//! Draws what a data set looks like, plain and as augmented views, and says how fast both are on one core.
//!
//! `cargo run --release -p foretell-data --example contact_sheet -- sheet.png [DATA]`

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use foretell_data::random::{Stream, rng};
use foretell_data::{Augment, Dataset, Image, Normalise, OnBadSample, Part, ScenesConfig, fit};

const COLUMNS: usize = 12;
const ROWS: usize = 8;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let output = arguments.next().ok_or("give the path of the PNG to write")?;
    let start = Instant::now();
    let dataset = match arguments.next() {
        Some(path) => Dataset::open(Path::new(&path))?,
        None => Dataset::scenes(&ScenesConfig::default()),
    };
    println!("opened    in {:.0?}", start.elapsed());
    print!("{}", dataset.describe());
    let size = match dataset.median_short_side() {
        side @ ..=64 => side.max(8),
        _ => 96,
    };
    let strong = Augment {
        crop_scale: (0.2, 1.0),
        crop_aspect: (0.75, 4.0 / 3.0),
        flip: 0.5,
        jitter: 0.8,
        brightness: 0.4,
        contrast: 0.4,
        saturation: 0.2,
        hue: 0.1,
        grey: 0.2,
        ..Augment::default()
    };
    let blurred = Augment { blur: 1.0, ..strong.clone() };

    let count = dataset.len(Part::Train).min(5000);
    let start = Instant::now();
    let images: Vec<Image> = (0..count)
        .map(|i| dataset.load(Part::Train, i * dataset.len(Part::Train) / count).map(|sample| fit(&sample.image, size)))
        .collect::<Result<_, _>>()?;
    println!("load+fit  {:.0} images/s", count as f64 / start.elapsed().as_secs_f64());
    for (name, augment) in [("views", &strong), ("blurred", &blurred)] {
        let start = Instant::now();
        for (index, image) in images.iter().enumerate() {
            black_box(augment.apply(image, size, &mut rng(0, Stream::Augment, 1, index as u64)));
        }
        println!("{name:<9} {:.1} µs each at {size}×{size}", start.elapsed().as_secs_f64() * 1e6 / count as f64);
    }
    let start = Instant::now();
    let normalise = Normalise::measure(&dataset, size, 2, OnBadSample::Skip)?;
    println!("measured  {normalise:?} in {:.0?}", start.elapsed());

    let mut sheet = Image::black(COLUMNS * (size + 2), ROWS * (size + 2), dataset.channels());
    for row in 0..ROWS {
        for column in 0..COLUMNS {
            let index = (row / 2 * COLUMNS + column) % count;
            let view = match row % 2 {
                0 => images[index].clone(),
                _ => strong.apply(&images[index], size, &mut rng(0, Stream::Augment, 1, index as u64)),
            };
            paste(&mut sheet, &view, column * (size + 2), row * (size + 2));
        }
    }
    let colour = if sheet.channels == 1 { image::ColorType::L8 } else { image::ColorType::Rgb8 };
    let zoom = (96 / size).max(1);
    let (width, height) = (sheet.width * zoom, sheet.height * zoom);
    let at = |i: usize| (i / width / zoom * sheet.width + i % width / zoom) * sheet.channels;
    let pixels: Vec<u8> =
        (0..width * height).flat_map(|i| &sheet.pixels[at(i)..at(i) + sheet.channels]).copied().collect();
    image::save_buffer(output, &pixels, width as u32, height as u32, colour)?;
    Ok(())
}

fn paste(sheet: &mut Image, view: &Image, left: usize, top: usize) {
    for (y, row) in view.pixels.chunks_exact(view.width * view.channels).enumerate() {
        let start = ((top + y) * sheet.width + left) * sheet.channels;
        sheet.pixels[start..start + row.len()].copy_from_slice(row);
    }
}
