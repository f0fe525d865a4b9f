//! Which devices there are, and which one a job takes.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// What the user asked for with `--device`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The best device this version computes on.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// A graphics adapter: the best, or one by its number in `fenchel devices`.
    Gpu(Option<usize>),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "gpu" => Ok(Self::Gpu(None)),
            _ => match text.strip_prefix("gpu:").map(str::parse) {
                Some(Ok(number)) => Ok(Self::Gpu(Some(number))),
                _ => Err("expected cpu, gpu, gpu:N or auto".to_owned()),
            },
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Gpu(None) => f.write_str("gpu"),
            Self::Gpu(Some(number)) => write!(f, "gpu:{number}"),
        }
    }
}

impl DeviceChoice {
    /// Settles on the CPU, the only engine of this version.
    ///
    /// # Errors
    /// [`Error::Device`] where a graphics adapter was asked for: nothing falls back silently.
    pub fn require_cpu(self) -> Result<()> {
        match self {
            Self::Auto | Self::Cpu => Ok(()),
            Self::Gpu(_) => Err(Error::Device(format!(
                "--device {self}: this version computes on the CPU only; use --device cpu or auto"
            ))),
        }
    }
}

/// A graphics adapter, as its driver describes it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Adapter {
    /// Its number, as in `gpu:N`.
    pub number: usize,
    /// Its name.
    pub name: String,
    /// Vulkan, Metal or DirectX 12.
    pub backend: String,
    /// Discrete, integrated, virtual, software or other.
    pub kind: String,
    /// Whether it is a program on the processor (such as llvmpipe), which `auto` never takes.
    pub software: bool,
    /// The driver's name and version.
    pub driver: String,
    /// The largest storage-buffer binding in bytes.
    pub largest_binding: u64,
    /// The largest buffer in bytes.
    pub largest_buffer: u64,
    /// Those of subgroups, f16 and timestamps that it offers.
    pub features: Vec<String>,
}

/// Every graphics adapter that a driver offers, in the drivers' order.
pub fn adapters() -> Vec<Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::PRIMARY;
    let instance = wgpu::Instance::new(descriptor);
    let found = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::PRIMARY));
    found.iter().enumerate().map(|(number, adapter)| describe(number, adapter)).collect()
}

fn describe(number: usize, adapter: &wgpu::Adapter) -> Adapter {
    let (info, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
    let software = info.device_type == wgpu::DeviceType::Cpu;
    let kind = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => "discrete",
        wgpu::DeviceType::IntegratedGpu => "integrated",
        wgpu::DeviceType::VirtualGpu => "virtual",
        wgpu::DeviceType::Cpu => "software",
        wgpu::DeviceType::Other => "other",
    };
    let named = [
        (wgpu::Features::SUBGROUP, "subgroups"),
        (wgpu::Features::SHADER_F16, "f16"),
        (wgpu::Features::TIMESTAMP_QUERY, "timestamps"),
    ];
    Adapter {
        number,
        name: info.name,
        backend: info.backend.to_string(),
        kind: kind.to_owned(),
        software,
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
        largest_binding: limits.max_storage_buffer_binding_size,
        largest_buffer: limits.max_buffer_size,
        features: named
            .iter()
            .filter(|(f, _)| features.contains(*f))
            .map(|(_, name)| (*name).to_owned())
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_round_trip() {
        for text in ["auto", "cpu", "gpu", "gpu:3"] {
            assert_eq!(text.parse::<DeviceChoice>().expect("a choice").to_string(), text);
        }
        for text in ["", "GPU", "gpu:", "gpu:-1", "cuda"] {
            assert!(text.parse::<DeviceChoice>().is_err(), "{text}");
        }
    }

    #[test]
    fn nothing_falls_back_silently() {
        assert!(DeviceChoice::Auto.require_cpu().is_ok());
        assert!(DeviceChoice::Gpu(None).require_cpu().is_err());
    }
}
