//! Where tensors lie: the processor always, and what the build was given features for.

use std::panic::{self, AssertUnwindSafe};

use burn::backend::DispatchDevice;
use burn::tensor::{Device, Tensor};

/// A kind of device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// The processor: Flex.
    #[default]
    Cpu,
    /// The first NVIDIA GPU, through CUDA (feature `cuda`).
    Cuda,
    /// The best GPU that Vulkan offers (feature `vulkan`).
    Vulkan,
    /// The best GPU that Metal offers (feature `metal`).
    Metal,
    /// The best device that WebGPU's shading language reaches (feature `webgpu`).
    WebGpu,
}

/// A device that cannot be had.
#[derive(Debug, PartialEq, Eq)]
pub enum DeviceError {
    /// The build has no code for it.
    NotBuilt(Place),
    /// It does not answer; in the engine's words.
    Silent(Place, String),
}

impl std::fmt::Display for DeviceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotBuilt(place) => {
                let name = place.name();
                write!(
                    f,
                    "this build cannot use `{name}`: build it with `--features {name}`, or take another device (`cpu` is always there)"
                )
            }
            Self::Silent(place, cause) => {
                let cause = cause.lines().next().unwrap_or_default();
                write!(
                    f,
                    "no `{}` device answers on this machine ({cause}): check its driver, or take another device (`cpu` is always there)",
                    place.name()
                )
            }
        }
    }
}

impl std::error::Error for DeviceError {}

impl Place {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Cpu, Self::Cuda, Self::Vulkan, Self::Metal, Self::WebGpu];

    /// Its name, which is its feature's too.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Vulkan => "vulkan",
            Self::Metal => "metal",
            Self::WebGpu => "webgpu",
        }
    }

    /// The place of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|place| place.name() == name)
    }

    fn device(self) -> Option<Device> {
        match self {
            Self::Cpu => Some(Device::flex()),
            #[cfg(feature = "cuda")]
            Self::Cuda => Some(Device::cuda(0)),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => Some(Device::vulkan(burn::tensor::DeviceKind::DefaultDevice)),
            #[cfg(feature = "metal")]
            Self::Metal => Some(Device::metal(burn::tensor::DeviceKind::DefaultDevice)),
            #[cfg(feature = "webgpu")]
            // Not `Device::webgpu`: that is a browser's.
            Self::WebGpu => Some(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
            #[allow(unreachable_patterns)]
            _ => None,
        }
    }

    /// The device, without autodiff, once it has added four numbers.
    pub fn open(self) -> Result<Device, DeviceError> {
        let device = self.device().ok_or(DeviceError::NotBuilt(self))?;
        if self == Self::Cpu {
            return Ok(device);
        }
        // The engine opens it at the first operation and panics where it cannot.
        let hook = panic::take_hook();
        panic::set_hook(Box::new(|_| {}));
        let sum = panic::catch_unwind(AssertUnwindSafe(|| {
            let ones = Tensor::<1>::from_floats([1.0, 1.0], &device);
            (ones.clone() + ones).sum().into_scalar::<f32>()
        }));
        panic::set_hook(hook);
        match sum {
            Ok(4.0) => Ok(device),
            Ok(other) => Err(DeviceError::Silent(self, format!("it says that 1 + 1 + 1 + 1 = {other}"))),
            Err(cause) => {
                let words = cause.downcast_ref::<String>().cloned();
                let words = words.or_else(|| cause.downcast_ref::<&str>().map(|s| (*s).to_owned()));
                Err(DeviceError::Silent(self, words.unwrap_or_else(|| "the engine panicked".to_owned())))
            }
        }
    }
}

/// Whether tensors there lie in the processor's memory and the fused bodies run.
pub fn on_cpu(device: &Device) -> bool {
    matches!(device.clone().without_autodiff().as_dispatch(), DispatchDevice::Flex(_))
}
