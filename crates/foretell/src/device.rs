//! Where tensors lie.

use burn::tensor::Device;

use crate::Error;

/// `--device`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum DeviceChoice {
    /// The processor.
    #[default]
    Cpu,
}

impl DeviceChoice {
    /// The device, without autodiff.
    pub fn open(self) -> Result<Device, Error> {
        match self {
            DeviceChoice::Cpu => Ok(Device::flex()),
        }
    }
}
