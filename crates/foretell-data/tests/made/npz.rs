//! `.npy` and `.npz` files as `numpy` writes them.

use std::io::Write;
use std::path::Path;

/// Whether members are packed.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Method {
    Stored,
    Deflated,
}

/// The bytes of a `.npy`.
pub(crate) fn npy(kind: &str, shape: &str, values: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    [b"\x93NUMPY\x01\x00".as_slice(), &(header.len() as u16).to_le_bytes(), header.as_bytes(), values].concat()
}

pub(crate) fn floats(shape: &str, values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    npy("<f4", shape, &values.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<_>>())
}

pub(crate) fn wholes(values: &[i64]) -> Vec<u8> {
    npy("<i8", &format!("({},)", values.len()), &values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>())
}

pub(crate) fn bytes(shape: &str, values: impl IntoIterator<Item = u8>) -> Vec<u8> {
    npy("|u1", shape, &values.into_iter().collect::<Vec<_>>())
}

/// A zip as `numpy.savez` and `numpy.savez_compressed` write it.
pub(crate) fn write(path: &Path, members: &[(&str, Vec<u8>)], method: Method) {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in members {
        let name = format!("{name}.npy");
        let packed = match method {
            Method::Stored => content.clone(),
            Method::Deflated => {
                let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
        };
        let mut checksum = flate2::Crc::new();
        checksum.update(content);
        let at = out.len() as u32;
        let way: u16 = if method == Method::Stored { 0 } else { 8 };
        let mut shared = [20_u16, 0, way, 0, 0x21].iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>();
        let numbers = [checksum.sum(), packed.len() as u32, content.len() as u32];
        shared.extend(numbers.iter().flat_map(|x| x.to_le_bytes()));
        shared.extend((name.len() as u16).to_le_bytes());
        out.extend([b"PK\x03\x04".as_slice(), &shared, &[0, 0], name.as_bytes(), &packed].concat());
        directory
            .extend([b"PK\x01\x02\x14\x00".as_slice(), &shared, &[0; 12], &at.to_le_bytes(), name.as_bytes()].concat());
    }
    let (start, count) = (out.len() as u32, members.len() as u16);
    out.extend(&directory);
    out.extend([b"PK\x05\x06\0\0\0\0".as_slice(), &count.to_le_bytes(), &count.to_le_bytes()].concat());
    out.extend([(directory.len() as u32).to_le_bytes(), start.to_le_bytes()].concat());
    out.extend([0, 0]);
    std::fs::write(path, out).unwrap();
}
