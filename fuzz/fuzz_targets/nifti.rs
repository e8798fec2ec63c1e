//! NIfTI-1, compressed or not: the header, and the volumes that it claims.
#![no_main]

use foretell_data::connectomes::Nifti;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(file) = Nifti::open(&foretell_fuzz::file(input)) {
        let _ = file.volumes(|_, values| assert_eq!(values.len(), file.header().space.iter().product::<usize>()));
    }
});
