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

/// The same with the first index changing fastest: `values` are of `size` bytes each, in C order.
pub(crate) fn fortran(kind: &str, shape: &[usize], size: usize, values: &[u8]) -> Vec<u8> {
    let axes = shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    let whole = npy(kind, &format!("({axes},)"), &[]);
    let header = String::from_utf8_lossy(&whole[10..]).replace("False", "True ");
    let mut turned = Vec::new();
    for at in 0..values.len() / size {
        let (mut rest, mut from) = (at, 0);
        for axis in 0..shape.len() {
            from += rest % shape[axis] * shape[axis + 1..].iter().product::<usize>();
            rest /= shape[axis];
        }
        turned.extend(&values[from * size..][..size]);
    }
    [&whole[..10], header.as_bytes(), &turned].concat()
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
