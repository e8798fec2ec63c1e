//! Data sets made on the spot: images, folders, tars, IDX and CIFAR files.

#![allow(dead_code, reason = "each test binary uses its own share")]

pub(crate) mod npz;

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use image::{ColorType, DynamicImage, ImageFormat};

/// A grey or RGB picture that differs with `seed`.
pub(crate) fn picture(width: usize, height: usize, channels: usize, seed: usize) -> DynamicImage {
    let pixels: Vec<u8> = (0..width * height * channels).map(|i| (i * 3 + seed * 41 + i / width) as u8).collect();
    let (width, height) = (width as u32, height as u32);
    if channels == 1 {
        image::GrayImage::from_raw(width, height, pixels).unwrap().into()
    } else {
        image::RgbImage::from_raw(width, height, pixels).unwrap().into()
    }
}

pub(crate) fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

pub(crate) fn png(width: usize, height: usize, channels: usize, seed: usize) -> Vec<u8> {
    encoded(&picture(width, height, channels, seed), ImageFormat::Png)
}

pub(crate) fn jpeg(width: usize, height: usize, seed: usize) -> Vec<u8> {
    encoded(&picture(width, height, 3, seed), ImageFormat::Jpeg)
}

/// A JPEG whose EXIF block holds nothing but the orientation.
pub(crate) fn jpeg_turned(image: &DynamicImage, orientation: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    image.write_with_encoder(image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 100)).unwrap();
    let mut exif = b"\xFF\xE1\x00\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    bytes.splice(2..2, exif);
    bytes
}

/// A baseline JPEG of one even block in four inks, written by hand: Adobe's inverted CMYK. `values` are stored as they
/// are, so 255 is no ink.
pub(crate) fn jpeg_cmyk(values: [u8; 4]) -> Vec<u8> {
    let mut bytes = b"\xFF\xD8\xFF\xEE\x00\x0EAdobe\x00\x64\0\0\0\0\x00".to_vec();
    bytes.extend(b"\xFF\xDB\x00\x43\x00");
    bytes.extend([8; 64]);
    bytes.extend(b"\xFF\xC0\x00\x14\x08\x00\x08\x00\x08\x04");
    (1..=4).for_each(|id| bytes.extend([id, 0x11, 0]));
    // Nine categories of DC differences, four bits each; one AC symbol, the end of the block, of one bit.
    bytes.extend(b"\xFF\xC4\x00\x1C\x00\0\0\0\x09\0\0\0\0\0\0\0\0\0\0\0\0\x00\x01\x02\x03\x04\x05\x06\x07\x08");
    bytes.extend(b"\xFF\xC4\x00\x14\x10\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x00");
    bytes.extend(b"\xFF\xDA\x00\x0E\x04\x01\x00\x02\x00\x03\x00\x04\x00\x00\x3F\x00");
    let blocks: Vec<String> = values
        .into_iter()
        .map(|value| {
            let dc = value as i32 - 128;
            let category = 32 - dc.unsigned_abs().leading_zeros();
            let raw = if dc < 0 { dc + (1 << category) - 1 } else { dc };
            let raw = if category > 0 { format!("{raw:0width$b}", width = category as usize) } else { String::new() };
            format!("{category:04b}{raw}0")
        })
        .collect();
    for bits in blocks.concat().as_bytes().chunks(8) {
        let byte = format!("{:1<8}", std::str::from_utf8(bits).unwrap());
        let byte = u8::from_str_radix(&byte, 2).unwrap();
        bytes.push(byte);
        if byte == 0xFF {
            bytes.push(0);
        }
    }
    bytes.extend(b"\xFF\xD9");
    bytes
}

/// The header of a PNG that says it is so large, without any pixels.
pub(crate) fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut header = b"IHDR".to_vec();
    header.extend(width.to_be_bytes());
    header.extend(height.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    let mut crc = flate2::Crc::new();
    crc.update(&header);
    let mut bytes = b"\x89PNG\r\n\x1A\n\0\0\0\x0D".to_vec();
    bytes.extend(header);
    bytes.extend(crc.sum().to_be_bytes());
    bytes.extend(b"\0\0\0\0IDAT\x35\xAF\x06\x1E");
    bytes
}

/// Writes the files below a folder.
pub(crate) fn folder<'a>(root: &Path, files: impl IntoIterator<Item = (&'a str, Vec<u8>)>) {
    for (path, bytes) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// A tar of the files, in this order; long names take GNU's extension.
pub(crate) fn tar<'a>(path: &Path, files: impl IntoIterator<Item = (&'a str, Vec<u8>)>) -> PathBuf {
    let mut builder = tar::Builder::new(fs::File::create(path).unwrap());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, &bytes[..]).unwrap();
    }
    builder.finish().unwrap();
    path.to_owned()
}

/// A tar of one member whose name is written as it is, which no honest tool does.
pub(crate) fn tar_of_name(path: &Path, name: &[u8]) -> PathBuf {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_size(4);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend([7; 512]);
    bytes.extend([0; 1024]);
    fs::write(path, bytes).unwrap();
    path.to_owned()
}

pub(crate) fn idx(sizes: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, sizes.len() as u8];
    bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    bytes.extend(data);
    bytes
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// CIFAR records with the given labels; the planes are filled with 1, 2 and 3.
pub(crate) fn cifar(labels: &[&[u8]]) -> Vec<u8> {
    labels.iter().flat_map(|labels| [labels, &[1; 1024][..], &[2; 1024][..], &[3; 1024][..]].concat()).collect()
}

/// Lossless bytes of an image for comparisons.
pub(crate) fn bytes_of(image: &DynamicImage) -> Vec<u8> {
    match image.color() {
        ColorType::L8 => image.to_luma8().into_raw(),
        _ => image.to_rgb8().into_raw(),
    }
}
