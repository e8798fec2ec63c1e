//! Where tensors lie, as an option of the commands.

use burn::tensor::Device;
use foretell_ops::Place;

use crate::Error;

/// `--device`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum DeviceChoice {
    /// The processor
    #[default]
    Cpu,
    /// An NVIDIA GPU (a build with `--features cuda`)
    Cuda,
    /// A GPU through Vulkan (`--features vulkan`)
    Vulkan,
    /// A GPU through Metal (`--features metal`)
    Metal,
    /// A GPU through WebGPU (`--features webgpu`)
    Webgpu,
}

impl DeviceChoice {
    /// The device, without autodiff.
    pub fn open(self) -> Result<Device, Error> {
        let place = match self {
            Self::Cpu => Place::Cpu,
            Self::Cuda => Place::Cuda,
            Self::Vulkan => Place::Vulkan,
            Self::Metal => Place::Metal,
            Self::Webgpu => Place::WebGpu,
        };
        place.open().map_err(|e| Error::Misuse(e.to_string()))
    }
}

/// A device in words, for a person.
pub(crate) fn described(device: &Device, cores: usize) -> String {
    let plural = if cores == 1 { "" } else { "s" };
    if foretell_ops::on_cpu(device) { format!("cpu, {cores} core{plural}") } else { format!("{device:?}") }
}
